"""Memory layout of a recurrent network: every array consists of rows of 16 lanes, one unit per lane.

    parameters (rows, 16)              weight_ih, weight_hh, bias_ih, bias_hh of each layer; then head.weight
                                       and head.bias. A weight matrix is (blocks, inputs, gates) rows: the
                                       weights of 16 units, for one gate, from one input; inputs are rounded
                                       up to a multiple of 4. A bias is (blocks, gates) rows. Lanes without a
                                       unit stay 0, and so do rows without an input or a bias. The last rows
                                       stay 0: a product with the transpose reads the weights of 16 inputs
    window     (slots, rows, 16)       slot t: x_t | target_t | 1 where the target is present | forecast_t |
                                       the states *before* step t, layer after layer. Step t writes its states
                                       to slot t + 1. A symbol x_t is stored as 1 (0 if missing) and its
                                       number; a class target as its number; a class forecast as the
                                       probabilities of all classes
    activations (slots, rows, 16)      the values of each step that the backward pass needs, layer after
                                       layer; then those of the read-out. The backward pass replaces them by
                                       ∂L/∂z
    state_gradient (rows, 16)          ∂L/∂(values of one slot of the window), in the backward pass

A bidirectional layer has two cells, forward and reverse. Each has its own states and inputs. The reverse cell
runs through the window backwards: its slot t is time T − 1 − t. Every cell runs from slot to slot, so the
window stores the inputs of each cell in the order in which the cell reads them. These follow after the states
(of all forward cells, then of all reverse cells): x for the first reverse cell; from the second layer on,
cell after cell, h of both directions of the layer below, forward before reverse; last, h of both directions
for the read-out.

Units that learn without a window (``rtu.py``) have two gates, the real and the imaginary part. The place of
weight_hh has ν and φ of each unit. A slot also has the traces, after the states. The read-out has an input
for every lane of both parts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..simd.blocks import WIDTH, blocks

Integers = NDArray[np.int64]


class Cell(NamedTuple):
    """Sizes of one kind of cell, per unit."""

    code: int
    gates: int  # weighted sums z
    states: int  # values carried from step to step; h is the first
    activations: int  # values stored for the backward pass; ∂L/∂z replaces the first ones, gate after gate
    recurrent_delta: (
        int  # index of the first ∂L/∂z of weight_hh, if it differs from that of weight_ih; else 0
    )
    traces: int = 0  # values carried for the gradient of the recurrent parameters …
    input_traces: int = 0  # … and for that of the weights, per input


CELLS = {
    "elman": Cell(0, 1, 1, 1, 0),
    "lstm": Cell(1, 4, 2, 5, 0),
    "gru": Cell(2, 3, 1, 6, 3),
    "rtu": Cell(3, 2, 2, 0, 0, 2, 2),
}
ELMAN, LSTM, GRU, RTU = (cell.code for cell in CELLS.values())

# layout, int64 (17,): sizes; first rows of the parts of a slot; numbers of rows of the arrays; three flags
# (residual forecast, the sample is a symbol, the target is a class); columns of the target; and of the target
# of one step: a horizon repeats them. Targets that are the next samples are their first inputs
CELL, DIM, HIDDEN, LAYERS, OUTPUTS = range(5)
TARGET, PRESENT, FORECAST, STATE, WINDOW_ROWS, PARAMETER_ROWS, ACTIVATION_ROWS = range(5, 12)
RESIDUAL, SYMBOLS, CLASSES, TARGET_COLUMNS, CHANNELS = range(12, 17)

# matrices, int64 (2·cells + 1, 13): weight_ih of cell c is row 2c, weight_hh is row 2c + 1; the read-out is
# the last row. The cells are the layers; in a bidirectional net forward and reverse of layer after layer
WEIGHT = 0  # row of the weights in the parameters
BIAS = 1  # row of the bias in the parameters
UNITS = 2  # receiving units
BLOCKS = 3  # blocks of 16 receiving units
GATES = 4
INPUTS = 5
INPUT_ROWS = 6  # inputs, rounded up to a multiple of 4
SHIFT = 7  # the inputs of step t are in slot t + SHIFT of the window …
SOURCE = 8  # … from this row on
DELTA = 9  # row of ∂L/∂z in the activations
BACKWARD = 10  # 1 if a gradient flows back to the inputs: not to a sample
LOOKUP = 11  # 1: the input is one-hot; its number is the value after the 1 in the slot
HAS_BIAS = 12  # 1 if there is a bias

_INPUTS_AT_ONCE = 4  # of a weighted sum and of a gradient


def network_layout(
    cell: str,
    dim: int,
    hidden: int,
    layers: int,
    outputs: int,
    *,
    channels: int | None = None,
    residual: bool = False,
    symbols: int | None = None,
    classes: bool = False,
    directions: int = 1,
    bias: bool = True,
    head_bias: bool = True,
) -> tuple[Integers, Integers]:
    """Return ``layout`` and ``matrices`` of a network.

    Parameters
    ----------
    cell : {"elman", "lstm", "gru", "rtu"}
        Kind of cell. "rtu" has one layer and no biases.
    dim, hidden, layers, outputs : int
        Inputs of a sample, units of a layer and direction, layers, columns of a forecast.
    channels : int, optional
        Channels that a forecast of the next samples has, the first ones of the inputs. Without it the outputs
        are targets.
    residual : bool
        Whether the forecast is x plus the read-out.
    symbols : int, optional
        Number of symbols, if a sample is a symbol.
    classes : bool
        Whether the outputs are class probabilities.
    directions : {1, 2}
        2 for a bidirectional net.
    bias, head_bias : bool
        Whether the cells have biases, and whether the read-out has one.

    Returns
    -------
    layout : ndarray of int64, shape (17,)
    matrices : ndarray of int64, shape (2·cells + 1, 13)
    """
    kind, unit_blocks, output_blocks = CELLS[cell], blocks(hidden), blocks(outputs)
    layout = np.zeros(17, np.int64)
    layout[[RESIDUAL, SYMBOLS, CLASSES]] = residual, symbols is not None, classes
    layout[TARGET_COLUMNS] = 1 if classes else outputs
    layout[CHANNELS] = channels or layout[TARGET_COLUMNS]
    layout[[CELL, DIM, HIDDEN, LAYERS, OUTPUTS]] = kind.code, dim, hidden, layers, outputs
    target_blocks = blocks(int(layout[TARGET_COLUMNS]))
    layout[TARGET : STATE + 1] = np.cumsum([blocks(dim), target_blocks, target_blocks, output_blocks])
    rtu = kind.code == RTU
    bias = bias and not rtu
    cells, states = directions * layers, kind.states * unit_blocks
    window_end = layout[STATE] + cells * states + (kind.traces + kind.input_traces * dim) * unit_blocks
    matrices = []
    weight, inputs, shift, source = 0, symbols or dim, 0, 0
    hidden_rows, units = 1 if rtu else _round_up(hidden), (hidden, unit_blocks, kind.gates)
    for c in range(cells):
        layer, direction = divmod(c, directions)
        state = layout[STATE] + (direction * layers + layer) * states
        delta = c * kind.activations * unit_blocks
        if directions == 2 and c > 0:
            source, window_end = window_end, window_end + blocks(inputs if layer else dim)
        input_rows, backward, lookup = _round_up(inputs), layer > 0, symbols is not None and layer == 0
        recurrent_weight = weight + unit_blocks * kind.gates * input_rows
        bias_row = recurrent_weight + unit_blocks * kind.gates * hidden_rows
        matrices.append(
            [weight, bias_row, *units, inputs, input_rows, shift, source, delta, backward, lookup, bias]
        )
        bias_row += unit_blocks * kind.gates
        delta += kind.recurrent_delta * unit_blocks
        if rtu:  # ν and φ of each unit
            recurrent = [1, 1, 0, state, delta, False, False, False]
        else:
            recurrent = [hidden, hidden_rows, 0, state, delta, True, False, bias]
        matrices.append([recurrent_weight, bias_row, *units, *recurrent])
        weight = bias_row + unit_blocks * kind.gates
        if direction == directions - 1:
            inputs = kind.states * unit_blocks * WIDTH if rtu else directions * hidden
        if directions == 1:
            shift, source = 1, state
    if directions == 2:
        source, window_end = window_end, window_end + blocks(inputs)
    delta, input_rows = cells * kind.activations * unit_blocks, _round_up(inputs)
    bias_row, units = weight + output_blocks * input_rows, (outputs, output_blocks, 1)
    matrices.append(
        [weight, bias_row, *units, inputs, input_rows, shift, source, delta, True, False, head_bias]
    )
    table = np.array(matrices, np.int64)
    layout[WINDOW_ROWS] = window_end
    layout[PARAMETER_ROWS] = max(bias_row + output_blocks, _end_of_reads(table))
    layout[ACTIVATION_ROWS] = delta + output_blocks
    return layout, table


def _round_up(inputs: int) -> int:
    return -(-inputs // _INPUTS_AT_ONCE) * _INPUTS_AT_ONCE


def _end_of_reads(matrices: Integers) -> int:
    """The row after the last one that a product with a transpose reads: of 16 inputs of the last block."""
    last_block = (
        matrices[:, WEIGHT] + (matrices[:, BLOCKS] - 1) * matrices[:, INPUT_ROWS] * matrices[:, GATES]
    )
    read = -(-matrices[:, INPUTS] // WIDTH) * WIDTH * matrices[:, GATES]
    return int((last_block + read)[matrices[:, BACKWARD] == 1].max())
