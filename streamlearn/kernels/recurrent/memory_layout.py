"""Memory layout of a recurrent network: every array consists of rows of 16 lanes, one unit per lane.

    parameters (rows, 16)              weight_ih, weight_hh, bias_ih, bias_hh of each layer; then head.weight
                                       and head.bias. A weight matrix is (blocks, inputs, gates) rows: the
                                       weights of 16 units, for one gate, from one input. A bias is (blocks,
                                       gates) rows. Lanes without a unit stay 0. Rows of absent biases stay 0
    window     (slots, rows, 16)       slot t: x_t | target_t | 1 where the target is present | forecast_t |
                                       the states *before* step t, layer after layer. Step t writes its states
                                       to slot t + 1. A symbol x_t is stored as 1 (0 if missing) and its
                                       number; a class target as its number; a class forecast as the
                                       probabilities of all classes
    activations (slots, rows, 16)      the values of each step that the backward pass needs, layer after
                                       layer; then those of the read-out. The backward pass replaces them by
                                       ∂L/∂z
    transposed (rows, 16)              the weight matrices with inputs as lanes, for the backward pass:
                                       (blocks of inputs, blocks·gates·16) rows
    state_gradient (rows, 16)          ∂L/∂(values of one slot of the window), in the backward pass

A bidirectional layer has two cells, forward and reverse. Each has its own states and inputs. The reverse cell
runs through the window backwards: its slot t is time T − 1 − t. Every cell runs from slot to slot, so the
window stores the inputs of each cell in the order in which the cell reads them. These follow after the states
(of all forward cells, then of all reverse cells): x for the first reverse cell; from the second layer on,
cell after cell, h of both directions of the layer below, forward before reverse; last, h of both directions
for the read-out.

``flat`` is a view of the window as (slots, values); ``deltas`` is the same view of the activations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..simd.blocks import blocks
from ..simd.lanes import WIDTH

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


CELLS = {"elman": Cell(0, 1, 1, 1, 0), "lstm": Cell(1, 4, 2, 5, 0), "gru": Cell(2, 3, 1, 6, 3)}
ELMAN, LSTM, GRU = (cell.code for cell in CELLS.values())

# layout, int64 (17,): sizes; first rows of the parts of a slot; numbers of rows of the arrays; three flags
# (residual forecast, the sample is a symbol, the target is a class); columns of the target
CELL, DIM, HIDDEN, LAYERS, OUTPUTS = range(5)
TARGET, PRESENT, FORECAST, STATE, WINDOW_ROWS, PARAMETER_ROWS, ACTIVATION_ROWS, TRANSPOSED_ROWS = range(5, 13)
RESIDUAL, SYMBOLS, CLASSES, TARGET_COLUMNS = range(13, 17)

# matrices, int64 (2·cells + 1, 13): weight_ih of cell c is row 2c, weight_hh is row 2c + 1; the read-out is
# the last row. The cells are the layers; in a bidirectional net forward and reverse of layer after layer
WEIGHT = 0  # row of the weights in the parameters
BIAS = 1  # row of the bias in the parameters
UNITS = 2  # receiving units
BLOCKS = 3  # blocks of 16 receiving units
GATES = 4
INPUTS = 5
SHIFT = 6  # the inputs of step t are in slot t + SHIFT of the window …
SOURCE = 7  # … from this row on
DELTA = 8  # row of ∂L/∂z in the activations
TRANSPOSED = 9  # row in transposed; −1 if no gradient flows back through this matrix
USED_INPUTS = 10  # inputs that one step uses: all, or 1 if LOOKUP
LOOKUP = 11  # 1: the input is one-hot; its number is the value after the 1 in the slot
HAS_BIAS = 12  # 1 if there is a bias


def network_layout(
    cell: str,
    dim: int,
    hidden: int,
    layers: int,
    outputs: int,
    *,
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
    cell : {"elman", "lstm", "gru"}
        Kind of cell.
    dim, hidden, layers, outputs : int
        Channels of a sample, units of a layer and direction, layers, columns of a forecast.
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
    layout[[CELL, DIM, HIDDEN, LAYERS, OUTPUTS]] = kind.code, dim, hidden, layers, outputs
    target_blocks = blocks(int(layout[TARGET_COLUMNS]))
    layout[TARGET : STATE + 1] = np.cumsum([blocks(dim), target_blocks, target_blocks, output_blocks])
    cells, states = directions * layers, kind.states * unit_blocks
    window_end = layout[STATE] + cells * states
    matrices = []
    weight, inputs, shift, source, transposed_end = 0, symbols or dim, 0, 0, 0
    for c in range(cells):
        layer, direction = divmod(c, directions)
        state = layout[STATE] + (direction * layers + layer) * states
        delta = c * kind.activations * unit_blocks
        if directions == 2 and c > 0:
            source, window_end = window_end, window_end + blocks(inputs if layer else dim)
        recurrent_weight = weight + unit_blocks * kind.gates * inputs
        bias_row = recurrent_weight + unit_blocks * kind.gates * hidden
        transposed = transposed_end if layer else -1  # samples need no gradient
        transposed_end += blocks(inputs) * unit_blocks * kind.gates * WIDTH if layer else 0
        lookup = symbols is not None and layer == 0
        used = 1 if lookup else inputs
        units = hidden, unit_blocks, kind.gates
        matrices.append(
            [weight, bias_row, *units, inputs, shift, source, delta, transposed, used, lookup, bias]
        )
        bias_row += unit_blocks * kind.gates
        delta += kind.recurrent_delta * unit_blocks
        matrices.append(
            [recurrent_weight, bias_row, *units, hidden, 0, state, delta, transposed_end, hidden, 0, bias]
        )
        transposed_end += unit_blocks * unit_blocks * kind.gates * WIDTH
        weight = bias_row + unit_blocks * kind.gates
        if direction == directions - 1:
            inputs = directions * hidden
        if directions == 1:
            shift, source = 1, state
    if directions == 2:
        source, window_end = window_end, window_end + blocks(inputs)
    delta = cells * kind.activations * unit_blocks
    bias_row = weight + output_blocks * inputs
    units = outputs, output_blocks, 1
    matrices.append(
        [weight, bias_row, *units, inputs, shift, source, delta, transposed_end, inputs, 0, head_bias]
    )
    layout[WINDOW_ROWS] = window_end
    layout[PARAMETER_ROWS] = bias_row + output_blocks
    layout[ACTIVATION_ROWS] = delta + output_blocks
    layout[TRANSPOSED_ROWS] = transposed_end + blocks(inputs) * output_blocks * WIDTH
    return layout, np.array(matrices, np.int64)
