"""Rollout: run a recurrent net on from a copy of its live state.

``predict``, ``forecast`` and ``sample`` use it.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp, log
from ..simd.lanes import WIDTH, load, store
from ..simd.splitmix import uniform
from ..stream import scaling
from ..stream import score as scores
from ..stream.scaling import Scaling
from ..stream.score import Score
from .evaluation import (
    MIN_PROBABILITY,
    argmax,
    error_of,
    fill_missing,
    unscale_forecast,
    update_input_means,
    write_input,
    write_row,
)
from .memory_layout import ACTIVATION_ROWS, DIM, FORECAST, OUTPUTS, STATE, SYMBOLS, WINDOW_ROWS
from .network import forward
from .records import Net, Steps
from .tbptt import NEXT, PAIRS, WAITING

_0, _NAN = np.float32(0), np.float32(np.nan)


@device
def _draw(probabilities, temperature, random):
    """Draw a class with probability p^(1/T); for T = 0 return the most probable one.

    Takes one random number in either case.
    """
    point = uniform(random)
    top = argmax(probabilities)
    if not temperature > _0:
        return top
    highest = log(max(probabilities[top], MIN_PROBABILITY))
    total = _0
    for k in range(probabilities.size):
        total += exp((log(max(probabilities[k], MIN_PROBABILITY)) - highest) / temperature)
    point *= total
    cumulative = _0
    for k in range(probabilities.size):
        cumulative += exp((log(max(probabilities[k], MIN_PROBABILITY)) - highest) / temperature)
        if cumulative > point:
            return k
    return top


@kernel(
    "void(f4[:,::1], i8, i8[::1], i8[:,::1], f4[:,::1], i8[:,::1], f4[:,:,:,::1], i8, i8, i8, f8, f8,"
    " f8[:,::1], f8[:,::1], f8[::1], f8[::1], f8[:,::1], i8, f4, u8[::1],"
    " f4[:,::1], f4[::1], f4[::1], i4[::1])"
)
def predict(
    x,  # (n, dim)
    slot,  # of the samples' stream; −1 if the stream is new
    layout,  # (16,): see memory_layout.py
    matrices,  # (·, 13): see memory_layout.py
    parameters,  # (PARAMETER_ROWS, 16)
    progress,  # (slots, 3)
    window,  # (slots, room, WINDOW_ROWS, 16)
    target_kind,  # one of tbptt.TARGETS
    method,  # of scaling
    target_method,
    scale_clip,
    decay,  # per sample
    statistics,  # (3, dim)
    target_statistics,  # (3, TARGET_COLUMNS); ``statistics`` itself for NEXT
    score_tree,  # (3072,)
    score_head,  # (2,)
    input_means,  # (2, dim)
    free_running,  # 1: there are no samples; the net's own forecasts are its inputs
    temperature,
    random,  # (1,)
    prediction,  # (n, outputs): output; after the sample, or if free running before it
    error,  # (n,): output
    score,  # (n,): output
    present,  # (n,): output
):
    """Run over ``x`` from the live state, with the scaling going on as well. Changes the outputs only.

    If free running, ``x`` is NaN, so each forecast becomes the next input. Symbols are drawn and written to
    ``x``.
    """
    net = Net(layout, matrices, parameters)
    ahead = np.zeros((2, window.shape[2], WIDTH), np.float32)  # slot 0: this step; 1: states after it
    flat = ahead.reshape(2, -1)
    activations = np.empty((1, layout[ACTIVATION_ROWS], WIDTH), np.float32)
    forecast_column = layout[FORECAST] * WIDTH
    scaled, filled = np.empty(layout[DIM], np.float32), np.empty(layout[DIM], np.float32)
    forecast = np.empty(layout[OUTPUTS], np.float32)
    own_statistics, own_means = statistics.copy(), input_means.copy()
    scale = Scaling(method, own_statistics, scale_clip)
    target_scale = Scaling(
        target_method, own_statistics if target_kind == NEXT else target_statistics, scale_clip
    )
    histogram = Score(score_tree, score_head)
    has_forecast = slot >= 0 and progress[slot, WAITING] > 0
    now = np.int64(0)  # a variable: with a literal 0 the network would be compiled a second time
    if slot >= 0:
        own_window, live = window[slot], progress[slot, PAIRS] + progress[slot, WAITING]
        for row in range(layout[STATE], layout[WINDOW_ROWS]):
            store(ahead, now, row, load(own_window, live, row))
        for row in range(layout[FORECAST], layout[STATE] if has_forecast else layout[FORECAST]):
            store(ahead, now, row, load(own_window, live - 1, row))
    unscale_forecast(has_forecast, target_scale, flat, now, forecast_column, forecast)
    for n in range(x.shape[0]):
        if free_running == 1:
            write_row(forecast, prediction, n, 0)
            if layout[SYMBOLS] == 1:
                x[n, 0] = np.float32(_draw(forecast, temperature, random))
        present[n] = scaling.transform(scale, x, n, scaled)
        fill_from_forecast = has_forecast and target_kind == NEXT
        fill_missing(layout, scaled, fill_from_forecast, flat, now, forecast_column, own_means, filled)
        error[n] = error_of(layout, forecast, x, n) if target_kind == NEXT else _NAN
        score[n] = scores.rank(histogram, error[n])
        write_input(layout, filled, flat, now)
        forward(net, Steps(ahead, activations), now)
        for row in range(layout[STATE], layout[WINDOW_ROWS]):
            store(ahead, now, row, load(ahead, now + 1, row))
        scaling.update(scale, decay, x, n)
        update_input_means(method, scaled, decay, own_means)
        has_forecast = True
        unscale_forecast(has_forecast, target_scale, flat, now, forecast_column, forecast)
        if free_running == 0:
            write_row(forecast, prediction, n, 0)
