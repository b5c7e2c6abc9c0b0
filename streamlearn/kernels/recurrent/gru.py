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
from ..simd.lanes import WIDTH, fma, load, store
from .elman import first_used_input, zero_if_nan
from .memory_layout import BIAS, BLOCKS, DELTA, INPUTS, SHIFT, SOURCE, USED_INPUTS, WEIGHT

_1 = np.float32(1)


@device
def _add_products(parameters, matrices, m, b, flat, t, r, z, n):
    """Add Σ_k w_k·v_k to the sums of the three gates of block ``b``, inputs in order."""
    slot, column = t + matrices[m, SHIFT], matrices[m, SOURCE] * WIDTH
    start = first_used_input(matrices, m, flat, slot, column)
    first = matrices[m, WEIGHT] + 3 * (b * matrices[m, INPUTS] + start)
    for k in range(matrices[m, USED_INPUTS]):
        v = flat[slot, column + k]
        row = first + 3 * k
        r = fma(load(parameters, row), v, r)
        z = fma(load(parameters, row + 1), v, z)
        n = fma(load(parameters, row + 2), v, n)
    return r, z, n


@device
def forward(parameters, matrices, layer, window, flat, t, activations):
    """Write h_t to slot t + 1."""
    w_ih, w_hh = 2 * layer, 2 * layer + 1
    h_row = matrices[w_hh, SOURCE]
    for b in range(matrices[w_hh, BLOCKS]):
        p, q = matrices[w_ih, BIAS] + 3 * b, matrices[w_hh, BIAS] + 3 * b
        r = load(parameters, p) + load(parameters, q)
        z = load(parameters, p + 1) + load(parameters, q + 1)
        n, a = load(parameters, p + 2), load(parameters, q + 2)
        r, z, n = _add_products(parameters, matrices, w_ih, b, flat, t, r, z, n)
        r, z, a = _add_products(parameters, matrices, w_hh, b, flat, t, r, z, a)
        r, z, a = sigmoid(zero_if_nan(r)), sigmoid(zero_if_nan(z)), zero_if_nan(a)
        n = tanh(zero_if_nan(fma(r, a, n)))
        h = load(window, t, h_row + b)
        store(window, t + 1, h_row + b, fma(z, h - n, n))
        gates = matrices[w_ih, DELTA] + 3 * b
        store(activations, t, gates, r)
        store(activations, t, gates + 1, z)
        store(activations, t, gates + 2, n)
        store(activations, t, matrices[w_hh, DELTA] + 3 * b + 2, a)


@device
def backward(matrices, layer, window, t, activations, state_gradient):
    """Write ∂L/∂z_t to the activations.

    Read ∂L/∂h_t from the state gradient; leave the part of ∂L/∂h_{t−1} that flows through z·h_{t−1}.
    """
    w_hh = 2 * layer + 1
    h_row = matrices[w_hh, SOURCE]
    for b in range(matrices[w_hh, BLOCKS]):
        gates, recurrent = matrices[2 * layer, DELTA] + 3 * b, matrices[w_hh, DELTA] + 3 * b
        r, z, n = (
            load(activations, t, gates),
            load(activations, t, gates + 1),
            load(activations, t, gates + 2),
        )
        a = load(activations, t, recurrent + 2)
        dh = load(state_gradient, h_row + b)
        dn = dh * (_1 - z) * (_1 - n * n)
        dz = dh * (load(window, t, h_row + b) - n) * z * (_1 - z)
        dr = dn * a * r * (_1 - r)
        store(activations, t, gates, dr)
        store(activations, t, gates + 1, dz)
        store(activations, t, gates + 2, dn)
        store(activations, t, recurrent, dr)
        store(activations, t, recurrent + 1, dz)
        store(activations, t, recurrent + 2, dn * r)
        store(state_gradient, h_row + b, dh * z)
