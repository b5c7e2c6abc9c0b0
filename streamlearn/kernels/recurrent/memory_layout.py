"""Where everything of a recurrent network is: all its arrays are rows of 16 lanes, units being lanes.

    parameters (rows, 16)         of each layer weight_ih, weight_hh, bias_ih, bias_hh; then head.weight and
                                  head.bias. A weight matrix is (blocks, inputs, gates) rows: what 16 units,
                                  by one gate, take from one input; a bias is (blocks, gates). Lanes
                                  without a unit stay 0, and so do the rows of a bias that is not there.
    window     (slots, rows, 16)  slot t: x_t | target_t | 1 where it is present | forecast_t | the states
                                  *before* step t, layer after layer: step t leaves its states in slot t + 1.
                                  A symbol x_t is 1 (0 where missing), then its code; a class is its code,
                                  and its forecast all classes' probabilities
    trace      (slots, rows, 16)  of each layer what its step keeps for the way back; then the read-out's
    transposed (rows, 16)         a weight matrix with its inputs as lanes, which is what the way back adds
                                  up: (blocks of inputs, blocks·gates·16) rows
    flow       (rows, 16)         ∂L/∂(what a slot of the window holds), on the way back

In both directions a layer is two cells, forward and reverse, each with states and inputs of its own. The
reverse one sees the window from its end: for it slot t is time T − 1 − t. So that every cell may run from
slot to slot, the window has after the states (of all forward cells, then of all reverse ones) the inputs as
each cell wants them: x once more for the first reverse one; from the second layer on, cell after cell, both
directions' h of the layer below, forward before reverse; and such a pair for the read-out.

``flat`` is the window seen as (slots, values), for reading one unit's value; ``deltas`` is the trace so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..simd.lanes import WIDTH

Integers = NDArray[np.int64]


class Cell(NamedTuple):
    code: int
    gates: int  # sums that a unit makes
    states: int  # values that a unit carries from step to step, h first
    trace: int  # values that a unit keeps of a step for the way back; its ∂L/∂z, gate after gate, come first
    apart: (
        int  # which of them is the first ∂L/∂z of what the recurrent matrix adds, if not that of the input's
    )


CELLS = {"elman": Cell(0, 1, 1, 1, 0), "lstm": Cell(1, 4, 2, 5, 0), "gru": Cell(2, 3, 1, 6, 3)}
ELMAN, LSTM, GRU = (cell.code for cell in CELLS.values())

# net, int64 (17,): sizes; where a slot has its parts; rows of the arrays; 1 if the input joins the forecast;
# 1 if the sample is a symbol; 1 if the target is a class; columns of the target
CELL, DIM, HIDDEN, LAYERS, OUTPUTS = range(5)
TARGET, PRESENT, FORECAST, STATE, WINDOW_ROWS, PARAMETER_ROWS, TRACE_ROWS, TRANSPOSED_ROWS = range(5, 13)
RESIDUAL, SYMBOLS, CLASSES, GOALS = range(13, 17)

# matrices, int64 (2·cells + 1, 13): cell c has its weight_ih in 2c, its weight_hh in 2c + 1; last, the head.
# The cells are the layers, or where there are both directions forward and reverse of layer after layer
FIRST = 0  # row of its weights
BIAS = 1  # row of its bias
UNITS = 2  # that receive …
BLOCKS = 3  # … in so many blocks …
GATES = 4  # … each by so many gates
INPUTS = 5
SHIFT = 6  # inputs of step t stand in slot t + SHIFT of the window …
SOURCE = 7  # … from this row on
DELTA = 8  # row of the trace with ∂L/∂z
TRANSPOSED = 9  # row in transposed, −1 where nothing needs to flow back
USED = 10  # inputs that a step uses: all, or the one that …
LOOKUP = 11  # … if this is 1, the value after it in the slot is the number of
BIASED = 12  # 1 if it has a bias


def blocks(units: int) -> int:
    """How many blocks of 16 lanes hold that many units."""
    return -(-units // WIDTH)


def plan(
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
    """``net`` and ``matrices`` of a network. ``symbols``: how many a sample may be, if it is one;
    ``classes``: whether the ``outputs`` are the probabilities of as many; ``directions``: 1 or 2; ``bias``,
    ``head_bias``: whether the cells have biases, and the read-out."""
    kind, units, answers = CELLS[cell], blocks(hidden), blocks(outputs)
    net = np.zeros(17, np.int64)
    net[[RESIDUAL, SYMBOLS, CLASSES, GOALS]] = (
        residual,
        symbols is not None,
        classes,
        1 if classes else outputs,
    )
    net[[CELL, DIM, HIDDEN, LAYERS, OUTPUTS]] = kind.code, dim, hidden, layers, outputs
    goals = blocks(int(net[GOALS]))
    net[TARGET : STATE + 1] = np.cumsum([blocks(dim), goals, goals, answers])
    cells, states = directions * layers, kind.states * units
    end = net[STATE] + cells * states  # of the window's rows so far
    found = []
    first, inputs, shift, source, back = 0, symbols or dim, 0, 0, 0
    for c in range(cells):
        layer, direction = divmod(c, directions)
        state, delta = net[STATE] + (direction * layers + layer) * states, c * kind.trace * units
        if directions == 2 and c > 0:
            source, end = end, end + blocks(inputs if layer else dim)
        recurrent = first + units * kind.gates * inputs
        row = recurrent + units * kind.gates * hidden
        into = back if layer else -1  # the samples themselves learn nothing
        back += blocks(inputs) * units * kind.gates * WIDTH if layer else 0
        lookup = symbols is not None and layer == 0
        used = 1 if lookup else inputs
        receivers = hidden, units, kind.gates
        found.append([first, row, *receivers, inputs, shift, source, delta, into, used, lookup, bias])
        row += units * kind.gates
        delta += kind.apart * units
        found.append([recurrent, row, *receivers, hidden, 0, state, delta, back, hidden, 0, bias])
        back += units * units * kind.gates * WIDTH
        first = row + units * kind.gates
        if direction == directions - 1:
            inputs = directions * hidden
        if directions == 1:
            shift, source = 1, state
    if directions == 2:
        source, end = end, end + blocks(inputs)
    delta = cells * kind.trace * units
    row = first + answers * inputs
    found.append([first, row, outputs, answers, 1, inputs, shift, source, delta, back, inputs, 0, head_bias])
    net[WINDOW_ROWS] = end
    net[PARAMETER_ROWS] = row + answers
    net[TRACE_ROWS] = delta + answers
    net[TRANSPOSED_ROWS] = back + blocks(inputs) * answers * WIDTH
    return net, np.array(found, np.int64)
