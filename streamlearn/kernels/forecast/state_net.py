"""A small GRU, whose state is among the features. It learns by TBPTT through the read-out.

The forecaster of a channel gives it (x_t − x_{t−1})/2s cut to ±3, (x_t − μ)/4s cut to ±6, and the further
features of the sample. With a target, one GRU has the inputs of all channels.
The loss of a pair is that of the read-out, divided by σ_h and by the number of horizons, so that its gradient
with respect to the state h_t is

    ∂L/∂h_t = −Σ_h W_h (e_h, cut to ±2σ_h)/(σ_h H)

with W as it stood when the pair was complete. Every k₁ pairs there is one step of Adam on the mean over the
last k₂ pairs. The window is run again with the current parameters before it (see ``recurrent/tbptt.py``).
Cells, products and optimizer are those of ``kernels/recurrent``; a slot of the window has the inputs, ∂L/∂h_t
(in the rows of the targets) and h_{t−1}.

With ``replay`` there are, after each such step, as many more on earlier windows. Each window is drawn from
the last 64 full ones of all streams before this one, with the model's own random numbers, and learned like
the newest: from the h that was stored with its start, with its own ∂L/∂h_t. A draw serves all channels. These
steps have counters of their own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..recurrent import optimizers
from ..recurrent.memory_layout import (
    ACTIVATION_ROWS,
    BLOCKS,
    PARAMETER_ROWS,
    SOURCE,
    STATE,
    TARGET,
    WINDOW_ROWS,
)
from ..recurrent.memory_layout import HIDDEN as UNITS
from ..recurrent.network import clear_rows, step_cell, step_cell_back, sum_of_squares
from ..recurrent.optimizers import Optimizer
from ..recurrent.products import add_transposed_product, write_gradient
from ..recurrent.records import Net, Steps
from ..recurrent.windows import PAIRS, SINCE, WAITING, copy_slot
from ..simd.lanes import load, store
from ..simd.rows import four_zeros
from ..simd.splitmix import next_u64
from ..simd.views import row_of, rows_of, slots_of, values_of
from .records import K1, K2, RATE, REPLAY
from .rls import SMALLEST_ERROR

_CUT = 2.0  # errors in the gradient are cut to this many times σ
_NORM = 1.0  # the gradient is scaled down to it


class Replay(NamedTuple):
    """Earlier windows that are learned again."""

    windows: Any  # (channels, REPLAYED, k2, WINDOW_ROWS, 16): a ring; without replay no windows
    count: Any  # (1,): windows so far
    random: Any  # (1,): see simd/splitmix.py
    counters: Any  # (channels, 2): of the optimizer


class Networks(NamedTuple):
    """The GRUs of all channels and streams."""

    layout: Any  # (16,): see recurrent/memory_layout.py
    matrices: Any  # (3, 13), likewise
    parameters: Any  # (channels, PARAMETER_ROWS, 16)
    mean: Any  # Adam's moments, as the parameters
    square: Any
    clock: Any  # (channels, 3): of the optimizer
    counters: Any  # (channels, 2): of the optimizer
    window: (
        Any  # (slots, channels, k2 + horizon + 1, WINDOW_ROWS, 16): pairs, waiting samples, h after the last
    )
    replay: Replay


class Scratch(NamedTuple):
    """Memory of an update."""

    steps: Any  # Steps (k2 + 1, …), (k2, …)
    states: Any  # (WINDOW_ROWS, 16): gradients of the values of a slot
    gradient: Any  # (PARAMETER_ROWS, 16): 0 in the rows of the unused read-out


def scratch_rows(layout, k2: int) -> int:
    """Return the number of rows of the scratch memory."""
    return int(layout[PARAMETER_ROWS] + (k2 + 2) * layout[WINDOW_ROWS] + max(k2, 1) * layout[ACTIVATION_ROWS])


@device
def scratch_of(layout, k2, rows):
    """The memory of an update in ``rows`` ``(scratch_rows, 16)``."""
    window_rows, end = layout[WINDOW_ROWS], layout[PARAMETER_ROWS]
    gradient, states = rows_of(rows, 0, end), rows_of(rows, end, window_rows)
    end += window_rows
    window = slots_of(rows, end, k2 + 1, window_rows)
    end += (k2 + 1) * window_rows
    activations = slots_of(rows, end, max(k2, np.int64(1)), layout[ACTIVATION_ROWS])
    return Scratch(Steps(window, activations), states, gradient)


@device
def step(networks, slot, c, t, inputs, scratch, z, first):
    """Run slot ``t`` of the window on ``inputs``, and write the state to ``z`` from ``first`` on."""
    window = rows_of(row_of(row_of(networks.window, slot), c), t, np.int64(2))
    values = values_of(window, np.int64(0), np.int64(0))
    for k in range(inputs.size):
        values[k] = np.float32(inputs[k])
    net = Net(networks.layout, networks.matrices, row_of(networks.parameters, c))
    step_cell(net, np.int64(0), Steps(window, scratch.steps.activations), np.int64(0))
    state = values_of(window, np.int64(1), networks.layout[STATE])
    for j in range(networks.layout[UNITS]):
        z[first + j] = np.float64(state[j])


@device
def set_gradient(networks, slot, c, t, read_out, errors, first):
    """Write ∂L/∂h of slot ``t``.

    ``errors`` ``(horizon,)`` are NaN where the target is missing. ``first``: row of W of the first unit.
    """
    gradient = values_of(row_of(row_of(networks.window, slot), c), t, networks.layout[TARGET])
    for j in range(networks.layout[UNITS]):
        weights, total = row_of(read_out.weights, first + j), 0.0
        for h in range(errors.size):
            size = max(read_out.error_size[h], SMALLEST_ERROR / _CUT)
            if errors[h] == errors[h]:
                total -= weights[h] * _limited(errors[h], _CUT * size) / (size * errors.size)
        gradient[j] = np.float32(_limited(total, 1e6))


@device
def clear_gradient(networks, slot, c, t):
    """Set ∂L/∂h of slot ``t`` to 0."""
    gradient = values_of(row_of(row_of(networks.window, slot), c), t, networks.layout[TARGET])
    for j in range(networks.layout[UNITS]):
        gradient[j] = np.float32(0.0)


@device
def learn(networks, c, window, pairs, counters, rate, scratch):
    """Take one step of Adam on the mean gradient of the first ``pairs`` slots of ``window``."""
    layout, steps = networks.layout, scratch.steps
    net = Net(layout, networks.matrices, row_of(networks.parameters, c))
    for t in range(pairs):
        copy_slot(window, t, steps.window, t)
    for t in range(pairs):
        step_cell(net, np.int64(0), steps, t)
    clear_rows(scratch.states)
    recurrent = np.int64(1)
    first, share = networks.matrices[recurrent, SOURCE], np.float32(1.0 / pairs)
    for t in range(pairs - 1, -1, -1):
        for row in range(networks.matrices[recurrent, BLOCKS]):
            given = share * load(steps.window, t, layout[TARGET] + row)
            store(scratch.states, first + row, load(scratch.states, first + row) + given)
        step_cell_back(net, np.int64(0), steps, t, scratch.states)
        add_transposed_product(net, recurrent, row_of(steps.activations, t), t, scratch.states)
    norm = four_zeros()
    for i in range(2):
        norm = write_gradient(net, i, steps, pairs, scratch.gradient, norm)
    optimizer = Optimizer(
        optimizers.ADAM,
        row_of(networks.mean, c),
        row_of(networks.square, c),
        row_of(networks.clock, c),
        counters,
        np.float32(0.0),
        _NORM,
    )
    optimizers.update(optimizer, net.parameters, scratch.gradient, sum_of_squares(norm), np.float32(rate))


@device
def advance_windows(rule, networks, slot, complete, progress, learned, scratch):
    """Count the new step and the complete pair. After every k₁ pairs, update the networks."""
    k1, k2 = rule.sizes[K1], rule.sizes[K2]
    progress[slot, WAITING] += 1
    if not complete:
        return
    progress[slot, WAITING] -= 1
    progress[slot, PAIRS] += 1
    progress[slot, SINCE] += 1
    if progress[slot, SINCE] < k1:
        return
    count = progress[slot, PAIRS]
    kept = min(count, k2 - k1)
    if learned:
        _update(rule, networks, slot, count, scratch)
    for c in range(networks.parameters.shape[0]):
        _drop_pairs(networks, slot, c, count - kept, kept + progress[slot, WAITING])
    progress[slot, PAIRS] = kept
    progress[slot, SINCE] = 0


@device
def _update(rule, networks, slot, pairs, scratch):
    """Learn the newest window, replay earlier ones, and keep the newest one for later."""
    k2, earlier = rule.sizes[K2], networks.replay
    known = min(earlier.count[0], np.int64(earlier.windows.shape[1]))
    for turn in range(1 + (rule.sizes[REPLAY] if known > 0 else 0)):
        drawn = np.int64(next_u64(earlier.random) % np.uint64(known)) if turn > 0 else np.int64(0)
        for c in range(networks.parameters.shape[0]):
            window, counters, learned = row_of(networks.window, slot), row_of(networks.counters, c), pairs
            window = row_of(window, c)
            if turn > 0:
                window, counters = row_of(row_of(earlier.windows, c), drawn), row_of(earlier.counters, c)
                learned = k2
            learn(networks, c, window, learned, counters, rule.constants[RATE], scratch)
    if rule.sizes[REPLAY] == 0 or pairs < k2:
        return
    place = earlier.count[0] % earlier.windows.shape[1]
    for c in range(networks.parameters.shape[0]):
        newest, kept = row_of(row_of(networks.window, slot), c), row_of(row_of(earlier.windows, c), place)
        for t in range(k2):
            copy_slot(newest, t, kept, t)
    earlier.count[0] += 1


@device
def clear_windows(networks, progress, slot):
    """Clear the hidden states and windows of a stream."""
    for i in range(progress.shape[1]):
        progress[slot, i] = 0
    for c in range(networks.window.shape[1] if networks.window.shape[2] > 0 else 0):
        clear_rows(row_of(row_of(row_of(networks.window, slot), c), np.int64(0)))


@device
def _drop_pairs(networks, slot, c, dropped, kept):
    """Move slots ``dropped`` … ``dropped`` + ``kept`` of the window to its start."""
    window = row_of(row_of(networks.window, slot), c)
    for t in range(kept + 1):
        copy_slot(window, dropped + t, window, t)


@device
def _limited(value, limit):
    return min(max(value, -limit), limit)
