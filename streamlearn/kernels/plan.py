"""Where everything of a recurrent network is: all its arrays are rows of 16 lanes, units being lanes.

    parameters (rows, 16)         of each layer weight_ih, weight_hh, bias_ih, bias_hh; then head.weight and
                                  head.bias. A weight matrix is (blocks, inputs, gates) rows: what 16 units,
                                  by one gate, take from one input; a bias is (blocks, gates). Lanes
                                  without a unit stay 0.
    window     (slots, rows, 16)  slot t: x_t | target_t | 1 where it is present | forecast_t | the states
                                  *before* step t, layer after layer: step t leaves its states in slot t + 1.
                                  A symbol x_t is 1 (0 where missing), then its code; a class is its code,
                                  and its forecast all classes' probabilities
    trace      (slots, rows, 16)  of each layer what its step keeps for the way back; then the read-out's
    transposed (rows, 16)         a weight matrix with its inputs as lanes, which is what the way back adds
                                  up: (blocks of inputs, blocks·gates·16) rows
    flow       (rows, 16)         ∂L/∂(what a slot of the window holds), on the way back

``flat`` is the window seen as (slots, values), for reading one unit's value; ``deltas`` is the trace so.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .lanes import WIDTH

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

# matrices, int64 (2·layers + 1, 12): layer l has its weight_ih in 2l, its weight_hh in 2l + 1; last, the head
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
) -> tuple[Integers, Integers]:
    """``net`` and ``matrices`` of a network. ``symbols``: how many a sample may be, if it is one;
    ``classes``: whether the ``outputs`` are the probabilities of as many."""
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
    net[WINDOW_ROWS] = net[STATE] + layers * kind.states * units
    found = []
    first, inputs, shift, source, back = 0, symbols or dim, 0, 0, 0
    for layer in range(layers):
        state, delta = net[STATE] + layer * kind.states * units, layer * kind.trace * units
        recurrent = first + units * kind.gates * inputs
        bias = recurrent + units * kind.gates * hidden
        into = back if layer else -1  # the samples themselves learn nothing
        back += units * units * kind.gates * WIDTH if layer else 0
        lookup = symbols is not None and layer == 0
        used = 1 if lookup else inputs
        found.append(
            [first, bias, hidden, units, kind.gates, inputs, shift, source, delta, into, used, lookup]
        )
        bias += units * kind.gates
        delta += kind.apart * units
        found.append([recurrent, bias, hidden, units, kind.gates, hidden, 0, state, delta, back, hidden, 0])
        back += units * units * kind.gates * WIDTH
        first, inputs, shift, source = bias + units * kind.gates, hidden, 1, state
    delta = layers * kind.trace * units
    bias = first + answers * hidden
    found.append([first, bias, outputs, answers, 1, hidden, 1, source, delta, back, hidden, 0])
    net[PARAMETER_ROWS] = first + answers * (hidden + 1)
    net[TRACE_ROWS] = delta + answers
    net[TRANSPOSED_ROWS] = back + units * answers * WIDTH
    return net, np.array(found, np.int64)
