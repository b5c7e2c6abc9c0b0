"""exp, expm1, tanh, sigmoid, log, sin and cos in float32: one formula each, for scalars and lanes alike,
the same bits on every CPU.

The functions of libm differ from system to system. These use only +, −, ×, ÷ and fma, each correctly rounded
by IEEE 754. Largest errors against float64 over all float32, in units in the last place: exp 1.10, log 0.87,
sigmoid 2.41, tanh 2.46, expm1 1.63 (``tests/kernels/test_elementary.py`` has the worst arguments). sin and
cos have an absolute error of at most 1e-7 for |x| ≤ 8192; beyond, they have the value at ±8192. NaN gives
NaN. ±inf and overflow give the limit. Denormal arguments and results are kept.

The polynomials are Chebyshev interpolants of the series' remainder over the reduced range, rounded to
float32.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from .lanes import absolute, copysign, exponent, fma, pow2, select

_0, _HALF, _1, _2 = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
_NAN, _INF = np.float32(np.nan), np.float32(np.inf)
_ROUNDER = np.float32(12582912.0)  # 1.5·2²³: adding, then subtracting it rounds to the nearest integer
_LOG2E = np.float32(1.4426950216293335)
_LN2_HIGH = np.float32(0.693359375)  # 10 bits: its product with an exponent is exact
_LN2_LOW = np.float32(-0.00021219444170128554)

# (eʳ − 1 − r)/r² on |r| ≤ ½ ln 2
_E2, _E3, _E4, _E5, _E6 = (
    np.float32(c)
    for c in (0.5, 0.16666576266288757, 0.04166646674275398, 0.008363175205886364, 0.0013933643931522965)
)
# (log(1 + f) − f + ½f²)/f³ on √½ − 1 ≤ f ≤ √2 − 1
_L3, _L4, _L5, _L6, _L7, _L8, _L9, _L10, _L11 = (
    np.float32(c)
    for c in (
        *(
            0.3333333134651184,
            -0.24999989569187164,
            0.20000708103179932,
            -0.1666848063468933,
            0.14249937236309052,
        ),
        *(-0.12411050498485565, 0.11661510914564133, -0.115712009370327, 0.07149753719568253),
    )
)
_EXP_LOW, _EXP_HIGH = np.float32(-104), np.float32(89)  # below: 0; above: infinity
_TANH_HIGH = np.float32(10)  # tanh is 1 from 9.02 on
_64, _2_TO_MINUS_64 = np.float32(64), np.float32(2.0**-64)
_EXPM1_LOW, _EXPM1_HIGH = np.float32(-20), np.float32(10)  # below: −1; above: exp(x) − 1
_TWO_OVER_PI, _QUARTER = np.float32(0.6366197466850281), np.float32(0.25)
_PI_2_HIGH, _PI_2_LOW = np.float32(1.5707963705062866), np.float32(-4.371139000186241e-08)
_LARGEST_ANGLE = np.float32(8192)
# (sin r − r)/r³ and (cos r − 1 + ½r²)/r⁴ on |r| ≤ π/4, as polynomials of r² (Moshier, Cephes)
_S0, _S1, _S2 = (np.float32(c) for c in (-0.16666654611, 0.0083321608736, -0.00019515295891))
_C0, _C1, _C2 = (np.float32(c) for c in (0.04166664568298827, -0.001388731625493765, 2.443315711809948e-05))
_MIN_NORMAL, _UP, _UP_BITS = np.float32(2.0**-126), np.float32(2.0**25), np.float32(25)


@device
def _reduce(x):
    """n and eʳ − 1 with x = n ln 2 + r, |r| ≤ ½ ln 2."""
    n = (x * _LOG2E + _ROUNDER) - _ROUNDER
    r = fma(n, -_LN2_LOW, fma(n, -_LN2_HIGH, x))
    tail = fma(fma(fma(fma(_E6, r, _E5), r, _E4), r, _E3), r, _E2)
    return n, fma(r * r, tail, r)


@device
def exp(x):
    """eˣ."""
    x = select(x < _EXP_LOW, _EXP_LOW, select(x > _EXP_HIGH, _EXP_HIGH, x))
    n, e = _reduce(x)
    half = (n * _HALF + _ROUNDER) - _ROUNDER  # in two steps: 2ⁿ itself may be denormal or too large
    return (e + _1) * pow2(half) * pow2(n - half)


@device
def _exp_of_negative(x):
    """eˣ for x ≤ 0: the bits of `exp`, in fewer steps, because 2ⁿ⁺⁶⁴ is neither denormal nor too large."""
    n, e = _reduce(select(x < _EXP_LOW, _EXP_LOW, x))
    return (e + _1) * pow2(n + _64) * _2_TO_MINUS_64


@device
def expm1(x):
    """eˣ − 1, without cancellation for small x."""
    low = select(x < _EXPM1_LOW, _EXPM1_LOW, select(x > _EXPM1_HIGH, _EXPM1_HIGH, x))
    n, e = _reduce(low)
    scale = pow2(n)
    return select(x > _EXPM1_HIGH, exp(x) - _1, fma(e, scale, scale - _1))


@device
def tanh(x):
    """Hyperbolic tangent of x."""
    magnitude = absolute(x)
    n, e = _reduce(_2 * select(magnitude > _TANH_HIGH, _TANH_HIGH, magnitude))
    scale = pow2(n)
    t = fma(e, scale, scale - _1)  # exp(2|x|) − 1, without cancellation for small x
    return copysign(t / (t + _2), x)


@device
def sigmoid(x):
    """1/(1 + e⁻ˣ)."""
    e = _exp_of_negative(-absolute(x))
    return select(x < _0, e, _1) / (_1 + e)


@device
def log(x):
    """Natural logarithm of x: −inf at 0, NaN below."""
    tiny = x < _MIN_NORMAL
    normal = select(tiny, x * _UP, x)
    e = exponent(normal)
    step = select(e > _0, _2, _0)  # in two steps: 2⁻ᵉ itself may be denormal
    f = normal * pow2(step - e) * pow2(-step) - _1
    e = select(tiny, e - _UP_BITS, e)
    tail = fma(fma(fma(fma(_L11, f, _L10), f, _L9), f, _L8), f, _L7)
    tail = fma(fma(fma(fma(tail, f, _L6), f, _L5), f, _L4), f, _L3)
    square = f * f
    value = fma(e, _LN2_HIGH, f + fma(e, _LN2_LOW, fma(square * f, tail, -_HALF * square)))
    value = select(x < _INF, value, x)  # inf and NaN stay
    return select(x > _0, value, select(x < _0, _NAN, select(x >= _0, -_INF, x)))


@device
def sin_cos(x):
    """The sine and the cosine of x."""
    x = select(x > _LARGEST_ANGLE, _LARGEST_ANGLE, select(x < -_LARGEST_ANGLE, -_LARGEST_ANGLE, x))
    n = (x * _TWO_OVER_PI + _ROUNDER) - _ROUNDER
    r = fma(n, -_PI_2_LOW, fma(n, -_PI_2_HIGH, x))
    square = r * r
    sine = fma(square * r, fma(fma(_S2, square, _S1), square, _S0), r)
    cosine = fma(square * square, fma(fma(_C2, square, _C1), square, _C0), fma(-_HALF, square, _1))
    quarter = n - ((n * _QUARTER + _ROUNDER) - _ROUNDER) / _QUARTER  # −2 … 2 quarter turns
    odd = absolute(quarter) == _1
    s, c = select(odd, cosine, sine), select(odd, sine, cosine)
    half_turn = absolute(quarter) == _2
    s = select(half_turn, -s, select(quarter == -_1, -s, s))
    c = select(half_turn, -c, select(quarter == _1, -c, c))
    return s, c
