"""Chunks of a bidirectional net: samples that wait, the run of a chunk, and the update on it.

A *stream* has the samples of one key that wait. ``bidirectional.py`` describes the rule; ``memory_layout.py``
defines the arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.lanes import load, store
from ..simd.views import row_of, rows_of
from . import bidirectional_network as network
from . import optimizers
from .evaluation import (
    EXPIRED,
    UNMATCHED,
    copy_values,
    count_input,
    count_present,
    read_input,
    set_target,
    write_input,
)
from .memory_layout import SOURCE, TARGET
from .network import clear_rows

LEARNED, WATCHED = 1, 2  # how a sample that counts arrived; see stream/gate.py
_0, _NAN = np.float32(0), np.float32(np.nan)


class Rule(NamedTuple):
    """Chunks and their targets."""

    chunk: Any
    total: Any  # steps of a chunk and its context
    late_targets: Any
    delay: Any


class Mode(NamedTuple):
    """What to do with a row."""

    for_samples: Any
    counting: Any
    learning: Any


class Stream(NamedTuple):
    """All streams, ``(slots, …)``, or one of them without that axis; room = total + delay samples.

    ``waiting`` and ``predicted`` of one stream are (1,).
    """

    waiting: Any  # (slots,): number of waiting samples
    predicted: Any  # (slots,): how many of them, in whole chunks, are predicted
    x: Any  # (slots, room, dim): scaled and filled
    y: Any  # (slots, room, TARGET_COLUMNS): as they arrived; scaled once they are compared
    numbers: Any  # (slots, room): of the samples
    present: Any  # (slots, room): number of values that were present
    counted: Any  # (slots, room): LEARNED, WATCHED, or 0 if the sample does not count
    states: Any  # (slots, chunks + 1, forward state rows, 16): before each waiting chunk and the next one
    last_values: Any  # (slots, 1, TARGET_COLUMNS): the last target; NaN at first
    ids: Any  # (slots, room); (slots, 0) without late targets
    has_target: Any  # likewise: 1 if the target has arrived
    predictions: Any  # (slots, room, outputs); (slots, 0, outputs) without late targets


class Training(NamedTuple):
    """What an update uses."""

    optimizer: Any
    huber_delta: Any  # +inf for the squared error
    gradients: Any
    input_gradient: Any  # (total, WINDOW_ROWS, 16): ∂L/∂(inputs), slot by slot


@device
def stream_of(streams, slot):
    """One stream."""
    return Stream(
        rows_of(streams.waiting, slot, 1),
        rows_of(streams.predicted, slot, 1),
        row_of(streams.x, slot),
        row_of(streams.y, slot),
        row_of(streams.numbers, slot),
        row_of(streams.present, slot),
        row_of(streams.counted, slot),
        row_of(streams.states, slot),
        row_of(streams.last_values, slot),
        row_of(streams.ids, slot),
        row_of(streams.has_target, slot),
        row_of(streams.predictions, slot),
    )


@device
def reset_stream(stream):
    """Clear a stream for a new key."""
    stream.waiting[0] = stream.predicted[0] = 0
    clear_rows(row_of(stream.states, 0))
    for c in range(stream.last_values.shape[1]):
        stream.last_values[0, c] = _NAN


@device
def add_sample(layout, evaluation, rule, counted, stream, sample_id, x, y, n, buffers):
    """Store a sample and its target, if it has one, with those that wait. ``counted``: see Stream."""
    i = stream.waiting[0]
    stream.present[i] = read_input(
        layout, evaluation, x, n, buffers.forecast, False, buffers.scaled, buffers.filled
    )
    copy_values(buffers.filled, row_of(stream.x, i))
    if counted == LEARNED:
        count_input(evaluation, x, n, buffers.scaled)
    copy_values(row_of(y, n), row_of(stream.y, i))
    stream.counted[i] = counted
    if rule.late_targets:
        stream.ids[i] = sample_id
        stream.has_target[i] = 1 if count_present(y, n) > 0 else 0
    stream.waiting[0] += 1


@device
def add_target(mode, stream, slot, sample_id, y, n, counters):
    """Store a late target with its sample. Return the place of the sample; −1 if it does not wait."""
    i = _find_waiting(stream, sample_id) if slot >= 0 else np.int64(-1)
    if mode.learning and i < 0:
        counters[UNMATCHED] += 1
    elif mode.learning and count_present(y, n) > 0:
        stream.has_target[i] = 1
        if i >= stream.predicted[0]:  # compared when its chunk is predicted
            copy_values(row_of(y, n), row_of(stream.y, i))
    return i


@device
def _find_waiting(stream, sample_id):
    """The newest waiting sample with that id and without a target; −1 if none."""
    for i in range(stream.waiting[0] - 1, -1, -1):
        if stream.ids[i] == sample_id and stream.has_target[i] == 0:
            return np.int64(i)
    return np.int64(-1)


@device
def run_chunk(net, rule, stream, first, steps):
    """Run the chunk that starts at waiting sample ``first``, with its context, from the stored states."""
    window, total = steps.window, rule.total
    reverse_row = net.matrices[2, SOURCE]  # of the inputs of the first reverse cell
    for t in range(total):
        write_input(net.layout, row_of(stream.x, first + t), window, t)
        for row in range(net.layout[TARGET]):
            store(window, total - 1 - t, reverse_row + row, load(window, t, row))
    network.load_states(net, window, row_of(stream.states, first // rule.chunk))
    network.forward(net, steps, total, rule.chunk)


@device
def oldest_is_complete(rule, stream):
    """Whether the oldest waiting chunk is predicted and has all its targets, or has waited too long."""
    missing = 0
    for t in range(rule.chunk if rule.late_targets else 0):
        missing += stream.has_target[t] == 0
    return stream.predicted[0] > rule.delay or (stream.predicted[0] > 0 and missing == 0)


@device
def update(net, rule, stream, steps, training, learning_rate):
    """Update the parameters once, on the oldest waiting chunk, which has just been run."""
    for t in range(rule.chunk):
        set_target(net.layout, steps.window, t, 0, row_of(stream.y, t))
    count, squares = network.backward(
        net, steps, rule.total, rule.chunk, training.huber_delta, training.gradients, training.input_gradient
    )
    if count > _0:
        optimizers.update(
            training.optimizer, net.parameters, training.gradients.parameters, squares, learning_rate
        )


@device
def drop_chunk(rule, stream, counters):
    """Remove the oldest waiting chunk. Count its samples that got no target."""
    chunk = rule.chunk
    for t in range(chunk if rule.late_targets else 0):
        counters[EXPIRED] += stream.has_target[t] == 0
    stream.predicted[0] -= chunk
    stream.waiting[0] -= chunk
    for i in range(stream.waiting[0]):
        copy_values(row_of(stream.x, i + chunk), row_of(stream.x, i))
        copy_values(row_of(stream.y, i + chunk), row_of(stream.y, i))
        stream.numbers[i], stream.present[i] = stream.numbers[i + chunk], stream.present[i + chunk]
        stream.counted[i] = stream.counted[i + chunk]
        if rule.late_targets:
            stream.ids[i], stream.has_target[i] = stream.ids[i + chunk], stream.has_target[i + chunk]
            copy_values(row_of(stream.predictions, i + chunk), row_of(stream.predictions, i))
    for k in range(stream.states.shape[0] - 1):
        for row in range(stream.states.shape[1]):
            store(stream.states, k, row, load(stream.states, k + 1, row))
