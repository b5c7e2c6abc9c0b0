"""Evidence for alarms: how surprising a value is among the recent ones of its stream.

The surprise of an event is −log of its probability on the recent stream. The evidence of a sample is the
largest of several surprises. Each is that of one value v ≥ 0:

    OF_SAMPLE         the distance or error
    OF_MEAN           the mean of it over about eight samples
    OF_DEVIATION      the largest deviation of a channel, given the others (``deviations.py``)
    OF_LASTING        the largest mean deviation of a channel over about eight samples
    OF_RESIDUAL, OF_MEAN_RESIDUAL   of a stream of one channel with times: its residual from the mean at the
                      same hour of the day, and the mean of the last eight residuals

A value has no surprise up to its quantile at 0.98. Beyond it the logarithm of the value has an exponential
tail (a Pareto tail: Hill 1975; Siffer et al. 2017):

    surprise = log 50 + log(v/q)/β    at most 30; q: the quantile; β: the mean of log(v/q) beyond it

q is a multiple of a running mean of the value, so that a learner whose distances fall keeps its tail. The
running mean is over 256 samples for OF_SAMPLE, and over 4,000 for all others: a long fault keeps its
evidence. q moves by stochastic approximation (Robbins & Monro 1951) with the step of an exponential tail. The
references of means follow one sample in four (`follows_some`).

The score gives a second surprise of the sample, −log(1 − score), at most log 10,000: how few recent samples
were larger is known for no more than these. A distance or error joins its mean with at most three times q.
So one extreme sample has the evidence of one sample, and not that of eight.

State: ``references`` float64 ``(7, 5)``: SAMPLES … BEYOND of each value, common to all streams of a model.
The last row belongs to ``deviations.py``. ``hours`` float64 ``(3, 24)``: COUNT and MEAN of each hour; then
the last eight residuals and, at RESIDUALS, how many there were.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import log
from ..simd.views import row_of

SAMPLES, LEVEL = 0, 1  # number of values; their running mean
QUANTILE = 2  # q, as a multiple of LEVEL
EXCESS, BEYOND = 3, 4  # β; number of values beyond q
SIZE = 5
OF_SAMPLE, OF_MEAN, OF_DEVIATION, OF_LASTING, OF_RESIDUAL, OF_MEAN_RESIDUAL, OF_COUNTS = range(7)
ROWS = 7

HOURS = 24
COUNT, MEAN, RECENT = 0, 1, 2  # rows of ``hours``
SMOOTHED = 8  # samples of the second time scale
RESIDUALS = SMOOTHED  # column of RECENT
_HOUR = 3_600_000_000_000  # nanoseconds
_HOUR_GAIN = 0.02  # least gain of the mean of an hour

MOST = 30.0  # largest surprise
MOST_BY_SCORE = np.float32(9.210340371976182)  # log 10,000
SHORT, LONG = 256.0, 4000.0  # memories of a running mean, in samples
EVERY, YOUNG = 4, 1000  # some references follow one sample in four from the thousandth on
_PHASE = 64  # samples until another of four samples in a row is the one
CUT = 3.0  # in multiples of q: the largest value that joins a mean
_AT_QUANTILE = 3.912023005428146  # −log(1 − 0.98)
_UP, _DOWN = 0.98, -0.02
_FIRST_EXCESS, _LEAST_EXCESS = 0.2, 0.02
_LEAST_QUANTILE = 1e-3
_SETTLED = 200.0  # values before the first surprise, and before the first change of β
_WEIGHT_OF_FIRST = 4.0  # values that the first β counts as
_CLIP = 4.0  # in β: a fault must not widen what it is compared with
_TAIL_GAIN = 1.0 / 200.0
_STEP, _MOST_STEP = 5.0, 0.05  # over the number of values; at most
_MOST_CHANGE = 0.5  # of q, in one step
_PER_QUANTILE = 50.0  # 1/(1 − 0.98)
_HIGHEST_STEP = 4.0  # levels: a spike must not move the level far
_SOFT = 0.01  # of the level: a value of 0 has a logarithm, too
_NOTHING = 5.0  # excess over a level of 0
_UNCUT = 100.0  # values before the first cut
_LARGEST = 1e38


@device
def surprise_of_score(score):
    """−log(1 − score), at most log 10,000; NaN without a score."""
    surprise = -log(np.float32(1) - score)
    return MOST_BY_SCORE if surprise > MOST_BY_SCORE else surprise


@device
def follows_some(number):
    """Whether sample ``number`` is the one in four. Streams that take turns must not always miss it."""
    return (number + number // _PHASE) % EVERY == 0


@device
def largest_to_join(reference, otherwise):
    """The largest value that joins a mean."""
    if reference[SAMPLES] < _UNCUT:
        return otherwise
    return CUT * reference[QUANTILE] * reference[LEVEL]


@device
def surprise(reference, value, memory, learning):
    """The surprise of a value. ``learning``: whether the reference follows."""
    r, found = reference, 0.0
    if r[SAMPLES] == 0.0:
        if not learning:
            return found
        r[LEVEL], r[QUANTILE], r[EXCESS] = value, 1.0, _FIRST_EXCESS
    level, excess, beyond = r[LEVEL], r[EXCESS], value > r[QUANTILE] * r[LEVEL]
    if beyond and r[SAMPLES] >= _SETTLED:
        distance = _excess(value, r[QUANTILE] * level, level)
        found = min(_AT_QUANTILE + distance / max(excess, _LEAST_EXCESS), MOST)
        if learning:
            r[BEYOND] += 1.0
            gain = max(_TAIL_GAIN, 1.0 / (r[BEYOND] + _WEIGHT_OF_FIRST))
            r[EXCESS] += gain * (min(distance, _CLIP * excess) - excess)
    if learning:
        _follow(r, value, memory, beyond)
    return found


@device
def _excess(value, quantile, level):
    """log(v/q)."""
    if level <= 0.0:
        return _NOTHING
    return np.float64(log(np.float32(min((value + _SOFT * level) / (quantile + _SOFT * level), _LARGEST))))


@device
def _follow(r, value, memory, beyond):
    """Let the level and the quantile follow."""
    samples, level = r[SAMPLES] + 1.0, r[LEVEL]
    r[SAMPLES] = samples
    rate, gain = _STEP / LONG, 1.0 / memory
    if samples < LONG:
        rate = min(_STEP / samples, _MOST_STEP)
        gain = max(gain, 1.0 / samples)
    step = min(max(r[EXCESS], _LEAST_EXCESS) * _PER_QUANTILE * rate, _MOST_CHANGE)
    quantile = r[QUANTILE]
    r[QUANTILE] = max(quantile + quantile * step * (_UP if beyond else _DOWN), _LEAST_QUANTILE)
    r[LEVEL] = level + gain * ((min(value, _HIGHEST_STEP * level) if level > 0.0 else value) - level)


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
        evidence = surprise(row_of(references, OF_RESIDUAL), abs(residual), LONG, learning)
        smooth = surprise(row_of(references, OF_MEAN_RESIDUAL), abs(total) / used, LONG, learning)
        evidence = max(evidence, smooth)
    if learning:
        hours[COUNT, hour] = count + 1.0
        hours[MEAN, hour] = mean + max(_HOUR_GAIN, 1.0 / (count + 1.0)) * (value - mean)
    return evidence
