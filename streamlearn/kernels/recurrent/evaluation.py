"""What recurrent nets say of a stream, in its own units, and how that is judged when the truth comes.

``memory_layout.py`` says how everything is laid out.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from ..simd.elementary import log
from ..simd.lanes import WIDTH
from ..stream import scaling
from .memory_layout import CLASSES, GOALS, PRESENT, SYMBOLS, TARGET

# Live quality, float64 (5, GOALS), exponentially weighted: count, Σ|error|, Σ error², and over the samples
# that persistence (the last value again) has a forecast for: Σ|error|, Σ|persistence's error|
COUNT, ABSOLUTE, SQUARED, OURS, PERSISTENCE = range(5)
NATS, HITS = ABSOLUTE, SQUARED  # of classes: Σ −log p, and how often the most probable one came

# counters, int64 (4,), behind those of optimizers.py: samples that went on without the target they waited
# for; targets that no sample waited for
EXPIRED, UNMATCHED = 2, 3

# means, float64 (2, dim): of inputs as the net takes them, how many there were and their mean
SEEN, MEAN = 0, 1

LEAST = np.float32(2.0**-126)  # of a probability, when its logarithm is taken
_0, _1, _NAN, _INF = np.float32(0), np.float32(1), np.float32(np.nan), np.float32(np.inf)


@device
def put(source, target, t, column):
    """Copy values into row ``t``, from ``column`` on."""
    for i in range(source.size):
        target[t, column + i] = source[i]


@device
def take(source, t, target):
    """Copy values out of row ``t``."""
    for i in range(target.size):
        target[i] = source[t, i]


@device
def put_sample(net, filled, flat, t):
    """The input of slot ``t``; a symbol that is missing is a 0 in place of a 1."""
    if net[SYMBOLS] == 0:
        put(filled, flat, t, 0)
        return
    present = filled[0] == filled[0]
    flat[t, 0] = _1 if present else _0
    flat[t, 1] = filled[0] if present else _0


@device
def fill(net, scaled, known, flat, t, column, means, filled):
    """Missing inputs: the net's own forecast where it has one (``known``) and it is finite, else their mean
    so far."""
    if net[SYMBOLS] == 1:
        filled[0] = scaled[0]
        return
    for c in range(scaled.size):
        value = scaled[c]
        if not (value == value):
            mean = np.float32(means[MEAN, c])
            value = flat[t, column + c] if known else mean
            if not abs(value) < _INF:
                value = mean
        filled[c] = value


@device
def follow_inputs(method, scaled, decay, means):
    """Let inputs join their means. Standard and ewma scale these to 0, where they stay."""
    if method == scaling.NONE or method == scaling.MINMAX:
        for c in range(scaled.size):
            if scaled[c] == scaled[c]:
                means[SEEN, c] += 1.0
                gain = max(1.0 - decay, 1.0 / means[SEEN, c])  # a plain mean at first, as in scaling.py
                means[MEAN, c] += gain * (np.float64(scaled[c]) - means[MEAN, c])


@device
def want(net, flat, t):
    """Slot ``t`` has no target yet."""
    for o in range(net[GOALS]):
        flat[t, net[TARGET] * WIDTH + o] = _0
        flat[t, net[PRESENT] * WIDTH + o] = _0


@device
def aim(net, flat, t, first, goal):
    """Slot ``t`` has ``goal`` for its targets from ``first`` on, NaN where missing."""
    for c in range(goal.size):
        present = goal[c] == goal[c]
        flat[t, net[TARGET] * WIDTH + first + c] = goal[c] if present else _0
        flat[t, net[PRESENT] * WIDTH + first + c] = _1 if present else _0


@device
def count_present(values, n):
    """How many values of row ``n`` are there."""
    count = 0
    for c in range(values.shape[1]):
        count += values[n, c] == values[n, c]
    return count


@device
def tell(known, method, statistics, flat, t, column, told):
    """The forecast of slot ``t`` in the stream's own units; NaN where there is none yet."""
    c = 0
    for o in range(told.size):
        told[o] = scaling.restore(method, statistics, c, flat[t, column + o]) if known else _NAN
        c = c + 1 if c + 1 < statistics.shape[1] else 0  # of a horizon, each step's channels anew


@device
def nats(told, code):
    """−log p of the class that came."""
    if not (code == code and told[0] == told[0]):
        return _NAN
    return -log(max(told[np.int64(code)], LEAST))


@device
def misses(net, told, y, n):
    """Root of the mean squared difference over the values of ``y`` that are present, or −log p of a class;
    NaN where there is none."""
    if net[CLASSES] == 1:
        return nats(told, y[n, 0])
    total = 0.0
    present = 0
    for o in range(y.shape[1]):
        if y[n, o] == y[n, o]:
            difference = np.float64(told[o]) - np.float64(y[n, o])
            total += difference * difference
            present += 1
    return np.float32(math.sqrt(total / present)) if present > 0 else _NAN


@device
def most(told):
    """The first of the largest."""
    found = np.int64(0)
    for k in range(told.size):
        if told[k] > told[found]:
            found = k
    return found


@device
def follow_class(told, nats, y, n, decay, quality):
    """Let the probabilities of all classes and the class that came join the live quality."""
    if nats == nats:
        quality[COUNT, 0] = quality[COUNT, 0] * decay + 1.0
        quality[NATS, 0] = quality[NATS, 0] * decay + np.float64(nats)
        hit = 1.0 if most(told) == np.int64(y[n, 0]) else 0.0
        quality[HITS, 0] = quality[HITS, 0] * decay + hit


@device
def follow(told, first, y, n, decay, last, h, quality):
    """Let a forecast and the values that came join the live quality: outputs and columns from ``first`` on.
    Row h of ``last`` is persistence's forecast of them."""
    for c in range(y.shape[1]):
        value = np.float64(y[n, c])
        if not (value == value):
            continue
        o = first + c
        error = abs(np.float64(told[o]) - value)
        if error < math.inf:
            quality[COUNT, o] = quality[COUNT, o] * decay + 1.0
            quality[ABSOLUTE, o] = quality[ABSOLUTE, o] * decay + error
            quality[SQUARED, o] = quality[SQUARED, o] * decay + error * error
            if last[h, c] == last[h, c]:
                quality[OURS, o] = quality[OURS, o] * decay + error
                naive = abs(np.float64(last[h, c]) - value)
                quality[PERSISTENCE, o] = quality[PERSISTENCE, o] * decay + naive


@device
def remember(y, n, last):
    """Let the values that came be persistence's next forecast: row 0 of ``last`` ``(steps ahead, columns)``;
    row h is what row 0 was h samples ago."""
    for h in range(last.shape[0] - 1, 0, -1):
        for c in range(last.shape[1]):
            last[h, c] = last[h - 1, c]
    for c in range(last.shape[1]):
        if y[n, c] == y[n, c]:
            last[0, c] = y[n, c]
