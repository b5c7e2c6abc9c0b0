"""Alarms: intervals of high evidence, and channels that are stuck.

``evidence.py`` computes the evidence of each sample, ``stuck.py`` the runs of each channel. An alarm begins
when the evidence was above ``above`` at ``count`` of the last ``window`` samples. It ends when the evidence
was below ``clear`` for ``window`` samples, at least eight. High evidence within ``quiet`` samples of other
high evidence belongs to the same fault: it begins no new alarm, unless it exceeds the largest of them by 1. A
sample without a score changes nothing.

State, a row per key (one row without keys): ``recent`` float32 ``(slots, 8)``, the last distances or errors.
``numbers`` int64 ``(slots, 11)``: ON … KEPT. ``levels`` float64 ``(slots, 3)``: EVIDENCE, SCORE, HELD.
``shares`` float64 ``(slots, channels)``: summed contributions of the alarm.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device, kernel
from ..simd.views import row_of
from . import evidence as evidences
from . import patterns, stuck

NONE, BEGIN, DURING, END = 0, 1, 2, 3  # outputs
SCORE_ALARM, STUCK_ALARM = 0, 1  # causes

# Columns of ``numbers``
ON = 0  # whether an alarm is on
HIGH = 1  # one bit for each of the last samples: whether the evidence was above ``above``
LOW = 2  # samples since the evidence was below ``clear``
FIRST, PEAK, LAST = 3, 4, 5  # samples of the alarm: the first, that with the most evidence, the last high one
SAMPLES = 6  # of the alarm
QUIET = 7  # samples until the largest evidence is forgotten
VALUES = 8  # in ``recent``, counted on without an end
PATTERN = 9  # 1 + number of the fault's pattern; 0: none
KEPT = 10  # row of ``kept`` of its first sample; that of its peak comes next
NUMBERS = 11

# Columns of ``levels``
EVIDENCE, SCORE = 0, 1  # the largest of the alarm
HELD = 2  # the largest evidence of the last ``quiet`` samples
LEVELS = 3

SMOOTHED = evidences.SMOOTHED
_STRONGER = 1.0  # evidence by which a sample must exceed HELD to begin another alarm
_LARGEST_VALUE = np.float32(1e38)

# Columns of events: numbers and levels. The channels' shares are next to the levels.
E_CODE, E_CAUSE, E_ROW, E_SAMPLE, E_FIRST, E_LAST, E_PEAK, E_SAMPLES, E_CHANNEL, E_PATTERN = range(10)
E_NUMBERS = 10
E_SCORE, E_EVIDENCE, E_SHARES = range(3)
EVENTS_PER_ROW = 3


class Settings(NamedTuple):
    """When an alarm begins and ends."""

    above: Any
    clear: Any
    count: Any
    window: Any
    quiet: Any
    after: Any  # samples before the first alarm


class Alarms(NamedTuple):
    """The state, see above."""

    settings: Settings
    reference: Any  # of the model, see evidence.py
    recent: Any
    numbers: Any
    levels: Any
    shares: Any
    runs: Any
    known: Any  # patterns.Known


class Sample(NamedTuple):
    """One sample with a score."""

    n: Any  # row of the outputs
    number: Any
    score: Any
    evidence: Any
    pattern: Any  # number of the fault's pattern; −1: none
    x: Any  # (rows, dim)
    contribution: Any


class Events(NamedTuple):
    """The alarms that began or ended, in order."""

    numbers: Any  # (most, E_NUMBERS)
    levels: Any  # (most, E_SHARES + channels)


@device
def _reset(alarms, slot):
    """A new key begins."""
    numbers, levels = alarms.numbers, alarms.levels
    for i in range(NUMBERS):
        numbers[slot, i] = 0
    for i in range(LEVELS):
        levels[slot, i] = 0.0
    for i in range(SMOOTHED):
        alarms.recent[slot, i] = np.float32(0)
    for d in range(alarms.shares.shape[1]):
        alarms.shares[slot, d] = 0.0
    for d in range(alarms.runs.shape[1]):
        for i in range(stuck.COLUMNS):
            alarms.runs[slot, d, i] = 0.0


@device
def _evidence(alarms, slot, value, score, learning):
    """The evidence of a sample: the surprise of the sample, and of the mean of the last eight."""
    recent, numbers = row_of(alarms.recent, slot), alarms.numbers
    recent[numbers[slot, VALUES] % SMOOTHED] = min(value, _LARGEST_VALUE)
    numbers[slot, VALUES] += 1
    count = min(numbers[slot, VALUES], SMOOTHED)
    total = 0.0
    for i in range(count):
        total += np.float64(recent[i])
    own = evidences.surprise_of_sample(alarms.reference, value, score, learning)
    mean = total * (1.0 / SMOOTHED) if count == SMOOTHED else total / count
    return own + evidences.surprise_of_mean(alarms.reference, mean, learning)


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
    levels[slot, SCORE] = max(levels[slot, SCORE], sample.score)
    if sample.contribution.shape[0] > 0:
        for d in range(shares.shape[1]):
            share = np.float64(sample.contribution[sample.n, d])
            if share == share:
                shares[slot, d] += share


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
    _add_to_alarm(alarms, slot, sample)


@device
def _is_new(alarms, slot, sample, held):
    """Whether a sample begins an alarm, and does not belong to the fault of the last one."""
    if sample.pattern >= 0 and alarms.numbers[slot, PATTERN] != 1 + sample.pattern:
        return True
    return held == 0.0 or sample.evidence > held + _STRONGER


@device
def _advance(alarms, slot, sample):
    """Advance the alarm of a stream by a sample with a score. Return its code."""
    settings, numbers, levels = alarms.settings, alarms.numbers, alarms.levels
    settled = alarms.reference[evidences.SAMPLES] > settings.after
    known = sample.pattern >= 0
    high = known or (sample.evidence > settings.above and settled)
    mask = ((numbers[slot, HIGH] << 1) | (1 if high else 0)) & ((1 << settings.window) - 1)
    numbers[slot, HIGH] = mask
    if numbers[slot, QUIET] > 0:
        numbers[slot, QUIET] -= 1
    else:
        levels[slot, HELD] = 0.0
    held, code = levels[slot, HELD], NONE
    if high:
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
    elif high and (known or _bits(mask) >= settings.count) and _is_new(alarms, slot, sample, held):
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
        if share > most:
            channel, most = d, share
    event[E_CHANNEL] = channel


@device
def _watch_runs(alarms, slot, x, n, sample, learning, events, k):
    """Add a sample to the runs of all channels. Write the events of stuck channels. Return the next ``k``."""
    begins = ends = 0
    began, length = np.int64(0), np.int64(0)
    for d in range(x.shape[1]):
        run = row_of(row_of(alarms.runs, slot), d)
        reported, run_length = run[stuck.REPORTED], run[stuck.LENGTH]
        change = stuck.observe(run, np.float64(x[n, d]), sample, learning)
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
                levels[i] = np.float32(0) if i >= E_SHARES else np.float32(np.nan)
        event[E_SAMPLES] = max(event[E_SAMPLES], length)
        levels[E_SHARES + d] = np.float32(1)
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


@kernel(
    "i8(f8[::1], f8[:,::1], f8[:,::1], f4[:,::1], i8[:,::1], f8[:,::1], f8[:,::1], f8[:,:,::1], f8[:,::1],"
    " f4[:,::1], f8[:,::1], f4[:,::1], i8[::1], f4[:,::1], f4[::1], f4[::1], f4[:,::1], b1[::1], i8[::1],"
    " i8[::1], i8[::1], b1[::1], i1[::1], f4[::1], i1[::1], i8[::1], i8[:,::1], f4[:,::1])"
)
def process(
    settings,  # (6,): see Settings
    # State
    references,  # (3, SIZE): see evidence.py
    hours,  # (3, HOURS); (3, 0) with more than one channel
    recent,  # (slots, SMOOTHED)
    numbers,  # (slots, NUMBERS)
    levels,  # (slots, LEVELS)
    shares,  # (slots, channels)
    runs,  # (slots, dim, COLUMNS): see stuck.py; (slots, 0, COLUMNS) without it
    channels,  # (3, dim): see patterns.py
    known_values,  # (PATTERNS, dim)
    known_verdicts,  # (PATTERNS, 3)
    kept,  # (KEPT_ROWS, dim)
    kept_numbers,  # (KEPT_ROWS + 1,)
    # Samples
    x,  # (rows, dim)
    values,  # (n,): distances or errors
    scores,  # (n,)
    contribution,  # (n, channels); (0, channels) if there is none
    watched,  # (n,): samples that are not learned; (0,): all are
    samples,  # (n,): numbers of the samples
    times,  # (n,): nanoseconds since 1970; (0,): unknown
    slots,  # (n,): rows of the state, −1: none; (0,): all in row 0
    fresh,  # (n,): whether the key is new in its row; (0,): none
    # Outputs
    alarm,  # (n,): NONE … END
    evidence,  # (n,): NaN without a score
    fault,  # (n,): number of the fault's pattern; −1: none
    row,  # (1,): the next row to process
    event_numbers,  # (most, E_NUMBERS)
    event_levels,  # (most, E_SHARES + channels)
):
    """Process samples from ``row`` on. Stop when the events do not fit. Return their number.

    ``x`` has a row for each output; or no outputs, or no samples, of a model with look-ahead.
    """
    counts = np.int64(settings[2]), np.int64(settings[3]), np.int64(settings[4])
    limits = Settings(settings[0], settings[1], *counts, settings[5])
    known = patterns.Known(channels, known_values, known_verdicts, kept, kept_numbers)
    alarms = Alarms(
        limits, row_of(references, evidences.OF_MODEL), recent, numbers, levels, shares, runs, known
    )
    events = Events(event_numbers, event_levels)
    compares = patterns.exist(known)
    k = 0
    for n in range(row[0], max(scores.size, x.shape[0])):
        if k + EVENTS_PER_ROW > event_numbers.shape[0]:
            return k
        slot = slots[n] if slots.size > 0 else np.int64(0)
        learning = not (watched.size > n and watched[n])
        row[0] = n + 1
        if n < scores.size:
            alarm[n], evidence[n], fault[n] = NONE, np.nan, -1
        if slot < 0:
            continue
        if fresh.size > n and fresh[n]:
            _reset(alarms, slot)
        if runs.shape[1] > 0 and n < x.shape[0]:
            k = _watch_runs(alarms, slot, x, n, samples[n], learning, events, k)
        pattern = patterns.nearest(known, x, n) if compares and n < x.shape[0] else -1
        if learning and n < x.shape[0]:
            patterns.observe(known, x, n)
        if n >= scores.size:
            continue
        if not (scores[n] == scores[n] and values[n] == values[n]):
            alarm[n] = DURING if numbers[slot, ON] == 1 else NONE
            continue
        found = _evidence(alarms, slot, values[n], scores[n], learning)
        if hours.shape[1] > 0 and n < min(times.size, x.shape[0]) and x[n, 0] == x[n, 0]:
            other = evidences.of_hour(references, hours, np.float64(x[n, 0]), times[n], learning)
            found = max(found, other)
        if pattern >= 0:
            if known_verdicts[pattern, patterns.VERDICT] == patterns.NORMAL:
                found, pattern = 0.0, -1
            elif found < settings[1] and numbers[slot, ON] == 0:
                pattern = -1
        sample = Sample(n, samples[n], np.float64(scores[n]), found, pattern, x, contribution)
        code = _advance(alarms, slot, sample)
        alarm[n], evidence[n], fault[n] = code, np.float32(found), pattern
        if code in (BEGIN, END):
            _report(alarms, slot, code, n, samples[n], events, k)
            k += 1
    return k
