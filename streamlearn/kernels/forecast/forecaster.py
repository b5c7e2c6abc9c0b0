"""The forecaster: naive forecasts, a read-out that learns by least squares, and their mix, for each channel.

Order within a sample, for each channel:

1. Compare the forecasts that samples t − 1 … t − H made for this one: distance and score (``relations.py``),
   live quality, weights of the mix, bands.
2. Add the value to the history, the mean and the scale. A missing value becomes the forecast.
3. Complete the pair of sample t − H: learn the read-out, and every k₁ pairs the GRU.
4. Write the features z_t, step the GRU, and forecast x_{t+1} … x_{t+H}.

The target of horizon h is (x_{t+h} − x_t)/s_t and the forecast x_t + s_t·(W z_t)_h, with W = 0 at first: the
read-out begins as persistence. All statistics are those of before sample t where they scale or score it.

Many streams share read-out, GRU, mix, bands, score and quality. Each has values, scale and hidden
states of its own. A pair of any stream is one pair of the shared read-out.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device, kernel
from ..recurrent.windows import PAIRS, WAITING
from ..simd.lanes import canonical_nan
from ..simd.views import row_of, rows_of
from ..stream import gate as gates
from ..stream import relations as related
from ..stream import score as scores
from ..stream.interrupt import requested
from ..stream.relations import Own
from ..stream.score import Score
from .channel import Vectors, add_value, clear_origin, compare, complete_pair, forecast, rounded
from .records import (
    DECAY,
    FEATURES,
    HALF_WIDTH,
    HIDDEN,
    HORIZON,
    K2,
    MIXED,
    NONE,
    Arrays,
    Outputs,
    Rule,
    channel_of,
)
from .state_net import Networks, Replay, advance_windows, clear_windows, scratch_of

# mode, int64 (2,): 1 to learn, 0 to watch: nothing that is learned changes, except the live quality; 1 for
# the forecasts after each sample as outputs, 0 for those before it
LEARNING, AFTER = range(2)

_NAN = np.float32(np.nan)


def vector_values(horizon: int, features: int) -> int:
    """Return the number of values of ``vectors``."""
    return 2 * horizon + features


@kernel(
    "i8(f4[:,::1], i8[::1], b1[::1], f4[:,::1], i8[::1], i8[::1], f8[::1], i8[::1], f8[::1], f8[:,:,::1],"
    " f8[:,:,::1], f8[:,::1], i8[:,::1], f8[:,:,::1], f8[:,:,::1], f8[:,:,::1], f4[:,:,::1], f4[:,:,::1],"
    " i8[:,::1], f8[:,:,::1], f8[:,::1], i8[::1], f8[:,:,::1], i8[:,:,::1], f8[:,:,::1], f8[:,:,::1],"
    " f8[:,:,:,::1], f8[:,:,:,::1], f4[:,:,:,:,::1], i8[::1], i8[:,::1], f4[:,:,::1], f4[:,:,::1],"
    " f4[:,:,::1], f8[:,::1], i8[:,::1], i8[:,::1], f4[:,:,:,:,::1], f4[:,:,:,:,::1],"
    " i8[::1], u8[::1], i8[:,::1], f8[::1], i8, f8, f8[:,::1],"
    " f8[::1], f8[::1], f8[::1], f8[:,:,::1], f4[:,:,::1], f8[:,:,::1], f8[:,:,::1], f8[::1], f4[:,::1],"
    " f8[:,::1], i8[::1], f4[:,::1], f8[::1], u1[::1], f8[::1], f4[:,:,::1], f4[:,:,::1], f4[:,:,::1],"
    " f4[::1],"
    " f4[::1], f4[::1], i4[::1], b1[::1], f4[:,::1])",
    allocates=True,
)
def learn(
    # The rows
    x,  # (n, channels)
    slots,  # (n,): slot of each sample's stream
    new_stream,  # (n,): whether the sample is the first of a new stream
    extra,  # (n, EXTRA)
    mode,  # (2,)
    # The rule: see records.py
    rule,  # (10,)
    constants,  # (9,)
    periods,  # (periods,)
    time_constants,  # (K,)
    # Shared by all streams: see records.py
    weights,  # (channels, features, horizon)
    covariance,  # (channels, features, features)
    error_size,  # (channels, horizon)
    pairs,  # (channels, 2)
    losses,  # (channels, horizon, experts)
    mix_weights,  # (channels, horizon, experts)
    mix_errors,  # (channels, horizon, 2)
    band_errors,  # (channels, horizon, ring)
    band_ordered,  # (channels, horizon, ring)
    band_counts,  # (channels, horizon)
    band_levels,  # (channels, horizon, LEVELS)
    band_miss,  # (channels, horizon)
    # The streams: see records.py
    position,  # (slots,): number of the next sample
    history,  # (slots, channels, depth)
    first,  # (slots, channels, 1)
    statistics,  # (slots, channels, 7)
    averages,  # (slots, channels, K)
    feature_rows,  # (slots, channels, horizon, features)
    origins,  # (slots, channels, horizon, 4)
    forecasts,  # (slots, channels, horizon, 4, horizon)
    # The GRUs: see state_net.py
    layout,  # (16,)
    matrices,  # (3, 13)
    parameters,  # (channels, PARAMETER_ROWS, 16); no rows without hidden units
    mean,  # likewise
    square,  # likewise
    clock,  # (channels, 3)
    counters,  # (channels, 2)
    progress,  # (slots, 3): see recurrent/windows.py
    window,  # (slots, channels, k2 + horizon + 1, WINDOW_ROWS, 16); no slots without hidden units
    replay_windows,  # (channels, REPLAYED, k2, WINDOW_ROWS, 16); no windows without replay
    replay_count,  # (1,)
    replay_random,  # (1,)
    replay_counters,  # (channels, 2)
    # Score and live quality
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    quality,  # (5, horizon·channels): see recurrent/evaluation.py
    relation_counts,  # (2,): see stream/relations.py
    relation_means,  # (values,)
    relation_widths,  # (values,)
    relation_covariance,  # (groups, side, side)
    relation_precision,  # (groups, side, side)
    relation_recent,  # (slots, channels, 2)
    relation_usual,  # (slots, channels, 3)
    relation_deviation,  # (values,): scratch
    relation_vectors,  # (2, values): scratch
    relation_inverse,  # (side, side): scratch
    samples,  # (1,): number of samples so far
    # Scratch, interrupt and outputs
    scratch,  # (scratch_rows, 16)
    vectors,  # (vector_values,)
    interrupt,  # see interrupt.py
    gate,  # see stream/gate.py
    prediction,  # (n, horizon, channels)
    lower,  # (n, horizon, channels)
    upper,  # (n, horizon, channels)
    error,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,)
    watched,  # (n,)
    contribution,  # (n, channels); (0, channels) if nobody needs it
):
    """Learn samples in order, or watch them.

    Return the number of rows done: all, or fewer if ``interrupt`` is set.
    """
    own_rule = Rule(rule, constants, periods, time_constants)
    arrays = Arrays(
        weights, covariance, error_size, pairs, losses, mix_weights, mix_errors, band_errors, band_ordered,
        band_counts, band_levels, band_miss, history, first, statistics, averages, feature_rows, origins,
        forecasts,
    )  # fmt: skip
    replay = Replay(replay_windows, replay_count, replay_random, replay_counters)
    networks = Networks(layout, matrices, parameters, mean, square, clock, counters, window, replay)
    horizon, learning, after = rule[HORIZON], mode[LEARNING] == 1, mode[AFTER] == 1
    own_scratch = scratch_of(layout, rule[K2], scratch)
    own_vectors = Vectors(
        rows_of(vectors, 0, horizon),
        rows_of(vectors, horizon, horizon),
        rows_of(vectors, 2 * horizon, rule[FEATURES]),
    )
    outputs = Outputs(prediction, lower, upper, error, score, present)
    relations = related.Relations(
        relation_counts,
        relation_means,
        relation_widths,
        relation_covariance,
        relation_precision,
        relation_deviation,
        relation_vectors,
        relation_inverse,
    )
    compared_forecast = np.empty(x.shape[1], np.float32)
    histogram = Score(score_reference, score_columns, score_decay)
    for n in range(x.shape[0]):
        slot = slots[n]
        if new_stream[n]:
            _reset_stream(arrays, networks, position, progress, slot)
            related.clear(Own(row_of(relation_recent, slot), row_of(relation_usual, slot)))
        number = position[slot]
        if not after:
            _write_forecasts(arrays, slot, number, outputs, n)
        compared = _write_error(arrays, x, slot, number, compared_forecast, outputs, n)
        own = Own(row_of(relation_recent, slot), row_of(relation_usual, slot))
        distance[n] = related.distance(relations, own, compared_forecast, x, n)
        score[n] = scores.rank(histogram, distance[n], compared)
        if contribution.shape[0] > 0:
            related.write_contribution(relations, compared_forecast, x, n, row_of(contribution, n))
        learned = learning and gates.admits(gate, score[n])
        watched[n] = not learned
        complete = number >= horizon
        if learned:
            related.observe(relations, own, x, n, constants[DECAY])
        related.advance(own, x, n)
        for c in range(x.shape[1]):
            value, channel = np.float64(x[n, c]), channel_of(arrays, slot, c)
            if value == value:
                compare(own_rule, arrays, channel, c, number, value, learned, quality)
            change = add_value(own_rule, channel, number, value, learned)
            t = progress[slot, PAIRS] + progress[slot, WAITING]
            if complete:
                complete_pair(
                    own_rule, arrays, networks, channel, slot, c, number, progress, learned, own_vectors
                )
            forecast(
                own_rule,
                arrays,
                networks,
                slot,
                c,
                number,
                t,
                change,
                row_of(extra, n),
                own_scratch,
                own_vectors,
            )
        if learning:
            gates.observe(gate, histogram, distance[n], compared, learned)
        if rule[HIDDEN] > 0:
            advance_windows(own_rule, networks, slot, complete, progress, learned, own_scratch)
        position[slot] += 1
        samples[0] += 1
        if after:
            _write_forecasts(arrays, slot, number + 1, outputs, n)
        if requested(interrupt):
            return n + 1
    return x.shape[0]


@device
def _reset_stream(arrays, networks, position, progress, slot):
    """Clear a stream for a new key."""
    position[slot] = 0
    clear_windows(networks, progress, slot)
    for c in range(arrays.first.shape[1]):
        channel = channel_of(arrays, slot, c)
        channel.first[0] = NONE
        for i in range(channel.statistics.size):
            channel.statistics[i] = 0.0
        for i in range(channel.history.size):
            channel.history[i] = 0.0
        for h in range(channel.origins.shape[0]):
            clear_origin(channel, h)


@device
def _write_forecasts(arrays, slot, number, outputs, n):
    """Write the forecasts that sample ``number`` − 1 made; NaN before the first value."""
    horizon = outputs.prediction.shape[1]
    for c in range(outputs.prediction.shape[2]):
        channel = channel_of(arrays, slot, c)
        made = channel.first[0] != NONE and number > channel.first[0]
        forecasts = row_of(channel.forecasts, (number - 1) % horizon)
        for h in range(horizon):
            middle = np.float64(forecasts[MIXED, h])
            half = np.float64(forecasts[HALF_WIDTH, h])
            outputs.prediction[n, h, c] = forecasts[MIXED, h] if made else _NAN
            outputs.lower[n, h, c] = canonical_nan(rounded(middle - half) if made else _NAN)
            outputs.upper[n, h, c] = canonical_nan(rounded(middle + half) if made else _NAN)


@device
def _write_error(arrays, x, slot, number, forecast, outputs, n):
    """Write the error of the first step, and how many values are present.

    Copy the forecasts that are compared to ``forecast`` ``(channels,)``. Return how many values have one.
    """
    total, compared, present = 0.0, np.int64(0), 0
    for c in range(x.shape[1]):
        channel, value = channel_of(arrays, slot, c), np.float64(x[n, c])
        row = (number - 1) % channel.origins.shape[0]
        forecast[c] = channel.forecasts[row, MIXED, 0] if channel.first[0] != NONE else _NAN
        if value == value:
            present += 1
            if channel.first[0] != NONE:
                difference = np.float64(forecast[c]) - value
                total += difference * difference
                compared += 1
    outputs.error[n] = np.float32(math.sqrt(total / compared)) if compared > 0 else _NAN
    outputs.present[n] = present
    return compared
