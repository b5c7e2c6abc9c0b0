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
from ..simd.lanes import fma, load, store, zero
from ..simd.rows import fold, zeros
from .products import to_and_fro, weighted_sums, zero_if_nan
from .records import matrix_of

_1 = np.float32(1)


@device
def forward(net, cell, steps, t):
    """Write h_t and c_t to slot t + 1."""
    w_ih, w_hh = matrix_of(net, 2 * cell), matrix_of(net, 2 * cell + 1)
    h_row, c_row = w_hh.source, w_hh.source + w_hh.blocks
    for n in range(w_hh.blocks):
        b = to_and_fro(n, w_hh.blocks, t)
        sums = weighted_sums(zeros(1, 4), net, w_ih, b, steps.window, t)
        i, f, g, o = fold(weighted_sums(sums, net, w_hh, b, steps.window, t))
        i, f = sigmoid(zero_if_nan(i)), sigmoid(zero_if_nan(f))
        g, o = tanh(zero_if_nan(g)), sigmoid(zero_if_nan(o))
        c = fma(f, load(steps.window, t, c_row + b), i * g)
        tanh_c = tanh(c)
        store(steps.window, t + 1, h_row + b, o * tanh_c)
        store(steps.window, t + 1, c_row + b, c)
        gates = w_hh.delta + 4 * b
        store(steps.activations, t, gates, i)
        store(steps.activations, t, gates + 1, f)
        store(steps.activations, t, gates + 2, g)
        store(steps.activations, t, gates + 3, o)
        store(steps.activations, t, w_hh.delta + 4 * w_hh.blocks + b, tanh_c)


@device
def backward(net, cell, steps, t, state_gradient):
    """Write ∂L/∂z_t to the activations.

    Read ∂L/∂h_t from the state gradient and set it to 0; replace ∂L/∂c_t by ∂L/∂c_{t−1}.
    """
    w_hh = matrix_of(net, 2 * cell + 1)
    h_row, c_row = w_hh.source, w_hh.source + w_hh.blocks
    for b in range(w_hh.blocks):
        gates = w_hh.delta + 4 * b
        i, f = load(steps.activations, t, gates), load(steps.activations, t, gates + 1)
        g, o = load(steps.activations, t, gates + 2), load(steps.activations, t, gates + 3)
        tanh_c = load(steps.activations, t, w_hh.delta + 4 * w_hh.blocks + b)
        dh = load(state_gradient, h_row + b)
        dc = fma(dh * o, _1 - tanh_c * tanh_c, load(state_gradient, c_row + b))
        store(steps.activations, t, gates, dc * g * i * (_1 - i))
        store(steps.activations, t, gates + 1, dc * load(steps.window, t, c_row + b) * f * (_1 - f))
        store(steps.activations, t, gates + 2, dc * i * (_1 - g * g))
        store(steps.activations, t, gates + 3, dh * tanh_c * o * (_1 - o))
        store(state_gradient, h_row + b, zero())
        store(state_gradient, c_row + b, dc * f)
