"""A target that comes with its sample: least squares on features of the samples, and naive forecasts.

Order within a sample t:

1. Add x_t to the past. Write the features z_t (``chain.py``), step the GRU on x_t.
2. Predict y_t … y_{t+H−1}, each by the read-out W z_t, the last target and the mean of the targets, mixed.
3. Compare: the prediction of y_t gives error and score. If the sample is learned, all predictions that were
   made for y_t update live quality, mix and bands.
4. Complete the pair of sample t − H + 1, whose last target has arrived: learn the read-out, and every k₁
   pairs the GRU.

All channels are features of all targets, with one P. The target of the read-out is (y − offset)/unit, see
``chain.py``. Streams share all but their values. A missing target teaches nothing. The last target is the
newest one, watched or not.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device, kernel
from ..recurrent.evaluation import count_present
from ..recurrent.windows import PAIRS, WAITING
from ..simd.lanes import canonical_nan
from ..simd.views import row_of, rows_of
from ..stream import error_scale as usual_errors
from ..stream import gate as gates
from ..stream import score as scores
from ..stream.contribution import size_of, to_shares
from ..stream.interrupt import requested
from ..stream.score import Score
from . import bands as conformal
from . import chain, mix, rls, state_net
from .chain import MEAN, OFFSET, UNIT, Past
from .channel import Vectors, count_quality, rounded
from .records import (
    BAND_GAIN,
    CLIP,
    DECAY,
    FEATURES,
    FORGETTING,
    HIDDEN,
    HORIZON,
    K2,
    MISS,
    MIX_DECAY,
    MIXES,
    RIDGE,
    Bands,
    Mix,
    Outputs,
    ReadOut,
    Rule,
)
from .sizes import TARGET_EXPERTS
from .state_net import Networks, Replay, advance_windows, clear_windows, scratch_of

# forecasts, float64 (slots, horizon, 6, columns) of a sample: of the last target, the mean target and the
# read-out; mixed; half the width of the band; level of the errors. NaN while there is none
LAST, USUAL, READ_OUT, MIXED, HALF_WIDTH, ERROR_LEVEL = range(6)

# naive, float64 (slots, 3, outputs), of the targets of a stream: number, mean, and the last one
COUNT, AVERAGE, NEWEST = range(3)

LEARNING = 0  # of ``mode``: 1 to learn, 0 to watch

_NAN = np.float32(np.nan)
_INPUT_LIMIT = 6.0  # of the GRU


class Shared(NamedTuple):
    """What all streams share."""

    read_out: Any
    mix: Any
    bands: Any
    counts: Any  # (1 + outputs,)
    features: Any  # scale of the features, see chain.py
    targets: Any  # scale of the targets
    ranges: Any  # of the values, see chain.py


class Streams(NamedTuple):
    """All streams, ``(slots, …)``, or one of them without that axis."""

    history: Any  # (channels, lags)
    averages: Any  # (channels, K)
    seen: Any  # (channels,)
    raw: Any  # (horizon, features): raw features of recent samples
    targets: Any  # (horizon, outputs): recent targets, NaN if missing
    naive: Any  # (3, outputs): see above
    forecasts: Any  # (horizon, 6, columns)


def vector_values(columns: int, features: int, inputs: int) -> int:
    """Return the number of values of ``vectors``. ``inputs``: those of the GRU."""
    return 2 * columns + 2 * features + inputs


@kernel(
    "i8(f4[:,::1], f4[:,::1], i8[::1], b1[::1], f4[:,::1], i8[::1], i8[::1], f8[::1], f8[::1], f8[:,::1],"
    " f8[:,::1], f8[::1], i8[::1], f8[:,::1], f8[:,::1], f8[:,::1], f4[:,::1], f4[:,::1], i8[::1],"
    " f8[:,::1], f8[::1], i8[::1], f8[:,::1], f8[:,::1], f8[:,::1], i8[::1], f8[:,:,::1], f8[:,:,::1],"
    " i8[:,::1], f8[:,:,::1], f8[:,:,::1], f8[:,:,::1], f8[:,:,:,::1], i8[::1], i8[:,::1], f4[:,:,::1],"
    " f4[:,:,::1], f4[:,:,::1], f8[:,::1], i8[:,::1], i8[:,::1], f4[:,:,:,:,::1], f4[:,:,:,:,::1],"
    " i8[::1], u8[::1], i8[:,::1], f8[::1], i8, f8, f8[:,::1], f8[:,::1], i8[::1], f4[:,::1], f8[::1],"
    " u1[::1], f8[::1], f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], f4[::1], f4[::1], i4[::1], b1[::1],"
    " f4[:,::1])"
)
def learn(
    # The rows
    x,  # (n, channels)
    y,  # (n, outputs)
    slots,  # (n,): slot of each sample's stream
    new_stream,  # (n,): whether the sample is the first of a new stream
    extra,  # (n, EXTRA)
    mode,  # (1,)
    # The rule: see records.py
    rule,  # (10,)
    constants,  # (9,)
    time_constants,  # (K,): T of the averages
    # Shared by all streams: see records.py and chain.py
    weights,  # (features, columns)
    covariance,  # (features, features)
    error_size,  # (columns,)
    pairs,  # (2,)
    losses,  # (columns, TARGET_EXPERTS)
    mix_weights,  # (columns, TARGET_EXPERTS)
    mix_errors,  # (columns, 2)
    band_errors,  # (columns, ring)
    band_ordered,  # (columns, ring)
    band_counts,  # (columns,)
    band_levels,  # (columns, LEVELS)
    band_miss,  # (columns,)
    counts,  # (1 + outputs,): samples; targets of each output
    feature_scale,  # (1 + channels·(lags + K) + EXTRA, 6): see chain.py
    target_scale,  # (outputs, 6)
    ranges,  # (channels, 3): see chain.py
    # The streams
    position,  # (slots,): number of the next sample
    history,
    averages,
    seen,
    raw,
    targets,
    naive,
    forecasts,
    # The GRU: see state_net.py
    layout,  # (16,)
    matrices,  # (3, 13)
    parameters,  # (1, PARAMETER_ROWS, 16); no rows without hidden units
    mean,  # likewise
    square,  # likewise
    clock,  # (1, 3)
    counters,  # (1, 2)
    progress,  # (slots, 3)
    window,  # (slots, 1, k2 + horizon + 1, WINDOW_ROWS, 16); no slots without hidden units
    replay_windows,  # (1, REPLAYED, k2, WINDOW_ROWS, 16); no windows without replay
    replay_count,  # (1,)
    replay_random,  # (1,)
    replay_counters,  # (1, 2)
    # Score and live quality
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    quality,  # (5, columns): see recurrent/evaluation.py
    error_scale,  # (3, outputs): see stream/error_scale.py
    samples,  # (1,): number of samples so far
    # Scratch, interrupt and outputs
    scratch,  # see state_net.scratch_of
    vectors,  # (vector_values,)
    interrupt,  # see interrupt.py
    gate,  # see stream/gate.py
    prediction,  # (n, horizon, outputs)
    lower,  # (n, horizon, outputs)
    upper,  # (n, horizon, outputs)
    error,  # (n,)
    score,  # (n,)
    present,  # (n,)
    watched,  # (n,)
    contribution,  # (n, outputs); (0, outputs) if nobody needs it
):
    """Learn samples and their targets in order, or watch them. The outputs are those before learning.

    Return the number of rows done: all, or fewer if ``interrupt`` is set.
    """
    own_rule = Rule(rule, constants, time_constants, time_constants)
    shared = Shared(
        ReadOut(weights, covariance, error_size, pairs),
        Mix(losses, mix_weights, mix_errors),
        Bands(band_errors, band_ordered, band_counts, band_levels, band_miss),
        counts,
        feature_scale,
        target_scale,
        ranges,
    )
    streams = Streams(history, averages, seen, raw, targets, naive, forecasts)
    replay = Replay(replay_windows, replay_count, replay_random, replay_counters)
    networks = Networks(layout, matrices, parameters, mean, square, clock, counters, window, replay)
    outputs = Outputs(prediction, lower, upper, error, score, present)
    columns, features, horizon = error_size.size, rule[FEATURES], rule[HORIZON]
    own_scratch = scratch_of(layout, rule[K2], scratch)
    own_vectors = Vectors(
        rows_of(vectors, 0, columns),
        rows_of(vectors, columns, columns),
        rows_of(vectors, 2 * columns, features),
    )
    z = rows_of(vectors, 2 * columns + features, features)
    inputs = rows_of(vectors, 2 * columns + 2 * features, 2 * x.shape[1] + extra.shape[1])
    histogram = Score(score_reference, score_columns, score_decay)
    for n in range(x.shape[0]):
        slot = slots[n]
        stream = _stream_of(streams, slot)
        if new_stream[n]:
            position[slot] = 0
            _reset(stream)
            clear_windows(networks, progress, slot)
        number = position[slot]
        t = progress[slot, PAIRS] + progress[slot, WAITING]
        chain.add_values(_past(stream), time_constants, ranges, number, row_of(x, n))
        _write_raw(own_rule, stream, feature_scale, number, row_of(extra, n))
        if rule[HIDDEN] > 0:
            own_raw = row_of(stream.raw, number % horizon)
            _write_inputs(stream, feature_scale, number, row_of(extra, n), inputs)
            first = features - rule[HIDDEN]
            state_net.step(networks, slot, np.int64(0), t, inputs, own_scratch, own_raw, first)
        _predict(own_rule, stream, shared, number, z, own_vectors)
        present[n] = count_present(x, n)
        compared = _write_outputs(own_rule, stream, histogram, number, y, n, outputs)
        made = row_of(row_of(stream.forecasts, number % horizon), MIXED)
        if contribution.shape[0] > 0:
            for o in range(y.shape[1]):
                contribution[n, o] = size_of(usual_errors.relative_error(error_scale, o, made[o], y[n, o]))
            to_shares(row_of(contribution, n), True)
        learning = mode[LEARNING] == 1
        learned = learning and gates.admits(gate, score[n])
        watched[n] = not learned
        newest = row_of(stream.targets, number % horizon)
        for o in range(y.shape[1]):
            newest[o] = np.float64(y[n, o]) if learned else np.nan
        if learned:
            for o in range(y.shape[1]):
                expected, value = np.float64(made[o]), np.float64(y[n, o])
                usual_errors.observe(error_scale, constants[DECAY], o, expected, value)
            _compare(own_rule, stream, shared, number, quality)
        complete = number >= horizon - 1
        if rule[HIDDEN] > 0 and complete:
            state_net.clear_gradient(networks, slot, np.int64(0), progress[slot, PAIRS])
        if complete and learned:
            _complete_pair(own_rule, stream, shared, networks, slot, number, progress, z, own_vectors)
        if learned:
            chain.observe_values(ranges, row_of(x, n))
            _observe(own_rule, stream, shared, number, own_vectors)
        for o in range(y.shape[1]):
            if y[n, o] == y[n, o]:
                stream.naive[NEWEST, o] = np.float64(y[n, o])
        if learning:
            gates.observe(gate, histogram, error[n], compared, learned)
        if rule[HIDDEN] > 0:
            advance_windows(own_rule, networks, slot, complete, progress, learned, own_scratch)
        position[slot] += 1
        samples[0] += 1
        if requested(interrupt):
            return n + 1
    return x.shape[0]


@device
def _stream_of(streams, slot):
    """One stream."""
    return Streams(
        row_of(streams.history, slot),
        row_of(streams.averages, slot),
        row_of(streams.seen, slot),
        row_of(streams.raw, slot),
        row_of(streams.targets, slot),
        row_of(streams.naive, slot),
        row_of(streams.forecasts, slot),
    )


@device
def _past(stream):
    return Past(stream.history, stream.averages, stream.seen)


@device
def _reset(stream):
    """Clear a stream for a new key."""
    chain.clear(_past(stream))
    for i in range(stream.naive.shape[0]):
        for o in range(stream.naive.shape[1]):
            stream.naive[i, o] = 0.0


@device
def _write_raw(rule, stream, scale, number, extra):
    """Write the raw features of sample ``number``, but those of the GRU."""
    chain.write_raw(_past(stream), number, scale, extra, row_of(stream.raw, number % rule.sizes[HORIZON]))


@device
def _write_inputs(stream, scale, number, extra, inputs):
    """Write the inputs of the GRU: change and level of each channel in their widths, and ``extra``."""
    lags, k = stream.history.shape[1], 0
    length = lags + stream.averages.shape[1]
    for c in range(stream.seen.size):
        change, level = 1 + c * length, (c + 1) * length
        value = stream.history[c, number % lags]
        step = value - stream.history[c, (number - 1) % lags]
        known = stream.seen[c] > 0
        inputs[k] = _relative(step, 2.0 * scale[change, UNIT]) if known and lags > 1 else 0.0
        inputs[k + 1] = _relative(value - scale[level, OFFSET], scale[level, UNIT]) if known else 0.0
        k += 2
    for i in range(extra.size):
        j = 1 + stream.seen.size * length + i
        known = extra[i] == extra[i]
        inputs[k + i] = _relative(extra[i] - scale[j, OFFSET], scale[j, UNIT]) if known else 0.0


@device
def _relative(value, unit):
    """``value`` in units, limited; 0 without a unit."""
    return min(max(value / unit, -_INPUT_LIMIT), _INPUT_LIMIT) if unit > 0.0 else 0.0


@device
def _predict(rule, stream, shared, number, z, vectors):
    """Write the forecasts of sample ``number``."""
    forecasts = row_of(stream.forecasts, number % rule.sizes[HORIZON])
    chain.normalise(shared.features, row_of(stream.raw, number % rule.sizes[HORIZON]), z)
    rls.forecast(shared.read_out, z, vectors.errors)
    scale, outputs = shared.targets, shared.targets.shape[0]
    for column in range(forecasts.shape[1]):
        o = column % outputs
        if shared.counts[1 + o] == 0:  # the model has had no target
            for q in range(forecasts.shape[0]):
                forecasts[q, column] = np.nan
            continue
        has_target = stream.naive[COUNT, o] > 0.0
        forecasts[LAST, column] = stream.naive[NEWEST, o] if has_target else scale[o, MEAN]
        forecasts[USUAL, column] = stream.naive[AVERAGE, o] if has_target else scale[o, MEAN]
        own = scale[o, OFFSET] + scale[o, UNIT] * vectors.errors[column]
        forecasts[READ_OUT, column] = np.float64(rounded(own))
        total = forecasts[READ_OUT, column]
        if rule.sizes[MIXES] == 1:
            total = 0.0
            for q in range(TARGET_EXPERTS):
                total += shared.mix.weights[column, q] * forecasts[q, column]
        forecasts[MIXED, column] = np.float64(rounded(total))
        forecasts[HALF_WIDTH, column] = conformal.half_width(shared.bands, np.int64(column))
        forecasts[ERROR_LEVEL, column] = conformal.level_of(shared.bands, np.int64(column))


@device
def _write_outputs(rule, stream, histogram, number, y, n, outputs):
    """Write the outputs of row ``n``. Return how many targets are compared."""
    forecasts, count = row_of(stream.forecasts, number % rule.sizes[HORIZON]), y.shape[1]
    for column in range(forecasts.shape[1]):
        o, h = column % count, column // count
        middle, half = forecasts[MIXED, column], forecasts[HALF_WIDTH, column]
        outputs.prediction[n, h, o] = canonical_nan(np.float32(middle))
        outputs.lower[n, h, o] = canonical_nan(rounded(middle - half))
        outputs.upper[n, h, o] = canonical_nan(rounded(middle + half))
    total, compared = 0.0, np.int64(0)
    for o in range(count):
        difference = forecasts[MIXED, o] - np.float64(y[n, o])
        if difference == difference:
            total += difference * difference
            compared += 1
    outputs.error[n] = np.float32(math.sqrt(total / compared)) if compared > 0 else _NAN
    outputs.score[n] = scores.rank(histogram, outputs.error[n], compared)
    return compared


@device
def _compare(rule, stream, shared, number, quality):
    """Compare the newest targets with all predictions that were made for them."""
    horizon, outputs, constants = rule.sizes[HORIZON], stream.targets.shape[1], rule.constants
    mixed, band = shared.mix, shared.bands
    for h in range(min(horizon, number + 1)):
        forecasts = row_of(stream.forecasts, (number - h) % horizon)
        for o in range(outputs):
            value, column = stream.targets[number % horizon, o], np.int64(h * outputs + o)
            error = abs(forecasts[MIXED, column] - value)
            if not error < math.inf:  # no target, or no forecast
                continue
            count_quality(quality, column, constants[DECAY], error, abs(forecasts[LAST, column] - value))
            losses = row_of(mixed.losses, column)
            usual = mix.count_error(mixed, column, constants[MIX_DECAY], error)
            if usual > 0.0:
                for q in range(TARGET_EXPERTS):
                    losses[q] = losses[q] * constants[MIX_DECAY] + abs(forecasts[q, column] - value) / usual
                mix.update_weights(losses, row_of(mixed.weights, column))
            half = forecasts[HALF_WIDTH, column]
            if half == half:
                conformal.adapt(band, column, constants[BAND_GAIN], constants[MISS], error > half)
            conformal.count_error(band, column, error, forecasts[ERROR_LEVEL, column])


@device
def _complete_pair(rule, stream, shared, networks, slot, number, progress, z, vectors):
    """Learn the pair of sample ``number`` − horizon + 1, whose last target has arrived."""
    horizon, hidden, outputs = rule.sizes[HORIZON], rule.sizes[HIDDEN], stream.targets.shape[1]
    origin, read_out, scale, found = number - horizon + 1, shared.read_out, shared.targets, 0
    chain.normalise(shared.features, row_of(stream.raw, origin % horizon), z)
    rls.forecast(read_out, z, vectors.errors)
    for column in range(vectors.errors.size):
        o, h = column % outputs, column // outputs
        value, unit = stream.targets[(origin + h) % horizon, o], scale[o, UNIT]
        if value == value and unit > 0.0:
            vectors.errors[column] = (value - scale[o, OFFSET]) / unit - vectors.errors[column]
            found += 1
        else:
            vectors.errors[column] = np.nan
    if found == 0:
        return
    weight = rls.cut_errors(read_out, rule.constants[CLIP], vectors.errors, vectors.cut)
    if hidden > 0:
        first, t = rule.sizes[FEATURES] - hidden, progress[slot, PAIRS]
        state_net.set_gradient(networks, slot, np.int64(0), t, read_out, vectors.errors, first)
    rls.learn(
        read_out, rule.constants[FORGETTING], rule.constants[RIDGE], z, vectors.cut, weight, vectors.gain
    )


@device
def _observe(rule, stream, shared, number, vectors):
    """Add the newest raw features and targets to their statistics."""
    counts, row = shared.counts, number % rule.sizes[HORIZON]
    raw, newest = row_of(stream.raw, row), row_of(stream.targets, row)
    counts[0] += 1
    for j in range(1, shared.features.shape[0]):
        chain.observe(shared.features, j, counts[0], raw[j])
    if chain.is_power_of_two(counts[0]):
        chain.renew_features(
            _past(stream), shared.features, counts[0], shared.read_out, rule.constants[RIDGE], vectors.gain
        )
    for o in range(newest.size):
        if newest[o] == newest[o]:
            counts[1 + o] += 1
            chain.observe(shared.targets, o, counts[1 + o], newest[o])
            if chain.is_power_of_two(counts[1 + o]):
                chain.renew_target(shared.targets, o, counts[1 + o], shared.read_out, rule.sizes[HORIZON])
            stream.naive[COUNT, o] += 1.0
            stream.naive[AVERAGE, o] += (newest[o] - stream.naive[AVERAGE, o]) / stream.naive[COUNT, o]
