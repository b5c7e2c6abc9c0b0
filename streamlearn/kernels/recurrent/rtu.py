"""Diagonal complex units that learn by exact real-time recurrent learning (RTRL), without a window.

LRU: Orvieto et al., ICML 2023. Online: Zucchet et al., NeurIPS 2023. Recurrent trace units: Elelimy et al.,
2024. Per unit i:

    λ = exp(k(−1 + iφ)), k = e^ν                 time constant 1/k samples, φ radians in one time constant
    h_t = λ h_{t−1} + γ v_t, v_t = B x_t         γ = 1 − |λ|
    y_t = W [Re h_t, Im h_t] + b

The units do not mix, so ∂h_t/∂(a parameter of unit i) is a sum over the past that is carried forward in time,
the *trace*. It holds for the whole history:

    E_λ ← λ E_λ + h_{t−1}        ∂h/∂ν = E_λ ∂λ/∂ν + (h/γ) ∂γ/∂ν,   ∂λ/∂ν = k(−1 + iφ) λ,   ∂γ/∂ν = k|λ|
                                 ∂h/∂φ = E_λ ∂λ/∂φ,                 ∂λ/∂φ = ik λ
    E_j ← λ E_j + γ x_j          ∂h/∂Re B_j = E_j,                  ∂h/∂Im B_j = iE_j

The gradient is exact for constant parameters, and close if they change slowly. The papers have the angle of λ
as a parameter and γ = √(1 − |λ|²). Here a step of ν or φ changes h by the same order at every time constant,
and a constant input gives states of the order of 1, so that one learning rate serves all units.

``memory_layout.py`` defines the arrays. A slot of the window has Re h of all blocks, Im h of all blocks, and
then block after block E_λ and E_1 … E_dim, each Re and Im.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.elementary import exp, expm1, sin_cos
from ..simd.lanes import load, select, store, zero
from ..simd.rows import add_row, add_squares, fold, zeros
from ..simd.views import row_of, values_of
from .memory_layout import DIM
from .products import add_transposed_product, weighted_sums, write_gradient, zero_if_nan
from .records import matrix_of

_1 = np.float32(1)
_SLOWEST, _FASTEST = np.float32(2.0**-20), np.float32(64)  # limits of k
_HUGE = np.float32(1e18)  # limit of states and traces: their products are finite


class Decay(NamedTuple):
    """λ and γ of one block of units, and what their derivatives need."""

    k: Any
    phi: Any
    re: Any  # of λ
    im: Any
    size: Any  # |λ|
    gamma: Any


@device
def decay_of(net, b):
    """λ and γ of block ``b``."""
    row = matrix_of(net, 1).weight + 2 * b
    k, phi = exp(load(net.parameters, row)), load(net.parameters, row + 1)
    k = select(k < _SLOWEST, _SLOWEST, select(k > _FASTEST, _FASTEST, k))
    size = exp(-k)
    s, c = sin_cos(k * phi)
    return Decay(k, phi, size * c, size * s, size, -expm1(-k))


@device
def bounded(z):
    """Limit a state or a trace: at infinite inputs and parameters ∞ and NaN would stay for ever."""
    z = zero_if_nan(z)
    return select(z > _HUGE, _HUGE, select(z < -_HUGE, -_HUGE, z))


@device
def turn(window, t, re, im, decay, add_re, add_im):
    """z ← λ z + added, for the z in the rows ``re`` and ``im``: from slot t to slot t + 1."""
    a, b = load(window, t, re), load(window, t, im)
    store(window, t + 1, re, bounded((decay.re * a - decay.im * b) + add_re))
    store(window, t + 1, im, bounded((decay.re * b + decay.im * a) + add_im))


@device
def forward(net, steps, t):
    """Run step ``t``: write h and the traces to slot t + 1."""
    window, w, x = steps.window, matrix_of(net, 0), values_of(steps.window, t, 0)
    states = matrix_of(net, 1).source
    for b in range(w.blocks):
        decay = decay_of(net, b)
        v = fold(weighted_sums(zeros(4, 2), net, w, b, window, t))
        re, im = states + b, states + w.blocks + b
        trace = first_trace(net, b)
        turn(window, t, trace, trace + 1, decay, load(window, t, re), load(window, t, im))
        turn(window, t, re, im, decay, decay.gamma * v[0], decay.gamma * v[1])
        for j in range(net.layout[DIM]):
            row = trace + 2 + 2 * j
            turn(window, t, row, row + 1, decay, decay.gamma * x[j], zero())


@device
def first_trace(net, b):
    """The row of the window with Re E_λ of block ``b``."""
    own = matrix_of(net, 1)
    return own.source + 2 * own.blocks + b * (2 + 2 * net.layout[DIM])


@device
def backward(net, steps, count, gradients, norm):
    """Write the gradient of all parameters over the first ``count`` steps. Return ``norm`` plus its squares.

    The activations have ∂L/∂y of each step.
    """
    found, dh = gradients.parameters, gradients.states
    head, own = matrix_of(net, 2), matrix_of(net, 1)
    for row in range(head.weight):
        store(found, row, zero())
    for t in range(count):
        for row in range(own.source, own.source + 2 * own.blocks):
            store(dh, row, zero())
        add_transposed_product(net, 2, row_of(steps.activations, t), t, dh)
        for b in range(own.blocks):
            d_re, d_im = load(dh, own.source + b), load(dh, own.source + own.blocks + b)
            _add_gradient(net, steps.window, t + 1, b, d_re, d_im, found)
    for row in range(head.weight):
        norm = add_squares(norm, add_row(zeros(1, 1), found, row, _1))
    return write_gradient(net, 2, steps, count, found, norm)


@device
def _add_gradient(net, window, t, b, d_re, d_im, found):
    """Add the gradient of block ``b`` from ∂L/∂h (``d_re``, ``d_im``) and the traces in slot ``t``."""
    w, own, decay, trace = matrix_of(net, 0), matrix_of(net, 1), decay_of(net, b), first_trace(net, b)
    for j in range(net.layout[DIM]):
        e_re, e_im = load(window, t, trace + 2 + 2 * j), load(window, t, trace + 3 + 2 * j)
        row = w.weight + 2 * (b * w.rows + j)
        store(found, row, load(found, row) + (d_re * e_re + d_im * e_im))
        store(found, row + 1, load(found, row + 1) + (d_im * e_re - d_re * e_im))
    # ∂L/∂φ and ∂L/∂ν: the real part of conj(∂L/∂h) times ∂h/∂φ, ∂h/∂ν, with u = k λ E_λ
    e_re, e_im = load(window, t, trace), load(window, t, trace + 1)
    u_re = decay.k * (decay.re * e_re - decay.im * e_im)
    u_im = decay.k * (decay.re * e_im + decay.im * e_re)
    d_phi = d_im * u_re - d_re * u_im
    h_re, h_im = load(window, t, own.source + b), load(window, t, own.source + own.blocks + b)
    growth = decay.k * decay.size / decay.gamma
    d_nu = decay.phi * d_phi - (d_re * u_re + d_im * u_im) + growth * (d_re * h_re + d_im * h_im)
    row = own.weight + 2 * b
    store(found, row, load(found, row) + d_nu)
    store(found, row + 1, load(found, row + 1) + d_phi)
