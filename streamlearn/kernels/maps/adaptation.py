"""Adaptation of a map, and the search for the next winner on the same pass through the weights.

    w_j += ε·h_j·(x − w_j)

A pass takes four blocks of units at a time, and measures them while their weights are in registers. If the
weights are larger than the first cache, reading them takes longer than the arithmetic. Then every second pass
also measures the sample after the next one, and the pass after it reads only the blocks that it moves.

A block moves if the winner reaches one of its units. The weights do not depend on the passes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device
from ..simd.groups import BLOCKS, load_block, load_group, store_block, store_group
from ..simd.lanes import WIDTH, absolute, anywhere, fma, load, select, splat, store, zero
from .cooperation import MEXICAN_HAT
from .winner import (
    EUCLIDEAN,
    add_squares,
    blocks_in_groups,
    load_rows,
    nearest_two_of_lanes,
    no_units,
    squared_distance,
    squared_distances_of_two,
    store_rows,
    update_nearest,
    update_nearest_by_group,
)

_0 = np.float32(0)
_FIRST_CACHE = 1 << 13  # float32 values
_REPULSION_LIMIT = np.float32(1e30)  # squared distance


class Adaptation(NamedTuple):
    """The units, how they move, and what a pass measures."""

    weights: Any  # (groups, dim, 64)
    pad: Any  # (blocks, 16)
    cooperation: Any
    used: Any  # number of blocks with units
    ahead: Any  # (blocks, 16): squared distances to the sample after the next one
    reached: Any  # (blocks,): numbers of the blocks in reach


@allocating_device
def new_adaptation(units, number, cooperation):
    """The adaptation of ``number`` units in one call."""
    weights, pad, _ = units
    used, ahead = (number + WIDTH - 1) // WIDTH, np.empty(pad.shape, np.float32)
    return Adaptation(weights, pad, cooperation, used, ahead, np.empty(pad.shape[0], np.int64))


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
        total = fma(y[d] - w, y[d] - w, total)
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
def _move_four(w, x, steps):
    """Weights of four blocks in one channel after their move."""
    return (
        _move(w[0], x, steps[0]), _move(w[1], x, steps[1]), _move(w[2], x, steps[2]), _move(w[3], x, steps[3])
    )  # fmt: skip


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
def adapt_and_search(adaptation, before, sample, following, blocks, looks_ahead):
    """Adapt to the sample ``before``, and find the nearest two units of ``sample``. All are complete.

    With ``looks_ahead`` the distances to ``following`` are written to ``ahead``.
    """
    weights, pad, cooperation, _, ahead, _ = adaptation
    x, y, z = before.x, sample.x, following.x
    alone = zero()  # a last block alone: its sums are long, and are done while groups follow
    for b in range(blocks_in_groups(pad, EUCLIDEAN), pad.shape[0]):
        if b < blocks[1] and _is_reached(load(cooperation.steps, b)):
            _move_complete(x, weights, b, load(cooperation.steps, b))
        alone = squared_distance(y, sample.channels, sample.count, weights, b, load(pad, b))
        if looks_ahead:
            store(ahead, b, squared_distance(z, sample.channels, sample.count, weights, b, load(pad, b)))
    nearest = no_units()
    for g in range(pad.shape[0] // BLOCKS):
        totals, steps = load_rows(pad, g), load_rows(cooperation.steps, g)
        others = totals
        moves = _moves_whole(adaptation, before, g, blocks)
        if moves and looks_ahead:
            for d in range(y.size):
                w = _move_four(load_group(weights, g, d), splat(x[d]), steps)
                store_group(weights, g, d, w)
                totals, others = add_squares(splat(y[d]), w, totals), add_squares(splat(z[d]), w, others)
        elif moves:
            for d in range(y.size):
                w = _move_four(load_group(weights, g, d), splat(x[d]), steps)
                store_group(weights, g, d, w)
                totals = add_squares(splat(y[d]), w, totals)
        elif looks_ahead:
            totals, others = squared_distances_of_two(y, z, weights, g, totals)
        else:
            for d in range(y.size):
                totals = add_squares(splat(y[d]), load_group(weights, g, d), totals)
        if looks_ahead:
            store_rows(ahead, g, others)
        nearest = update_nearest_by_group(totals, g, nearest)
    for b in range(blocks_in_groups(pad, EUCLIDEAN), pad.shape[0]):
        nearest = update_nearest(alone, b, nearest)
    return nearest_two_of_lanes(nearest)


@device
def _load_four(array, b):
    return load(array, b[0]), load(array, b[1]), load(array, b[2]), load(array, b[3])


@device
def _move_and_measure_four(adaptation, x, y, b):
    """Move the four blocks ``b``, and write their distances to ``y``."""
    weights, ahead = adaptation.weights, adaptation.ahead
    totals, steps = _load_four(adaptation.pad, b), _load_four(adaptation.cooperation.steps, b)
    for d in range(y.size):
        w = (
            load_block(weights, b[0], d), load_block(weights, b[1], d),
            load_block(weights, b[2], d), load_block(weights, b[3], d),
        )  # fmt: skip
        w = _move_four(w, splat(x[d]), steps)
        store_block(weights, b[0], d, w[0])
        store_block(weights, b[1], d, w[1])
        store_block(weights, b[2], d, w[2])
        store_block(weights, b[3], d, w[3])
        totals = add_squares(splat(y[d]), w, totals)
    store(ahead, b[0], totals[0])
    store(ahead, b[1], totals[1])
    store(ahead, b[2], totals[2])
    store(ahead, b[3], totals[3])


@device
def adapt_and_search_reached(adaptation, before, sample, blocks):
    """`adapt_and_search` if the pass before has looked ahead: only blocks in reach have new distances."""
    weights, pad, cooperation, _, ahead, reached = adaptation
    count = 0
    for b in range(blocks[0], blocks[1]):
        reached[count] = b
        count += _is_reached(load(cooperation.steps, b))
    together = count // BLOCKS * BLOCKS
    for i in range(0, together, BLOCKS):
        four = reached[i], reached[i + 1], reached[i + 2], reached[i + 3]
        _move_and_measure_four(adaptation, before.x, sample.x, four)
    for i in range(together, count):
        b = reached[i]
        step, start = load(cooperation.steps, b), load(pad, b)
        store(ahead, b, _move_and_measure(before.x, sample.x, weights, b, step, start))
    nearest = no_units()
    for g in range(pad.shape[0] // BLOCKS):
        nearest = update_nearest_by_group(load_rows(ahead, g), g, nearest)
    for b in range(blocks_in_groups(pad, EUCLIDEAN), pad.shape[0]):
        nearest = update_nearest(load(ahead, b), b, nearest)
    return nearest_two_of_lanes(nearest)
