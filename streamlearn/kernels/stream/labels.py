"""Labels of units, by the classes of the samples they won: classes that come with the samples, or later.

A unit's label is the class it has had most of lately, the lowest among equals. ``counts`` float64
``(units·classes + 1,)`` has unit j's of class k at j·classes + k and forgets as ``units.count_win`` does.

The last samples wait for their class in a ring of ``delay`` places, sample number n at n mod ``delay``: its
id, who won it, and what label that unit had then.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..maps.units import count_win

DONE = -2  # in place of a winner: the class has come

# Live quality, float64 (2,): exponentially weighted count of classes that came, and of those foretold
COUNT, RIGHT = 0, 1


@device
def _label(counts, classes, unit):
    """−1 where the unit has none, or nobody is the unit."""
    label, most = -1, 0.0
    if unit < 0:
        return label
    for k in range(classes):
        if counts[unit * classes + k] > most:
            label, most = k, counts[unit * classes + k]
    return label


@kernel("void(i4[::1], f8[::1], i8, i4[::1])")
def predict(
    winner,  # (n,)
    counts,  # (units·classes + 1,)
    classes,
    label,  # (n,)
):
    """The label that each winner has."""
    for n in range(winner.size):
        label[n] = _label(counts, classes, np.int64(winner[n]))


@device
def _learn_class(y, winner, told, counts, classes, quality, decay):
    """The sample that ``winner`` won, when its label was ``told``, is of class ``y``."""
    k = np.int64(y)
    count_win(counts, winner * classes + k, decay)
    quality[COUNT] = quality[COUNT] * decay + 1.0
    quality[RIGHT] = quality[RIGHT] * decay + (1.0 if told == k else 0.0)


@kernel("void(f4[:,::1], i8[::1], i8, f8[::1], i8, f8[::1], f8, i8[::1], i4[::1], i4[::1], i4[::1], i4[::1])")
def learn(
    y,  # (n, 1), NaN where the class is not known yet
    ids,  # (n,)
    first,  # number of the first sample
    counts,  # (units·classes + 1,)
    classes,
    quality,  # (2,)
    decay,
    waiting_ids,  # (delay,)
    waiting_winner,  # (delay,)
    waiting_label,  # (delay,)
    winner,  # (n,)
    label,  # (n,)
):
    """Write the label of each sample's winner, and only then learn the sample's class, if it came along."""
    for n in range(winner.size):
        i = np.int64(winner[n])
        label[n] = _label(counts, classes, i)
        place = (first + n) % waiting_ids.size
        waiting_ids[place], waiting_winner[place], waiting_label[place] = ids[n], winner[n], label[n]
        if y[n, 0] == y[n, 0]:
            waiting_winner[place] = DONE
            if i >= 0:
                _learn_class(y[n, 0], i, label[n], counts, classes, quality, decay)


@device
def _find(name, samples, waiting_ids, waiting_winner):
    """The number of the newest sample of this id that waits; −1 where there is none."""
    for number in range(samples - 1, max(samples - waiting_ids.size, 0) - 1, -1):
        place = number % waiting_ids.size
        if waiting_ids[place] == name and waiting_winner[place] != DONE:
            return number
    return -1


@kernel(
    "void(f4[:,::1], i8[::1], i8, f8[::1], i8, f8[::1], f8, i8[::1], i4[::1], i4[::1],"
    " i8[::1], b1, i8[::1], i4[::1], i4[::1])"
)
def learn_later(
    y,  # (n, 1)
    ids,  # (n,)
    samples,  # learned so far
    counts,  # (units·classes + 1,)
    classes,
    quality,  # (2,)
    decay,
    waiting_ids,  # (delay,)
    waiting_winner,  # (delay,)
    waiting_label,  # (delay,)
    unmatched,  # (1,)
    learning,  # False: only write
    sample,  # (n,)
    winner,  # (n,)
    label,  # (n,)
):
    """Learn classes of samples that wait; write which samples they are, who won those, and its label then."""
    for n in range(ids.size):
        number = _find(ids[n], samples, waiting_ids, waiting_winner)
        sample[n] = number
        winner[n], label[n] = -1, -1
        if number < 0:
            unmatched[0] += 1 if learning else 0
            continue
        place = number % waiting_ids.size
        i = np.int64(waiting_winner[place])
        winner[n], label[n] = i, waiting_label[place]
        if learning and y[n, 0] == y[n, 0]:
            waiting_winner[place] = DONE
            if i >= 0:
                _learn_class(y[n, 0], i, label[n], counts, classes, quality, decay)
