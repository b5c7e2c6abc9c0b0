"""Features of a sample: earlier values of its stream, differences, running averages, and the calendar.

A *term* is a pair (newer, older) of numbers of samples back. Its feature, for each channel, is

    x_{t−newer} − x_{t−older},  or x_{t−newer} if older is ``VALUE``

A value before the first sample of the stream is missing (NaN), and so is a difference of a missing value. All
features of a sample without any value are missing: nothing is known of it.

A running average a of each channel has the time constant T ≥ 1, a first-order lag:

    a ← a + (x_t − a)/T, a = x_t at the first value of the channel; a missing value changes nothing

A calendar feature is the sine and the cosine of the time of day, or of the time of the week from Monday on.

``ring`` (slots, depth, dim) holds the last values of each stream; ``counts`` (slots,) is the number of its
samples. ``averages`` (slots, dim, K) holds the running averages, NaN before the first value. With a calendar,
``recent`` (slots, TIMES) holds the last times: those of later samples continue them. ``extract`` changes none
of them. ``advance`` adds samples.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import canonical_nan
from .sizes import VALUE

MISSING = -(2**62)  # in place of a row
TIMES = 16  # times of a stream that are kept

_LARGEST = np.float32(3.4028235e38)
_NAN = np.float32(np.nan)
_TURN = 2.0 * math.pi
# Taylor series on ±π/4; the error is below 1e-13
_SINE = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(7))
_COSINE = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(8))


@device
def sine_cosine(turns):
    """sin(2π·turns) and cos(2π·turns) in float64, for 0 ≤ turns < 1."""
    quarter = math.floor(4.0 * turns + 0.5)
    r = (turns - 0.25 * quarter) * _TURN
    square = r * r
    sine = cosine = 0.0
    for k in range(len(_SINE) - 1, -1, -1):
        sine = sine * square + _SINE[k]
    for k in range(len(_COSINE) - 1, -1, -1):
        cosine = cosine * square + _COSINE[k]
    sine *= r
    quadrant = np.int64(quarter) % 4
    if quadrant == 1:
        return cosine, -sine
    if quadrant == 2:
        return -sine, -cosine
    if quadrant == 3:
        return -cosine, sine
    return sine, cosine


@device
def _order(slots, fresh, rank, since, own, count, last, first_row, rows):
    """Sort the rows by slot, in order. See the arrays of ``extract``."""
    for n in range(slots.size):
        s = slots[n]
        before = last[s]
        rank[n] = count[s]
        since[n] = 0 if fresh[n] or before < 0 else since[before] + 1
        own[n] = not fresh[n] and (before < 0 or own[before])
        count[s] += 1
        last[s] = n
    at = 0
    for n in range(slots.size):
        s = slots[n]
        if rank[n] == 0:
            first_row[s] = at
            at += count[s]
        rows[first_row[s] + rank[n]] = n


@device
def _row(back, since, place, own, rows, count, depth):
    """The row of the sample ``back`` samples ago: a row of x, or −1 − its place in the ring, or MISSING."""
    if back <= since:
        return rows[place - back]
    earlier = back - since  # samples before the batch
    if not own or earlier > count:
        return np.int64(MISSING)
    return -1 - (count - earlier) % depth


@device
def _value(x, ring, s, row, d):
    """Channel ``d`` of a row that ``_row`` returned."""
    if row >= 0:
        return x[row, d]
    return _NAN if row == MISSING else ring[s, -1 - row, d]


@device
def _averaged(average, value, gain):
    """A running average after one more value."""
    if not (value == value):
        return average
    return average + gain * (value - average) if average == average else value


@kernel(
    "void(f4[:,::1], i8[::1], i8[::1], b1[::1], f4[:,:,::1], i8[::1], f8[:,:,::1], f8[::1],"
    " i8[:,::1], i8[:,::1], i8, f4[:,::1])",
    allocates=True,
)
def extract(
    x,  # (n, dim)
    times,  # (n,): nanoseconds since 1970; (0,) without a calendar
    slots,  # (n,): slot of each sample's stream; at least ``slots`` of ``ring`` for a stream without one
    fresh,  # (n,): whether the sample is the first of a new stream in its slot
    ring,  # (slots, depth, dim)
    counts,  # (slots,)
    averages,  # (slots, dim, K)
    gains,  # (K,): 1/T
    terms,  # (terms, 2): newer, older
    calendar,  # (cycles, 2): length and start in nanoseconds
    streams,  # number of slots, with those of streams without a ring
    features,  # (n, dim·(1 + terms + K) + 2·cycles): the sample, the terms, the averages, the calendar
):
    """Write the features of samples in order. Reads rings and averages; changes nothing else."""
    count, dim = x.shape
    rank = np.empty(count, np.int64)  # number of earlier rows of the same slot
    since = np.empty(count, np.int64)  # those of the same stream
    own = np.empty(count, np.bool_)  # whether the ring holds the stream's earlier samples
    in_slot = np.zeros(streams, np.int64)  # by slot: number of its rows
    last = np.full(streams, -1, np.int64)  # its last row so far
    first_row = np.empty(streams, np.int64)  # place of its first row in ``rows``
    rows = np.empty(count, np.int64)  # the rows, slot by slot
    running = np.empty((count, dim, gains.size))  # the averages after each row
    _order(slots, fresh, rank, since, own, in_slot, last, first_row, rows)
    for n in range(count):
        s = slots[n]
        place = first_row[s] + rank[n]
        has_ring = own[n] and s < counts.size
        earlier = counts[s] if has_ring else np.int64(0)
        present = False
        for d in range(dim):
            features[n, d] = x[n, d]
            present = present or x[n, d] == x[n, d]
            for k in range(gains.size):
                average = np.nan
                if since[n] > 0:
                    average = running[rows[place - 1], d, k]
                elif earlier > 0:
                    average = averages[s, d, k]
                running[n, d, k] = _averaged(average, np.float64(x[n, d]), gains[k])
        if not present:
            for column in range(dim, features.shape[1]):
                features[n, column] = _NAN
            continue
        column = dim
        for k in range(terms.shape[0]):
            newer = _row(terms[k, 0], since[n], place, has_ring, rows, earlier, ring.shape[1])
            older = np.int64(MISSING)
            if terms[k, 1] != VALUE:
                older = _row(terms[k, 1], since[n], place, has_ring, rows, earlier, ring.shape[1])
            for d in range(dim):
                value = _value(x, ring, s, newer, d)
                if terms[k, 1] != VALUE:
                    value -= _value(x, ring, s, older, d)
                    value = min(max(value, -_LARGEST), _LARGEST) if value == value else value
                features[n, column] = canonical_nan(value)
                column += 1
        for k in range(gains.size):
            for d in range(dim):
                features[n, column] = canonical_nan(np.float32(running[n, d, k]))
                column += 1
        for k in range(calendar.shape[0]):
            length, start = calendar[k, 0], calendar[k, 1]
            sine, cosine = sine_cosine(np.float64((times[n] % length + start) % length) / length)
            features[n, column], features[n, column + 1] = sine, cosine
            column += 2


@kernel("void(f4[:,::1], i8[::1], i8[::1], b1[::1], f4[:,:,::1], i8[::1], i8[:,::1], f8[:,:,::1], f8[::1])")
def advance(
    x,  # (n, dim)
    times,  # (n,): nanoseconds since 1970; (0,) without a calendar
    slots,  # (n,)
    fresh,  # (n,)
    ring,  # (slots, depth, dim)
    counts,  # (slots,)
    recent,  # (slots, TIMES)
    averages,  # (slots, dim, K)
    gains,  # (K,)
):
    """Add samples to the rings and averages of their streams."""
    depth = ring.shape[1]
    for n in range(x.shape[0]):
        s = slots[n]
        if fresh[n]:
            counts[s] = 0
        for d in range(x.shape[1] if depth > 0 else 0):
            ring[s, counts[s] % depth, d] = canonical_nan(x[n, d])
        for d in range(x.shape[1]):
            for k in range(gains.size):
                average = averages[s, d, k] if counts[s] > 0 else np.nan
                averages[s, d, k] = _averaged(average, np.float64(x[n, d]), gains[k])
        if times.size > 0:
            recent[s, counts[s] % TIMES] = times[n]
        counts[s] += 1
