"""Labels of units, from the classes of the samples that they won. A class comes with its sample or later.

The label of a unit is the class with the largest count, the lowest class among equals. ``counts`` float64
``(units·classes + 1,)`` holds the count of class k of unit j at j·classes + k. It is exponentially forgotten
as in ``forgetting.py``.

A ring buffer of ``delay`` places holds the last samples, so that their class may come later. Sample number n
is at place n mod ``delay``, with its id, its winner, and the label that the winner had at that time.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from . import forgetting
from .interrupt import requested

DONE = -2  # in place of the winner: the class was learned

# Live quality, float64 (2,): exponentially weighted counts of classes learned, and of correct labels
COUNT, CORRECT = 0, 1


@device
def _label(counts, classes, unit):
    """The label of a unit; −1 if it has none, or for unit −1."""
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
    """Write the label of each winner."""
    for n in range(winner.size):
        label[n] = _label(counts, classes, np.int64(winner[n]))


@device
def _learn_class(y, winner, label, counts, classes, quality, decay):
    """Learn that a sample is of class ``y``. ``label`` is the label of its winner when it was learned."""
    k = np.int64(y)
    forgetting.count(counts, winner * classes + k, decay)
    quality[COUNT] = quality[COUNT] * decay + 1.0
    quality[CORRECT] = quality[CORRECT] * decay + (1.0 if label == k else 0.0)


@kernel("void(f4[:,::1], i8[::1], i8, f8[::1], i8, f8[::1], f8, i8[::1], i4[::1], i4[::1], i4[::1], i4[::1])")
def learn(
    y,  # (n, 1): NaN if the class is unknown
    ids,  # (n,)
    first,  # number of the first sample
    counts,  # (units·classes + 1,)
    classes,
    quality,  # (2,)
    decay,
    waiting_ids,  # (delay,)
    waiting_winners,  # (delay,)
    waiting_labels,  # (delay,)
    winner,  # (n,)
    label,  # (n,)
):
    """Write the label of each sample's winner, then learn the sample's class if it is known."""
    for n in range(winner.size):
        i = np.int64(winner[n])
        label[n] = _label(counts, classes, i)
        place = (first + n) % waiting_ids.size
        waiting_ids[place], waiting_winners[place], waiting_labels[place] = ids[n], winner[n], label[n]
        if y[n, 0] == y[n, 0]:
            waiting_winners[place] = DONE
            if i >= 0:
                _learn_class(y[n, 0], i, label[n], counts, classes, quality, decay)


@device
def _find(sample_id, samples, waiting_ids, waiting_winners):
    """The number of the newest sample in the ring that has this id and no class yet; −1 if there is none."""
    for number in range(samples - 1, max(samples - waiting_ids.size, 0) - 1, -1):
        place = number % waiting_ids.size
        if waiting_ids[place] == sample_id and waiting_winners[place] != DONE:
            return number
    return -1


@kernel(
    "i8(f4[:,::1], i8[::1], u1[::1], i8, f8[::1], i8, f8[::1], f8, i8[::1], i4[::1], i4[::1],"
    " i8[::1], b1, i8[::1], i4[::1], i4[::1])"
)
def learn_late(
    y,  # (n, 1)
    ids,  # (n,)
    interrupt,  # (1,): see interrupt.py
    samples,  # number of samples learned
    counts,  # (units·classes + 1,)
    classes,
    quality,  # (2,)
    decay,
    waiting_ids,  # (delay,)
    waiting_winners,  # (delay,)
    waiting_labels,  # (delay,)
    unmatched,  # (1,)
    learning,  # False: write the outputs only
    sample,  # (n,)
    winner,  # (n,)
    label,  # (n,)
):
    """Learn classes of earlier samples. Write number, winner and label of each of these samples.

    Returns the number of classes done.
    """
    for n in range(ids.size):
        number = _find(ids[n], samples, waiting_ids, waiting_winners)
        sample[n] = number
        winner[n], label[n] = -1, -1
        if number < 0:
            unmatched[0] += 1 if learning else 0
        else:
            place = number % waiting_ids.size
            i = np.int64(waiting_winners[place])
            winner[n], label[n] = i, waiting_labels[place]
            if learning and y[n, 0] == y[n, 0]:
                waiting_winners[place] = DONE
                if i >= 0:
                    _learn_class(y[n, 0], i, label[n], counts, classes, quality, decay)
        if requested(interrupt):
            return n + 1
    return ids.size
