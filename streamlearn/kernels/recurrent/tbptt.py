"""Truncated backpropagation through time on a stream, TBPTT(k1, k2) (Williams & Peng 1990).

A *pair* is an input and its target: x_t with the sample after it, or the ``ahead`` samples after it
(``NEXT``), complete when the last of them arrives; or with a y (``GIVEN``) that came along, complete at once,
or that comes ``LATER``. Every k1 complete pairs there is one update, on

    L = mean of (forecast − target)² over the last min(k2, pairs so far) pairs and their outputs

which is PyTorch's ``mse_loss`` over that window (or its ``huber_loss``, or ``cross_entropy``); missing
targets are not in the mean, and a window that has no other is not learned. The hidden state is carried from
sample to sample and never restarted; for L the state before the window's first step is a constant.

Where a window's steps all ran with the very parameters that are now to be updated (k1 = k2, one step ahead,
one stream) what they kept in the trace serves the way back. Else some ran with older ones, so the window is
run again with today's, from the state that stood before its first step: L is a function of the parameters,
and what is taken is its true gradient. The live state is not touched by that.

Order within a sample. ``NEXT``: judge the forecast of it, complete the pair, perhaps update, then step
forward with the parameters as they are now. Else: step forward, judge, complete, perhaps update. The
statistics that scale come last, so that a sample is scaled by those before it.

``LATER``: pairs become complete in the order of their samples, so one waits for those before it, until more
than ``delay`` wait: then the oldest goes on without a target.

Many streams, one net: each stream has a slot of its own for window, waiting pairs and hidden state (see
``keys.py``); the parameters, and everything else, are shared.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, load, store
from ..simd.views import row_of
from ..stream import scaling
from ..stream import score as scores
from . import optimizers
from .evaluation import (
    EXPIRED,
    UNMATCHED,
    aim,
    count_present,
    fill,
    follow,
    follow_class,
    follow_inputs,
    misses,
    put,
    put_sample,
    remember,
    take,
    tell,
    want,
)
from .memory_layout import CLASSES, DIM, FORECAST, GOALS, OUTPUTS
from .network import backward, clear, forward

NEXT, GIVEN, LATER = 0, 1, 2
TARGETS = {"next": NEXT, "given": GIVEN, "later": LATER}

# mode, int64 (2,): 1 if samples have arrived, 0 if targets have; 1 if they are learned, 0 if the net is but
# to step forward and say what it forecasts, or of targets what it had forecast
ARRIVED, LEARNED = range(2)

# rule, int64 (8,)
AIM = 0  # one of TARGETS
METHOD, METHOD_Y = 1, 2  # of scaling
K1, K2 = 3, 4
AHEAD = 5  # NEXT: how many samples are forecast
DELAY = 6  # LATER: how many may wait
OPTIMIZER = 7

# progress, int64 (slots, 3): complete pairs in the window; those since the last update; samples after them
# that have stepped forward and wait for their target
PAIRS, SINCE, WAITING = range(3)

# Running norms of the gradient by lag, float64 (3, k2): the weight, the weighted sum, scratch; see network.py
WEIGHT, NORMS = 0, 1

_CAME = -1  # in place of a sample's number: its target is there

_0, _NAN = np.float32(0), np.float32(np.nan)


@device
def copy_slot(source, s, target, t):
    for row in range(source.shape[1]):
        store(target, t, row, load(source, s, row))


@device
def _clear(slots):
    for t in range(slots.shape[0]):
        clear(row_of(slots, t))


@device
def _begin(window, progress, last):
    """A slot begins anew, with another key."""
    _clear(window)
    progress[:] = 0
    last[:, :] = _NAN


@device
def _waits(progress, ids, numbers, whose):
    """The newest slot that waits for the target of a sample with that id, or −1."""
    for t in range(progress[PAIRS] + progress[WAITING] - 1, progress[PAIRS] - 1, -1):
        if ids[t] == whose and numbers[t] != _CAME:
            return np.int64(t)
    return np.int64(-1)


@device
def _ripe(target, progress, ahead, numbers, delay, counters):
    """Whether the oldest pair that waits is complete."""
    if target == NEXT:
        return progress[WAITING] == ahead
    if target == LATER and progress[WAITING] > 0 and numbers[progress[PAIRS]] != _CAME:
        late = progress[WAITING] > delay
        counters[EXPIRED] += 1 if late else 0
        return late
    return progress[WAITING] > 0


@device
def _update(
    net, matrices, parameters, mean, square, clock, counters, window, flat, progress, replay, trace,
    transposed, flow, gradient, optimizer, rate, momentum, clip, huber, probe, lags, lag_decay,
):  # fmt: skip
    """One update on the window's complete pairs."""
    pairs = progress[PAIRS]
    over, values = window, flat
    if replay.shape[0] > 0:
        over, values = replay, replay.reshape(replay.shape[0], -1)
        for t in range(pairs):
            copy_slot(window, t, replay, t)
        for t in range(pairs):
            forward(net, matrices, parameters, replay, values, t, trace)
    count = backward(
        net, matrices, parameters, over, values, pairs, trace, transposed, flow, gradient, huber, probe, lags,
        lag_decay,
    )  # fmt: skip
    if count > _0:
        taken = optimizers.update(
            optimizer, parameters, gradient, mean, square, clock, counters, rate, momentum, clip
        )
        if not taken:
            _clear(trace)  # what is not finite must not stay in the state


@device
def _slide(progress, kept, window, ids, numbers, said):
    """The window keeps what later updates will need: its last ``kept`` pairs, and what waits."""
    gone = progress[PAIRS] - min(progress[PAIRS], kept)
    for t in range(progress[PAIRS] - gone + progress[WAITING] + 1):
        copy_slot(window, gone + t, window, t)
        if t < said.shape[0] - gone:
            for o in range(said.shape[1]):
                said[t, o] = said[gone + t, o]
        if t < ids.size - gone:
            ids[t] = ids[gone + t]
            numbers[t] = numbers[gone + t]
    progress[PAIRS] -= gone
    progress[SINCE] = 0


@kernel(
    "void(f4[:,::1], f4[:,::1], i8[::1], b1[::1], i8[::1], i8[::1], f4[::1], i8[::1],"
    " i8[::1], i8[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f8[::1], i8[::1],"
    " i8[:,::1], f4[:,:,:,::1], f4[:,:,::1], i8[:,::1], i8[:,::1], f4[:,:,::1],"
    " f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f4[:,:,::1], f8[:,::1], f8,"
    " f4, f8, f4, f8, f8, f8[:,::1], f8[:,::1], f8[::1], f8[::1], i8[::1], f4[:,:,::1], f8[:,::1],"
    " f8[:,::1], f4[:,::1], f4[::1], f4[::1], i4[::1], i8[::1])"
)
def learn(
    x,  # (n, dim); (0, dim) where targets of earlier samples come
    y,  # (n, GOALS): targets; x itself for NEXT
    place,  # (n,): slot of each sample; of targets −1 where there is none
    fresh,  # (n,): whether the slot begins anew with the sample
    whose,  # (n,): ids, or (0,) unless targets come LATER
    mode,  # (2,)
    rate,  # (n,): ε(t)
    rule,  # (8,)
    net,  # see memory_layout.py
    matrices,
    parameters,  # (PARAMETER_ROWS, 16)
    mean,  # as parameters, or empty where the optimizer has none
    square,  # as mean
    clock,  # (3,)
    counters,  # (4,): those of optimizers.py and evaluation.py
    progress,  # (slots, 3)
    window,  # (slots, room, WINDOW_ROWS, 16)
    values,  # (slots, room, WINDOW_ROWS·16): the window again, value by value
    ids,  # (slots, room): of the samples that wait, or (slots, 0) unless targets come LATER
    numbers,  # as ids: which samples they are
    said,  # (slots, room, outputs): what was said of them, or (slots, 0, outputs) if nobody will ask
    trace,  # (k2 or room, TRACE_ROWS, 16): state if there is no replay, else scratch
    replay,  # (k2 + 1, WINDOW_ROWS, 16), scratch; empty if the trace serves
    transposed,  # (TRANSPOSED_ROWS, 16): scratch, 0 where a block of senders has no unit
    flow,  # (WINDOW_ROWS, 16): scratch
    gradient,  # as parameters: scratch
    probe,  # (k2, TRACE_ROWS, 16): scratch; empty if ``lags`` is
    lags,  # (3, k2), or (3, 0) to go without
    lag_decay,  # per update
    momentum,
    clip,  # +inf for none
    huber,  # +inf for the squared error
    scale_clip,
    decay,
    statistics,  # (3, dim)
    statistics_y,  # (3, GOALS); ``statistics`` itself for NEXT
    tree,  # (3072,)
    head,  # (2,)
    samples,  # (1,)
    last,  # (slots, ahead, columns of y): NaN before there is one
    quality,  # (5, GOALS)
    means,  # (2, dim): of the inputs, see evaluation.py
    prediction,  # (n, outputs)
    error,  # (n,)
    score,  # (n,)
    channels,  # (n,)
    sample,  # (n,): number of the sample that each row is for, −1 for none
):
    """Learn ``x`` in order; report of each sample what had been forecast for it before it was learned. Or
    learn targets ``y`` that come later, and report what had been said."""
    asked = net[FORECAST] * WIDTH
    scaled, filled = np.empty(net[DIM], np.float32), np.empty(net[DIM], np.float32)
    told, earlier = np.empty(net[OUTPUTS], np.float32), np.empty(net[OUTPUTS], np.float32)
    arrived, learned = mode[ARRIVED] == 1, mode[LEARNED] == 1
    target, method, method_y, optimizer = rule[AIM], rule[METHOD], rule[METHOD_Y], rule[OPTIMIZER]
    k1, k2, ahead, delay = rule[K1], rule[K2], rule[AHEAD], rule[DELAY]
    goal = scaled if target == NEXT else np.empty(net[GOALS], np.float32)
    # A sample's turn has two halves, stepping forward and being judged, whose order the target decides.
    for half in range(2 * y.shape[0]):
        n, first = half // 2, half % 2 == 0
        slot = max(place[n], np.int64(0))
        at, own, flat, before = (
            row_of(progress, slot), row_of(window, slot), row_of(values, slot), row_of(last, slot)
        )  # fmt: skip
        theirs, which, told_then = row_of(ids, slot), row_of(numbers, slot), row_of(said, slot)
        if first and arrived:
            if fresh[n]:
                _begin(own, at, before)
            sample[n] = samples[0]
            channels[n] = scaling.transform(method, statistics, scale_clip, x, n, scaled)
            known = target == NEXT and at[WAITING] > 0
            fill(net, scaled, known, flat, at[PAIRS] + at[WAITING] - 1, asked, means, filled)
        if first == (target != NEXT):
            if arrived:
                t = at[PAIRS] + at[WAITING]
                put_sample(net, filled, flat, t)
                want(net, flat, t)
                forward(net, matrices, parameters, own, flat, t, trace)
                at[WAITING] += 1
                if target == LATER:
                    theirs[t] = whose[n]
                    which[t] = samples[0]
        else:
            t = at[PAIRS] + at[WAITING] - 1
            if not arrived:
                t = _waits(at, theirs, which, whose[n]) if place[n] >= 0 else np.int64(-1)
                counters[UNMATCHED] += 1 if learned and t < 0 else 0
                sample[n] = which[t] if t >= 0 else -1
            known = t >= 0 if target != NEXT else at[WAITING] > 0
            tell(known, method_y, statistics_y, flat, t, asked, told)
            if target == LATER and known and not arrived:
                take(told_then, t, told)
            elif known and told_then.shape[0] > 0:
                put(told, told_then, t, 0)
            put(told, prediction, n, 0)
            error[n] = misses(net, told, y, n) if known else _NAN
            score[n] = scores.rank(tree, head, error[n])
            if target != NEXT:
                scaling.transform(method_y, statistics_y, scale_clip, y, n, goal)
            if learned and known:
                scores.observe(tree, head, error[n], decay)
                if net[CLASSES] == 1:
                    follow_class(told, error[n], y, n, decay, quality)
                else:
                    follow(told, 0, y, n, decay, before, 0, quality)
                for h in range(1, at[WAITING] if target == NEXT else 0):
                    take(told_then, t - h, earlier)
                    follow(earlier, h * net[DIM], y, n, decay, before, h, quality)
            if target == NEXT:
                for h in range(at[WAITING]):
                    if learned:
                        aim(net, flat, t - h, h * net[DIM], goal)
            elif known and count_present(y, n) > 0:
                if learned:
                    aim(net, flat, t, 0, goal)
                if target == LATER and (arrived or learned):
                    which[t] = _CAME
            if arrived or (learned and known):
                remember(y, n, before)
            while _ripe(target, at, ahead, which, delay, counters):
                at[WAITING] -= 1
                at[PAIRS] += 1
                at[SINCE] += 1
                if at[SINCE] == k1:
                    if learned:
                        _update(
                            net, matrices, parameters, mean, square, clock, counters, own, flat, at, replay,
                            trace, transposed, flow, gradient, optimizer, rate[n], momentum, clip, huber,
                            probe, lags, lag_decay,
                        )  # fmt: skip
                    _slide(at, k2 - k1, own, theirs, which, told_then)
            if learned and target != NEXT and known:
                scaling.update(method_y, statistics_y, decay, y, n)
        if not first and arrived:
            if learned:
                scaling.update(method, statistics, decay, x, n)
                follow_inputs(method, scaled, decay, means)
            samples[0] += 1
