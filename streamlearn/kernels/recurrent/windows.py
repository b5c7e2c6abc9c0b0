"""Windows of TBPTT: complete pairs, then steps that wait for their target; and the update on the pairs.

A *stream* has the last pairs and the waiting steps of one key. ``tbptt.py`` describes the rule;
``memory_layout.py`` defines the arrays.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.lanes import load, store
from ..simd.views import row_of
from . import optimizers
from .evaluation import EXPIRED, copy_values
from .network import backward, clear_rows, forward
from .records import Steps

NEXT, GIVEN, LATER = 0, 1, 2
TARGETS = {"next": NEXT, "given": GIVEN, "later": LATER}

# progress, int64 (slots, 3): complete pairs in the window; complete pairs since the last update; steps after
# them, which wait for their target
PAIRS, SINCE, WAITING = range(3)

HAS_TARGET = -1  # replaces the number of a waiting sample when its target has arrived

_0, _NAN = np.float32(0), np.float32(np.nan)


class Rule(NamedTuple):
    """TBPTT(k1, k2) and its targets."""

    target_kind: Any  # one of TARGETS
    k1: Any
    k2: Any
    ahead: Any  # NEXT: number of samples in a forecast
    delay: Any  # LATER: number of samples that may wait


class Stream(NamedTuple):
    """All streams, ``(slots, …)``, or one of them without that axis."""

    progress: Any  # (slots, 3)
    window: Any  # (slots, room, WINDOW_ROWS, 16)
    waiting_ids: Any  # (slots, room): ids of the waiting samples; (slots, 0) unless LATER
    waiting_numbers: Any  # their numbers, likewise
    predictions: Any  # (slots, room, outputs): their predictions; (slots, 0, outputs) if never needed again
    last_values: Any  # (slots, ahead, columns of y): NaN at first


class Training(NamedTuple):
    """What an update uses, and the activations of the steps."""

    optimizer: Any
    huber_delta: Any  # +inf for the squared error
    gradients: Any
    lags: Any
    activations: Any  # (k2 or room, ACTIVATION_ROWS, 16)
    replay: Any  # (k2 + 1, WINDOW_ROWS, 16): scratch; (0, …) if every pair ran with the current parameters


@device
def stream_of(streams, slot):
    """One stream."""
    return Stream(
        row_of(streams.progress, slot),
        row_of(streams.window, slot),
        row_of(streams.waiting_ids, slot),
        row_of(streams.waiting_numbers, slot),
        row_of(streams.predictions, slot),
        row_of(streams.last_values, slot),
    )


@device
def reset_stream(stream):
    """Clear a stream for a new key."""
    _clear_slots(stream.window)
    for i in range(stream.progress.size):
        stream.progress[i] = 0
    for h in range(stream.last_values.shape[0]):
        for c in range(stream.last_values.shape[1]):
            stream.last_values[h, c] = _NAN


@device
def _clear_slots(slots):
    for t in range(slots.shape[0]):
        clear_rows(row_of(slots, t))


@device
def copy_slot(source, s, target, t):
    """Copy slot ``s`` of one window to slot ``t`` of another."""
    for row in range(source.shape[1]):
        store(target, t, row, load(source, s, row))


@device
def find_waiting(stream, sample_id):
    """The newest slot of the window whose sample has that id and waits for its target; −1 if none."""
    pairs, waiting = stream.progress[PAIRS], stream.progress[WAITING]
    for t in range(pairs + waiting - 1, pairs - 1, -1):
        if stream.waiting_ids[t] == sample_id and stream.waiting_numbers[t] != HAS_TARGET:
            return np.int64(t)
    return np.int64(-1)


@device
def complete_pairs(net, rule, stream, training, learning, learning_rate):
    """Complete the waiting pairs that are due, in order. After every k1 pairs, update the parameters."""
    progress = stream.progress
    while _oldest_is_complete(rule, stream, training.optimizer.counters):
        progress[WAITING] -= 1
        progress[PAIRS] += 1
        progress[SINCE] += 1
        if progress[SINCE] == rule.k1:
            if learning:
                _update(net, stream, training, learning_rate)
            _shift_window(stream, rule.k2 - rule.k1)


@device
def _oldest_is_complete(rule, stream, counters):
    """Whether the oldest waiting pair is complete, or has waited too long (which is counted)."""
    waiting = stream.progress[WAITING]
    if rule.target_kind == NEXT:
        return waiting == rule.ahead
    if (
        waiting == 0
        or rule.target_kind == GIVEN
        or stream.waiting_numbers[stream.progress[PAIRS]] == HAS_TARGET
    ):
        return waiting > 0
    expired = waiting > rule.delay
    counters[EXPIRED] += 1 if expired else 0
    return expired


@device
def _update(net, stream, training, learning_rate):
    """Update the parameters once, on the complete pairs of the window."""
    pairs = stream.progress[PAIRS]
    replayed = training.replay.shape[0] > 0
    steps = Steps(training.replay if replayed else stream.window, training.activations)
    if replayed:
        for t in range(pairs):
            copy_slot(stream.window, t, training.replay, t)
        for t in range(pairs):
            forward(net, steps, t)
    count, squares = backward(net, steps, pairs, training.huber_delta, training.gradients, training.lags)
    if count > _0:
        finite = optimizers.update(
            training.optimizer, net.parameters, training.gradients.parameters, squares, learning_rate
        )
        if not finite:
            _clear_slots(training.activations)  # NaN and ∞ must not stay in the state


@device
def _shift_window(stream, kept_pairs):
    """Move the last ``kept_pairs`` complete pairs, and the waiting ones, to the start of the window."""
    progress, ids, predictions = stream.progress, stream.waiting_ids, stream.predictions
    shift = progress[PAIRS] - min(progress[PAIRS], kept_pairs)
    for t in range(progress[PAIRS] - shift + progress[WAITING] + 1):
        copy_slot(stream.window, shift + t, stream.window, t)
        if t < predictions.shape[0] - shift:
            copy_values(row_of(predictions, shift + t), row_of(predictions, t))
        if t < ids.size - shift:
            ids[t] = ids[shift + t]
            stream.waiting_numbers[t] = stream.waiting_numbers[shift + t]
    progress[PAIRS] -= shift
    progress[SINCE] = 0
