"""The LSTM cell (Hochreiter & Schmidhuber, Neural Computation 9, 1997; forget gate: Gers et al., 2000).

    i, f, o = sigmoid(z), g = tanh(z)      z = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh, one z for each gate
    c_t = f·c_{t−1} + i·g                  h_t = o·tanh(c_t)

The gates are in PyTorch's order i, f, g, o. ``memory_layout.py`` defines the arrays; ``network.py`` calls the
cell. The activations are i, f, g and o, which ∂L/∂z replaces in the backward pass, and tanh(c).
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import sigmoid, tanh
from ..simd.lanes import WIDTH, fma, load, store, zero
from .elman import first_used_input, zero_if_nan
from .memory_layout import BIAS, BLOCKS, DELTA, INPUTS, SHIFT, SOURCE, USED_INPUTS, WEIGHT

_1 = np.float32(1)


@device
def _add_products(parameters, matrices, m, b, flat, t, i, f, g, o):
    """z + Σ_k w_k·v_k for the four gates of block ``b``, inputs in order."""
    slot, column = t + matrices[m, SHIFT], matrices[m, SOURCE] * WIDTH
    start = first_used_input(matrices, m, flat, slot, column)
    first = matrices[m, WEIGHT] + 4 * (b * matrices[m, INPUTS] + start)
    for k in range(matrices[m, USED_INPUTS]):
        v = flat[slot, column + k]
        row = first + 4 * k
        i = fma(load(parameters, row), v, i)
        f = fma(load(parameters, row + 1), v, f)
        g = fma(load(parameters, row + 2), v, g)
        o = fma(load(parameters, row + 3), v, o)
    return i, f, g, o


@device
def forward(parameters, matrices, layer, window, flat, t, activations):
    """Write h_t and c_t to slot t + 1."""
    w_ih, w_hh = 2 * layer, 2 * layer + 1
    blocks = matrices[w_hh, BLOCKS]
    h_row = matrices[w_hh, SOURCE]
    c_row = h_row + blocks
    for b in range(blocks):
        p, q = matrices[w_ih, BIAS] + 4 * b, matrices[w_hh, BIAS] + 4 * b
        i = load(parameters, p) + load(parameters, q)
        f = load(parameters, p + 1) + load(parameters, q + 1)
        g = load(parameters, p + 2) + load(parameters, q + 2)
        o = load(parameters, p + 3) + load(parameters, q + 3)
        i, f, g, o = _add_products(parameters, matrices, w_ih, b, flat, t, i, f, g, o)
        i, f, g, o = _add_products(parameters, matrices, w_hh, b, flat, t, i, f, g, o)
        i, f = sigmoid(zero_if_nan(i)), sigmoid(zero_if_nan(f))
        g, o = tanh(zero_if_nan(g)), sigmoid(zero_if_nan(o))
        c = fma(f, load(window, t, c_row + b), i * g)
        tanh_c = tanh(c)
        store(window, t + 1, h_row + b, o * tanh_c)
        store(window, t + 1, c_row + b, c)
        gates = matrices[w_hh, DELTA] + 4 * b
        store(activations, t, gates, i)
        store(activations, t, gates + 1, f)
        store(activations, t, gates + 2, g)
        store(activations, t, gates + 3, o)
        store(activations, t, matrices[w_hh, DELTA] + 4 * blocks + b, tanh_c)


@device
def backward(matrices, layer, window, t, activations, state_gradient):
    """Write ∂L/∂z_t to the activations.

    Read ∂L/∂h_t from the state gradient and set it to 0; replace ∂L/∂c_t by ∂L/∂c_{t−1}.
    """
    w_hh = 2 * layer + 1
    blocks = matrices[w_hh, BLOCKS]
    h_row = matrices[w_hh, SOURCE]
    c_row = h_row + blocks
    for b in range(blocks):
        gates = matrices[w_hh, DELTA] + 4 * b
        i, f = load(activations, t, gates), load(activations, t, gates + 1)
        g, o = load(activations, t, gates + 2), load(activations, t, gates + 3)
        tanh_c = load(activations, t, matrices[w_hh, DELTA] + 4 * blocks + b)
        dh = load(state_gradient, h_row + b)
        dc = fma(dh * o, _1 - tanh_c * tanh_c, load(state_gradient, c_row + b))
        store(activations, t, gates, dc * g * i * (_1 - i))
        store(activations, t, gates + 1, dc * load(window, t, c_row + b) * f * (_1 - f))
        store(activations, t, gates + 2, dc * i * (_1 - g * g))
        store(activations, t, gates + 3, dh * tanh_c * o * (_1 - o))
        store(state_gradient, h_row + b, zero())
        store(state_gradient, c_row + b, dc * f)
