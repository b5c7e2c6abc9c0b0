"""The Elman cell (Elman, Cognitive Science 14, 1990): one step forward and one step back.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)

``memory_layout.py`` defines the arrays; ``network.py`` calls the cell.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import tanh
from ..simd.lanes import WIDTH, fma, load, select, store, zero
from .memory_layout import BIAS, BLOCKS, DELTA, INPUTS, LOOKUP, SHIFT, SOURCE, USED_INPUTS, WEIGHT

_1 = np.float32(1)


@device
def zero_if_nan(z):
    """Replace NaN (∞ − ∞) by 0: a NaN in a state would stay there for ever."""
    return select(z == z, z, zero())


@device
def first_used_input(matrices, m, flat, slot, column):
    """The first input of matrix ``m`` that a step uses: 0, or the number of the symbol."""
    return np.int64(flat[slot, column + 1]) if matrices[m, LOOKUP] == 1 else np.int64(0)


@device
def add_products(parameters, matrices, m, b, flat, t, z):
    """z + Σ_k w_k·v_k for block ``b`` of a matrix with one gate. Four independent sums run in parallel."""
    slot, column = t + matrices[m, SHIFT], matrices[m, SOURCE] * WIDTH
    start = first_used_input(matrices, m, flat, slot, column)
    row = matrices[m, WEIGHT] + b * matrices[m, INPUTS] + start
    used = matrices[m, USED_INPUTS]
    whole = used - used % 4
    p, q, r = zero(), zero(), zero()
    for k in range(0, whole, 4):
        z = fma(load(parameters, row + k), flat[slot, column + k], z)
        p = fma(load(parameters, row + k + 1), flat[slot, column + k + 1], p)
        q = fma(load(parameters, row + k + 2), flat[slot, column + k + 2], q)
        r = fma(load(parameters, row + k + 3), flat[slot, column + k + 3], r)
    for k in range(whole, used):
        z = fma(load(parameters, row + k), flat[slot, column + k], z)
    return (z + p) + (q + r)


@device
def forward(parameters, matrices, layer, window, flat, t, activations):
    """Write h_t to slot t + 1."""
    w_ih, w_hh = 2 * layer, 2 * layer + 1
    h_row = matrices[w_hh, SOURCE]
    for b in range(matrices[w_hh, BLOCKS]):
        z = load(parameters, matrices[w_ih, BIAS] + b) + load(parameters, matrices[w_hh, BIAS] + b)
        z = add_products(parameters, matrices, w_ih, b, flat, t, z)
        z = add_products(parameters, matrices, w_hh, b, flat, t, z)
        store(window, t + 1, h_row + b, tanh(zero_if_nan(z)))


@device
def backward(matrices, layer, window, t, activations, state_gradient):
    """Write ∂L/∂z_t to the activations. Read ∂L/∂h_t from the state gradient and set it to 0."""
    w_hh = 2 * layer + 1
    h_row = matrices[w_hh, SOURCE]
    for b in range(matrices[w_hh, BLOCKS]):
        h = load(window, t + 1, h_row + b)
        dh = load(state_gradient, h_row + b)
        store(activations, t, matrices[w_hh, DELTA] + b, dh * (_1 - h * h))
        store(state_gradient, h_row + b, zero())
