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
from .alarm_arrays import arrays_of

ABOVE, CLEAR, COUNT, WINDOW, QUIET, AFTER, RATE = range(7)  # settings


@kernel(
    "i8(f8[::1], i8[:,::1], f8[::1], f4[::1], i8[::1], f8[::1], f8[::1], i8[::1],"
    " i8, f4[:,::1], f4[::1], f4[::1], f4[:,::1], f4[:,::1], b1[::1], i8, i8[::1], i8[::1], i8[::1], b1[::1],"
    " b1[::1], i1[::1], f4[::1], i1[::1], i8[:,::1], f4[:,::1])",
    allocates=True,
)
def judge(
    settings,  # (7,): ABOVE … RATE
    layout,  # of the next three: see alarm_arrays.py
    doubles,
    singles,
    integers,
    # Detector: see drift.py. All (0,) without one
    drift_settings,
    drift_values,
    drift_counts,
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
    event_numbers,  # (most + 1, E_NUMBERS); the last row begins with the next row to process, if there is one
    event_levels,  # (most, E_SHARES + 2·channels)
):
    """Process samples from row ``begin`` on. Stop when the events do not fit.

    Return their number k, or −1 − k if rows are left.

    ``x`` has a row for each output; or no outputs, or no samples, of a model with look-ahead.
    """
    counts = np.int64(settings[COUNT]), np.int64(settings[WINDOW]), np.int64(settings[QUIET])
    factor = threshold.factor_of(settings[RATE])
    limits = alarms.Settings(settings[ABOVE], settings[CLEAR], *counts, settings[AFTER], factor)
    own = arrays_of(layout, doubles, singles, integers)
    groups, side, columns = own.covariance.shape
    scratch = np.zeros((side + 1, columns))
    vectors = np.empty((deviations.BLOCKS * groups, deviations.GROUP), np.float32)
    of_count = row_of(own.references, evidences.OF_COUNTS)
    compared = deviations.Deviations(
        of_count, own.moments, own.covariance, own.weights, own.lasting, scratch, vectors
    )
    known = patterns.Known(own.channels, own.patterns, own.verdicts, own.kept, own.kept_numbers)
    state = alarms.Alarms(
        limits, own.references, compared, own.numbers, own.levels, own.shares, own.expected,
        own.runs, own.last, own.threshold, known,
    )  # fmt: skip
    events = alarms.Events(event_numbers, event_levels)
    detector = drifts.detector_of(drift_settings, drift_values, drift_counts)
    outputs = alarms.Outputs(alarm, evidence, fault)
    compares = patterns.exist(known)
    given = alarms.Samples(x, values, scores, contribution, expected, times, compares)
    rows, most, k = max(scores.size, x.shape[0]), event_levels.shape[0], 0
    for n in range(begin, scores.size):
        evidence[n] = evidences.surprise_of_score(scores[n])
    for n in range(begin, rows):
        if k + alarms.EVENTS_PER_ROW > most:
            event_numbers[most, 0] = n
            return -1 - k
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
        k = alarms.process(state, own.hours, given, outputs, n, number, slot, learning, events, k)
    return k
