"""What follows the learner: drift and alarms of the samples that it has processed, in one call.

A call of a kernel takes a microsecond or two, as long as the work for several samples. So there is one for
all of it. ``drift.py`` and ``alarm.py`` define the rules. Without alarms, `drift.detect` is called instead.
"""

from __future__ import annotations

import numpy as np

from ..compiler import kernel
from ..simd.views import row_of
from . import alarm as alarms
from . import deviations, patterns, threshold
from . import drift as drifts
from . import evidence as evidences

ABOVE, CLEAR, COUNT, WINDOW, QUIET, AFTER, RATE = range(7)  # settings


@kernel(
    "i8(f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[::1], f8[:,:,::1], i8[::1], i8[::1],"
    " f8[:,::1], f8[:,::1], f8[::1], f4[:,::1], f8[:,:,::1], f4[:,:,::1], f4[:,:,::1],"
    " i8[:,::1], f8[:,::1], f8[:,::1], f4[:,::1], f8[:,:,::1], f4[:,:,::1],"
    " f8[:,::1], f4[:,::1], f8[:,::1], f4[:,::1], i8[::1],"
    " i8, f4[:,::1], f4[::1], f4[::1], f4[:,::1], f4[:,::1], b1[::1], i8, i8[::1], i8[::1], i8[::1], b1[::1],"
    " b1[::1], i1[::1], f4[::1], i1[::1], i8[:,::1], f4[:,::1])"
)
def judge(
    settings,  # (7,): ABOVE … RATE
    drift_settings,  # (8,): see drift.py; (0,) without a detector
    # State of the detector
    block,  # (2,)
    reference,  # (16,)
    page,  # (6,)
    window,  # (3,)
    buckets,  # (ROWS, MOST + 1, 2)
    sizes,  # (ROWS,)
    drift_alarms,  # (3,)
    # State of the alarms
    references,  # (ROWS, SIZE): see evidence.py
    hours,  # (3, HOURS); (3, 0) with more than one channel
    peaks,  # (7,): see threshold.py
    moments,  # (2·groups, 16): see deviations.py
    covariance,  # (groups, side, columns)
    weights,  # (groups, side, 16)
    lasting,  # (slots, groups, 16)
    numbers,  # (slots, NUMBERS)
    levels,  # (slots, LEVELS)
    shares,  # (slots, channels)
    expected_at_peak,  # (slots, channels)
    runs,  # (slots, ROWS, dim): see stuck.py; (slots, ROWS, 0) without it
    last,  # (slots, groups of 16 channels, 16); (slots, 0, 16) without it
    channels,  # (3, dim): see patterns.py
    known_values,  # (PATTERNS, dim)
    known_verdicts,  # (PATTERNS, 3)
    kept,  # (KEPT_ROWS, dim)
    kept_numbers,  # (KEPT_ROWS + 1,)
    # Samples
    begin,  # row to begin with
    x,  # (rows, dim)
    values,  # (n,): distances or errors
    scores,  # (n,)
    contribution,  # (n, channels); (0, channels) if there is none
    expected,  # (n, channels); (0, channels) if there is none
    watched,  # (n,): samples that are not learned; (0,): all are
    first,  # number of the first sample
    samples,  # (n,): numbers of the samples; (0,): they count on from ``first``
    times,  # (n,): nanoseconds since 1970; (0,): unknown
    slots,  # (n,): rows of the state, −1: none; (0,): all in row 0
    fresh,  # (n,): whether the key is new in its row; (0,): none
    # Outputs
    drift,  # (n,); (0,) without a detector
    alarm,  # (n,): NONE … END
    evidence,  # (n,): NaN without a score
    fault,  # (n,): number of the fault's pattern; −1: none
    event_numbers,  # (most + 1, E_NUMBERS); the last row begins with the next row to process
    event_levels,  # (most, E_SHARES + 2·channels)
):
    """Process samples from row ``begin`` on. Stop when the events do not fit. Return their number.

    ``x`` has a row for each output; or no outputs, or no samples, of a model with look-ahead.
    """
    counts = np.int64(settings[COUNT]), np.int64(settings[WINDOW]), np.int64(settings[QUIET])
    factor = threshold.factor_of(settings[RATE])
    limits = alarms.Settings(settings[ABOVE], settings[CLEAR], *counts, settings[AFTER], factor)
    known = patterns.Known(channels, known_values, known_verdicts, kept, kept_numbers)
    counts_of_deviations = row_of(references, evidences.OF_COUNTS)
    groups, side, columns = covariance.shape
    scratch = np.zeros((side + 1, columns))
    vectors = np.empty((deviations.BLOCKS * groups, deviations.GROUP), np.float32)
    deviating = deviations.Deviations(
        counts_of_deviations, moments, covariance, weights, lasting, scratch, vectors
    )
    state = alarms.Alarms(
        limits, references, deviating, numbers, levels, shares, expected_at_peak, runs, last, peaks, known
    )
    events = alarms.Events(event_numbers, event_levels)
    detector = drifts.Detector(drift_settings, block, reference, page, window, buckets, sizes, drift_alarms)
    outputs = alarms.Outputs(alarm, evidence, fault)
    compares = patterns.exist(known)
    given = alarms.Samples(x, values, scores, contribution, expected, times, compares)
    rows, most, k = max(scores.size, x.shape[0]), event_levels.shape[0], 0
    for n in range(begin, scores.size):
        evidence[n] = evidences.surprise_of_score(scores[n])
    for n in range(begin, rows):
        if k + alarms.EVENTS_PER_ROW > most:
            event_numbers[most, 0] = n
            return k
        number = samples[n] if samples.size > 0 else first + n
        if n < drift.size:
            drift[n] = drifts.observe(detector, values[n], number)
        slot = slots[n] if slots.size > 0 else np.int64(0)
        if n < scores.size:
            alarm[n], fault[n] = alarms.NONE, -1
        if slot < 0:
            continue
        if fresh.size > n and fresh[n]:
            alarms.reset(state, slot)
        learning = not (watched.size > n and watched[n])
        k = alarms.process(state, hours, given, outputs, n, number, slot, learning, events, k)
    event_numbers[most, 0] = rows
    return k
