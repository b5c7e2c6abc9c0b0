"""The Elman cell (Elman 1990): its activation one step forward, and the error one step back.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)

``memory_layout.py`` says how everything is laid out, and ``network.py`` what is done with it.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import tanh
from ..simd.lanes import WIDTH, fma, load, select, store, zero
from .memory_layout import BIAS, BLOCKS, DELTA, FIRST, INPUTS, LOOKUP, SHIFT, SOURCE, USED

_1 = np.float32(1)


@device
def number(z):
    """A sum that is not a number (two infinities have met) counts as 0, or the state would never recover."""
    return select(z == z, z, zero())


@device
def first_input(matrices, m, flat, slot, column):
    """The first input of matrix ``m`` that a step uses: 0, or the number of the only one."""
    return np.int64(flat[slot, column + 1]) if matrices[m, LOOKUP] == 1 else np.int64(0)


@device
def add_products(parameters, matrices, m, b, flat, t, z):
    """z + Σ_k w_k·v_k for block ``b`` of a one-gate matrix, as four sums that can run at once."""
    slot, column = t + matrices[m, SHIFT], matrices[m, SOURCE] * WIDTH
    row = matrices[m, FIRST] + b * matrices[m, INPUTS] + first_input(matrices, m, flat, slot, column)
    used = matrices[m, USED]
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
def forward(parameters, matrices, layer, window, flat, t, trace):
    """h_t, into slot t + 1."""
    to_input, to_state = 2 * layer, 2 * layer + 1
    state = matrices[to_state, SOURCE]
    for b in range(matrices[to_state, BLOCKS]):
        z = load(parameters, matrices[to_input, BIAS] + b) + load(parameters, matrices[to_state, BIAS] + b)
        z = add_products(parameters, matrices, to_input, b, flat, t, z)
        z = add_products(parameters, matrices, to_state, b, flat, t, z)
        store(window, t + 1, state + b, tanh(number(z)))


@device
def backward(matrices, layer, window, t, trace, flow):
    """∂L/∂z_t into the trace, from ∂L/∂h_t in the flow, where 0 is left."""
    to_state = 2 * layer + 1
    state = matrices[to_state, SOURCE]
    for b in range(matrices[to_state, BLOCKS]):
        h = load(window, t + 1, state + b)
        store(trace, t, matrices[to_state, DELTA] + b, load(flow, state + b) * (_1 - h * h))
        store(flow, state + b, zero())
