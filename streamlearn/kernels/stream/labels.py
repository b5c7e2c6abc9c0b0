"""Labels of units, from the classes of the samples that they won. A class comes with its sample or later.

n_jk is the count of class k at unit j, N_k = Σ_j n_jk that of the class, and n_jk/N_k the share of the class
that the unit has won. The label of a unit is

1. the class that a person gave it;
2. else, of the classes whose strongest unit it is (argmax_j n_jk), the one with the largest share;
3. else the class with the largest share.

So a class does not vanish beside a frequent one: each class that was seen keeps its strongest unit, unless a
class with a larger share is strongest there too. Of equal shares the larger count wins, then the lower class.

``counts`` float64 ``((units + 1)·classes + 1,)`` holds n_jk at j·classes + k, and N_k behind the units. It is
exponentially forgotten as in ``forgetting.py``.

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


NO_CLASS = -1


@device
def _wins(share, own, share_of_other, counts, first, other):
    """Whether a class with this share and count is before class ``other``, −1: none."""
    return share > share_of_other or (share == share_of_other and other >= 0 and own > counts[first + other])


@device
def _label(counts, classes, strongest, given, unit):
    """The label of a unit; −1 if it has none, or for unit −1."""
    if unit < 0:
        return NO_CLASS
    if given[unit] >= 0:
        return np.int64(given[unit])
    first, totals = unit * classes, counts.size - 1 - classes
    label, share_of_label = NO_CLASS, 0.0
    kept, share_of_kept = NO_CLASS, 0.0
    for k in range(classes):
        own = counts[first + k]
        if own > 0.0:
            share = own / counts[totals + k]
            if _wins(share, own, share_of_label, counts, first, label):
                label, share_of_label = k, share
            if strongest[k] == unit and _wins(share, own, share_of_kept, counts, first, kept):
                kept, share_of_kept = k, share
    return kept if kept >= 0 else label


@kernel("void(i4[::1], f8[::1], i8, i4[::1], i4[::1], i4[::1])")
def predict(
    winner,  # (n,)
    counts,  # ((units + 1)·classes + 1,)
    classes,
    strongest,  # (classes,)
    given,  # (units,)
    label,  # (n,)
):
    """Write the label of each winner."""
    for n in range(winner.size):
        label[n] = _label(counts, classes, strongest, given, np.int64(winner[n]))


@device
def _count_class(k, winner, counts, classes, strongest, decay):
    """Count class ``k`` for the unit that won its sample."""
    own, total = winner * classes + k, counts.size - 1 - classes + k
    counts[total] += counts[counts.size - 1]
    forgetting.count(counts, own, decay)
    unit = np.int64(strongest[k])
    if unit >= 0:
        other = counts[unit * classes + k]
    if unit < 0 or counts[own] > other or (counts[own] == other and winner < unit):
        strongest[k] = winner


@device
def _learn_class(y, winner, label, counts, classes, strongest, quality, decay):
    """Learn that a sample is of class ``y``. ``label`` is the label of its winner when it was learned."""
    k = np.int64(y)
    _count_class(k, winner, counts, classes, strongest, decay)
    quality[COUNT] = quality[COUNT] * decay + 1.0
    quality[CORRECT] = quality[CORRECT] * decay + (1.0 if label == k else 0.0)


@kernel("void(i8, i8, f8[::1], i8, i4[::1], f8)")
def count_class(
    k,  # class
    winner,  # unit, at least 0
    counts,  # ((units + 1)·classes + 1,)
    classes,
    strongest,  # (classes,)
    decay,
):
    """Count a class that a person gave to a sample."""
    _count_class(k, winner, counts, classes, strongest, decay)


@kernel(
    "void(f4[:,::1], i8[::1], i8, f8[::1], i8, i4[::1], i4[::1], f8[::1], f8, i8[::1], i4[::1], i4[::1],"
    " i4[::1], i4[::1])"
)
def learn(
    y,  # (n, 1): NaN if the class is unknown
    ids,  # (n,)
    first,  # number of the first sample
    counts,  # ((units + 1)·classes + 1,)
    classes,
    strongest,  # (classes,): the unit with most of each class, −1: none
    given,  # (units,): labels by hand, −1: none
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
        label[n] = _label(counts, classes, strongest, given, i)
        place = (first + n) % waiting_ids.size
        waiting_ids[place], waiting_winners[place], waiting_labels[place] = ids[n], winner[n], label[n]
        if y[n, 0] == y[n, 0]:
            waiting_winners[place] = DONE
            if i >= 0:
                _learn_class(y[n, 0], i, label[n], counts, classes, strongest, quality, decay)


@device
def _find(sample_id, samples, waiting_ids, waiting_winners):
    """The number of the newest sample in the ring that has this id and no class yet; −1 if there is none."""
    for number in range(samples - 1, max(samples - waiting_ids.size, 0) - 1, -1):
        place = number % waiting_ids.size
        if waiting_ids[place] == sample_id and waiting_winners[place] != DONE:
            return number
    return -1


@kernel(
    "i8(f4[:,::1], i8[::1], u1[::1], i8, f8[::1], i8, i4[::1], i4[::1], f8[::1], f8, i8[::1], i4[::1],"
    " i4[::1], i8[::1], b1, i8[::1], i4[::1], i4[::1])"
)
def learn_late(
    y,  # (n, 1)
    ids,  # (n,)
    interrupt,  # (1,): see interrupt.py
    samples,  # number of samples learned
    counts,  # ((units + 1)·classes + 1,)
    classes,
    strongest,  # (classes,): the unit with most of each class, −1: none
    given,  # (units,): labels by hand, −1: none
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
                    _learn_class(y[n, 0], i, label[n], counts, classes, strongest, quality, decay)
        if requested(interrupt):
            return n + 1
    return ids.size
