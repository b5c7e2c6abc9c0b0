"""The level of the distance or error by blocks, against a reference that has the stream's own rhythm.

The level of a block of B samples is the mean of d^(2/3), which is near-normal for sums of squares. A block
mean b is compared with the reference: z = (b − m)/w, cut to ±6, where m is the mean of earlier block means
(``LEVEL``) and w is their long-run width:

    w² = max(ν, 2·E[u²]·(1 + φ)/(1 − φ)),   u = max(b − m, 0),   φ = corr(u, u of the block before)

ν is half the mean square of the difference of two blocks in a row: the noise of a block. The second term is
the variance of a sum of autocorrelated deviations. It is large if high blocks come in runs: a day, a week, a
machine that runs for an hour. Only deviations above m count, because the level of a learner falls for a long
time at first. All means have the gain max(1/256, 3/(n + 2)) and cut deviations to 4 standard deviations.

Two one-sided sums (CUSUM; Page 1954) find lasting changes of z: S ← max(0, S + z − k) and
F ← max(0, F − z − k). A change is a sum above h.

- ``SETTLED``: the number of blocks without a change. The reference is settled from ``rest`` on.
- A rise of a settled reference is an alarm. The reference begins again after it. A reference that is not
  settled begins again without an alarm.
- After a fall the mean follows fast, as if it had 8 blocks. The widths stay.
- A rise that ended by itself is part of the stream's behaviour: w is at least its height (``PASSED``), which
  decays within 64 blocks.

State: ``block`` float64 ``(2,)``: SUM, VALUES. ``reference`` float64 ``(16,)``: BLOCKS … PASSED.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from ..compiler import device
from ..simd.roots import cube_root

SUM, VALUES = range(2)
# Number of blocks: in the widths, in the mean, and since the last change
BLOCKS, MEAN_BLOCKS, SETTLED = range(3)
LEVEL, LATEST, NOISE = range(3, 6)  # m; the latest block mean; ν
UPPER, UPPER_SQUARE, UPPER_PRODUCT, LATEST_UPPER = range(6, 10)  # E[u], E[u²], E[u·u of the block before], u
RISE, FALL, HIGHEST_RISE = range(10, 13)  # S; F; the largest S since S was 0
# The level before the last rise, −1 for none; the largest block mean since then, or the largest deviation
# since S was 0; the height of rises that ended by themselves
BEFORE, TOP, PASSED = range(13, 16)
SIZE = 16

NO_CHANGE, RISEN, FALLEN = range(3)

_MEMORY = 256.0  # blocks
CUT = 6.0  # of z
_WINSOR = 4.0  # standard deviations
_LARGEST_CORRELATION = 0.98
_FIRST_TEST = 8.0  # blocks before the first test; the mean's blocks after a fall
_SMALLEST_WIDTH = 1e-3  # share of the level
_PASSED_DECAY = 1.0 - 1.0 / 64.0
_SUSPICIOUS = 0.25  # factor of the gain while a rise is likely


class Test(NamedTuple):
    """The parameters of the test."""

    rest: Any  # blocks without a change until the reference is settled
    allowance: Any  # k
    limit: Any  # h


@device
def add(block, value):
    """Add a distance or an error."""
    block[SUM] += cube_root(value * value)
    block[VALUES] += 1.0


@device
def take_mean(block):
    """Return the mean of a complete block, and begin the next one."""
    mean = block[SUM] / block[VALUES]
    block[SUM] = block[VALUES] = 0.0
    return mean


@device
def is_settled(reference, test):
    """Whether the reference is settled."""
    return reference[SETTLED] >= test.rest


@device
def _deviation(r):
    """Standard deviation of a block mean."""
    return math.sqrt(max(r[NOISE], 2.0 * r[UPPER_SQUARE]))


@device
def _width(r):
    """w, with the uncertainty of m."""
    square = r[UPPER] * r[UPPER]
    spread = r[UPPER_SQUARE] - square
    phi = 0.0
    if spread > 0.0:
        phi = min(max((r[UPPER_PRODUCT] - square) / spread, 0.0), _LARGEST_CORRELATION)
    variance = max(r[NOISE], 2.0 * r[UPPER_SQUARE] * (1.0 + phi) / (1.0 - phi))
    width = math.sqrt(variance * (1.0 + 2.0 / min(r[MEAN_BLOCKS], _MEMORY)))
    return max(width, r[PASSED], _SMALLEST_WIDTH * r[LEVEL], 1e-300)


@device
def _gain(blocks):
    return max(1.0 / _MEMORY, 3.0 / (blocks + 2.0))


@device
def _learn(r, b, factor):
    """Add a block mean to the reference. ``factor``: of the gains."""
    deviation = _deviation(r)
    most = _WINSOR * deviation if deviation > 0.0 else _SMALLEST_WIDTH * r[LEVEL]
    e, difference = b - r[LEVEL], b - r[LATEST]
    if r[BLOCKS] > 4.0:
        e = min(max(e, -most), most)
        difference = min(max(difference, -most), most)
    u, gain = max(e, 0.0), factor * _gain(r[BLOCKS])
    r[LEVEL] += factor * _gain(r[MEAN_BLOCKS]) * e
    r[NOISE] += gain * (0.5 * difference * difference - r[NOISE])
    r[UPPER] += gain * (u - r[UPPER])
    r[UPPER_SQUARE] += gain * (u * u - r[UPPER_SQUARE])
    r[UPPER_PRODUCT] += gain * (u * r[LATEST_UPPER] - r[UPPER_PRODUCT])
    r[LATEST], r[LATEST_UPPER] = b, u


@device
def restart(reference):
    """Begin again with the next block. The rises that passed, and the level before the last one, stay."""
    for i in range(BEFORE):
        reference[i] = 0.0


@device
def _remember_passed(r, b, limit):
    """Update the height of the rises that ended by themselves, after S has changed."""
    if r[BEFORE] >= 0.0:  # a change was reported: it has passed if the new level is nearer to the old one
        r[TOP] = max(r[TOP], b)
        height = r[TOP] - r[BEFORE]
        if r[BLOCKS] >= _FIRST_TEST and r[LEVEL] < r[BEFORE] + 0.5 * height:
            r[PASSED] = max(r[PASSED], height)
            r[BEFORE], r[TOP] = -1.0, 0.0
    elif r[RISE] > 0.0:
        r[TOP] = max(r[TOP], b - r[LEVEL])
        r[HIGHEST_RISE] = max(r[HIGHEST_RISE], r[RISE])
    else:
        if r[HIGHEST_RISE] > 0.5 * limit:
            r[PASSED] = max(r[PASSED], r[TOP])
        r[TOP] = r[HIGHEST_RISE] = 0.0


@device
def report(reference, mean):
    """Begin again after an alarm at a block mean."""
    reference[BEFORE], reference[TOP] = reference[LEVEL], mean
    restart(reference)


@device
def observe(reference, mean, test):
    """Process a block mean. Return NO_CHANGE, RISEN or FALLEN, and z.

    A reference that is not settled begins again after a rise. A settled one does not change: the caller calls
    `report` if it raises an alarm.
    """
    r, settled = reference, is_settled(reference, test)
    r[BLOCKS] += 1.0
    r[MEAN_BLOCKS] += 1.0
    r[SETTLED] += 1.0
    r[PASSED] *= _PASSED_DECAY
    if r[BLOCKS] == 1.0:
        r[LEVEL] = r[LATEST] = mean
        return NO_CHANGE, 0.0
    change = NO_CHANGE
    z = min(max((mean - r[LEVEL]) / _width(r), -CUT), CUT)
    if r[BLOCKS] > _FIRST_TEST:
        r[RISE] = max(0.0, r[RISE] + z - test.allowance)
        r[FALL] = max(0.0, r[FALL] - z - test.allowance)
        if r[RISE] > test.limit:
            if settled:
                r[RISE] = test.limit
            else:
                r[BEFORE], r[TOP] = -1.0, 0.0
                restart(r)
            return RISEN, z
        if r[FALL] > test.limit:
            r[FALL] = r[RISE] = r[SETTLED] = 0.0
            r[MEAN_BLOCKS] = _FIRST_TEST
            change = FALLEN
    _remember_passed(r, mean, test.limit)
    _learn(r, mean, _SUSPICIOUS if r[RISE] > 0.5 * test.limit else 1.0)
    return change, z
