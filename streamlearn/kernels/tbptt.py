"""Truncated backpropagation through time on a stream, TBPTT(k1, k2) (Williams & Peng 1990).

A *pair* is an input and its target: x_t with the sample after it (``NEXT``), complete when that arrives, or
with the y that came along (``GIVEN``), complete at once. Every k1 complete pairs there is one update, on

    L = mean of (forecast − target)² over the last min(k2, pairs so far) pairs and their outputs

which is PyTorch's ``mse_loss`` over that window (or its ``huber_loss``); missing targets are not in the mean,
and a window that has no other is not learned. The hidden state is carried from sample to sample and never
restarted; for L the state before the window's first step is a constant.

With k1 = k2 each step of the window ran with the very parameters that are now to be updated, and what it kept
in the trace serves the way back. With k1 < k2 earlier steps ran with older parameters, so the window is run
again with today's, from the state that stood before its first step: L is a function of the parameters, and
what is taken is its true gradient. The live state is not touched by that.

Order within a sample. ``NEXT``: judge the forecast of it, complete the pair, perhaps update, then step
forward with the parameters as they are now. ``GIVEN``: step forward, judge, complete, perhaps update. The
statistics that scale come last, so that a sample is scaled by those before it.
"""

from __future__ import annotations

import math

import numpy as np

from . import optim, scale, schedule
from . import score as scores
from .compiler import device, kernel
from .lanes import WIDTH, load, store, zero
from .network import backward, forward
from .plan import DIM, FORECAST, OUTPUTS, PRESENT, STATE, TARGET, TRACE_ROWS, WINDOW_ROWS

NEXT, GIVEN = 0, 1
TARGETS = {"next": NEXT, "given": GIVEN}

# counters, int64 (5,): complete pairs in the window; those since the last update; 1 if the sample after the
# window's last pair has stepped forward and waits for its target; updates; updates skipped, not being finite
PAIRS, SINCE, PENDING, UPDATES, SKIPPED = range(5)

# Live quality, float64 (5, outputs), exponentially weighted: count, Σ|error|, Σ error², and over the samples
# that persistence (the last value again) has a forecast for: Σ|error|, Σ|persistence's error|
COUNT, ABSOLUTE, SQUARED, OURS, PERSISTENCE = range(5)

_0, _1, _NAN, _INF = np.float32(0), np.float32(1), np.float32(np.nan), np.float32(np.inf)


@device
def _put(source, target, t, column):
    """Copy values into row ``t``, from ``column`` on."""
    for i in range(source.size):
        target[t, column + i] = source[i]


@device
def _fill(scaled, known, flat, t, column, filled):
    """Missing inputs: the net's own forecast where it has one (``known``) and it is finite, else 0."""
    for c in range(scaled.size):
        value = scaled[c]
        if not (value == value):
            value = flat[t, column + c] if known else _0
            if not abs(value) < _INF:
                value = _0
        filled[c] = value


@device
def _tell(known, method, statistics, flat, t, column, told):
    """The forecast of slot ``t`` in the stream's own units; NaN where there is none yet."""
    for o in range(told.size):
        told[o] = scale.restore(method, statistics, o, flat[t, column + o]) if known else _NAN


@device
def _error(told, y, n):
    """Root of the mean squared difference over the outputs present; NaN where none is."""
    total = 0.0
    present = 0
    for o in range(told.size):
        if y[n, o] == y[n, o]:
            difference = np.float64(told[o]) - np.float64(y[n, o])
            total += difference * difference
            present += 1
    return np.float32(math.sqrt(total / present)) if present > 0 else _NAN


@device
def _follow(told, known, y, n, decay, last, quality):
    """Let a forecast, if there is one, and the value that came join the live quality."""
    for o in range(told.size):
        value = np.float64(y[n, o])
        if not (value == value):
            continue
        error = abs(np.float64(told[o]) - value)
        if known and error < math.inf:
            quality[COUNT, o] = quality[COUNT, o] * decay + 1.0
            quality[ABSOLUTE, o] = quality[ABSOLUTE, o] * decay + error
            quality[SQUARED, o] = quality[SQUARED, o] * decay + error * error
            if last[o] == last[o]:
                quality[OURS, o] = quality[OURS, o] * decay + error
                naive = abs(np.float64(last[o]) - value)
                quality[PERSISTENCE, o] = quality[PERSISTENCE, o] * decay + naive
        last[o] = y[n, o]


@device
def _copy_slot(source, s, target, t):
    for row in range(source.shape[1]):
        store(target, t, row, load(source, s, row))


@device
def _clear(slots):
    for t in range(slots.shape[0]):
        for row in range(slots.shape[1]):
            store(slots, t, row, zero())


@device
def _complete(net, flat, goal, counters):
    """The pair that waits has its target ``goal`` (outputs,), NaN where missing."""
    t = counters[PAIRS]
    for o in range(net[OUTPUTS]):
        present = goal[o] == goal[o]
        flat[t, net[TARGET] * WIDTH + o] = goal[o] if present else _0
        flat[t, net[PRESENT] * WIDTH + o] = _1 if present else _0
    counters[PAIRS] += 1
    counters[SINCE] += 1


@device
def _update(
    net, matrices, parameters, mean, square, clock, counters, window, flat, replay, trace, transposed, flow,
    gradient, k1, k2, optimizer, rate, clip, huber,
):  # fmt: skip
    """One update on the whole window, which then keeps what later ones will need: its last k2 − k1 pairs."""
    pairs = counters[PAIRS]
    over, values = window, flat
    if k1 < k2:
        over, values = replay, replay.reshape(replay.shape[0], -1)
        for t in range(pairs):
            _copy_slot(window, t, replay, t)
        for t in range(pairs):
            forward(net, matrices, parameters, replay, values, t, trace)
    deltas = trace.reshape(trace.shape[0], -1)
    count = backward(
        net, matrices, parameters, over, values, pairs, trace, deltas, transposed, flow, gradient, huber
    )
    if count > _0:
        if optim.update(optimizer, parameters, gradient, mean, square, clock, rate, clip):
            counters[UPDATES] += 1
        else:
            counters[SKIPPED] += 1
            _clear(trace)  # what is not finite must not stay in the state
    kept = min(pairs, k2 - k1)
    for t in range(kept + 1):
        _copy_slot(window, pairs - kept + t, window, t)
    counters[PAIRS] = kept
    counters[SINCE] = 0


@kernel(
    "void(f4[:,::1], f4[:,::1], i8[::1], i8[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f8[::1], i8[::1],"
    " f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4[:,::1], i8, i8, i8, f8[::1], f8, f4,"
    " i8, i8, f8, f8, f8[:,::1], f8[:,::1], f8[::1], f8[::1], i8[::1], f4[::1], f8[:,::1],"
    " f4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    y,  # (n, outputs): what is forecast; x itself for NEXT
    net,  # see plan.py
    matrices,
    parameters,  # (PARAMETER_ROWS, 16)
    mean,  # as parameters, or empty where the optimizer has none
    square,  # as mean
    clock,  # (3,)
    counters,  # (5,)
    window,  # (k2 + 1, WINDOW_ROWS, 16)
    trace,  # (k2, TRACE_ROWS, 16): state if k1 = k2, else scratch
    replay,  # as window, scratch; empty if k1 = k2
    transposed,  # (TRANSPOSED_ROWS, 16): scratch, 0 where a block of senders has no unit
    flow,  # (WINDOW_ROWS, 16): scratch
    gradient,  # as parameters: scratch
    k1,
    k2,
    optimizer,
    learning_rate,  # schedule (3,)
    clip,  # +inf for none
    huber,  # +inf for the squared error
    target,
    method,
    scale_clip,
    decay,
    statistics,  # (3, dim)
    statistics_y,  # (3, outputs); ``statistics`` itself for NEXT
    tree,  # (2048,)
    head,  # (2,)
    samples,  # (1,)
    last,  # (outputs,): NaN before there is one
    quality,  # (5, outputs)
    prediction,  # (n, outputs)
    error,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Learn ``x`` in order; report of each sample what had been forecast for it before it was learned."""
    flat = window.reshape(window.shape[0], -1)
    asked = net[FORECAST] * WIDTH
    scaled, filled = np.empty(net[DIM], np.float32), np.empty(net[DIM], np.float32)
    told = np.empty(net[OUTPUTS], np.float32)
    goal = scaled if target == NEXT else np.empty(net[OUTPUTS], np.float32)
    for n in range(x.shape[0]):
        t = counters[PAIRS]
        channels[n] = scale.transform(method, statistics, scale_clip, x, n, scaled)
        known = target == NEXT and counters[PENDING] == 1
        _fill(scaled, known, flat, t, asked, filled)
        if target == GIVEN:
            scale.transform(method, statistics_y, scale_clip, y, n, goal)
            _put(filled, flat, t, 0)
            forward(net, matrices, parameters, window, flat, t, trace)
            known = True
        _tell(known, method, statistics_y, flat, t, asked, told)
        _put(told, prediction, n, 0)
        error[n] = _error(told, y, n)
        score[n] = scores.rank(tree, head, error[n])
        scores.observe(tree, head, error[n], decay)
        _follow(told, known, y, n, decay, last, quality)
        if known:
            _complete(net, flat, goal, counters)
            if counters[SINCE] == k1:
                rate = schedule.at(learning_rate, np.float64(samples[0]))
                _update(
                    net, matrices, parameters, mean, square, clock, counters, window, flat, replay, trace,
                    transposed, flow, gradient, k1, k2, optimizer, rate, clip, huber,
                )  # fmt: skip
        if target == NEXT:
            t = counters[PAIRS]
            _put(filled, flat, t, 0)
            forward(net, matrices, parameters, window, flat, t, trace)
            counters[PENDING] = 1
        else:
            scale.update(method, statistics_y, decay, y, n)
        scale.update(method, statistics, decay, x, n)
        samples[0] += 1


@kernel(
    "void(f4[:,::1], i8[::1], i8[:,::1], f4[:,::1], i8[::1], f4[:,:,::1], i8, i8, f8, f8, f8[:,::1],"
    " f8[:,::1], f8[::1], f8[::1], f4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def predict(
    x,  # (n, dim)
    net,  # see plan.py
    matrices,
    parameters,  # (PARAMETER_ROWS, 16)
    counters,  # (5,)
    window,  # (k2 + 1, WINDOW_ROWS, 16)
    target,
    method,
    scale_clip,
    decay,
    statistics,  # (3, dim)
    statistics_y,  # (3, outputs); ``statistics`` itself for NEXT
    tree,  # (2048,)
    head,  # (2,)
    prediction,  # (n, outputs)
    error,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Run on from the live state over ``x``, scaler and all, and change nothing but the outputs."""
    ahead = np.zeros((2, window.shape[1], WIDTH), np.float32)  # slot 0: now; slot 1: the states after it
    flat = ahead.reshape(2, -1)
    trace = np.empty((1, net[TRACE_ROWS], WIDTH), np.float32)
    asked = net[FORECAST] * WIDTH
    scaled, filled = np.empty(net[DIM], np.float32), np.empty(net[DIM], np.float32)
    told = np.empty(net[OUTPUTS], np.float32)
    statistics_x = statistics.copy()
    statistics_told = statistics_x if target == NEXT else statistics_y
    known = counters[PENDING] == 1
    pairs = counters[PAIRS]
    now = np.int64(0)  # a slot like any other: for a literal 0 the whole network would be compiled once more
    for row in range(net[STATE], net[WINDOW_ROWS]):
        store(ahead, now, row, load(window, pairs + counters[PENDING], row))
    for row in range(net[FORECAST], net[STATE]):
        store(ahead, now, row, load(window, pairs, row))
    _tell(known, method, statistics_told, flat, now, asked, told)
    for n in range(x.shape[0]):
        channels[n] = scale.transform(method, statistics_x, scale_clip, x, n, scaled)
        _fill(scaled, known and target == NEXT, flat, now, asked, filled)
        error[n] = _error(told, x, n) if target == NEXT else _NAN
        score[n] = scores.rank(tree, head, error[n])
        _put(filled, flat, now, 0)
        forward(net, matrices, parameters, ahead, flat, now, trace)
        for row in range(net[STATE], net[WINDOW_ROWS]):
            store(ahead, now, row, load(ahead, now + 1, row))
        scale.update(method, statistics_x, decay, x, n)
        known = True
        _tell(known, method, statistics_told, flat, now, asked, told)
        _put(told, prediction, n, 0)
