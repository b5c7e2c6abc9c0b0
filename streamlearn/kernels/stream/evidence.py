"""Evidence for alarms: how surprising the last sample or the last eight samples together are.

The surprise of an event is −log of its probability on the recent stream, at most 30. The evidence is the
larger one of two surprises:

- of the sample: −log(1 − score). Beyond a score of 0.98 the score itself only tells that few recent samples
  were larger, and not how much larger this one is. There the logarithm of the distance or error is compared
  with that of the other samples beyond 0.98, whose excess is taken as exponential (a Pareto tail: Hill 1975;
  Siffer et al. 2017): log 50 + excess/mean excess.
- of the mean distance or error of the last eight samples. Its quantiles at 0.5, 0.8, 0.95 and 0.98 are
  tracked by stochastic approximation (Robbins & Monro 1951); between them −log(1 − p) is interpolated, and
  beyond the last one the tail is exponential in the same way.

The first is relative to a running mean of the distance or error over 256 samples, so a learner whose
distances fall keeps its tail. The second is relative to one over 4,000 samples, so a long fault keeps its
evidence. A sum of the two surprises would find less at the same rate of false alarms: what makes
one of them large hardly moves the other, or moves both.

A stream of one channel with times has a second evidence: the larger surprise of its residual from the
stream's mean at the same hour of the day, and of the mean of the last eight residuals, both as above. The
larger evidence counts.

State: ``references`` float64 ``(3, 14)``: SAMPLES … RUNGS of the model's distance or error, of the residual,
and of the mean residual, whose level is that of the residual. They are common to all streams of a model.
``hours`` float64 ``(3, 24)``: COUNT and MEAN of each hour; then the last eight residuals and, at RESIDUALS,
how many there were.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from ..simd.elementary import log
from ..simd.views import row_of

SAMPLES = 0  # with a score
TAIL_COUNT, TAIL_MEAN, TAIL_VARIANCE = (
    1,
    2,
    3,
)  # of log(value/RECENT_LEVEL + _SOFT), if the score is above 0.98
LEVEL = 4  # running mean of the value, over 4,000 samples
CENTRE, WIDTH = 5, 6  # running mean and mean absolute deviation of log(mean/LEVEL + _SOFT)
EXCESS_COUNT, EXCESS = 7, 8  # mean excess of it over the last rung
RECENT_LEVEL = 9  # running mean of the value, over 256 samples
RUNGS = 10  # its four quantiles
SIZE = 14
OF_MODEL, OF_RESIDUAL, OF_MEAN_RESIDUAL = range(3)  # rows of ``references``

HOURS = 24
COUNT, MEAN, RECENT = 0, 1, 2  # rows of ``hours``
SMOOTHED = 8  # samples of the second time scale
RESIDUALS = SMOOTHED  # column of RECENT
_HOUR = 3_600_000_000_000  # nanoseconds
_HOUR_GAIN = 0.02  # least gain of the mean of an hour

MOST = 30.0  # largest surprise
_TAIL = np.float32(0.98)
_TAIL_SURPRISE = 3.912023005428146  # −log(1 − 0.98)
_PROBABILITIES = (0.5, 0.8, 0.95, 0.98)
_PER_ABOVE = (2.0, 5.0, 20.0, 50.0)  # 1/(1 − p)
_SURPRISES = (0.6931471805599453, 1.6094379124341003, 2.995732273553991, _TAIL_SURPRISE)
_LAST = 3
_LEAST_TAIL = 20.0  # samples in the tail, until it is used
_TAIL_MEMORY = 1.0 / 200.0  # gain, per sample in the tail
_MEMORY = 4000.0  # samples
_LEAST_GAIN = 1.0 / _MEMORY
_LEAST_STEP = 5.0 / _MEMORY
_RECENT_GAIN = 1.0 / 256.0
_HIGHEST_STEP = 4.0  # levels: a spike must not move the level far
_LEAST_WIDTH = 1e-3
_SOFT = 0.01  # a mean of 0 has a logarithm too
_CLIP = 4.0  # in widths: a fault must not widen what it is compared with
_LARGEST = 1e30


@device
def _log(value):
    return np.float64(log(np.float32(value)))


@device
def relative(value, level):
    """A distance or error as a multiple of its level."""
    if level > 0.0:
        return min(value / level, _LARGEST)
    return 1.0 if value == 0.0 else 1.0 / _SOFT


@device
def level_of(reference, which, value):
    """LEVEL or RECENT_LEVEL; before the first sample, the value itself."""
    return reference[which] if reference[SAMPLES] > 0.0 else value


@device
def follow_levels(reference, value):
    """Let the levels follow, after the sample was counted."""
    first = 1.0 / reference[SAMPLES] if reference[SAMPLES] < _MEMORY else 0.0
    _follow_level(reference, LEVEL, value, max(_LEAST_GAIN, first))
    _follow_level(reference, RECENT_LEVEL, value, max(_RECENT_GAIN, first))


@device
def _follow_level(reference, which, value, gain):
    level = reference[which] if reference[SAMPLES] > 1.0 else value
    reference[which] = level + gain * ((min(value, _HIGHEST_STEP * level) if level > 0.0 else value) - level)


@device
def surprise_of_sample(reference, value, score, learning):
    """The surprise of a sample with this relative value. ``learning``: whether the reference follows."""
    rest = np.float32(1) - score
    surprise = MOST if rest <= 0.0 else min(-_log(rest), MOST)
    if not score > _TAIL:
        return surprise
    position = _log(value + _SOFT)
    count, mean = reference[TAIL_COUNT], reference[TAIL_MEAN]
    width = max(math.sqrt(reference[TAIL_VARIANCE]), _LEAST_WIDTH)
    if count >= _LEAST_TAIL:  # an exponential excess has the mean and the width γ above its threshold
        surprise = min(max(_TAIL_SURPRISE + 1.0 + (position - mean) / width, surprise), MOST)
    if learning:
        gain = max(_TAIL_MEMORY, 1.0 / (count + 1.0))
        step = position - mean
        if count >= _LEAST_TAIL:
            step = min(step, _CLIP * width)
        reference[TAIL_COUNT] = count + 1.0
        reference[TAIL_MEAN] = mean + gain * step
        reference[TAIL_VARIANCE] = (1.0 - gain) * (reference[TAIL_VARIANCE] + gain * step * step)
    return surprise


@device
def surprise_of_mean(reference, mean, learning):
    """The surprise of the relative mean of the last eight samples. Counts the sample."""
    position = _log(mean + _SOFT)
    if reference[SAMPLES] == 0.0:
        for r in range(_LAST + 1):
            reference[RUNGS + r] = position
        reference[CENTRE] = position
    surprise = _interpolate(reference, position)
    if learning:
        samples = reference[SAMPLES] + 1.0
        reference[SAMPLES] = samples
        _follow(reference, position, 1.0 / samples if samples < _MEMORY else _LEAST_GAIN)
    return surprise


@device
def _interpolate(reference, position):
    """−log of the share of positions above ``position``, by the tracked quantiles."""
    last = reference[RUNGS + _LAST]
    if position >= last:
        excess = reference[EXCESS]
        return min(_TAIL_SURPRISE + ((position - last) / excess if excess > 0.0 else 0.0), MOST)
    r = _LAST
    while r > 0 and position < reference[RUNGS + r - 1]:
        r -= 1
    if r == 0:
        return 0.0
    low, high = reference[RUNGS + r - 1], reference[RUNGS + r]
    share = (position - low) / (high - low) if high > low else 0.5
    return _SURPRISES[r - 1] + (_SURPRISES[r] - _SURPRISES[r - 1]) * share


@device
def _follow(reference, position, gain):
    """Let the quantiles, the width and the mean excess follow."""
    samples, width, last = reference[SAMPLES], reference[WIDTH], reference[RUNGS + _LAST]
    deviation = position - reference[CENTRE]
    if samples > 8.0:
        deviation = max(-_CLIP * width, min(_CLIP * width, deviation))
    reference[CENTRE] += gain * deviation
    reference[WIDTH] += gain * (abs(deviation) - width)
    if position > last:
        excess, count = position - last, reference[EXCESS_COUNT]
        if count >= 8.0:
            excess = min(excess, _CLIP * reference[EXCESS])
        reference[EXCESS] += max(_TAIL_MEMORY, 1.0 / (count + 1.0)) * (excess - reference[EXCESS])
        reference[EXCESS_COUNT] = count + 1.0
    width = reference[WIDTH]
    rate = width * (min(5.0 / samples, 0.05) if samples < _MEMORY else _LEAST_STEP)
    for r in range(_LAST + 1):
        above = 1.0 - _PROBABILITIES[r]
        step = min(rate * _PER_ABOVE[r], 0.5 * width)
        reference[RUNGS + r] += step * (_PROBABILITIES[r] if position > reference[RUNGS + r] else -above)
        if r > 0:
            reference[RUNGS + r] = max(reference[RUNGS + r], reference[RUNGS + r - 1])


@device
def of_hour(references, hours, value, time, learning):
    """The evidence of the residual from the mean of the hour. ``time`` is in nanoseconds since 1970."""
    hour = (time // _HOUR) % HOURS
    count, mean = hours[COUNT, hour], hours[MEAN, hour]
    evidence = 0.0
    if count > 0.0:
        residual = min(max(value - mean, -_LARGEST), _LARGEST)
        number = np.int64(hours[RECENT, RESIDUALS])
        hours[RECENT, number % SMOOTHED] = residual
        hours[RECENT, RESIDUALS] += 1.0
        used, total = min(number + 1, SMOOTHED), 0.0
        for i in range(used):
            total += hours[RECENT, i]
        of_one, of_mean = row_of(references, OF_RESIDUAL), row_of(references, OF_MEAN_RESIDUAL)
        size, smooth = abs(residual), abs(total) / used
        level = level_of(of_one, LEVEL, size)
        evidence = surprise_of_mean(of_one, relative(size, level), learning)
        evidence = max(evidence, surprise_of_mean(of_mean, relative(smooth, level), learning))
        if learning:
            follow_levels(of_one, size)
    if learning:
        hours[COUNT, hour] = count + 1.0
        hours[MEAN, hour] = mean + max(_HOUR_GAIN, 1.0 / (count + 1.0)) * (value - mean)
    return evidence
