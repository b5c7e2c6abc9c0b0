"""Alarms: intervals of high evidence, and channels that are stuck.

``evidence.py`` computes the evidence of each sample, ``stuck.py`` the runs of each channel. An alarm begins
when the evidence was above ``above`` at ``count`` of the last ``window`` samples. It ends when the evidence
was below ``clear`` for ``window`` samples, at least eight. High evidence within ``quiet`` samples of other
high evidence belongs to the same fault: it begins no new alarm, unless it exceeds the largest of them by 1. A
sample without a score changes nothing.

``threshold.py`` calibrates ``above`` if it is not given.

State, a row per key (one row without keys): ``numbers`` int64 ``(slots, 12)``: ON … PLAIN. ``levels`` float64
``(slots, 4)``: EVIDENCE … MEAN.
``shares`` float64 ``(slots, channels)``: summed contributions of the alarm. ``expected`` float32
``(slots, channels)``: what the model expected of its peak.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.views import row_of
from . import deviations, patterns, stuck, threshold
from . import evidence as evidences

NONE, BEGIN, DURING, END = 0, 1, 2, 3  # outputs
SCORE_ALARM, STUCK_ALARM = 0, 1  # causes

# Columns of ``numbers``
ON = 0  # whether an alarm is on
HIGH = 1  # one bit for each of the last samples: whether the evidence was above ``above``
LOW = 2  # samples since the evidence was below ``clear``
FIRST, PEAK, LAST = 3, 4, 5  # samples of the alarm: the first, that with the most evidence, the last high one
SAMPLES = 6  # of the alarm
QUIET = 7  # samples until the largest evidence is forgotten
VALUES = 8  # in MEAN
PATTERN = 9  # 1 + number of the fault's pattern; 0: none
KEPT = 10  # row of ``kept`` of its first sample; that of its peak comes next
PLAIN = 11  # see stuck.py
NUMBERS = 12

# Columns of ``levels``
EVIDENCE, SCORE = 0, 1  # the largest of the alarm
HELD = 2  # the largest evidence of the last ``quiet`` samples
MEAN = 3  # of the distance or error, over about eight samples
LEVELS = 4

SMOOTHED = evidences.SMOOTHED
_STRONGER = 1.0  # evidence by which a sample must exceed HELD to begin another alarm
_LARGEST = np.float32(np.finfo(np.float32).max)
_LARGEST_VALUE = 1e38

# Columns of events: numbers and levels. Next to the levels are the channels' shares, then what was expected.
E_CODE, E_CAUSE, E_ROW, E_SAMPLE, E_FIRST, E_LAST, E_PEAK, E_SAMPLES, E_CHANNEL, E_PATTERN = range(10)
E_NUMBERS = 10
E_SCORE, E_EVIDENCE, E_SHARES = range(3)
EVENTS_PER_ROW = 3


class Settings(NamedTuple):
    """When an alarm begins and ends."""

    above: Any  # 0: the calibrated threshold
    clear: Any
    count: Any
    window: Any
    quiet: Any
    after: Any  # samples before the first alarm
    factor: Any  # of the calibrated threshold, see threshold.py


class Alarms(NamedTuple):
    """The state, see above."""

    settings: Settings
    references: Any  # of the model, see evidence.py
    deviations: Any  # deviations.Deviations
    numbers: Any
    levels: Any
    shares: Any
    expected: Any
    runs: Any
    last: Any
    threshold: Any  # of the model, see threshold.py
    known: Any  # patterns.Known


class Sample(NamedTuple):
    """One sample with a score."""

    n: Any  # row of the outputs
    number: Any
    score: Any
    evidence: Any
    compared: Any  # whether the channels have deviations
    which: Any  # of them has the evidence: U or LASTING of deviations.py; Z if the distance or error has it
    pattern: Any  # number of the fault's pattern; −1: none
    learning: Any  # whether it is learned
    x: Any  # (rows, dim)
    contribution: Any  # (rows, channels); (0, channels) if there is none
    expected: Any  # likewise


class Follows(NamedTuple):
    """Whether references follow a sample."""

    each: Any  # those of single samples
    some: Any  # those of means over eight samples, which change little from one to the next


class Samples(NamedTuple):
    """The samples of a call, with their outputs."""

    x: Any  # (rows, dim)
    values: Any  # (n,): distances or errors
    scores: Any  # (n,)
    contribution: Any  # (n, channels); (0, channels) if there is none
    expected: Any  # likewise
    times: Any  # (n,); (0,): unknown
    compares: Any  # whether there are patterns


class Outputs(NamedTuple):
    """The outputs of a call, ``(n,)`` each."""

    alarm: Any
    evidence: Any
    fault: Any


class Events(NamedTuple):
    """The alarms that began or ended, in order."""

    numbers: Any  # (most, E_NUMBERS)
    levels: Any  # (most, E_SHARES + 2·channels)


@device
def _finite(value):
    """``value``, or the largest number for infinity, or the one bit pattern of NaN."""
    if not (value == value):
        return np.float32(np.nan)
    return min(max(value, -_LARGEST), _LARGEST)


@device
def reset(alarms, slot):
    """A new key begins."""
    numbers, levels = alarms.numbers, alarms.levels
    for i in range(NUMBERS):
        numbers[slot, i] = 0
    for i in range(LEVELS):
        levels[slot, i] = 0.0
    deviations.clear(alarms.deviations, slot)
    for d in range(alarms.shares.shape[1]):
        alarms.shares[slot, d] = 0.0
        alarms.expected[slot, d] = np.float32(0)
    for i in range(stuck.ROWS):
        for d in range(alarms.runs.shape[2]):
            alarms.runs[slot, i, d] = 0.0


@device
def _of_distance(alarms, slot, value, of_score, follows):
    """The evidence of the distance or error: of the sample, or of its mean over about eight samples."""
    references, numbers, levels = alarms.references, alarms.numbers, alarms.levels
    of_sample, of_mean = row_of(references, evidences.OF_SAMPLE), row_of(references, evidences.OF_MEAN)
    value = min(value, _LARGEST_VALUE)
    joins = min(value, evidences.largest_to_join(of_sample, _LARGEST_VALUE))
    numbers[slot, VALUES] += 1
    count, mean = numbers[slot, VALUES], levels[slot, MEAN]
    mean += (joins - mean) * (1.0 / SMOOTHED if count >= SMOOTHED else 1.0 / count)
    levels[slot, MEAN] = mean
    own = evidences.surprise(of_sample, value, evidences.SHORT, follows.each)
    together = evidences.surprise(of_mean, mean, evidences.LONG, follows.some)
    return max(of_score, own, together)


@device
def _of_channels(alarms, slot, samples, n, follows):
    """Whether the channels have deviations; the evidence of the largest one, of the largest lasting one."""
    references = alarms.references
    if not deviations.compare(alarms.deviations, samples.x, samples.expected, n):
        return False, 0.0, 0.0
    of_one, of_mean = row_of(references, evidences.OF_DEVIATION), row_of(references, evidences.OF_LASTING)
    cut = min(evidences.largest_to_join(of_one, np.float64(deviations.LARGEST)), _LARGEST_VALUE)
    largest, lasting = deviations.largest(alarms.deviations, slot, cut)
    of_one_sample = evidences.surprise(of_one, largest, evidences.LONG, follows.each)
    of_several = evidences.surprise(of_mean, lasting, evidences.LONG, follows.some)
    if follows.each:
        deviations.observe(alarms.deviations)
    return True, of_one_sample, of_several


@device
def _evidence(alarms, slot, samples, hours, n, number, learning, outputs):
    """The evidence of row ``n``; whether the channels have deviations; which of them has the evidence."""
    x, times = samples.x, samples.times
    young = alarms.references[evidences.OF_SAMPLE, evidences.SAMPLES] < evidences.YOUNG
    follows = Follows(learning, learning and (young or evidences.follows_some(number)))
    of_score = np.float64(outputs.evidence[n])
    found = _of_distance(alarms, slot, np.float64(samples.values[n]), of_score, follows)
    compared, which = False, deviations.Z
    if alarms.deviations.covariance.shape[0] > 0 and n < min(samples.expected.shape[0], x.shape[0]):
        compared, of_one, of_several = _of_channels(alarms, slot, samples, n, follows)
        if max(of_one, of_several) > found:
            which = deviations.U if of_one >= of_several else deviations.LASTING
            found = max(of_one, of_several)
    if hours.shape[1] > 0 and n < min(times.size, x.shape[0]) and x[n, 0] == x[n, 0]:
        other = evidences.of_hour(alarms.references, hours, np.float64(x[n, 0]), times[n], learning)
        found = max(found, other)
    return found, compared, which


@device
def _bits(mask):
    count = 0
    while mask != 0:
        mask &= mask - 1
        count += 1
    return count


@device
def _add_to_alarm(alarms, slot, sample):
    """Add a sample to the alarm: to its peak and its contributions."""
    numbers, levels, shares = alarms.numbers, alarms.levels, alarms.shares
    numbers[slot, LAST] = sample.number
    if sample.pattern >= 0:
        numbers[slot, PATTERN] = 1 + sample.pattern
    if sample.evidence > levels[slot, EVIDENCE]:
        levels[slot, EVIDENCE] = sample.evidence
        numbers[slot, PEAK] = sample.number
        patterns.keep(alarms.known, numbers[slot, KEPT] + 1, sample.x, sample.n, sample.number)
        if sample.expected.shape[0] > 0:
            for d in range(shares.shape[1]):
                alarms.expected[slot, d] = _finite(sample.expected[sample.n, d])
    levels[slot, SCORE] = max(levels[slot, SCORE], sample.score)
    which = sample.which
    if which == deviations.Z and sample.contribution.shape[0] > 0:
        for d in range(shares.shape[1]):
            share = np.float64(sample.contribution[sample.n, d])
            if share == share:
                shares[slot, d] += share
    elif sample.compared:
        total = 0.0
        for d in range(shares.shape[1]):
            total += deviations.squared(alarms.deviations, which, slot, d)
        for d in range(shares.shape[1] if total > 0.0 else 0):
            shares[slot, d] += deviations.squared(alarms.deviations, which, slot, d) / total


@device
def _begin(alarms, slot, sample):
    """Begin an alarm with its first sample."""
    numbers, levels = alarms.numbers, alarms.levels
    numbers[slot, ON], numbers[slot, LOW], numbers[slot, SAMPLES] = 1, 0, 1
    numbers[slot, FIRST], numbers[slot, PATTERN] = sample.number, 0
    numbers[slot, KEPT] = patterns.keep_next(alarms.known, sample.x, sample.n, sample.number)
    levels[slot, EVIDENCE] = levels[slot, SCORE] = -1.0
    for d in range(alarms.shares.shape[1]):
        alarms.shares[slot, d] = 0.0
        alarms.expected[slot, d] = np.float32(np.nan)
    _add_to_alarm(alarms, slot, sample)


@device
def _is_new(alarms, slot, sample, held):
    """Whether a sample begins an alarm, and does not belong to the fault of the last one."""
    if sample.pattern >= 0 and alarms.numbers[slot, PATTERN] != 1 + sample.pattern:
        return True
    return held == 0.0 or sample.evidence > held + _STRONGER


@device
def _above(alarms):
    """The evidence above which a sample counts for an alarm."""
    settings = alarms.settings
    if settings.above > 0.0:
        return settings.above
    return max(threshold.exceeded_at(alarms.threshold, settings.factor), settings.clear)


@device
def _advance(alarms, slot, sample):
    """Advance the alarm of a stream by a sample with a score. Return its code."""
    settings, numbers, levels = alarms.settings, alarms.numbers, alarms.levels
    settled = alarms.references[evidences.OF_SAMPLE, evidences.SAMPLES] > settings.after
    known, above = sample.pattern >= 0, _above(alarms)
    high = known or (sample.evidence > above and settled)
    if settled and sample.learning:
        threshold.observe(alarms.threshold, sample.evidence, above)
    mask = ((numbers[slot, HIGH] << 1) | (1 if high else 0)) & ((1 << settings.window) - 1)
    numbers[slot, HIGH] = mask
    if numbers[slot, QUIET] > 0:
        numbers[slot, QUIET] -= 1
    else:
        levels[slot, HELD] = 0.0
    held, code = levels[slot, HELD], NONE
    reached = known or (high and _bits(mask) >= settings.count)
    if reached or (high and numbers[slot, ON] == 1):
        levels[slot, HELD] = max(held, sample.evidence)
        numbers[slot, QUIET] = settings.quiet
    if numbers[slot, ON] == 1:
        code = DURING
        numbers[slot, SAMPLES] += 1
        if sample.evidence < settings.clear and not known:
            numbers[slot, LOW] += 1
        else:
            numbers[slot, LOW] = 0
            _add_to_alarm(alarms, slot, sample)
        if numbers[slot, LOW] >= max(settings.window, SMOOTHED):
            code = END
            numbers[slot, ON] = 0
            numbers[slot, SAMPLES] -= numbers[slot, LOW]
    elif reached and _is_new(alarms, slot, sample, held):
        code = BEGIN
        _begin(alarms, slot, sample)
    return code


@device
def _report(alarms, slot, code, n, sample, events, k):
    """Write event ``k``: the alarm of a stream begins or ends."""
    numbers, levels, shares = alarms.numbers, alarms.levels, alarms.shares
    event = row_of(events.numbers, k)
    event[E_CODE], event[E_CAUSE], event[E_ROW], event[E_SAMPLE] = code, SCORE_ALARM, n, sample
    event[E_FIRST], event[E_LAST] = numbers[slot, FIRST], numbers[slot, LAST]
    event[E_PEAK], event[E_SAMPLES] = numbers[slot, PEAK], numbers[slot, SAMPLES]
    event[E_PATTERN] = numbers[slot, PATTERN] - 1
    events.levels[k, E_SCORE] = np.float32(levels[slot, SCORE])
    events.levels[k, E_EVIDENCE] = np.float32(levels[slot, EVIDENCE])
    total = 0.0
    for d in range(shares.shape[1]):
        total += shares[slot, d]
    channel, most = -1, 0.0
    for d in range(shares.shape[1]):
        share = shares[slot, d] / total if total > 0.0 else np.nan
        events.levels[k, E_SHARES + d] = np.float32(share)
        events.levels[k, E_SHARES + shares.shape[1] + d] = alarms.expected[slot, d]
        if share > most:
            channel, most = d, share
    event[E_CHANNEL] = channel


@device
def _watch_runs(alarms, slot, x, n, sample, learning, events, k):
    """Add a sample to the runs of all channels. Write the events of stuck channels. Return the next ``k``."""
    runs, last, plain = row_of(alarms.runs, slot), row_of(alarms.last, slot), alarms.numbers[slot, PLAIN]
    if plain > 0 and stuck.all_change(last, x, n):
        alarms.numbers[slot, PLAIN] += 1 if learning else 0
        return k
    if plain > 1:
        stuck.add_plain(runs, plain - 1)
    begins = ends = 0
    began, length = np.int64(0), np.int64(0)
    for d in range(x.shape[1]):
        reported, run_length = runs[stuck.REPORTED, d], runs[stuck.LENGTH, d]
        change = stuck.observe(runs, last, d, x[n, d], sample, learning)
        if change == stuck.NOTHING:
            continue
        at = k  # ends come first
        if change == stuck.BEGINS:
            begins += 1
            at = k + 1
            length = np.int64(run_length) + 1
            began = sample
        else:
            ends += 1
            length, began = np.int64(run_length), np.int64(reported) - 1
        event, levels = row_of(events.numbers, at), row_of(events.levels, at)
        if (begins if change == stuck.BEGINS else ends) == 1:
            event[E_CODE] = BEGIN if change == stuck.BEGINS else END
            event[E_CAUSE], event[E_ROW], event[E_SAMPLE] = STUCK_ALARM, n, sample
            event[E_FIRST], event[E_PEAK], event[E_CHANNEL] = began, began, d
            event[E_PATTERN] = -1
            event[E_SAMPLES], event[E_LAST] = length, sample if change == stuck.BEGINS else sample - 1
            for i in range(levels.size):
                is_share = E_SHARES <= i < E_SHARES + x.shape[1]
                levels[i] = np.float32(0) if is_share else np.float32(np.nan)
        event[E_SAMPLES] = max(event[E_SAMPLES], length)
        levels[E_SHARES + d] = np.float32(1)
    alarms.numbers[slot, PLAIN] = 1 if stuck.is_plain(runs) else 0
    for at in range(k, k + 2):
        count = ends if at == k else begins
        for i in range(E_SHARES, E_SHARES + (x.shape[1] if count > 1 else 0)):
            events.levels[at, i] /= np.float32(count)
    if begins > 0 and ends == 0:
        _move(events, k + 1, k)
    return k + (begins > 0) + (ends > 0)


@device
def _move(events, source, target):
    for i in range(events.numbers.shape[1]):
        events.numbers[target, i] = events.numbers[source, i]
    for i in range(events.levels.shape[1]):
        events.levels[target, i] = events.levels[source, i]


@device
def process(alarms, hours, samples, outputs, n, number, slot, learning, events, k):
    """Process row ``n`` of the samples and of their outputs, in order. Write events from row ``k`` on.

    ``number``: of the sample. ``slot``: row of the state. Return the next k.
    """
    x, scores, values = samples.x, samples.scores, samples.values
    if alarms.runs.shape[2] > 0 and n < x.shape[0]:
        k = _watch_runs(alarms, slot, x, n, number, learning, events, k)
    pattern = patterns.nearest(alarms.known, x, n) if samples.compares and n < x.shape[0] else -1
    if learning and n < x.shape[0]:
        patterns.observe(alarms.known, x, n, number)
    if n >= scores.size:
        return k
    if not (scores[n] == scores[n] and values[n] == values[n]):
        outputs.evidence[n] = np.float32(np.nan)
        outputs.alarm[n] = DURING if alarms.numbers[slot, ON] == 1 else NONE
        return k
    found, compared, which = 0.0, False, deviations.Z
    if pattern >= 0 and alarms.known.verdicts[pattern, patterns.VERDICT] == patterns.NORMAL:
        pattern = -1  # the sample has no evidence, and joins no mean
    else:
        found, compared, which = _evidence(alarms, slot, samples, hours, n, number, learning, outputs)
        if pattern >= 0 and found < alarms.settings.clear and alarms.numbers[slot, ON] == 0:
            pattern = -1
    sample = Sample(
        n, number, np.float64(scores[n]), found, compared, which, pattern, learning,
        x, samples.contribution, samples.expected,
    )  # fmt: skip
    code = _advance(alarms, slot, sample)
    outputs.alarm[n], outputs.evidence[n], outputs.fault[n] = code, np.float32(found), pattern
    if code in (BEGIN, END):
        _report(alarms, slot, code, n, number, events, k)
        k += 1
    return k
