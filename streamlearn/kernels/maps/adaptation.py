"""Adaptation of a map, and the search for the next winner on the same pass through the weights.

    w_j += ε·h_j·(x − w_j)

A pass takes two blocks of units at a time, first those in reach of the winner, which move, then the others.
It measures them while their weights are in registers: four would need more registers than AVX2 has. If the
weights are larger than the first cache, reading them takes longer than the arithmetic. Then every second pass
also measures the sample after the next one, and the pass after it reads only the blocks that it moves.

The weights do not depend on the passes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device
from ..simd.groups import load_block, store_block
from ..simd.lanes import WIDTH, fma, load, select, store, zero
from .cooperation import IN_REACH, MEXICAN_HAT, OTHERS
from .winner import (
    add_square,
    nearest_of_distances,
    prefetch_two,
    squared_distance,
    squared_distances_of_blocks,
    squared_distances_of_two,
)

_0 = np.float32(0)
_FIRST_CACHE = 1 << 13  # float32 values
_REPULSION_LIMIT = np.float32(1e30)  # squared distance


class Adaptation(NamedTuple):
    """The units, how they move, and what a pass measures."""

    weights: Any  # (groups, dim, 64)
    pad: Any  # (blocks, 16)
    common: Any  # (blocks, 16): 0 for the units that the score compares with
    cooperation: Any
    found: Any  # (used blocks, 16): squared distances to the next sample
    ahead: Any  # (used blocks, 16): squared distances to the sample after it


@allocating_device
def new_adaptation(units, common, cooperation):
    """The adaptation of the units in one call."""
    weights, pad, _ = units
    shape = (cooperation.order.shape[1] - 1, WIDTH)
    found, ahead = np.empty(shape, np.float32), np.empty(shape, np.float32)
    return Adaptation(weights, pad, common, cooperation, found, ahead)


@device
def is_larger_than_cache(weights):
    """Whether the weights are larger than the first cache of a processor."""
    return weights.size > _FIRST_CACHE


@device
def _move(w, x, step):
    """w + ε·h·(x − w). A step of 0 keeps w, since x − w is finite: see ``LARGEST`` in units.py."""
    return fma(step, x - w, w)


@device
def _two_in_reach(adaptation, reached, i):
    """The blocks ``i`` and ``i + 1`` of those in reach.

    If all are in reach, their numbers do not depend on the list: the processor loads weights before it is
    complete.
    """
    if reached == adaptation.found.shape[0]:
        return i, min(i + 1, adaptation.found.shape[0] - 1)
    order = adaptation.cooperation.order
    return order[IN_REACH, i], order[IN_REACH, i + 1]


@device
def _move_two(weights, b, d, x, step):
    """Move the blocks ``b`` in channel ``d`` towards ``x``. They may be the same block."""
    w0, w1 = load_block(weights, b[0], d), load_block(weights, b[1], d)
    w0, w1 = _move(w0, x, step[0]), _move(w1, x, step[1])
    store_block(weights, b[0], d, w0)
    store_block(weights, b[1], d, w1)
    return w0, w1


@device
def _step(adaptation, sample, b):
    """ε·h of block ``b``."""
    cooperation = adaptation.cooperation
    step = load(cooperation.steps, b)
    if cooperation.neighbourhood == MEXICAN_HAT:  # h < 0 moves no distant unit: its weights would diverge
        d2 = squared_distance(sample.x, sample.channels, sample.count, adaptation.weights, b, zero())
        step = select(step > _0, step, select(d2 < _REPULSION_LIMIT, step, zero()))
    return step


@device
def adapt(adaptation, sample, reached):
    """Move the blocks in reach towards the present channels of the sample. ``reached`` is their number."""
    for i in range(0, reached, 2):
        b = _two_in_reach(adaptation, reached, i)
        step = _step(adaptation, sample, b[0]), _step(adaptation, sample, b[1])
        for k in range(sample.count):
            d = sample.channels[k]
            _move_two(adaptation.weights, b, d, sample.x[d], step)


@device
def _move_and_measure(adaptation, x, y, b, found):
    """Move the blocks ``b`` towards ``x``. Write their squared distances to ``y`` to ``found``."""
    weights, pad, steps = adaptation.weights, adaptation.pad, adaptation.cooperation.steps
    y0, y1 = load(pad, b[0]), load(pad, b[1])
    step = load(steps, b[0]), load(steps, b[1])
    for d in range(x.size):
        w0, w1 = _move_two(weights, b, d, x[d], step)
        y0, y1 = add_square(y[d], w0, y0), add_square(y[d], w1, y1)
    _store_two(found, b, (y0, y1))


@device
def _move_and_measure_ahead(adaptation, x, y, z, b):
    """`_move_and_measure`, with the squared distances to ``z`` too."""
    weights, pad, steps = adaptation.weights, adaptation.pad, adaptation.cooperation.steps
    y0, y1 = load(pad, b[0]), load(pad, b[1])
    z0, z1 = y0, y1
    step = load(steps, b[0]), load(steps, b[1])
    for d in range(x.size):
        prefetch_two(weights, b, d)
        w0, w1 = _move_two(weights, b, d, x[d], step)
        y0, y1 = add_square(y[d], w0, y0), add_square(y[d], w1, y1)
        z0, z1 = add_square(z[d], w0, z0), add_square(z[d], w1, z1)
    _store_two(adaptation.found, b, (y0, y1))
    _store_two(adaptation.ahead, b, (z0, z1))


@device
def _measure(adaptation, y, z, b, looks_ahead):
    """Write the squared distances of the blocks ``b`` to ``y``, and with ``looks_ahead`` those to ``z``."""
    weights, start = adaptation.weights, (load(adaptation.pad, b[0]), load(adaptation.pad, b[1]))
    if looks_ahead:
        to_y, to_z = squared_distances_of_two(y, z, weights, b, start)
        _store_two(adaptation.found, b, to_y)
        _store_two(adaptation.ahead, b, to_z)
    else:
        _store_two(adaptation.found, b, squared_distances_of_blocks(y, weights, b, start))


@device
def _store_two(distances, b, values):
    store(distances, b[0], values[0])
    store(distances, b[1], values[1])


@device
def adapt_and_search(adaptation, before, sample, following, reached, looks_ahead):
    """Adapt to the sample ``before``, and search the units nearest to ``sample``. All are complete.

    ``reached`` is the number of blocks in reach of the winner. With ``looks_ahead`` the distances to
    ``following`` are written to ``ahead``.
    """
    order, x, y, z = adaptation.cooperation.order, before.x, sample.x, following.x
    for i in range(0, reached, 2):
        b = _two_in_reach(adaptation, reached, i)
        if looks_ahead:
            _move_and_measure_ahead(adaptation, x, y, z, b)
        else:
            _move_and_measure(adaptation, x, y, b, adaptation.found)
    for i in range(0, adaptation.found.shape[0] - reached, 2):
        _measure(adaptation, y, z, (order[OTHERS, i], order[OTHERS, i + 1]), looks_ahead)
    return nearest_of_distances(adaptation.found, adaptation.common)


@device
def adapt_and_search_reached(adaptation, before, sample, reached):
    """`adapt_and_search` if the pass before has looked ahead: only blocks in reach have new distances."""
    for i in range(0, reached, 2):
        b = _two_in_reach(adaptation, reached, i)
        _move_and_measure(adaptation, before.x, sample.x, b, adaptation.ahead)
    return nearest_of_distances(adaptation.ahead, adaptation.common)
