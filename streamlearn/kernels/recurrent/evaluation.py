"""Inputs, forecasts and errors of recurrent nets: missing values, units of the stream, live quality.

``memory_layout.py`` defines the arrays.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.columns import count_of, four_columns, load_columns, store_columns
from ..simd.elementary import log
from ..simd.lanes import COLUMNS, absolute, canonical_nan, select, store, zero
from ..simd.sums import add_columns
from ..simd.views import floats_of, row_of, values_of
from ..stream import error_scale, scaling
from ..stream import gate as gates
from ..stream import relations as related
from ..stream import score as scores
from ..stream.contribution import size_of, to_shares
from .memory_layout import (
    CHANNELS,
    CLASSES,
    DIM,
    FORECAST,
    OUTPUTS,
    PRESENT,
    SYMBOLS,
    TARGET,
    TARGET_COLUMNS,
    WINDOW_ROWS,
)

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


class Evaluation(NamedTuple):
    """What samples, targets and forecasts are scaled and compared by. Shared by all streams."""

    scale: Any  # Scaling of the samples
    target_scale: Any  # Scaling of the targets
    histogram: Any  # Score of the errors
    quality: Any  # (5, TARGET_COLUMNS)
    input_means: Any  # (2, dim)
    decay: Any  # per sample
    error_scale: Any  # (3, columns): see stream/error_scale.py; (3, 0) if it compares channels


class Samples(NamedTuple):
    """What a net that compares channels compares samples by."""

    relations: Any  # see stream/relations.py; without channels for other nets
    own: Any  # Own, of one stream
    distance: Any  # (n,): output


class Buffers(NamedTuple):
    """Values of one sample; scratch."""

    scaled: Any  # (dim,)
    filled: Any  # (dim,): scaled, without missing values
    forecast: Any  # (outputs,)
    earlier: Any  # (outputs,): another forecast
    target: Any  # (1, TARGET_COLUMNS)
    goal: Any  # (TARGET_COLUMNS,): the scaled target


BUFFERS = len(Buffers._fields)  # each has WINDOW_ROWS rows of scratch


class Outputs(NamedTuple):
    """Outputs that every row has."""

    prediction: Any  # (n, outputs)
    error: Any  # (n,)
    score: Any  # (n,)
    present: Any  # (n,)
    contribution: Any  # (n, columns); (0, columns) if nobody needs it


@device
def buffers_of(layout, scratch, first):
    """The buffers of one sample in ``scratch``, from row ``first`` on."""
    rows, dim, outputs = layout[WINDOW_ROWS], layout[DIM], layout[OUTPUTS]
    return Buffers(
        floats_of(scratch, first, dim),
        floats_of(scratch, first + rows, dim),
        floats_of(scratch, first + 2 * rows, outputs),
        floats_of(scratch, first + 3 * rows, outputs),
        floats_of(scratch, first + 4 * rows, layout[TARGET_COLUMNS]).reshape(1, -1),
        floats_of(scratch, first + 5 * rows, layout[TARGET_COLUMNS]),
    )


# -- inputs and targets ------------------------------------------------------------------------------------


@device
def whole_columns(count):
    """How many of ``count`` values are in groups of four. The others follow one by one."""
    return count // COLUMNS * COLUMNS


@device
def copy_values(source, target):
    """Copy values from start to start, as many as both have. NaNs become canonical."""
    count = min(source.size, target.size)
    whole = whole_columns(count)
    for i in range(0, whole, COLUMNS):
        _copy_columns(four_columns(source, 0, i), target, i)
    for i in range(whole, count):
        target[i] = canonical_nan(source[i])


@device
def _copy_columns(values, target, i):
    store_columns(target, 0, i, select(values == values, values, np.nan))


@device
def read_input(layout, evaluation, x, n, forecast, has_forecast, scaled, filled):
    """Scale row ``n`` of ``x``, and fill its missing values. Return the number of values present.

    A missing value becomes the forecast if there is one and it is finite, else the channel's mean. As scaled
    values, a forecast is cut to ±clip: those of many missing values in a row must not grow.
    """
    present = scaling.transform(evaluation.scale, x, n, scaled)
    if layout[SYMBOLS] == 1:
        filled[0] = scaled[0]
        return present
    copy_values(scaled, filled)
    for c in range(scaled.size if present < scaled.size else 0):
        value = scaled[c]
        if not (value == value):
            mean = np.float32(evaluation.input_means[MEAN, c])
            value = forecast[c] if has_forecast and c < layout[CHANNELS] else mean
            if not abs(value) < _INF:
                value = mean
            if evaluation.scale.method != scaling.NONE:
                value = np.float32(min(max(value, -evaluation.scale.clip), evaluation.scale.clip))
            filled[c] = value
    return present


@device
def count_input(evaluation, x, n, scaled):
    """Add row ``n`` of ``x`` to the statistics of the scaling and to the means of the scaled inputs.

    With standard and ewma scaling the means are 0 and stay 0.
    """
    method, means = evaluation.scale.method, evaluation.input_means
    scaling.update(evaluation.scale, evaluation.decay, x, n)
    if method == scaling.NONE or method == scaling.MINMAX:
        for c in range(scaled.size):
            if scaled[c] == scaled[c]:
                means[SEEN, c] += 1.0
                gain = max(1.0 - evaluation.decay, 1.0 / means[SEEN, c])  # a plain mean at first
                means[MEAN, c] += gain * (np.float64(scaled[c]) - means[MEAN, c])


@device
def write_input(layout, filled, window, t):
    """Write the input of slot ``t``. A symbol is a 1 and its number, or two 0s if it is missing."""
    values = values_of(window, t, 0)
    if layout[SYMBOLS] == 0:
        copy_values(filled, values)
        return
    present = filled[0] == filled[0]
    values[0] = _1 if present else _0
    values[1] = filled[0] if present else _0


@device
def clear_target(layout, window, t):
    """Mark all targets of slot ``t`` as missing."""
    for row in range(layout[TARGET], layout[FORECAST]):
        store(window, t, row, zero())


@device
def set_target(layout, window, t, first, goal):
    """Write the targets of slot ``t``, from column ``first`` on. NaN means missing."""
    target, marks = values_of(window, t, layout[TARGET]), values_of(window, t, layout[PRESENT])
    whole = whole_columns(goal.size)
    for c in range(0, whole, COLUMNS):
        _set_columns(target, marks, first + c, four_columns(goal, 0, c))
    for c in range(whole, goal.size):
        _set_columns(target, marks, first + c, np.float64(goal[c]))


@device
def _set_columns(target, marks, c, values):
    store_columns(target, 0, c, select(values == values, values, 0.0))
    store_columns(marks, 0, c, select(values == values, 1.0, 0.0))


@device
def count_present(values, n):
    """Number of values in row ``n`` that are not NaN."""
    count, whole = 0, whole_columns(values.shape[1])
    for c in range(0, whole, COLUMNS):
        four = four_columns(values, n, c)
        count += count_of(four == four)
    for c in range(whole, values.shape[1]):
        count += values[n, c] == values[n, c]
    return count


# -- forecasts and errors ----------------------------------------------------------------------------------


@device
def read_forecast(layout, evaluation, window, t, has_forecast, forecast):
    """Copy the forecast of slot ``t`` in the stream's own units; NaN if there is none."""
    values, scale = values_of(window, t, layout[FORECAST]), evaluation.target_scale
    channels, whole = layout[CHANNELS], whole_columns(layout[CHANNELS])
    for o in range(0 if has_forecast else forecast.size):
        forecast[o] = _NAN
    for first in range(0, forecast.size if has_forecast else 0, channels):  # a horizon repeats the channels
        for c in range(0, whole, COLUMNS):
            _restore(scale, c, four_columns(values, 0, first + c), forecast, first + c)
        for c in range(whole, channels):
            _restore(scale, c, np.float64(values[first + c]), forecast, first + c)


@device
def _restore(scale, c, scaled, forecast, o):
    """Write scaled values of channels from ``c`` on in the stream's own units."""
    value = scaled
    if scale.method != scaling.NONE:
        width = load_columns(scale.statistics, scaling.WIDTH, c, scaled)
        value = load_columns(scale.statistics, scaling.CENTRE, c, scaled) + scaled * width
    store_columns(forecast, 0, o, select(value == value, value, np.nan))


@device
def write_evaluation(layout, evaluation, forecast, y, n, outputs, row):
    """Compare a forecast with row ``n`` of ``y``. Write forecast, error and score to row ``row``."""
    copy_values(forecast, row_of(outputs.prediction, row))
    outputs.error[row] = _error_of(layout, forecast, y, n)
    outputs.score[row] = scores.rank(evaluation.histogram, outputs.error[row], count_present(y, n))
    if outputs.contribution.shape[0] > 0:
        _write_contribution(layout, evaluation, forecast, y, n, row_of(outputs.contribution, row))


@device
def write_next(layout, evaluation, samples, forecast, x, n, outputs, row):
    """Compare a forecast with the sample in row ``n`` of ``x``. Write the outputs to row ``row``."""
    relations, own, distance = samples
    copy_values(forecast, row_of(outputs.prediction, row))
    outputs.error[row] = _error_of(layout, forecast, x, n)
    distance[row] = related.distance(relations, own, forecast, x, n)
    outputs.score[row] = scores.rank(evaluation.histogram, distance[row], count_present(x, n))
    if outputs.contribution.shape[0] > 0:
        related.write_contribution(relations, forecast, x, n, row_of(outputs.contribution, row))


@device
def _write_contribution(layout, evaluation, forecast, y, n, contribution):
    """Write the share of each value of row ``n`` in Σ (error/its usual size)²; NaN without a forecast."""
    for c in range(contribution.size):
        if layout[CLASSES] == 1:
            error = 0.0 if y[n, c] == y[n, c] and forecast[0] == forecast[0] else np.nan
        else:
            error = error_scale.relative_error(evaluation.error_scale, c, forecast[c], y[n, c])
        contribution[c] = size_of(error)
    to_shares(contribution, True)


@device
def compares_channels(samples):
    """Whether samples are compared by the relations of their channels, and not by the error alone."""
    return samples.own.recent.shape[0] > 0


@device
def write_expected(layout, forecast, expected, row):
    """Write the forecast of one sample or target to row ``row``; of classes the most probable one."""
    if expected.shape[0] > 0 and layout[CLASSES] == 1:
        expected[row, 0] = argmax(forecast) if forecast[0] == forecast[0] else _NAN
    elif expected.shape[0] > 0:
        copy_values(forecast, row_of(expected, row))


@device
def observe_error(layout, evaluation, gate, forecast, scored, y, n, learned):
    """Add what is scored to the reference of the score, and the errors to their usual sizes."""
    gates.observe(gate, evaluation.histogram, scored, count_present(y, n), learned)
    if layout[CLASSES] == 1 or not learned:
        return
    scale, decay = evaluation.error_scale, evaluation.decay
    whole = whole_columns(scale.shape[1])
    for c in range(0, whole, COLUMNS):
        error_scale.observe(scale, decay, c, four_columns(forecast, 0, c), four_columns(y, n, c))
    for c in range(whole, scale.shape[1]):
        error_scale.observe(scale, decay, c, np.float64(forecast[c]), np.float64(y[n, c]))


@device
def count_evaluation(layout, evaluation, forecast, error, y, n, last_values):
    """Add the error of a forecast to the live quality."""
    if layout[CLASSES] == 1:
        _count_class(evaluation, forecast, error, y, n)
    else:
        count_errors(evaluation, forecast, 0, y, n, last_values, 0)


@device
def _negative_log_likelihood(forecast, code):
    """−log p of class ``code``; NaN if the class or the forecast is missing."""
    if not (code == code and forecast[0] == forecast[0]):
        return _NAN
    return -log(max(forecast[np.int64(code)], MIN_PROBABILITY))


@device
def _error_of(layout, forecast, y, n):
    """Root mean square of the difference over the values of row ``n`` that are present; −log p for a class.

    NaN if no value is present, and without a forecast.
    """
    if layout[CLASSES] == 1:
        return _negative_log_likelihood(forecast, y[n, 0])
    total, present, whole = 0.0, 0, whole_columns(layout[CHANNELS])
    for o in range(0, whole, COLUMNS):
        value = four_columns(y, n, o)
        total += _square_of_error(forecast, o, value)
        present += count_of(value == value)
    for o in range(whole, layout[CHANNELS]):
        total += _square_of_error(forecast, o, np.float64(y[n, o]))
        present += y[n, o] == y[n, o]
    return canonical_nan(np.float32(math.sqrt(total / present))) if present > 0 else _NAN


@device
def _square_of_error(forecast, o, value):
    """The sum of the squared errors of the values that are present."""
    difference = load_columns(forecast, 0, o, value) - value
    return add_columns(select(value == value, difference * difference, 0.0))


@device
def argmax(values):
    """Index of the largest value; the first one of equals."""
    found = np.int64(0)
    for k in range(values.size):
        if values[k] > values[found]:
            found = k
    return found


@device
def _count_class(evaluation, forecast, nats, y, n):
    """Add −log p and a hit or miss to the live quality."""
    quality, decay = evaluation.quality, evaluation.decay
    if nats == nats:
        quality[COUNT, 0] = quality[COUNT, 0] * decay + 1.0
        quality[NATS, 0] = quality[NATS, 0] * decay + np.float64(nats)
        hit = 1.0 if argmax(forecast) == np.int64(y[n, 0]) else 0.0
        quality[HITS, 0] = quality[HITS, 0] * decay + hit


@device
def count_errors(evaluation, forecast, first, y, n, last_values, h):
    """Add the errors of a forecast to the live quality: outputs and columns from ``first`` on.

    Row ``h`` of ``last_values`` is the forecast of persistence for the same values.
    """
    whole = whole_columns(y.shape[1])
    for c in range(0, whole, COLUMNS):
        _count_errors(evaluation, forecast, first + c, four_columns(y, n, c), four_columns(last_values, h, c))
    for c in range(whole, y.shape[1]):
        value, last = np.float64(y[n, c]), np.float64(last_values[h, c])
        _count_errors(evaluation, forecast, first + c, value, last)


@device
def _count_errors(evaluation, forecast, o, value, last):
    """The same for a float64 or, with doubles, for four outputs from ``o`` on."""
    quality, decay = evaluation.quality, evaluation.decay
    error = absolute(load_columns(forecast, 0, o, value) - value)
    known = error < math.inf
    compared = known & (last == last)
    _add(quality, decay, COUNT, o, known, select(known, 1.0, 0.0))
    _add(quality, decay, ABSOLUTE, o, known, error)
    _add(quality, decay, SQUARED, o, known, error * error)
    _add(quality, decay, OURS, o, compared, error)
    _add(quality, decay, PERSISTENCE, o, compared, absolute(last - value))


@device
def _add(quality, decay, row, o, known, value):
    """Add ``value`` to one of the sums, where it is known."""
    total = load_columns(quality, row, o, value)
    store_columns(quality, row, o, select(known, total * decay + value, total))


@device
def update_last_values(y, n, last_values):
    """Store the values of row ``n`` as the next forecast of persistence.

    ``last_values`` is (steps ahead, columns); row h is what row 0 was h samples ago.
    """
    for h in range(last_values.shape[0] - 1, 0, -1):
        copy_values(row_of(last_values, h - 1), row_of(last_values, h))
    whole = whole_columns(last_values.shape[1])
    for c in range(0, whole, COLUMNS):
        value = four_columns(y, n, c)
        store_columns(last_values, 0, c, select(value == value, value, four_columns(last_values, 0, c)))
    for c in range(whole, last_values.shape[1]):
        if y[n, c] == y[n, c]:
            last_values[0, c] = y[n, c]
