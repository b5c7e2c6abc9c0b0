"""Adaptation of a map, and the search for the next winner on the same pass through the weights.

    w_j += ε·h_j·(x − w_j)

A pass takes two blocks of units at a time, and measures them while their weights are in registers: four would
need more registers than AVX2 has. If the weights are larger than the first cache, reading them takes longer
than the arithmetic. Then every second pass also measures the sample after the next one, and the pass after it
reads only the blocks that it moves.

A block moves if the winner reaches one of its units. The weights do not depend on the passes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device
from ..simd.groups import BLOCKS, load_block, store_block
from ..simd.lanes import WIDTH, absolute, anywhere, fma, load, select, store, zero
from .cooperation import MEXICAN_HAT
from .winner import (
    EUCLIDEAN,
    add_square,
    blocks_in_groups,
    load_rows,
    nearest_of_distances,
    squared_distance,
    squared_distances,
    store_rows,
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
    used: Any  # number of blocks with units
    found: Any  # (blocks, 16): squared distances to the next sample
    ahead: Any  # (blocks, 16): squared distances to the sample after it
    reached: Any  # (blocks,): numbers of the blocks in reach


@allocating_device
def new_adaptation(units, common, number, cooperation):
    """The adaptation of ``number`` units in one call."""
    weights, pad, _ = units
    used = (number + WIDTH - 1) // WIDTH
    found, ahead = np.empty(pad.shape, np.float32), np.empty(pad.shape, np.float32)
    return Adaptation(weights, pad, common, cooperation, used, found, ahead, np.empty(pad.shape[0], np.int64))


@device
def is_larger_than_cache(weights):
    """Whether the weights are larger than the first cache of a processor."""
    return weights.size > _FIRST_CACHE


@device
def _is_reached(step):
    return anywhere(absolute(step) > _0)


@device
def _move(w, x, step):
    """w + ε·h·(x − w). A step of 0 keeps w, since x − w is finite: see ``LARGEST`` in units.py."""
    return fma(step, x - w, w)


@device
def _move_block(sample, weights, b, step):
    """Move the units of block ``b`` in the present channels."""
    for k in range(sample.count):
        d = sample.channels[k]
        store_block(weights, b, d, _move(load_block(weights, b, d), sample.x[d], step))


@device
def _move_complete(x, weights, b, step):
    """Move the units of block ``b`` towards a sample without missing channels."""
    for d in range(x.size):
        store_block(weights, b, d, _move(load_block(weights, b, d), x[d], step))


@device
def _move_and_measure(x, y, weights, b, step, start):
    """Move the units of block ``b`` towards ``x``. Returns ``start`` + their squared distances to ``y``."""
    total = start
    for d in range(x.size):
        w = _move(load_block(weights, b, d), x[d], step)
        store_block(weights, b, d, w)
        total = add_square(y[d], w, total)
    return total


@device
def adapt(adaptation, sample, blocks):
    """Move the blocks in reach towards the sample. ``blocks`` is what `write_steps` returned."""
    weights, cooperation = adaptation.weights, adaptation.cooperation
    for b in range(blocks[0], blocks[1]):
        step = load(cooperation.steps, b)
        reached = _is_reached(step)
        if cooperation.neighbourhood == MEXICAN_HAT:  # h < 0 moves no distant unit: its weights would diverge
            d2 = squared_distance(sample.x, sample.channels, sample.count, weights, b, zero())
            step = select(step > _0, step, select(d2 < _REPULSION_LIMIT, step, zero()))
        if reached:
            _move_block(sample, weights, b, step)


@device
def _moves_whole(adaptation, before, g, blocks):
    """Whether all blocks of group ``g`` are in reach. If not, move those that are."""
    steps, first = adaptation.cooperation.steps, BLOCKS * g
    s0, s1, s2, s3 = load_rows(steps, g)
    if not blocks[0] <= first < blocks[1]:
        return False
    if (
        _is_reached(s0)
        and _is_reached(s1)
        and _is_reached(s2)
        and (_is_reached(s3) or first + BLOCKS > adaptation.used)
    ):
        return True
    for b in range(first, first + BLOCKS):
        if _is_reached(load(steps, b)):
            _move_complete(before.x, adaptation.weights, b, load(steps, b))
    return False


@device
def _move_and_measure_two(adaptation, x, y, b, found):
    """Move the blocks ``b`` and write their squared distances to ``y`` to ``found``."""
    weights, pad, steps = adaptation.weights, adaptation.pad, adaptation.cooperation.steps
    first, second = load(pad, b[0]), load(pad, b[1])
    step = load(steps, b[0]), load(steps, b[1])
    for d in range(x.size):
        w = _move(load_block(weights, b[0], d), x[d], step[0])
        store_block(weights, b[0], d, w)
        first = add_square(y[d], w, first)
        w = _move(load_block(weights, b[1], d), x[d], step[1])
        store_block(weights, b[1], d, w)
        second = add_square(y[d], w, second)
    store(found, b[0], first)
    store(found, b[1], second)


@device
def _move_and_measure_ahead(adaptation, x, y, z, b):
    """`_move_and_measure_two`, with the squared distances to ``z`` too."""
    weights, pad, steps = adaptation.weights, adaptation.pad, adaptation.cooperation.steps
    first, second = load(pad, b[0]), load(pad, b[1])
    first_ahead, second_ahead = first, second
    step = load(steps, b[0]), load(steps, b[1])
    for d in range(x.size):
        w = _move(load_block(weights, b[0], d), x[d], step[0])
        store_block(weights, b[0], d, w)
        first, first_ahead = add_square(y[d], w, first), add_square(z[d], w, first_ahead)
        w = _move(load_block(weights, b[1], d), x[d], step[1])
        store_block(weights, b[1], d, w)
        second, second_ahead = add_square(y[d], w, second), add_square(z[d], w, second_ahead)
    store(adaptation.found, b[0], first)
    store(adaptation.found, b[1], second)
    store(adaptation.ahead, b[0], first_ahead)
    store(adaptation.ahead, b[1], second_ahead)


@device
def adapt_and_search(adaptation, before, sample, following, blocks, looks_ahead):
    """Adapt to the sample ``before``, and search the units nearest to ``sample``. All are complete.

    With ``looks_ahead`` the distances to ``following`` are written to ``ahead``.
    """
    weights, pad, _, cooperation, _, found, ahead, _ = adaptation
    x, y, z, channels, count = before.x, sample.x, following.x, sample.channels, sample.count
    whole = blocks_in_groups(pad, EUCLIDEAN)
    for g in range(whole // BLOCKS):
        if _moves_whole(adaptation, before, g, blocks):
            for b in range(BLOCKS * g, BLOCKS * g + BLOCKS, 2):
                if looks_ahead:
                    _move_and_measure_ahead(adaptation, x, y, z, (b, b + 1))
                else:
                    _move_and_measure_two(adaptation, x, y, (b, b + 1), found)
        else:
            store_rows(found, g, squared_distances(y, channels, count, weights, g, load_rows(pad, g)))
            if looks_ahead:
                store_rows(ahead, g, squared_distances(z, channels, count, weights, g, load_rows(pad, g)))
    for b in range(whole, pad.shape[0]):
        if b < blocks[1] and _is_reached(load(cooperation.steps, b)):
            _move_complete(x, weights, b, load(cooperation.steps, b))
        store(found, b, squared_distance(y, channels, count, weights, b, load(pad, b)))
        if looks_ahead:
            store(ahead, b, squared_distance(z, channels, count, weights, b, load(pad, b)))
    return nearest_of_distances(found, adaptation.common)


@device
def adapt_and_search_reached(adaptation, before, sample, blocks):
    """`adapt_and_search` if the pass before has looked ahead: only blocks in reach have new distances."""
    weights, pad, _, cooperation, _, _, ahead, reached = adaptation
    count = 0
    for b in range(blocks[0], blocks[1]):
        reached[count] = b
        count += _is_reached(load(cooperation.steps, b))
    for i in range(0, count - 1, 2):
        _move_and_measure_two(adaptation, before.x, sample.x, (reached[i], reached[i + 1]), ahead)
    if count % 2 == 1:
        b = reached[count - 1]
        step, start = load(cooperation.steps, b), load(pad, b)
        store(ahead, b, _move_and_measure(before.x, sample.x, weights, b, step, start))
    return nearest_of_distances(ahead, adaptation.common)
