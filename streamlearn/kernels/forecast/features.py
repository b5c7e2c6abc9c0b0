"""The features of a sample, from the values of its channel so far.

    1
    (x_{t−k} − x_t)/s           for k = 1 … L − 1
    (x_t − μ)/s                 the level
    (a_k − a_{k−1})/(s √T_k)    for the running averages a_k with time constants T_k; a_0 = x_t
    (x_{t+h−m} − x_t)/s         for h = 1 … H, for each season m that is longer than L
    further features that the caller gives
    the state of the GRU

μ is the running mean and s the scale: the recent mean of |x_t − x_{t−1}|, at least a fifth of its mean over
the whole stream. All but the GRU's state are cut to ±20. While s is 0, all values were equal, and there are
no features.
"""

from __future__ import annotations

import math

from ..compiler import device
from .records import (
    CHANGE,
    CHANGES,
    EXTRA,
    HORIZON,
    LAGS,
    LEVEL,
    MEAN_CHANGE,
    MEAN_STEP,
    SCALE_GAIN,
    SQUARE,
    VALUES,
    value_of,
)

LIMIT = 20.0
_LEAST_SCALE = 0.2  # of the mean change of the whole stream


@device
def update_statistics(rule, statistics, value, change):
    """Add a value, and its change from the value before, to the statistics of its channel."""
    statistics[VALUES] += 1.0
    statistics[LEVEL] += (value - statistics[LEVEL]) / statistics[VALUES]
    if statistics[VALUES] > 1.0:
        statistics[CHANGES] += 1.0
        share = 1.0 / statistics[CHANGES]
        statistics[MEAN_CHANGE] += share * (abs(change) - statistics[MEAN_CHANGE])
        gain = max(rule.constants[SCALE_GAIN], share)  # a plain mean at first
        statistics[CHANGE] += gain * (abs(change) - statistics[CHANGE])
        statistics[MEAN_STEP] += gain * (change - statistics[MEAN_STEP])
        statistics[SQUARE] += gain * (change * change - statistics[SQUARE])


@device
def scale_of(statistics):
    """s of a channel; 0 while all values were equal."""
    return max(statistics[CHANGE], _LEAST_SCALE * statistics[MEAN_CHANGE])


@device
def drift_of(rule, statistics):
    """The mean change per sample, drawn towards 0 by its uncertainty: d·max(0, 1 − mean square/(n d²))."""
    step, count = statistics[MEAN_STEP], min(statistics[CHANGES], 1.0 / rule.constants[SCALE_GAIN])
    power = count * step * step
    return step * (1.0 - statistics[SQUARE] / power) if power > statistics[SQUARE] else 0.0


@device
def write_features(rule, channel, number, scale, extra, z):
    """Write the features of sample ``number`` to ``z``, but those of the GRU. Return how many there are."""
    last = value_of(channel, number)
    z[0] = 1.0
    m = 1
    place = number % channel.history.size
    for _ in range(1, rule.sizes[LAGS]):
        place = place - 1 if place > 0 else channel.history.size - 1
        z[m] = _limited((channel.history[place] - last) / scale)
        m += 1
    z[m] = _limited((last - channel.statistics[LEVEL]) / scale)
    m += 1
    later = last
    for k in range(channel.averages.size):
        average, width = channel.averages[k], scale * math.sqrt(rule.time_constants[k])
        z[m] = _limited((average - later) / width)
        later = average
        m += 1
    for p in range(rule.periods.size):
        if rule.periods[p] > rule.sizes[LAGS]:
            for h in range(1, rule.sizes[HORIZON] + 1):
                source = one_season_before(number, h, rule.periods[p])
                z[m] = _limited((value_of(channel, source) - last) / scale)
                m += 1
    for k in range(rule.sizes[EXTRA]):
        z[m] = extra[k]
        m += 1
    return m


@device
def one_season_before(number, h, period):
    """The newest sample up to ``number`` that is whole seasons before sample ``number`` + ``h``."""
    return number + h - period * ((h + period - 1) // period)


@device
def _limited(value):
    return min(max(value, -LIMIT), LIMIT)
