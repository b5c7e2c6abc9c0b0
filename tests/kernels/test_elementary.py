"""exp, tanh, sigmoid and log: errors in ulp against float64, limits, scalars against lanes."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest

from streamlearn.kernels.simd import elementary
from streamlearn.kernels.simd.lanes import WIDTH, load, store

# The error bounds stated in elementary.py, in units in the last place.
BOUNDS = {"exp": 1.10, "log": 0.87, "sigmoid": 2.41, "tanh": 2.46, "expm1": 1.63}
ANGLE_BOUND = 1e-7  # of sine and cosine, absolute
WORST = [
    5.198865,
    0.69905573,
    -4.1572938,
    0.031129953,
    0.34688723,
]  # the arguments with the largest errors of all 2³², in the same order
EXACT = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "expm1": np.expm1,
    "sigmoid": lambda x: np.where(x < 0, np.exp(-np.abs(x)), 1.0) / (1.0 + np.exp(-np.abs(x))),
}
FUNCTIONS = list(BOUNDS)

EDGES = {
    "zero": 0.0,
    "smallest normal": 2.0**-126,
    "largest": np.finfo(np.float32).max,  # its neighbours include infinity and NaNs
    "one": 1.0,
    "sqrt half": 0.5**0.5,
    "sqrt two": 2.0**0.5,
    "half ln 2": 0.34657359,
    "ln 2": 0.69314718,
    "exp overflows": 88.72284,
    "exp is denormal": 87.33655,
    "exp underflows": 103.97208,
    "exp's low clamp": 104.0,
    "exp's high clamp": 89.0,
    "tanh is one": 9.010913,
    "tanh's clamp": 10.0,
    "sigmoid is one": 17.32868,
    "pow2's rounder": 12582912.0,
    "integers end": 2.0**24,
}
NEIGHBOURS = 1 << 12  # bit patterns on either side of an edge


def _compile(function):
    """Compile ``function`` for float32 arrays ``(blocks, 16)``, by scalars and by lanes."""

    @nb.njit(error_model="numpy")
    def both(x, scalars, lanes):
        for b in range(x.shape[0]):
            store(lanes, b, function(load(x, b)))
            for i in range(WIDTH):
                scalars[b, i] = function(x[b, i])

    return both


COMPILED = {name: _compile(getattr(elementary, name)) for name in FUNCTIONS}


def both_forms(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the function of every float32 in ``x``, computed by scalars and by lanes."""
    padded = np.resize(x.astype(np.float32), (-(-x.size // WIDTH), WIDTH))
    scalars, lanes = np.empty_like(padded), np.empty_like(padded)
    COMPILED[name](padded, scalars, lanes)
    return scalars.ravel()[: x.size], lanes.ravel()[: x.size]


def sampled_arguments() -> np.ndarray:
    """Return every 997th float32 bit pattern, and all bit patterns near the edges, with both signs."""
    sweep = np.arange(0, 1 << 32, 997, dtype=np.int64)
    edges = np.array([np.float32(edge).view(np.uint32) for edge in [*EDGES.values(), *WORST]], np.int64)
    near = (edges[:, None] + np.arange(-NEIGHBOURS, NEIGHBOURS + 1)).ravel()
    top = np.int64(1 << 31)
    near = near[near >= 0] % top
    patterns = np.concatenate([sweep, near, near + top, np.arange(top - NEIGHBOURS, top + NEIGHBOURS)])
    return patterns.astype(np.uint32).view(np.float32)


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return sampled_arguments()


def errors_in_ulp(values: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """|values − exact| in units of the last place of ``exact``; infinity counts as 2¹²⁸."""
    limit = 2.0**128
    exact = np.clip(exact, -limit, limit)
    values = np.clip(values.astype(np.float64), -limit, limit)
    _, binade = np.frexp(exact)
    unit = np.ldexp(1.0, np.clip(binade - 24, -149, 104))
    return np.abs(values - exact) / unit


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_error_is_within_the_stated_bound(name, x):
    values, _ = both_forms(name, x)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64))
    defined = ~np.isnan(exact)
    errors = errors_in_ulp(values[defined], exact[defined])
    worst = int(errors.argmax())
    print(f"{name}: at most {errors[worst]:.4f} ulp, at {x[defined][worst]!r}, {errors.size} values")
    assert errors[worst] <= BOUNDS[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_only_where_the_function_is_undefined(name, x):
    values, _ = both_forms(name, x)
    with np.errstate(all="ignore"):
        exact = EXACT[name](x.astype(np.float64))
    assert np.array_equal(np.isnan(values), np.isnan(exact))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_scalars_and_lanes_give_the_same_bits(name, x):
    scalars, lanes = both_forms(name, x)
    number = ~np.isnan(scalars)
    assert np.array_equal(number, ~np.isnan(lanes))
    assert np.array_equal(scalars[number].view(np.uint32), lanes[number].view(np.uint32))


INF, NAN = np.inf, np.nan
TINY = 2.0**-149
LIMITS = {
    "exp": [
        (0, 1),
        (-0.0, 1),
        (INF, INF),
        (-INF, 0),
        (3e38, INF),
        (-3e38, 0),
        (TINY, 1),
        (88.73, INF),
        (-104, 0),
    ],
    "tanh": [(0, 0), (-0.0, -0.0), (INF, 1), (-INF, -1), (3e38, 1), (TINY, TINY), (-TINY, -TINY), (20, 1)],
    "expm1": [
        (0, 0),
        (INF, INF),
        (-INF, -1),
        (3e38, INF),
        (-3e38, -1),
        (TINY, TINY),
        (-20, -1),
    ],
    "sigmoid": [(0, 0.5), (-0.0, 0.5), (INF, 1), (-INF, 0), (3e38, 1), (-3e38, 0), (TINY, 0.5)],
    "log": [(1, 0), (0, -INF), (-0.0, -INF), (INF, INF), (-1, NAN), (-INF, NAN), (-TINY, NAN)],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_limits_are_exact(name):
    given, expected = np.array([*LIMITS[name], (NAN, NAN)], np.float32).T
    for form in both_forms(name, np.ascontiguousarray(given)):
        assert np.array_equal(form, expected, equal_nan=True)
        number = ~np.isnan(expected)
        assert np.array_equal(np.signbit(form[number]), np.signbit(expected[number]))


def test_denormals_are_not_flushed_to_zero():
    denormal = np.array([-88, -95, -100, -103], np.float32)
    values, _ = both_forms("exp", denormal)
    assert np.all((values > 0) & (values < 2.0**-126))
    values, _ = both_forms("log", np.array([TINY, 3 * TINY, 2.0**-127], np.float32))
    assert np.allclose(
        values, [-149 * np.log(2), np.log(3) - 149 * np.log(2), -127 * np.log(2)], rtol=1e-6, atol=0
    )


def test_odd_and_complementary():
    x = np.linspace(-12, 12, 4801, dtype=np.float32)
    positive, _ = both_forms("tanh", x)
    negative, _ = both_forms("tanh", -x)
    assert np.array_equal(positive, -negative)
    positive, _ = both_forms("sigmoid", x)
    negative, _ = both_forms("sigmoid", -x)
    assert np.allclose(positive.astype(np.float64) + negative, 1, rtol=0, atol=2e-7)


# sine and cosine


@nb.njit(error_model="numpy")
def _sines(x, scalars, lanes):
    for b in range(x.shape[0]):
        sine, cosine = elementary.sin_cos(load(x, b))
        store(lanes[0], b, sine)
        store(lanes[1], b, cosine)
        for i in range(WIDTH):
            scalars[0, b, i], scalars[1, b, i] = elementary.sin_cos(x[b, i])


def sines(x: np.ndarray) -> np.ndarray:
    """Return sine and cosine (2, n), after a check that scalars and lanes have the same bits."""
    padded = np.resize(x.astype(np.float32), (-(-x.size // WIDTH), WIDTH))
    scalars, lanes = np.empty((2, *padded.shape), np.float32), np.empty((2, *padded.shape), np.float32)
    _sines(padded, scalars, lanes)
    number = ~np.isnan(scalars)
    assert np.array_equal(number, ~np.isnan(lanes))
    assert np.array_equal(scalars[number].view(np.uint32), lanes[number].view(np.uint32))
    return scalars.reshape(2, -1)[:, : x.size]


def test_sine_and_cosine_are_within_the_stated_bound():
    generator = np.random.default_rng(1)
    uniform = [generator.uniform(-limit, limit, 500_000) for limit in (1, 8, 8192)]
    multiples = np.arange(-5215, 5216) * np.pi / 4
    x = np.concatenate([*uniform, multiples, np.nextafter(multiples, np.inf, dtype=np.float32)])
    x = x[np.abs(x) <= 8192].astype(np.float32)
    exact = np.array([np.sin(x.astype(float)), np.cos(x.astype(float))])
    error = np.abs(sines(x) - exact).max()
    print(f"largest error {error:.3e}")
    assert error <= ANGLE_BOUND


def test_sine_and_cosine_of_limits():
    x = np.array([0, -0.0, TINY, -TINY, 8192, 1e9, INF, -INF, NAN], np.float32)
    sine, cosine = sines(x)
    assert np.array_equal(sine[:4], x[:4])
    assert np.array_equal(cosine[:4], np.ones(4))
    assert sine[4] == sine[5] == sine[6] == -sine[7]
    assert np.isnan([sine[8], cosine[8]]).all()
