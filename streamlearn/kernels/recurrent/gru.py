"""The GRU cell (Cho et al. 2014), as PyTorch has it, gates in the order r, z, n:

    r, z = sigmoid(W_ih x_t + b_ih + W_hh h_{t−1} + b_hh)       for each its own
    n = tanh(W_in x_t + b_in + r·a)                             a = W_hn h_{t−1} + b_hn
    h_t = (1 − z)·n + z·h_{t−1}

``memory_layout.py`` is the layout of all arrays; ``network.py`` runs the cell. The trace keeps r, z and
n, which ∂L/∂z of the input's sums replaces on the way back; then two values that are used only then, and a:
their place is taken by ∂L/∂z of the recurrent sums, which differs in the third gate.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import sigmoid, tanh
from ..simd.lanes import WIDTH, fma, load, store
from .elman import first_input, number
from .memory_layout import BIAS, BLOCKS, DELTA, FIRST, INPUTS, SHIFT, SOURCE, USED

_1 = np.float32(1)


@device
def _add_products(parameters, matrices, m, b, flat, t, r, z, n):
    """Σ_k w_k·v_k more for the three gates of block ``b``, the inputs in their order."""
    slot, column = t + matrices[m, SHIFT], matrices[m, SOURCE] * WIDTH
    start = first_input(matrices, m, flat, slot, column)
    first = matrices[m, FIRST] + 3 * (b * matrices[m, INPUTS] + start)
    for k in range(matrices[m, USED]):
        v = flat[slot, column + k]
        row = first + 3 * k
        r = fma(load(parameters, row), v, r)
        z = fma(load(parameters, row + 1), v, z)
        n = fma(load(parameters, row + 2), v, n)
    return r, z, n


@device
def forward(parameters, matrices, layer, window, flat, t, trace):
    """h_t, into slot t + 1."""
    to_input, to_state = 2 * layer, 2 * layer + 1
    state = matrices[to_state, SOURCE]
    for b in range(matrices[to_state, BLOCKS]):
        p, q = matrices[to_input, BIAS] + 3 * b, matrices[to_state, BIAS] + 3 * b
        r = load(parameters, p) + load(parameters, q)
        z = load(parameters, p + 1) + load(parameters, q + 1)
        n, a = load(parameters, p + 2), load(parameters, q + 2)
        r, z, n = _add_products(parameters, matrices, to_input, b, flat, t, r, z, n)
        r, z, a = _add_products(parameters, matrices, to_state, b, flat, t, r, z, a)
        r, z, a = sigmoid(number(r)), sigmoid(number(z)), number(a)
        n = tanh(number(fma(r, a, n)))
        store(window, t + 1, state + b, fma(z, load(window, t, state + b) - n, n))
        kept = matrices[to_input, DELTA] + 3 * b
        store(trace, t, kept, r)
        store(trace, t, kept + 1, z)
        store(trace, t, kept + 2, n)
        store(trace, t, matrices[to_state, DELTA] + 3 * b + 2, a)


@device
def backward(matrices, layer, window, t, trace, flow):
    """∂L/∂z_t into the trace, from ∂L/∂h_t in the flow, where the part that h_{t−1} gets directly is left."""
    to_state = 2 * layer + 1
    state = matrices[to_state, SOURCE]
    for b in range(matrices[to_state, BLOCKS]):
        kept, apart = matrices[2 * layer, DELTA] + 3 * b, matrices[to_state, DELTA] + 3 * b
        r, z, n = load(trace, t, kept), load(trace, t, kept + 1), load(trace, t, kept + 2)
        a = load(trace, t, apart + 2)
        dh = load(flow, state + b)
        dn = dh * (_1 - z) * (_1 - n * n)
        dz = dh * (load(window, t, state + b) - n) * z * (_1 - z)
        dr = dn * a * r * (_1 - r)
        store(trace, t, kept, dr)
        store(trace, t, kept + 1, dz)
        store(trace, t, kept + 2, dn)
        store(trace, t, apart, dr)
        store(trace, t, apart + 1, dz)
        store(trace, t, apart + 2, dn * r)
        store(flow, state + b, dh * z)
