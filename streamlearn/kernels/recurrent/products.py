"""Products with the weight matrices as they are stored.

    weighted_sums            W·v + b, for the gates of one block of units
    add_transposed_product   Wᵀ·δ, the gradient of the inputs
    write_gradient           Σ_t δ_t·v_tᵀ and Σ_t δ_t, the gradient of the weights and of the bias

δ is ∂L/∂z, the gradient of the weighted sums. ``memory_layout.py`` defines the arrays, ``simd/rows.py`` the
sums.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, fma, iota, load, select, store, zero
from ..simd.rows import (
    add_outer_products,
    add_products,
    add_quarters,
    add_row,
    add_squares,
    add_transposed_products,
    four_zeros,
    store_rows,
    sum_lanes,
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
    _add_transposed(net, m, m.blocks, deltas, m, 0, deltas, t, state_gradient)


@device
def add_gradient_of_state(net, layer, steps, count, t, state_gradient):
    """Add ∂L/∂h_t of a layer: W_hhᵀ·δ of the next of ``count`` steps, and Wᵀ·δ of the layer above or of the
    read-out."""
    w_hh, above = matrix_of(net, 2 * layer + 1), matrix_of(net, 2 * layer + 2)
    last = t + 1 == count
    later = row_of(steps.activations, t if last else t + 1)
    blocks = 0 if last else w_hh.blocks
    deltas = row_of(steps.activations, t)
    _add_transposed(net, w_hh, blocks, later, above, above.blocks, deltas, t, state_gradient)


@device
def _add_transposed(net, m, blocks, deltas, other, other_blocks, other_deltas, t, state_gradient):
    """Add the products of two matrices with the same inputs: of the first ``blocks`` of each."""
    chunks = (m.inputs + WIDTH - 1) // WIDTH
    for n in range(chunks):
        c = to_and_fro(n, chunks, t)
        quarters = four_zeros()
        for first in range(c * WIDTH, (c + 1) * WIDTH, 4):
            totals = _add_up_blocks(four_zeros(), net, m, blocks, deltas, first)
            totals = _add_up_blocks(totals, net, other, other_blocks, other_deltas, first)
            quarters = quarters[1], quarters[2], quarters[3], add_quarters(totals)
        # Inputs beyond the last one: their rows belong to the next block
        share = select(iota() < np.float32(m.inputs - c * WIDTH), sum_lanes(quarters), zero())
        store(state_gradient, m.source + c, load(state_gradient, m.source + c) + share)


@device
def _add_up_blocks(totals, net, m, blocks, deltas, first):
    """The sums of 4 inputs, from input ``first`` on, over all units and gates: 8 registers of AVX2."""
    row, next_block = m.weight + first * m.gates, (m.rows - 1) * m.gates
    g = 0
    for n in range(blocks * m.gates):  # one loop: an inner one over the gates would be short
        totals = add_transposed_products(totals, net.parameters, row, m.gates, load(deltas, m.delta + n))
        g += 1
        at_end = g == m.gates
        row += 1 + (next_block if at_end else 0)
        g = 0 if at_end else g
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
