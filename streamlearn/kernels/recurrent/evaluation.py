"""Inputs, forecasts and errors of recurrent nets: missing values, units of the stream, live quality.

``memory_layout.py`` defines the arrays.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from ..simd.elementary import log
from ..simd.lanes import WIDTH, canonical_nan
from ..stream import scaling
from .memory_layout import CLASSES, PRESENT, SYMBOLS, TARGET, TARGET_COLUMNS

# quality, float64 (5, TARGET_COLUMNS), exponentially weighted sums: count, |error|, error². Then, over the
# samples for which persistence (the last value) has a forecast: |error|, |error of persistence|
COUNT, ABSOLUTE, SQUARED, OURS, PERSISTENCE = range(5)
NATS, HITS = ABSOLUTE, SQUARED  # of classes: −log p; 1 if the most probable class was right

# counters, int64 (4,), after those of optimizers.py: samples that waited for a target and were learned
# without one; targets without a waiting sample
EXPIRED, UNMATCHED = 2, 3

# input_means, float64 (2, dim), of the scaled inputs: count and mean
SEEN, MEAN = 0, 1

MIN_PROBABILITY = np.float32(2.0**-126)  # smaller ones are raised to this before the logarithm
_0, _1, _NAN, _INF = np.float32(0), np.float32(1), np.float32(np.nan), np.float32(np.inf)


@device
def write_row(source, target, t, column):
    """Copy ``source`` to row ``t`` of ``target``, from ``column`` on. NaNs become canonical."""
    for i in range(source.size):
        target[t, column + i] = canonical_nan(source[i])


@device
def read_row(source, t, target):
    """Copy the start of row ``t`` of ``source`` to ``target``."""
    for i in range(target.size):
        target[i] = source[t, i]


@device
def write_input(layout, filled, flat, t):
    """Write the input of slot ``t``. A symbol is a 1 and its number, or two 0s if it is missing."""
    if layout[SYMBOLS] == 0:
        write_row(filled, flat, t, 0)
        return
    present = filled[0] == filled[0]
    flat[t, 0] = _1 if present else _0
    flat[t, 1] = filled[0] if present else _0


@device
def fill_missing(layout, scaled, has_forecast, flat, t, column, input_means, filled):
    """Replace missing inputs by the forecast of slot ``t`` if there is one and it is finite, else by their
    mean."""
    if layout[SYMBOLS] == 1:
        filled[0] = scaled[0]
        return
    for c in range(scaled.size):
        value = scaled[c]
        if not (value == value):
            mean = np.float32(input_means[MEAN, c])
            value = flat[t, column + c] if has_forecast else mean
            if not abs(value) < _INF:
                value = mean
        filled[c] = value


@device
def update_input_means(method, scaled, decay, input_means):
    """Update the means of the inputs. With standard and ewma scaling they are 0 and stay 0."""
    if method == scaling.NONE or method == scaling.MINMAX:
        for c in range(scaled.size):
            if scaled[c] == scaled[c]:
                input_means[SEEN, c] += 1.0
                gain = max(1.0 - decay, 1.0 / input_means[SEEN, c])  # a plain mean at first, as in scaling.py
                input_means[MEAN, c] += gain * (np.float64(scaled[c]) - input_means[MEAN, c])


@device
def clear_target(layout, flat, t):
    """Mark all targets of slot ``t`` as missing."""
    for o in range(layout[TARGET_COLUMNS]):
        flat[t, layout[TARGET] * WIDTH + o] = _0
        flat[t, layout[PRESENT] * WIDTH + o] = _0


@device
def set_target(layout, flat, t, first, values):
    """Write the targets of slot ``t``, from column ``first`` on. NaN means missing."""
    for c in range(values.size):
        present = values[c] == values[c]
        flat[t, layout[TARGET] * WIDTH + first + c] = values[c] if present else _0
        flat[t, layout[PRESENT] * WIDTH + first + c] = _1 if present else _0


@device
def count_present(values, n):
    """Number of values in row ``n`` that are not NaN."""
    count = 0
    for c in range(values.shape[1]):
        count += values[n, c] == values[n, c]
    return count


@device
def unscale_forecast(has_forecast, scale, flat, t, column, prediction):
    """Write the forecast of slot ``t`` in the stream's own units; NaN if there is none."""
    c = 0
    for o in range(prediction.size):
        if has_forecast:
            prediction[o] = scaling.restore(scale, c, flat[t, column + o])
        else:
            prediction[o] = _NAN
        c = c + 1 if c + 1 < scale.statistics.shape[1] else 0  # a horizon repeats the channels


@device
def negative_log_likelihood(prediction, code):
    """−log p of class ``code``; NaN if the class or the prediction is missing."""
    if not (code == code and prediction[0] == prediction[0]):
        return _NAN
    return -log(max(prediction[np.int64(code)], MIN_PROBABILITY))


@device
def error_of(layout, prediction, y, n):
    """Root mean square of the difference over the values of row ``n`` that are present; −log p for a class.

    NaN if no value is present.
    """
    if layout[CLASSES] == 1:
        return negative_log_likelihood(prediction, y[n, 0])
    total = 0.0
    present = 0
    for o in range(y.shape[1]):
        if y[n, o] == y[n, o]:
            difference = np.float64(prediction[o]) - np.float64(y[n, o])
            total += difference * difference
            present += 1
    return np.float32(math.sqrt(total / present)) if present > 0 else _NAN


@device
def argmax(values):
    """Index of the largest value; the first one of equals."""
    found = np.int64(0)
    for k in range(values.size):
        if values[k] > values[found]:
            found = k
    return found


@device
def update_class_quality(prediction, nats, y, n, decay, quality):
    """Add −log p and a hit or miss to the live quality."""
    if nats == nats:
        quality[COUNT, 0] = quality[COUNT, 0] * decay + 1.0
        quality[NATS, 0] = quality[NATS, 0] * decay + np.float64(nats)
        hit = 1.0 if argmax(prediction) == np.int64(y[n, 0]) else 0.0
        quality[HITS, 0] = quality[HITS, 0] * decay + hit


@device
def update_quality(prediction, first, y, n, decay, last_values, h, quality):
    """Add the errors of a forecast to the live quality: outputs and columns from ``first`` on.

    Row ``h`` of ``last_values`` is the forecast of persistence for the same values.
    """
    for c in range(y.shape[1]):
        value = np.float64(y[n, c])
        if not (value == value):
            continue
        o = first + c
        error = abs(np.float64(prediction[o]) - value)
        if error < math.inf:
            quality[COUNT, o] = quality[COUNT, o] * decay + 1.0
            quality[ABSOLUTE, o] = quality[ABSOLUTE, o] * decay + error
            quality[SQUARED, o] = quality[SQUARED, o] * decay + error * error
            if last_values[h, c] == last_values[h, c]:
                quality[OURS, o] = quality[OURS, o] * decay + error
                persistence_error = abs(np.float64(last_values[h, c]) - value)
                quality[PERSISTENCE, o] = quality[PERSISTENCE, o] * decay + persistence_error


@device
def update_last_values(y, n, last_values):
    """Store the values of row ``n`` as the next forecast of persistence.

    ``last_values`` is (steps ahead, columns); row h is what row 0 was h samples ago.
    """
    for h in range(last_values.shape[0] - 1, 0, -1):
        for c in range(last_values.shape[1]):
            last_values[h, c] = last_values[h - 1, c]
    for c in range(last_values.shape[1]):
        if y[n, c] == y[n, c]:
            last_values[0, c] = y[n, c]
