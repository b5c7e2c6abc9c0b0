"""Products with the weight matrices as they are stored.

    weighted_sums            W·v + b, for the gates of one block of units
    add_transposed_product   Wᵀ·δ, the gradient of the inputs, 16 inputs at a time
    write_gradient           Σ_t δ_t·v_tᵀ and Σ_t δ_t, the gradient of the weights and of the bias

δ is ∂L/∂z, the gradient of the weighted sums. ``memory_layout.py`` defines the arrays, ``simd/rows.py`` the
sums. The number of gates is part of the type of ``sums``, so each function is compiled once for each number.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, fma, iota, load, select, store, zero
from ..simd.rows import (
    add_outer_products,
    add_products,
    add_row,
    add_squares,
    add_transposed_products,
    store_rows,
    sum_lanes,
    zero_totals,
    zeros,
)
from ..simd.views import row_of, values_of
from .records import matrix_of

_1 = np.float32(1)


@device
def to_and_fro(n, count, t):
    """The ``n``-th of ``count`` blocks: first to last in even steps, last to first in odd ones.

    A step begins with the weights that the step before used last, which are still in the cache.
    """
    return n if t % 2 == 0 else count - 1 - n


@device
def zero_if_nan(z):
    """Replace NaN (∞ − ∞) by 0: a NaN in a state would stay there for ever."""
    return select(z == z, z, zero())


@device
def weighted_sums(sums, net, m, b, window, t):
    """Add W·v + b of step ``t``, for the gates of block ``b`` of matrix ``m``, to ``sums``."""
    values = values_of(window, t + m.shift, m.source)
    gates = len(sums[0])
    row = m.weight + b * m.rows * gates
    sums = add_row(sums, net.parameters, m.bias + b * gates, _1)
    if m.lookup == 1:
        return add_row(sums, net.parameters, row + np.int64(values[1]) * gates, values[0])
    for k in range(0, m.rows, len(sums)):
        sums = add_products(sums, net.parameters, row + k * gates, values, k)
    return sums


@device
def add_transposed_product(net, i, deltas, t, state_gradient):
    """Add Wᵀ·δ_t of matrix ``i`` to the gradient of its inputs. ``deltas``: rows (·, 16) of step ``t``."""
    m = matrix_of(net, i)
    if m.gates == 4:
        _add_transposed_product(zeros(1, 4), net, m, deltas, t, state_gradient)
    elif m.gates == 3:
        _add_transposed_product(zeros(1, 3), net, m, deltas, t, state_gradient)
    else:
        _add_transposed_product(zeros(1, 1), net, m, deltas, t, state_gradient)


@device
def _add_transposed_product(sums, net, m, deltas, t, state_gradient):
    chunks = (m.inputs + WIDTH - 1) // WIDTH
    for n in range(chunks):
        c = to_and_fro(n, chunks, t)
        first = _add_up_blocks(sums, net, m, deltas, c * WIDTH)
        second = _add_up_blocks(sums, net, m, deltas, c * WIDTH + WIDTH // 2)
        # Inputs beyond the last one: their rows belong to the next block
        share = select(iota() < np.float32(m.inputs - c * WIDTH), sum_lanes(first, second), zero())
        store(state_gradient, m.source + c, load(state_gradient, m.source + c) + share)


@device
def _add_up_blocks(sums, net, m, deltas, first):
    """The sums of 8 inputs, from input ``first`` on, over all blocks: 8 lanes fit into AVX2's registers."""
    gates = len(sums[0])
    totals = zero_totals()
    for b in range(m.blocks):
        row = m.weight + (b * m.rows + first) * gates
        totals = add_transposed_products(sums, totals, net.parameters, row, deltas, m.delta + b * gates)
    return totals


@device
def write_gradient(net, i, steps, count, gradient, norm):
    """Write the gradient of matrix ``i`` and of its bias over the first ``count`` steps, in their order.

    Return ``norm`` plus its squares. The gradient of an absent bias is 0, so its rows stay 0. Four inputs of
    one gate at a time: their sums fit into AVX2's registers.
    """
    m = matrix_of(net, i)
    for b in range(m.blocks):
        for g in range(m.gates):
            delta, row = m.delta + b * m.gates + g, m.weight + b * m.rows * m.gates + g
            total = zeros(1, 1)
            for t in range(count if m.has_bias == 1 else 0):
                total = add_row(total, row_of(steps.activations, t), delta, _1)
            store_rows(gradient, m.bias + b * m.gates + g, 1, total)
            norm = add_squares(norm, total)
            if m.lookup == 1:
                norm = _write_symbols(m, steps, count, delta, row, gradient, norm)
                continue
            for k in range(0, m.rows, 4):
                totals = zeros(4, 1)
                for t in range(count):
                    values = values_of(steps.window, t + m.shift, m.source)
                    totals = add_outer_products(totals, row_of(steps.activations, t), delta, values, k)
                store_rows(gradient, row + k * m.gates, m.gates, totals)
                norm = add_squares(norm, totals)
    return norm


@device
def _write_symbols(m, steps, count, delta, row, gradient, norm):
    """The same for one-hot inputs: a step adds to the row of its symbol only."""
    for k in range(m.rows):
        store(gradient, row + k * m.gates, zero())
    for t in range(count):
        deltas, values = row_of(steps.activations, t), values_of(steps.window, t + m.shift, m.source)
        own = row + np.int64(values[1]) * m.gates
        store(gradient, own, fma(load(deltas, delta), values[0], load(gradient, own)))
    for k in range(m.rows):
        norm = add_squares(norm, add_row(zeros(1, 1), gradient, row + k * m.gates, _1))
    return norm
