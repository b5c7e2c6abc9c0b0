"""Truncated backpropagation through time on a stream, TBPTT(k1, k2) (Williams & Peng 1990).

A *pair* is an input and its target: x_t with the sample after it (``NEXT``), complete when that arrives, or
with the y that came along (``GIVEN``), complete at once. Every k1 complete pairs there is one update, on

    L = mean of (forecast − target)² over the last min(k2, pairs so far) pairs and their outputs

which is PyTorch's ``mse_loss`` over that window (or its ``huber_loss``, or ``cross_entropy``); missing
targets are not in the mean, and a window that has no other is not learned. The hidden state is carried from
sample to sample and never restarted; for L the state before the window's first step is a constant.

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
from .mathf import exp, log
from .network import backward, forward
from .plan import (
    CLASSES,
    DIM,
    FORECAST,
    GOALS,
    OUTPUTS,
    PRESENT,
    STATE,
    SYMBOLS,
    TARGET,
    TRACE_ROWS,
    WINDOW_ROWS,
)
from .rng import uniform

NEXT, GIVEN = 0, 1
TARGETS = {"next": NEXT, "given": GIVEN}

# counters, int64 (5,): complete pairs in the window; those since the last update; 1 if the sample after the
# window's last pair has stepped forward and waits for its target; updates; updates skipped, not being finite
PAIRS, SINCE, PENDING, UPDATES, SKIPPED = range(5)

# Live quality, float64 (5, GOALS), exponentially weighted: count, Σ|error|, Σ error², and over the samples
# that persistence (the last value again) has a forecast for: Σ|error|, Σ|persistence's error|
COUNT, ABSOLUTE, SQUARED, OURS, PERSISTENCE = range(5)
NATS, HITS = ABSOLUTE, SQUARED  # of classes: Σ −log p, and how often the most probable one came

# Running norms of the gradient by lag, float64 (3, k2): the weight, the weighted sum, scratch; see network.py
WEIGHT, NORMS = 0, 1

_0, _1, _NAN, _INF = np.float32(0), np.float32(1), np.float32(np.nan), np.float32(np.inf)
_LEAST = np.float32(2.0**-126)  # of a probability, when its logarithm is taken


@device
def _put(source, target, t, column):
    """Copy values into row ``t``, from ``column`` on."""
    for i in range(source.size):
        target[t, column + i] = source[i]


@device
def _put_sample(net, filled, flat, t):
    """The input of slot ``t``; a symbol that is missing is a 0 in place of a 1."""
    if net[SYMBOLS] == 0:
        _put(filled, flat, t, 0)
        return
    present = filled[0] == filled[0]
    flat[t, 0] = _1 if present else _0
    flat[t, 1] = filled[0] if present else _0


@device
def _fill(net, scaled, known, flat, t, column, filled):
    """Missing inputs: the net's own forecast where it has one (``known``) and it is finite, else 0."""
    if net[SYMBOLS] == 1:
        filled[0] = scaled[0]
        return
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
def _nats(told, code):
    """−log p of the class that came."""
    if not (code == code and told[0] == told[0]):
        return _NAN
    return -log(max(told[np.int64(code)], _LEAST))


@device
def _error(net, told, y, n):
    """Root of the mean squared difference over the outputs present, or −log p of a class; NaN where there is
    none."""
    if net[CLASSES] == 1:
        return _nats(told, y[n, 0])
    total = 0.0
    present = 0
    for o in range(told.size):
        if y[n, o] == y[n, o]:
            difference = np.float64(told[o]) - np.float64(y[n, o])
            total += difference * difference
            present += 1
    return np.float32(math.sqrt(total / present)) if present > 0 else _NAN


@device
def _most(told):
    """The first of the largest."""
    found = np.int64(0)
    for k in range(told.size):
        if told[k] > told[found]:
            found = k
    return found


@device
def _follow_class(told, nats, y, n, decay, quality):
    """Let the probabilities of all classes and the class that came join the live quality."""
    if nats == nats:
        quality[COUNT, 0] = quality[COUNT, 0] * decay + 1.0
        quality[NATS, 0] = quality[NATS, 0] * decay + np.float64(nats)
        hit = 1.0 if _most(told) == np.int64(y[n, 0]) else 0.0
        quality[HITS, 0] = quality[HITS, 0] * decay + hit


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
    for o in range(net[GOALS]):
        present = goal[o] == goal[o]
        flat[t, net[TARGET] * WIDTH + o] = goal[o] if present else _0
        flat[t, net[PRESENT] * WIDTH + o] = _1 if present else _0
    counters[PAIRS] += 1
    counters[SINCE] += 1


@device
def _update(
    net, matrices, parameters, mean, square, clock, counters, window, flat, replay, trace, transposed, flow,
    gradient, k1, k2, optimizer, rate, momentum, clip, huber, probe, lags, lag_decay,
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
    count = backward(
        net, matrices, parameters, over, values, pairs, trace, transposed, flow, gradient, huber, probe, lags,
        lag_decay,
    )  # fmt: skip
    if count > _0:
        if optim.update(optimizer, parameters, gradient, mean, square, clock, rate, momentum, clip):
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
    " f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f4[:,:,::1], f8[:,::1], f8,"
    " i8, i8, i8, f8[::1], f4, f8, f4,"
    " i8, i8, i8, f8, f8, f8[:,::1], f8[:,::1], f8[::1], f8[::1], i8[::1], f4[::1], f8[:,::1],"
    " f4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    y,  # (n, GOALS): what is forecast; x itself for NEXT
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
    probe,  # as trace: scratch; empty if ``lags`` is
    lags,  # (3, k2), or (3, 0) to go without
    lag_decay,  # per update
    k1,
    k2,
    optimizer,
    learning_rate,  # schedule (3,)
    momentum,
    clip,  # +inf for none
    huber,  # +inf for the squared error
    target,
    method,
    method_y,
    scale_clip,
    decay,
    statistics,  # (3, dim)
    statistics_y,  # (3, GOALS); ``statistics`` itself for NEXT
    tree,  # (2048,)
    head,  # (2,)
    samples,  # (1,)
    last,  # (GOALS,): NaN before there is one
    quality,  # (5, GOALS)
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
    goal = scaled if target == NEXT else np.empty(net[GOALS], np.float32)
    # A sample's turn has two halves, stepping forward and being judged, whose order the target decides.
    for half in range(2 * x.shape[0]):
        n, first = half // 2, half % 2 == 0
        if first:
            channels[n] = scale.transform(method, statistics, scale_clip, x, n, scaled)
            t = counters[PAIRS]
            _fill(net, scaled, target == NEXT and counters[PENDING] == 1, flat, t, asked, filled)
        if first == (target == GIVEN):
            t = counters[PAIRS]
            _put_sample(net, filled, flat, t)
            forward(net, matrices, parameters, window, flat, t, trace)
            counters[PENDING] = 1
        else:
            t = counters[PAIRS]
            known = counters[PENDING] == 1
            if target == GIVEN:
                scale.transform(method_y, statistics_y, scale_clip, y, n, goal)
            _tell(known, method_y, statistics_y, flat, t, asked, told)
            _put(told, prediction, n, 0)
            error[n] = _error(net, told, y, n)
            score[n] = scores.rank(tree, head, error[n])
            scores.observe(tree, head, error[n], decay)
            if net[CLASSES] == 1:
                _follow_class(told, error[n], y, n, decay, quality)
            else:
                _follow(told, known, y, n, decay, last, quality)
            if known:
                _complete(net, flat, goal, counters)
                if counters[SINCE] == k1:
                    rate = schedule.at(learning_rate, np.float64(samples[0]))
                    _update(
                        net, matrices, parameters, mean, square, clock, counters, window, flat, replay, trace,
                        transposed, flow, gradient, k1, k2, optimizer, rate, momentum, clip, huber, probe,
                        lags, lag_decay,
                    )  # fmt: skip
        if not first:
            if target == GIVEN:
                scale.update(method_y, statistics_y, decay, y, n)
                counters[PENDING] = 0
            scale.update(method, statistics, decay, x, n)
            samples[0] += 1


@device
def _draw(told, temperature, random):
    """One class by its probability p^(1/T), or for T = 0 the most probable one. The random number is taken
    in any case."""
    point = uniform(random)
    top = _most(told)
    if not temperature > _0:
        return top
    highest = log(max(told[top], _LEAST))
    total = _0
    for k in range(told.size):
        total += exp((log(max(told[k], _LEAST)) - highest) / temperature)
    point *= total
    below = _0
    for k in range(told.size):
        below += exp((log(max(told[k], _LEAST)) - highest) / temperature)
        if below > point:
            return k
    return top


@kernel(
    "void(f4[:,::1], i8[::1], i8[:,::1], f4[:,::1], i8[::1], f4[:,:,::1], i8, i8, i8, f8, f8, f8[:,::1],"
    " f8[:,::1], f8[::1], f8[::1], i8, f4, u8[::1], f4[:,::1], f4[::1], f4[::1], i4[::1])"
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
    method_y,
    scale_clip,
    decay,
    statistics,  # (3, dim)
    statistics_y,  # (3, GOALS); ``statistics`` itself for NEXT
    tree,  # (2048,)
    head,  # (2,)
    free,  # 1: go on without samples, and tell of each what was forecast for it
    temperature,
    random,  # (1,)
    prediction,  # (n, outputs)
    error,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """Run on from the live state over ``x``, scaler and all, and change nothing but the outputs.

    Running free, ``x`` is NaN, so the net goes on with its own forecasts; symbols are drawn, into ``x``.
    """
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
    _tell(known, method_y, statistics_told, flat, now, asked, told)
    for n in range(x.shape[0]):
        if free == 1:
            _put(told, prediction, n, 0)
            if net[SYMBOLS] == 1:
                x[n, 0] = np.float32(_draw(told, temperature, random))
        channels[n] = scale.transform(method, statistics_x, scale_clip, x, n, scaled)
        _fill(net, scaled, known and target == NEXT, flat, now, asked, filled)
        error[n] = _error(net, told, x, n) if target == NEXT else _NAN
        score[n] = scores.rank(tree, head, error[n])
        _put_sample(net, filled, flat, now)
        forward(net, matrices, parameters, ahead, flat, now, trace)
        for row in range(net[STATE], net[WINDOW_ROWS]):
            store(ahead, now, row, load(ahead, now + 1, row))
        scale.update(method, statistics_x, decay, x, n)
        known = True
        _tell(known, method_y, statistics_told, flat, now, asked, told)
        if free == 0:
            _put(told, prediction, n, 0)
