"""A bidirectional network on one chunk: all steps forward, and the gradient of the chunk's loss.

- The forward cells start from stored states. The reverse cells start from 0 at the last step.
- Layer l at time t reads h of both directions of layer l − 1 at time t. The read-out reads h of the last
  layer.
- The gradient flows through all steps of both directions. The initial states are constants.

``memory_layout.py`` defines the arrays.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, load, store, zero
from ..simd.rows import four_zeros
from ..simd.views import row_of, values_of
from .loss import write_loss_gradient
from .memory_layout import BACKWARD, LAYERS, SOURCE, STATE, UNITS
from .network import clear_rows, read_out, step_cell, step_cell_back, sum_of_squares
from .products import add_transposed_product, write_gradient
from .records import matrix_of

_0 = np.float32(0)


@device
def forward(net, steps, total, chunk):
    """Run all cells through ``total`` steps, layer after layer, and predict in the first ``chunk`` slots."""
    for cell in range(2 * net.layout[LAYERS]):
        for s in range(total):
            step_cell(net, cell, steps, s)
        _copy_states_up(net, cell, steps, total)
    for t in range(chunk):
        read_out(net, steps.window, t)


@device
def backward(net, steps, total, chunk, huber_delta, gradients, input_gradient):
    """Write the gradient of the mean loss over the first ``chunk`` slots, laid out as the parameters.

    Return the number of values in the mean, and the gradient's squared norm. If the number is 0, the gradient
    is not written.
    """
    cells = 2 * net.layout[LAYERS]
    head = 2 * cells
    values = write_loss_gradient(net.layout, steps, chunk, matrix_of(net, head).delta, huber_delta)
    norm = four_zeros()
    if values > _0:
        for t in range(total):
            clear_rows(row_of(input_gradient, t))
        clear_rows(gradients.states)
        for cell in range(cells, -1, -1):  # first the read-out, which has inputs and no states
            is_head = cell == cells
            for s in range((chunk if is_head else total) - 1, -1, -1):
                if not is_head:
                    _add_gradient_from_above(net, cell, s, total, input_gradient, gradients.states)
                    step_cell_back(net, cell, steps, s, gradients.states)
                deltas = row_of(steps.activations, s)
                for i in range(2 * cell if is_head else 2 * cell + 1, 2 * cell - 1, -1):
                    target = gradients.states if i % 2 == 1 else row_of(input_gradient, s)
                    if net.matrices[i, BACKWARD] == 1:
                        add_transposed_product(net, i, deltas, s, target)
        for i in range(head + 1):
            norm = write_gradient(net, i, steps, chunk if i == head else total, gradients.parameters, norm)
    return values, sum_of_squares(norm)


@device
def load_states(net, window, states):
    """Write the states before the first step: the stored ones of the forward cells, 0 for the reverse
    ones."""
    first, forward_rows = net.layout[STATE], states.shape[0]
    for row in range(forward_rows):
        store(window, 0, first + row, load(states, row))
        store(window, 0, first + forward_rows + row, zero())


@device
def save_states(net, window, chunk, states):
    """Store the states of the forward cells before step ``chunk``."""
    for row in range(states.shape[0]):
        store(states, row, load(window, chunk, net.layout[STATE] + row))


@device
def _slot_or_time(cell, t, total):
    """The time of a cell's slot ``t``, or the slot of time ``t``. Even cells run forward, odd ones
    reverse."""
    return t if cell % 2 == 0 else total - 1 - t


@device
def _cells_above(net, cell):
    """The first cell that reads h of ``cell``, and the number of them.

    Both cells of the layer above do. Above the last layer only the read-out does; it is stored where the
    first cell of one more layer would be.
    """
    return cell - cell % 2 + 2, 1 if cell // 2 == net.layout[LAYERS] - 1 else 2


@device
def _copy_states_up(net, cell, steps, total):
    """Copy h of every step to the inputs of the cells above."""
    units = net.matrices[2 * cell, UNITS]
    h = net.matrices[2 * cell + 1, SOURCE]
    above, count = _cells_above(net, cell)
    for reader in range(above, above + count):
        row, offset = net.matrices[2 * reader, SOURCE], cell % 2 * units
        for s in range(total):
            slot = _slot_or_time(reader, _slot_or_time(cell, s, total), total)
            source, target = values_of(steps.window, s + 1, h), values_of(steps.window, slot, row)
            for k in range(units):
                target[offset + k] = source[k]


@device
def _add_gradient_from_above(net, cell, s, total, input_gradient, state_gradient):
    """Add ∂L/∂h of step ``s`` from the cells above to that from the next step."""
    units = net.matrices[2 * cell, UNITS]
    h = net.matrices[2 * cell + 1, SOURCE]
    above, count = _cells_above(net, cell)
    for reader in range(above, above + count):
        slot = _slot_or_time(reader, _slot_or_time(cell, s, total), total)
        source = values_of(input_gradient, slot, net.matrices[2 * reader, SOURCE])
        for k in range(units):
            state_gradient[h + k // WIDTH, k % WIDTH] += source[cell % 2 * units + k]
