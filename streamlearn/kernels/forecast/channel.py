"""One channel of the forecaster: compare a value, add it, complete a pair, forecast.

See ``forecaster.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..recurrent import evaluation
from ..recurrent.windows import PAIRS
from ..simd.lanes import canonical_nan
from ..simd.views import row_of, rows_of
from . import bands as conformal
from . import experts, features, mix, rls, state_net
from .records import (
    ANCHOR,
    BAND_GAIN,
    CLIP,
    DECAY,
    DRIFT,
    ERROR_LEVEL,
    FEATURES,
    FORGETTING,
    HALF_WIDTH,
    HAS_VALUE,
    HIDDEN,
    HORIZON,
    LEVEL,
    MISS,
    MIX_DECAY,
    MIXED,
    MIXES,
    NONE,
    READ_OUT,
    RESIDUAL,
    RIDGE,
    SCALE,
    VALUES,
    bands_of,
    channel_of,
    mix_of,
    read_out_of,
    value_of,
)

_LARGEST_TARGET = 1e4  # limit of a target, in units of s: one spike must not overflow W
_INPUT_LIMIT = 6.0  # of the GRU
_LARGEST = float(np.finfo(np.float32).max)
_NAN = np.float32(np.nan)


class Vectors(NamedTuple):
    """Memory of a pair and of a forecast; scratch."""

    errors: Any  # (horizon,)
    cut: Any  # (horizon,)
    gain: Any  # (features,)


@device
def clear_origin(channel, row):
    """A sample without forecasts."""
    origin, forecasts = row_of(channel.origins, row), row_of(channel.forecasts, row)
    for i in range(origin.size):
        origin[i] = 0.0
    for i in range(forecasts.shape[0]):
        for h in range(forecasts.shape[1]):
            forecasts[i, h] = _NAN


@device
def compare(rule, arrays, channel, c, number, value, learning, quality):
    """Compare the forecasts of the samples before ``number`` with its value."""
    mixed, band = mix_of(arrays, c), bands_of(arrays, c)
    constants, channels = rule.constants, arrays.first.shape[1]
    for h in range(rule.sizes[HORIZON]):
        origin = number - 1 - h
        if channel.first[0] == NONE or origin < channel.first[0]:
            break
        row = origin % channel.origins.shape[0]
        error = abs(np.float64(channel.forecasts[row, MIXED, h]) - value)
        persistence = abs(value_of(channel, origin) - value)
        count_quality(quality, h * channels + c, constants[DECAY], error, persistence)
        if not learning:
            continue
        mean = mix.count_error(mixed, h, constants[MIX_DECAY], error)
        losses = row_of(mixed.losses, h)
        if mean > 0.0:
            for q in range(losses.size):
                if q == losses.size - 1:
                    forecast = np.float64(channel.forecasts[row, READ_OUT, h])
                else:
                    forecast = experts.naive_forecast(channel, rule.periods, origin, h + 1, q)
                losses[q] = losses[q] * constants[MIX_DECAY] + abs(forecast - value) / mean
            mix.update_weights(losses, row_of(mixed.weights, h))
        half, scale = np.float64(channel.forecasts[row, HALF_WIDTH, h]), channel.origins[row, SCALE]
        if half == half:
            conformal.adapt(band, h, constants[BAND_GAIN], constants[MISS], error > half)
        if scale > 0.0:
            level = np.float64(channel.forecasts[row, ERROR_LEVEL, h])
            conformal.count_error(band, h, min(error / scale, _LARGEST), level)


@device
def count_quality(quality, o, decay, error, persistence):
    """Add an error, and that of persistence, to the live quality of output ``o``."""
    quality[evaluation.COUNT, o] = quality[evaluation.COUNT, o] * decay + 1.0
    quality[evaluation.ABSOLUTE, o] = quality[evaluation.ABSOLUTE, o] * decay + error
    quality[evaluation.SQUARED, o] = quality[evaluation.SQUARED, o] * decay + error * error
    quality[evaluation.OURS, o] = quality[evaluation.OURS, o] * decay + error
    quality[evaluation.PERSISTENCE, o] = quality[evaluation.PERSISTENCE, o] * decay + persistence


@device
def add_value(rule, channel, number, value, learning):
    """Add the value of sample ``number`` to the history, and to the statistics. Return its change."""
    known, origins = value == value, row_of(channel.origins, number % channel.origins.shape[0])
    before = value_of(channel, number - 1)
    if channel.first[0] == NONE:
        if not known:
            return 0.0
        channel.first[0] = number
        for i in range(channel.history.size):  # as if the channel had always had this value
            channel.history[i] = value
        for k in range(channel.averages.size):
            channel.averages[k] = value
        before = value
    elif not known:
        value = np.float64(channel.forecasts[(number - 1) % channel.origins.shape[0], MIXED, 0])
    channel.history[number % channel.history.size] = value
    for k in range(channel.averages.size):
        channel.averages[k] += (value - channel.averages[k]) / rule.time_constants[k]
    if known and (learning or channel.statistics[VALUES] == 0.0):
        features.update_statistics(rule, channel.statistics, value, value - before)
    origins[HAS_VALUE] = 1.0 if known else 0.0
    return value - before


@device
def complete_pair(rule, arrays, networks, channel, slot, c, number, progress, learning, vectors):
    """Learn the pair of sample ``number`` − horizon, whose last target has arrived."""
    horizon, hidden = rule.sizes[HORIZON], rule.sizes[HIDDEN]
    origin = number - horizon
    row = origin % horizon
    scale, anchor = channel.origins[row, SCALE], channel.origins[row, ANCHOR]
    if hidden > 0:
        state_net.clear_gradient(networks, slot, c, progress[slot, PAIRS])
    if not learning or channel.first[0] == NONE or origin < channel.first[0] or not scale > 0.0:
        return
    z, read_out, found = row_of(channel.features, row), read_out_of(arrays, c), 0
    rls.forecast(read_out, z, vectors.errors)
    for h in range(horizon):
        if channel.origins[(origin + 1 + h) % horizon, HAS_VALUE] == 1.0:
            target = (value_of(channel, origin + 1 + h) - anchor) / scale
            target = min(max(target, -_LARGEST_TARGET), _LARGEST_TARGET)
            vectors.errors[h] = target - vectors.errors[h]
            found += 1
        else:
            vectors.errors[h] = np.nan
    if found == 0:
        return
    weight = rls.cut_errors(read_out, rule.constants[CLIP], vectors.errors, vectors.cut)
    if hidden > 0:
        first = rule.sizes[FEATURES] - hidden
        state_net.set_gradient(networks, slot, c, progress[slot, PAIRS], read_out, vectors.errors, first)
    rls.learn(
        read_out, rule.constants[FORGETTING], rule.constants[RIDGE], z, vectors.cut, weight, vectors.gain
    )


@device
def forecast(rule, arrays, networks, slot, c, number, t, change, extra, scratch, vectors):
    """Write features and forecasts of sample ``number``. ``t``: its slot of the GRU's window."""
    channel, read_out, mixed, band = (
        channel_of(arrays, slot, c), read_out_of(arrays, c), mix_of(arrays, c), bands_of(arrays, c),
    )  # fmt: skip
    row, hidden = number % channel.origins.shape[0], rule.sizes[HIDDEN]
    origin, z, forecasts = (
        row_of(channel.origins, row),
        row_of(channel.features, row),
        row_of(channel.forecasts, row),
    )
    seen = channel.first[0] != NONE
    last, level = value_of(channel, number), channel.statistics[LEVEL]
    scale = features.scale_of(channel.statistics) if seen else 0.0
    origin[SCALE] = scale
    origin[DRIFT] = features.drift_of(rule, channel.statistics)
    origin[ANCHOR] = last if rule.sizes[RESIDUAL] == 1 else level
    if scale > 0.0:
        features.write_features(rule, channel, number, scale, extra, z)
    if hidden > 0:
        first = rule.sizes[FEATURES] - hidden
        inputs = rows_of(vectors.gain, 0, extra.size + 2)
        known = scale > 0.0
        inputs[0] = _limited(change / scale, _INPUT_LIMIT) / 2.0 if known else 0.0
        inputs[1] = _limited((last - level) / (4.0 * scale), _INPUT_LIMIT) if known else 0.0
        for k in range(extra.size):
            inputs[2 + k] = extra[k]
        state_net.step(networks, slot, c, t, inputs, scratch, z, first)
    if not seen:
        clear_origin(channel, row)
        return
    if scale > 0.0:
        rls.forecast(read_out, z, vectors.errors)
    for h in range(rule.sizes[HORIZON]):
        weights, total = row_of(mixed.weights, h), 0.0
        own = origin[ANCHOR] + scale * vectors.errors[h] if scale > 0.0 else last
        forecasts[READ_OUT, h] = rounded(own)
        for q in range(weights.size - 1):
            total += weights[q] * experts.naive_forecast(channel, rule.periods, number, h + 1, q)
        total += weights[weights.size - 1] * np.float64(forecasts[READ_OUT, h])
        forecasts[MIXED, h] = rounded(total) if rule.sizes[MIXES] == 1 else forecasts[READ_OUT, h]
        half = conformal.half_width(band, h) * scale
        forecasts[ERROR_LEVEL, h] = np.float32(min(conformal.level_of(band, h), _LARGEST))
        forecasts[HALF_WIDTH, h] = canonical_nan(np.float32(min(half, _LARGEST)) if half == half else _NAN)


@device
def rounded(value):
    """A finite float32; NaN stays."""
    return np.float32(min(max(value, -_LARGEST), _LARGEST)) if value == value else _NAN


@device
def _limited(value, limit):
    return min(max(value, -limit), limit)
