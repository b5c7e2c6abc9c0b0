"""A learning rate for each unit, from what the unit has learned: the rate "1/n".

With h_j the share of unit j in a sample:

    n_j += h_j,  ε_j = max(1/n_j, floor), at most 1

So a unit is the mean of the samples that it has learned (MacQueen 1967; Bottou & Bengio 1995). From n_j =
1/floor on it forgets exponentially.

A unit with n_j = 0 has no place yet. It learns nothing until a sample becomes its weights: one that it wins,
or one that is far from the nearest unit. Each sample adds ¼·d²/mean(d²) to a sum, d its distance to the
nearest unit and mean(d²) that of recent samples. When the sum reaches 1, the sample is the place of the first
unit without one, and 1 is subtracted. So all units have a place after 4 to 7 samples per unit. This is the
seeding of k-means++ (Arthur & Vassilvitskii 2007) for a stream, as in Liberty, Sriharsha & Sviridenko 2016,
without random numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.groups import GROUP
from ..simd.lanes import WIDTH, load, select, store, zero

SUM, MEAN, COUNT = range(3)  # placing
_SHARE = 0.25
_1 = np.float32(1)


class UnitRate(NamedTuple):
    """What the units have learned."""

    learned: Any  # (blocks, 16): n_j; (0, 16) if the rate is a schedule
    unplaced: Any  # (1,): no unit before this one is without a place
    placing: Any  # (3,): the sum, mean(d²), and the number of samples that are in the mean


@device
def is_used(own):
    """Whether the units have rates of their own."""
    return own.learned.shape[0] > 0


@device
def winner_rate(own, i, learning_rate):
    """ε of unit ``i``, which learns alone. ``learning_rate``: ε of the schedule, or the floor."""
    if not is_used(own):
        return learning_rate
    n = own.learned[i // WIDTH, i % WIDTH] + _1
    own.learned[i // WIDTH, i % WIDTH] = n
    return max(_1 / max(n, _1), learning_rate)


@device
def steps(own, b, h, learning_rate):
    """ε·h for block ``b``, with ``h`` the shares of its units."""
    floor = zero() + learning_rate
    if not is_used(own):
        return floor * h
    n, one = load(own.learned, b) + h, zero() + _1
    store(own.learned, b, n)
    rate = one / select(n > one, n, one)
    return select(rate > floor, rate, floor) * h


@device
def without_unplaced(own, b, h):
    """``h`` of block ``b``; 0 for units without a place."""
    return select(load(own.learned, b) > zero(), h, zero()) if is_used(own) else h


@device
def unit_to_place(own, winner, distance, number):
    """The unit that gets its place at a sample with this winner and distance; −1 for none."""
    learned, unplaced, placing = own
    if not is_used(own):
        return np.int64(-1)
    if learned[winner // WIDTH, winner % WIDTH] == 0:
        return winner
    while unplaced[0] < number and learned[unplaced[0] // WIDTH, unplaced[0] % WIDTH] > 0:
        unplaced[0] += 1
    if unplaced[0] == number:
        return np.int64(-1)
    d2 = np.float64(distance) * np.float64(distance)
    placing[COUNT] += 1.0
    placing[MEAN] += (d2 - placing[MEAN]) / min(placing[COUNT], np.float64(number))
    if placing[MEAN] > 0.0:
        placing[SUM] += _SHARE * d2 / placing[MEAN]
    if placing[SUM] < 1.0:
        return np.int64(-1)
    placing[SUM] = min(placing[SUM] - 1.0, 1.0)
    return unplaced[0]


@device
def place(own, sample, weights, winner, j):
    """Make the sample the weights of unit ``j``. A missing channel gets the weight of the winner."""
    for d in range(sample.x.size):
        value = sample.x[d]
        present = value == value
        weights[j // GROUP, d, j % GROUP] = value if present else weights[winner // GROUP, d, winner % GROUP]
    own.learned[j // WIDTH, j % WIDTH] = _1
