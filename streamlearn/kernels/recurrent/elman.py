"""The Elman cell (Elman, Cognitive Science 14, 1990): one step forward and one step back.

    h_t = tanh(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)

``memory_layout.py`` defines the arrays; ``network.py`` calls the cell.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import tanh
from ..simd.lanes import load, store, zero
from ..simd.rows import fold, zeros
from .products import to_and_fro, weighted_sums, zero_if_nan
from .records import matrix_of

_1 = np.float32(1)


@device
def forward(net, cell, steps, t):
    """Write h_t to slot t + 1."""
    w_ih, w_hh = matrix_of(net, 2 * cell), matrix_of(net, 2 * cell + 1)
    for n in range(w_hh.blocks):
        b = to_and_fro(n, w_hh.blocks, t)
        sums = weighted_sums(zeros(4, 1), net, w_ih, b, steps.window, t)
        sums = weighted_sums(sums, net, w_hh, b, steps.window, t)
        store(steps.window, t + 1, w_hh.source + b, tanh(zero_if_nan(fold(sums)[0])))


@device
def backward(net, cell, steps, t, state_gradient):
    """Write ∂L/∂z_t to the activations. Read ∂L/∂h_t from the state gradient and set it to 0."""
    w_hh = matrix_of(net, 2 * cell + 1)
    for b in range(w_hh.blocks):
        h = load(steps.window, t + 1, w_hh.source + b)
        dh = load(state_gradient, w_hh.source + b)
        store(steps.activations, t, w_hh.delta + b, dh * (_1 - h * h))
        store(state_gradient, w_hh.source + b, zero())
