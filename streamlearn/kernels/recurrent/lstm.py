"""The LSTM cell (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000), gates in PyTorch's order:

    i, f, o = sigmoid(z), g = tanh(z)      z = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh, for each gate its own
    c_t = f·c_{t−1} + i·g                  h_t = o·tanh(c_t)

``memory_layout.py`` is the layout of all arrays; ``network.py`` runs the cell. The trace keeps i, f, g
and o, which ∂L/∂z replaces on the way back, and tanh(c).
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import sigmoid, tanh
from ..simd.lanes import WIDTH, fma, load, store, zero
from .elman import first_input, number
from .memory_layout import BIAS, BLOCKS, DELTA, FIRST, INPUTS, SHIFT, SOURCE, USED

_1 = np.float32(1)


@device
def _add_products(parameters, matrices, m, b, flat, t, i, f, g, o):
    """z + Σ_k w_k·v_k for the four gates of block ``b``, the inputs in their order."""
    slot, column = t + matrices[m, SHIFT], matrices[m, SOURCE] * WIDTH
    start = first_input(matrices, m, flat, slot, column)
    first = matrices[m, FIRST] + 4 * (b * matrices[m, INPUTS] + start)
    for k in range(matrices[m, USED]):
        v = flat[slot, column + k]
        row = first + 4 * k
        i = fma(load(parameters, row), v, i)
        f = fma(load(parameters, row + 1), v, f)
        g = fma(load(parameters, row + 2), v, g)
        o = fma(load(parameters, row + 3), v, o)
    return i, f, g, o


@device
def forward(parameters, matrices, layer, window, flat, t, trace):
    """h_t and c_t, into slot t + 1."""
    to_input, to_state = 2 * layer, 2 * layer + 1
    blocks = matrices[to_state, BLOCKS]
    h_row = matrices[to_state, SOURCE]
    c_row = h_row + blocks
    for b in range(blocks):
        p, q = matrices[to_input, BIAS] + 4 * b, matrices[to_state, BIAS] + 4 * b
        i = load(parameters, p) + load(parameters, q)
        f = load(parameters, p + 1) + load(parameters, q + 1)
        g = load(parameters, p + 2) + load(parameters, q + 2)
        o = load(parameters, p + 3) + load(parameters, q + 3)
        i, f, g, o = _add_products(parameters, matrices, to_input, b, flat, t, i, f, g, o)
        i, f, g, o = _add_products(parameters, matrices, to_state, b, flat, t, i, f, g, o)
        i, f, g, o = sigmoid(number(i)), sigmoid(number(f)), tanh(number(g)), sigmoid(number(o))
        c = fma(f, load(window, t, c_row + b), i * g)
        squashed = tanh(c)
        store(window, t + 1, h_row + b, o * squashed)
        store(window, t + 1, c_row + b, c)
        kept = matrices[to_state, DELTA] + 4 * b
        store(trace, t, kept, i)
        store(trace, t, kept + 1, f)
        store(trace, t, kept + 2, g)
        store(trace, t, kept + 3, o)
        store(trace, t, matrices[to_state, DELTA] + 4 * blocks + b, squashed)


@device
def backward(matrices, layer, window, t, trace, flow):
    """∂L/∂z_t into the trace, from ∂L/∂h_t in the flow, where 0 is left, and ∂L/∂c_t, which becomes
    ∂L/∂c_{t−1}."""
    to_state = 2 * layer + 1
    blocks = matrices[to_state, BLOCKS]
    h_row = matrices[to_state, SOURCE]
    c_row = h_row + blocks
    for b in range(blocks):
        kept = matrices[to_state, DELTA] + 4 * b
        i, f = load(trace, t, kept), load(trace, t, kept + 1)
        g, o = load(trace, t, kept + 2), load(trace, t, kept + 3)
        squashed = load(trace, t, matrices[to_state, DELTA] + 4 * blocks + b)
        dh = load(flow, h_row + b)
        dc = fma(dh * o, _1 - squashed * squashed, load(flow, c_row + b))
        store(trace, t, kept, dc * g * i * (_1 - i))
        store(trace, t, kept + 1, dc * load(window, t, c_row + b) * f * (_1 - f))
        store(trace, t, kept + 2, dc * i * (_1 - g * g))
        store(trace, t, kept + 3, dh * squashed * o * (_1 - o))
        store(flow, h_row + b, zero())
        store(flow, c_row + b, dc * f)
