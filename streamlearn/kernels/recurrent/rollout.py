"""Running on from a recurrent net's live state, which stays as it is: what ``predict`` and forecasts are."""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp, log
from ..simd.lanes import WIDTH, load, store
from ..simd.splitmix import uniform
from ..stream import scaling
from ..stream import score as scores
from .evaluation import LEAST, fill, follow_inputs, misses, most, put, put_sample, tell
from .memory_layout import DIM, FORECAST, OUTPUTS, STATE, SYMBOLS, TRACE_ROWS, WINDOW_ROWS
from .network import forward
from .tbptt import NEXT, PAIRS, WAITING

_0, _NAN = np.float32(0), np.float32(np.nan)


@device
def _draw(told, temperature, random):
    """One class by its probability p^(1/T), or for T = 0 the most probable one. The random number is taken
    in any case."""
    point = uniform(random)
    top = most(told)
    if not temperature > _0:
        return top
    highest = log(max(told[top], LEAST))
    total = _0
    for k in range(told.size):
        total += exp((log(max(told[k], LEAST)) - highest) / temperature)
    point *= total
    below = _0
    for k in range(told.size):
        below += exp((log(max(told[k], LEAST)) - highest) / temperature)
        if below > point:
            return k
    return top


@kernel(
    "void(f4[:,::1], i8, i8[::1], i8[:,::1], f4[:,::1], i8[:,::1], f4[:,:,:,::1], i8, i8, i8, f8, f8,"
    " f8[:,::1], f8[:,::1], f8[::1], f8[::1], f8[:,::1], i8, f4, u8[::1],"
    " f4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def predict(
    x,  # (n, dim)
    slot,  # of the samples' stream, −1 if it has none yet
    net,  # see memory_layout.py
    matrices,
    parameters,  # (PARAMETER_ROWS, 16)
    progress,  # (slots, 3)
    window,  # (slots, room, WINDOW_ROWS, 16)
    target,
    method,
    method_y,
    scale_clip,
    decay,
    statistics,  # (3, dim)
    statistics_y,  # (3, GOALS); ``statistics`` itself for NEXT
    tree,  # (3072,)
    head,  # (2,)
    means,  # (2, dim)
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
    ahead = np.zeros((2, window.shape[2], WIDTH), np.float32)  # slot 0: now; slot 1: the states after it
    flat = ahead.reshape(2, -1)
    trace = np.empty((1, net[TRACE_ROWS], WIDTH), np.float32)
    asked = net[FORECAST] * WIDTH
    scaled, filled = np.empty(net[DIM], np.float32), np.empty(net[DIM], np.float32)
    told = np.empty(net[OUTPUTS], np.float32)
    statistics_x, means_x = statistics.copy(), means.copy()
    statistics_told = statistics_x if target == NEXT else statistics_y
    known = slot >= 0 and progress[slot, WAITING] > 0
    now = np.int64(0)  # a slot like any other: for a literal 0 the whole network would be compiled once more
    if slot >= 0:
        own, live = window[slot], progress[slot, PAIRS] + progress[slot, WAITING]
        for row in range(net[STATE], net[WINDOW_ROWS]):
            store(ahead, now, row, load(own, live, row))
        for row in range(net[FORECAST], net[STATE] if known else net[FORECAST]):
            store(ahead, now, row, load(own, live - 1, row))
    tell(known, method_y, statistics_told, flat, now, asked, told)
    for n in range(x.shape[0]):
        if free == 1:
            put(told, prediction, n, 0)
            if net[SYMBOLS] == 1:
                x[n, 0] = np.float32(_draw(told, temperature, random))
        channels[n] = scaling.transform(method, statistics_x, scale_clip, x, n, scaled)
        fill(net, scaled, known and target == NEXT, flat, now, asked, means_x, filled)
        error[n] = misses(net, told, x, n) if target == NEXT else _NAN
        score[n] = scores.rank(tree, head, error[n])
        put_sample(net, filled, flat, now)
        forward(net, matrices, parameters, ahead, flat, now, trace)
        for row in range(net[STATE], net[WINDOW_ROWS]):
            store(ahead, now, row, load(ahead, now + 1, row))
        scaling.update(method, statistics_x, decay, x, n)
        follow_inputs(method, scaled, decay, means_x)
        known = True
        tell(known, method_y, statistics_told, flat, now, asked, told)
        if free == 0:
            put(told, prediction, n, 0)
