"""Self-organizing map (Kohonen 1982): competition, cooperation, adaptation for each sample in order.

    winner       i = argmin_j ‖x − w_j‖; among equal distances the lowest index
    cooperation  h_ij = neighbourhood(d_ij, σ(t)), d_ij the distance on the grid
    adaptation   w_j += ε(t)·h_ij·(x − w_j)

A pass through the weights takes most of the time. So the weights adapt to sample n on the same pass that
searches for the winner of sample n + 1; they adapt to the last sample at the end of the call.

``units.py`` defines the layout of the units, in row-major order. ``lattice.py`` defines ``grid`` and
``shape``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp
from ..simd.groups import BLOCKS, load_block, load_group, look_up, store_block, store_group
from ..simd.lanes import WIDTH, absolute, anywhere, fma, iota, load, select, splat, sqrt, store, zero
from ..stream import gate as gates
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import lattice, units
from .units import Learning, Outputs, Progress, new_stream
from .winner import (
    EUCLIDEAN,
    Units,
    add_squares,
    blocks_in_groups,
    load_rows,
    nearest_two,
    nearest_two_of_lanes,
    no_units,
    squared_distance,
    squared_distances,
    squared_distances_of_two,
    store_rows,
    update_nearest,
    update_nearest_by_group,
)

GAUSSIAN, BUBBLE, TRIANGLE, MEXICAN_HAT = 0, 1, 2, 3
NEIGHBOURHOODS = {"gaussian": GAUSSIAN, "bubble": BUBBLE, "triangle": TRIANGLE, "mexican_hat": MEXICAN_HAT}
SMALLEST_SIGMA = np.float32(1e-3)  # only the winner learns; avoids a division by 0 as σ decays to 0
# Part of the rule: units farther than 5.25σ from the winner (h < 1.04e-6) do not learn
REACH = np.float32(5.25)

# Live quality, float64 (3,): COUNT and QUANTIZATION of units.py, Σ [the nearest two are not neighbours]
TOPOGRAPHIC = 2

NO_SAMPLE = -1
# A pass measures its own sample; or the next one as well; or, after such a pass, only where weights changed
OWN, AHEAD, CHANGED = 0, 1, 2
_FEW = 3  # a pass looks ahead if at most a third of the blocks is in reach of a winner

_0, _1, _HALF = np.float32(0), np.float32(1), np.float32(0.5)
_REPULSION_LIMIT = np.float32(1e30)  # squared distance
_FAR = np.float32(WIDTH - 1)  # last entry of a table of steps
_FARTHEST = np.float32(2 * WIDTH - 1)  # last entry of two tables


class Map(NamedTuple):
    """The grid of the units, and the schedules of the samples."""

    stream: Any
    grid: Any  # (2, blocks, 16)
    geometry: Any  # see lattice.geometry
    learning_rate: Any  # (n,): ε(t)
    sigma: Any  # (n,): σ(t)
    neighbourhood: Any
    steps: Any  # (blocks, 16): ε·h of each unit
    tables: Any  # (2, 16): ε·h at the grid distances 0 … 31
    tables_for: Any  # (2,): ε and σ of the tables
    ahead: Any  # (blocks, 16): squared distances to the sample after the next one
    ahead_of: Any  # (1,): number of that sample in the call, or NO_SAMPLE
    quality: Any  # (3,)
    decay: Any
    watched: Any  # (n,): outputs
    looks_ahead: Any  # whether the next sample is scaled before the search


@device
def _cooperation(d2, sigma, reach, neighbourhood):
    """h at a squared grid distance; 0 beyond ``reach``. Mexican hat: negative second derivative of a
    Gaussian."""
    h = zero() + _1
    if neighbourhood == TRIANGLE:
        h = h - sqrt(d2) / sigma
    elif neighbourhood != BUBBLE:
        exponent = d2 * (_HALF / (sigma * sigma))
        h = exp(-exponent)
        if neighbourhood == MEXICAN_HAT:
            h = h * (_1 - exponent - exponent)
    return select(d2 <= reach * reach, h, zero())


@device
def _tables(som, learning_rate, sigma, reach):
    """ε·h at the grid distances 0 … 15 and 16 … 31. Computed again when ε or σ changes."""
    tables, computed_for = som.tables, som.tables_for
    if computed_for[0] != learning_rate or computed_for[1] != sigma:
        computed_for[0], computed_for[1] = learning_rate, sigma
        for k in range(2):
            d = iota() + np.float32(k * WIDTH)
            store(tables, k, learning_rate * _cooperation(d * d, sigma, reach, som.neighbourhood))
    return load(tables, 0), load(tables, 1)


@device
def _write_steps(som, n, winner):
    """Write ε·h of the units that learn sample ``n`` to ``som.steps``.

    Returns the first block and the end of the blocks that were written: groups, and a last block alone. The
    steps of the other blocks are 0. Most grids have few distances; then ε·h comes from a table.
    """
    grid, geometry, neighbourhood = som.grid, som.geometry, som.neighbourhood
    learning_rate, sigma = som.learning_rate[n], max(som.sigma[n], SMALLEST_SIGMA)
    reach = sigma * REACH if neighbourhood in (GAUSSIAN, MEXICAN_HAT) else sigma
    row, column = lattice.place(grid, winner)
    first, end = lattice.reachable_blocks(grid, row, reach, geometry)
    first, end = first // BLOCKS * BLOCKS, min((end + BLOCKS - 1) // BLOCKS * BLOCKS, grid.shape[1])
    if lattice.has_whole_distances(geometry) and reach < _FARTHEST:
        near, far = _tables(som, learning_rate, sigma, reach)
        for b in range(first, end):
            d = lattice.distances(grid, b, row, column, geometry)
            step = look_up(near, select(d < _FAR, d, zero() + _FAR))
            if reach >= _FAR:
                step = select(d > _FAR, look_up(far, select(d < _FARTHEST, d, zero() + _FARTHEST)), step)
            store(som.steps, b, step)
    else:
        for b in range(first, end):
            d2 = lattice.squares(lattice.distances(grid, b, row, column, geometry), geometry)
            store(som.steps, b, learning_rate * _cooperation(d2, sigma, reach, neighbourhood))
    return first, end


@device
def _move(w, x, step):
    """w + ε·h·(x − w). Weights of units out of reach stay: there x − w may overflow, and 0·∞ is NaN."""
    return select(absolute(step) > _0, fma(step, x - w, w), w)


@device
def _total_step(steps):
    """Above 0 in a lane in which a unit of one of four blocks learns."""
    s0, s1, s2, s3 = steps
    return (absolute(s0) + absolute(s1)) + (absolute(s2) + absolute(s3))


@device
def _move_block(sample, weights, b, step):
    """w += ε·h·(x − w) for block ``b``, in the present channels."""
    for k in range(sample.count):
        d = sample.channels[k]
        w = load_block(weights, b, d)
        store_block(weights, b, d, _move(w, sample.x[d], step))


@device
def _adapt(som, sample, first, end):
    """Move the winner and its neighbours towards the sample, in the present channels."""
    weights = som.stream.units.weights
    for b in range(first, end):
        step = load(som.steps, b)
        if som.neighbourhood == MEXICAN_HAT:  # h < 0 moves no distant unit, or its weights would diverge
            d2 = squared_distance(sample.x, sample.channels, sample.count, weights, b, zero())
            step = select(step > _0, step, select(d2 < _REPULSION_LIMIT, step, zero()))
        if anywhere(absolute(step) > _0):
            _move_block(sample, weights, b, step)


@device
def _adapt_and_search(som, before, first, end, sample, measures):
    """Adapt to the sample ``before``, and find the nearest two units of ``sample``. Both are complete.

    ``measures`` is OWN, AHEAD or CHANGED: see `_search`.
    """
    x, y, z = before.x, sample.x, units.sample_at(som.stream, min(sample.n + 1, som.sigma.size - 1)).x
    weights, pad, _ = som.stream.units
    nearest = no_units()
    for g in range(pad.shape[0] // BLOCKS):
        steps, totals = load_rows(som.steps, g), load_rows(pad, g)
        if first <= BLOCKS * g < end and anywhere(_total_step(steps) > _0):
            for d in range(y.size):
                w, value = load_group(weights, g, d), splat(x[d])
                w = (
                    _move(w[0], value, steps[0]), _move(w[1], value, steps[1]),
                    _move(w[2], value, steps[2]), _move(w[3], value, steps[3]),
                )  # fmt: skip
                store_group(weights, g, d, w)
                totals = add_squares(splat(y[d]), w, totals)
            if measures == AHEAD:
                others = squared_distances(z, sample.channels, sample.count, weights, g, load_rows(pad, g))
                store_rows(som.ahead, g, others)
        elif measures == AHEAD:
            totals, others = squared_distances_of_two(y, z, weights, g, totals)
            store_rows(som.ahead, g, others)
        elif measures == CHANGED:
            totals = load_rows(som.ahead, g)
        else:
            totals = squared_distances(y, sample.channels, sample.count, weights, g, totals)
        nearest = update_nearest_by_group(totals, g, nearest)
    for b in range(blocks_in_groups(pad, EUCLIDEAN), pad.shape[0]):
        if b < end and anywhere(absolute(load(som.steps, b)) > _0):
            _move_block(before, weights, b, load(som.steps, b))
        total = squared_distance(y, sample.channels, sample.count, weights, b, load(pad, b))
        nearest = update_nearest(total, b, nearest)
    return nearest_two_of_lanes(nearest)


@device
def _adapt_and_find(stream, sample, som):
    """The nearest two units of a sample. The sample before it is learned, on the same pass if possible.

    If few units are in reach of a winner, a pass also measures the sample after this one. The next pass then
    reads only the weights that have changed.
    """
    n, dim = sample.n, sample.x.size
    known = som.ahead_of[0] == n
    som.ahead_of[0] = NO_SAMPLE
    if n > 0 and stream.outputs.winner[n - 1] >= 0 and not som.watched[n - 1]:
        before = units.sample_at(stream, n - 1)
        first, end = _write_steps(som, n - 1, np.int64(stream.outputs.winner[n - 1]))
        complete = before.count == dim and sample.count == dim
        if complete and stream.units.measure == EUCLIDEAN and som.neighbourhood != MEXICAN_HAT:
            measures = CHANGED if known else OWN
            few = som.looks_ahead and _FEW * (end - first) <= som.steps.shape[0]
            if few and not known and n + 1 < stream.x.shape[0] and stream.outputs.present[n + 1] == dim:
                measures = AHEAD
                som.ahead_of[0] = n + 1
            return _adapt_and_search(som, before, first, end, sample, measures)
        _adapt(som, before, first, end)
    return nearest_two(sample.x, sample.channels, sample.count, stream.units)


@device
def _search(stream, sample, som):
    """Find the nearest two units, and count the topographic error."""
    winner, nearest, second = _adapt_and_find(stream, sample, som)
    if winner >= 0 and sample.count > 0:
        torn = second >= 0 and not lattice.touch(som.grid, winner, second, som.geometry)
        som.quality[TOPOGRAPHIC] = som.quality[TOPOGRAPHIC] * som.decay + (1.0 if torn else 0.0)
    return winner, nearest, second


@device
def _adapt_later(sample, winner, nearest, second, som):
    """Do nothing: the weights adapt during the search for the next sample's winner."""


@kernel(
    "i8(f4[:,::1], u1[::1], f8[::1], f4[:,:,::1], f4[:,::1], i8, i8, f8[:,::1], f8, f8[::1], i8, f8,"
    " i8[::1], f8[::1], f8[::1], f8, f4[:,:,::1], i8[::1], i8, f4[::1], f4[::1], i4[::1], f4[::1],"
    " f4[::1], i4[::1], b1[::1], f4[:,::1])"
)
def learn(
    x,  # (n, dim)
    interrupt,  # (1,): see stream/interrupt.py
    gate,  # see stream/gate.py
    # Units
    weights,  # (groups, dim, 64)
    pad,  # (blocks, 16)
    measure,
    # Scaling
    method,
    statistics,  # (rows, dim): see scaling.py
    scale_clip,
    # Score
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    # Progress
    samples,  # (1,)
    hits,  # (units + 1,)
    quality,  # (3,)
    decay,
    # Map
    grid,  # (2, blocks, 16)
    shape,  # (5,)
    neighbourhood,
    learning_rate,  # (n,): ε(t)
    sigma,  # (n,): σ(t)
    # Outputs
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,)
    watched,  # (n,)
    contribution,  # (2n, dim): contributions, then expected values; (0, dim) if nobody needs it
):
    """Learn the samples in order. Write the outputs of each sample before it is learned.

    Returns the number of samples done.
    """
    stream = new_stream(
        x,
        Units(weights, pad, measure),
        Scaling(method, statistics, scale_clip),
        Score(score_reference, score_columns, score_decay),
        Outputs(winner, distance, score, present),
    )
    progress = Progress(samples, hits, quality, decay)
    learning = Learning(gate, interrupt, watched, contribution)
    geometry = lattice.geometry(shape)
    steps, ahead = np.empty((grid.shape[1], WIDTH), np.float32), np.empty((grid.shape[1], WIDTH), np.float32)
    tables, tables_for = np.empty((2, WIDTH), np.float32), np.full(2, np.nan, np.float32)
    ahead_of = np.full(1, NO_SAMPLE)
    som = Map(
        stream, grid, geometry, learning_rate, sigma, neighbourhood, steps, tables, tables_for, ahead,
        ahead_of, quality, decay, watched, not gates.needs_score(gate),
    )  # fmt: skip
    done = units.learn(stream, progress, learning, _search, _adapt_later, som)
    last = done - 1
    if done > 0 and winner[last] >= 0 and not watched[last]:
        first, end = _write_steps(som, last, np.int64(winner[last]))
        _adapt(som, units.sample_at(stream, last), first, end)
    return done
