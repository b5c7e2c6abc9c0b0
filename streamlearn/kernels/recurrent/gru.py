"""The GRU cell (Cho et al., EMNLP 2014), with the reset gate where PyTorch has it.

    r, z = sigmoid(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)       one sum for each gate
    n = tanh(W_in x_t + b_in + r·a)                             a = W_hn h_{t−1} + b_hn
    h_t = (1 − z)·n + z·h_{t−1}

The gates are in PyTorch's order r, z, n. ``memory_layout.py`` defines the arrays; ``network.py`` calls the
cell. The activations are r, z, n (replaced in the backward pass by ∂L/∂ of the sums over the inputs), two
unused values, and a (these three are replaced by ∂L/∂ of the sums over h, which differ in the third gate).
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import sigmoid, tanh
from ..simd.lanes import fma, load, store
from ..simd.rows import fold, zeros
from .products import to_and_fro, weighted_sums, zero_if_nan
from .records import matrix_of

_1 = np.float32(1)


@device
def forward(net, cell, steps, t):
    """Write h_t to slot t + 1."""
    w_ih, w_hh = matrix_of(net, 2 * cell), matrix_of(net, 2 * cell + 1)
    for block in range(w_hh.blocks):
        b = to_and_fro(block, w_hh.blocks, t)
        r_x, z_x, n_x = fold(weighted_sums(zeros(2, 3), net, w_ih, b, steps.window, t))
        r_h, z_h, a = fold(weighted_sums(zeros(2, 3), net, w_hh, b, steps.window, t))
        r, z, a = sigmoid(zero_if_nan(r_x + r_h)), sigmoid(zero_if_nan(z_x + z_h)), zero_if_nan(a)
        n = tanh(zero_if_nan(fma(r, a, n_x)))
        h = load(steps.window, t, w_hh.source + b)
        store(steps.window, t + 1, w_hh.source + b, fma(z, h - n, n))
        gates = w_ih.delta + 3 * b
        store(steps.activations, t, gates, r)
        store(steps.activations, t, gates + 1, z)
        store(steps.activations, t, gates + 2, n)
        store(steps.activations, t, w_hh.delta + 3 * b + 2, a)


@device
def backward(net, cell, steps, t, state_gradient):
    """Write ∂L/∂z_t to the activations.

    Read ∂L/∂h_t from the state gradient; leave the part of ∂L/∂h_{t−1} that flows through z·h_{t−1}.
    """
    w_ih, w_hh = matrix_of(net, 2 * cell), matrix_of(net, 2 * cell + 1)
    for b in range(w_hh.blocks):
        gates, recurrent = w_ih.delta + 3 * b, w_hh.delta + 3 * b
        r, z = load(steps.activations, t, gates), load(steps.activations, t, gates + 1)
        n, a = load(steps.activations, t, gates + 2), load(steps.activations, t, recurrent + 2)
        dh = load(state_gradient, w_hh.source + b)
        dn = dh * (_1 - z) * (_1 - n * n)
        dz = dh * (load(steps.window, t, w_hh.source + b) - n) * z * (_1 - z)
        dr = dn * a * r * (_1 - r)
        store(steps.activations, t, gates, dr)
        store(steps.activations, t, gates + 1, dz)
        store(steps.activations, t, gates + 2, dn)
        store(steps.activations, t, recurrent, dr)
        store(steps.activations, t, recurrent + 1, dz)
        store(steps.activations, t, recurrent + 2, dn * r)
        store(state_gradient, w_hh.source + b, dh * z)
