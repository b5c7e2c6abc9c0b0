"""Self-organizing orientation columns (von der Malsburg 1973): a sheet of excitatory (E) and inhibitory (I)
cells on a hexagonal grid, one of each at every place. A retina of ``dim`` lines excites the E cells.

    settling    H_k ← H_k + δ(−H_k + p Σ_E H*_l − q Σ_I H*_l + Σ_i s_ik A_i)    E cells, from H = 0
                H_k  =  r Σ_E H*_l                                            I cells
                H*   =  max(0, H − θ)                                         output of a cell
    learning    s_ik ← s_ik + h A_i H*_k,  then all s of cell k × (its fixed sum / Σ_i s_ik)

In each settling step the I cells are computed first, from the current E outputs. If I cells use the E outputs
of the step before, the published strengths oscillate and do not settle. The steady states are the same.

The plane (``plane.py``) has ``blocks`` of 16 places. ``live`` ``(blocks, 16)`` is 1 at a cell, else 0.
``ee``, ``ei`` and ``ie`` are array offsets: from an E cell to the E cells that excite it, from an I cell to
the E cells that excite it, and from an E cell to the I cells that inhibit it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device, kernel
from ..simd.lanes import (
    WIDTH,
    absolute,
    anywhere,
    fma,
    lane,
    load,
    load_from,
    select,
    store,
    store_from,
    zero,
)
from ..simd.views import row_of
from ..stream import gate as gates
from ..stream import score as scores
from ..stream.contribution import fill_unknown, size_of, to_shares
from ..stream.interrupt import requested
from ..stream.score import Score
from .plane import (
    Outputs,
    copy_activities,
    count_firing,
    neighbour_sum,
    read_activities,
)

# Parts of the rule. H* is at most MAX_OUTPUT, so that no strength of connections overflows. Smaller afferents
# than MIN_AFFERENT are set to 0: they would decay to denormals, which are slow.
MAX_OUTPUT, MIN_AFFERENT = np.float32(1e9), np.float32(1e-20)

# Live quality, float64 (3,): exponentially weighted count, Σ share of E cells that fire, Σ largest last step
COUNT, FIRING, UNSETTLED = 0, 1, 2

_0, _1 = np.float32(0), np.float32(1)


class Sheet(NamedTuple):
    """The cells and their neighbours."""

    live: Any  # (blocks, 16)
    margin: Any
    ee: Any  # (neighbours,): array offsets
    ei: Any
    ie: Any


class Strengths(NamedTuple):
    """The parameters of the settling."""

    p: Any
    q: Any
    r: Any
    theta: Any
    delta: Any


class Buffers(NamedTuple):
    """The response to one sample."""

    inputs: Any  # (dim,)
    drive: Any  # (blocks, 16): afferent input of the E cells
    potential: Any  # (blocks, 16): H of the E cells
    e_output: Any  # (size,): plane of H* of the E cells
    i_output: Any  # (size,): plane of H* of the I cells


@device
def _output(potential, theta, live):
    """H* = max(0, H − θ) of cells, 0 at places without a cell."""
    excess = potential - theta
    excess = select(excess < MAX_OUTPUT, excess, MAX_OUTPUT)
    return select(excess > _0, excess * live, zero())


@device
def _lane_max(values):
    largest = _0
    for l in range(WIDTH):
        largest = max(largest, lane(values, l))
    return largest


@allocating_device
def _allocate_buffers(sheet, dim):
    size = 2 * sheet.margin + sheet.live.size
    return Buffers(
        np.empty(dim, np.float32),
        np.empty(sheet.live.shape, np.float32),
        np.empty(sheet.live.shape, np.float32),
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
    )


@device
def _settle(afferents, sheet, strengths, steps, buffers):
    """Settle the sheet under the inputs. Returns the largest change of an H* in the last step."""
    live, margin, ee, ei, ie = sheet
    p, q, r, theta, delta = strengths
    inputs, drive, potential, e_output, i_output = buffers
    blocks = potential.shape[0]
    for b in range(blocks):
        total = zero()
        for i in range(inputs.size):
            if inputs[i] > _0:
                total = fma(load(afferents, b, i), inputs[i], total)
        store(drive, b, total)
        store(potential, b, zero())
        store_from(e_output, margin + b * WIDTH, zero())
    change = zero()
    for _ in range(steps):
        change = zero()
        for b in range(blocks):
            start = margin + b * WIDTH
            i_potential = r * neighbour_sum(e_output, start, ei)
            store_from(i_output, start, _output(i_potential, theta, load(live, b)))
        for b in range(blocks):
            start = margin + b * WIDTH
            own = load(potential, b)
            change_rate = fma(p, neighbour_sum(e_output, start, ee), load(drive, b)) - own
            change_rate = fma(-q, neighbour_sum(i_output, start, ie), change_rate)
            store(potential, b, fma(delta, change_rate, own))
        for b in range(blocks):
            start = margin + b * WIDTH
            before = load_from(e_output, start)
            after = _output(load(potential, b), theta, load(live, b))
            store_from(e_output, start, after)
            difference = absolute(after - before)
            change = select(difference > change, difference, change)
    return _lane_max(change)


@device
def _lengths(x, n, afferents, place):
    """‖A‖ and ‖s‖ of sample ``n`` and of the cell at ``place``, over the lines present."""
    squared_a, squared_s = 0.0, 0.0
    for i in range(x.shape[1]):
        if x[n, i] == x[n, i]:
            a, s = np.float64(x[n, i]), np.float64(afferents[place // WIDTH, i, place % WIDTH])
            squared_a += a * a
            squared_s += s * s
    return math.sqrt(squared_a), math.sqrt(squared_s)


@device
def _write_explanation(x, n, afferents, place, expected, contribution):
    """Write the winner's afferents with the length of the sample, and the share of each line.

    The shares are those in 2·(1 − cos) = Σ (A_i/‖A‖ − s_i/‖s‖)². NaN without a winner.
    """
    if place < 0:
        fill_unknown(expected)
        fill_unknown(contribution)
        return
    length_a, length_s = _lengths(x, n, afferents, place)
    factor = length_a / length_s if length_s > 0.0 else 0.0
    for i in range(x.shape[1]):
        s = np.float64(afferents[place // WIDTH, i, place % WIDTH])
        expected[i] = np.float32(factor * s)
        contribution[i] = size_of(np.float64(x[n, i]) * length_s - s * length_a)
    to_shares(contribution, True)


@device
def _cosine_distance(x, n, afferents, place):
    """1 − cos(sample, afferents of the cell at ``place``), over the lines present; 1 if a length is 0."""
    dot, squared_s, squared_a = 0.0, 0.0, 0.0
    for i in range(x.shape[1]):
        if x[n, i] == x[n, i]:
            s, a = np.float64(afferents[place // WIDTH, i, place % WIDTH]), np.float64(x[n, i])
            dot += s * a
            squared_s += s * s
            squared_a += a * a
    return 1.0 - dot / math.sqrt(squared_s * squared_a) if squared_s * squared_a > 0.0 else 1.0


@device
def _write_outputs(x, n, afferents, margin, cell_index, e_output, histogram, outputs):
    """Write the outputs for sample ``n`` from the settled sheet."""
    winner, activity, distance, score, present = outputs
    i, _ = copy_activities(e_output, cell_index, activity, n)
    winner[n] = i
    distance[n] = _1 if present[n] > 0 else np.float32(np.nan)
    if i >= 0:
        distance[n] = np.float32(max(0.0, _cosine_distance(x, n, afferents, cell_index[i] - margin)))
    score[n] = scores.rank(histogram, distance[n], present[n])


@device
def _update(inputs, afferents, margin, e_output, rate, afferent_sum):
    """Add h A_i H*_k to the afferents of the firing cells, then rescale these to their fixed sum."""
    for b in range(afferents.shape[0]):
        output = load_from(e_output, margin + b * WIDTH)
        if anywhere(output > _0):
            step = rate * output
            total = zero()
            for i in range(inputs.size):
                s = fma(step, inputs[i], load(afferents, b, i))
                store(afferents, b, i, s)
                total = total + s
            factor = select(output > _0, afferent_sum / total, zero() + _1)
            for i in range(inputs.size):
                s = factor * load(afferents, b, i)
                store(afferents, b, i, select(s > MIN_AFFERENT, s, zero()))


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, i8[::1], i8[::1], i8[::1], i8[::1], f4, f4, f4, f4, f4,"
    " i8, f8[::1], i8, f8, i4[::1], f4[:,::1], f4[::1], f4[::1], i4[::1])",
    allocates=True,
)
def predict(
    x,  # (n, dim)
    # the sheet
    afferents,  # (blocks, dim, 16): s
    live,  # (blocks, 16)
    margin,  # zeros before and after the cells of a plane
    cell_index,  # (cells,): of the cells in a plane
    ee,  # (neighbours,): array offsets
    ei,
    ie,
    # the settling
    p,
    q,
    r,
    theta,
    delta,
    steps,
    # the score
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    # the outputs
    winner,  # (n,)
    activity,  # (n, cells)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,): number of values present
):
    """Write the outputs for each sample. Does not change the model."""
    sheet, strengths = Sheet(live, margin, ee, ei, ie), Strengths(p, q, r, theta, delta)
    histogram, outputs = (
        Score(score_reference, score_columns, score_decay),
        Outputs(winner, activity, distance, score, present),
    )
    buffers = _allocate_buffers(sheet, x.shape[1])
    for n in range(x.shape[0]):
        present[n] = read_activities(x, n, buffers.inputs)
        _settle(afferents, sheet, strengths, steps, buffers)
        _write_outputs(x, n, afferents, margin, cell_index, buffers.e_output, histogram, outputs)


@kernel(
    "i8(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, i8[::1], i8[::1], i8[::1], i8[::1], f4, f4, f4, f4, f4,"
    " i8, f8[::1], i8, f8, i8[::1], f8[::1], f8, f4, f4[::1], u1[::1], f8[::1], i4[::1], f4[:,::1],"
    " f4[::1], f4[::1], i4[::1], b1[::1], f4[:,::1])",
    allocates=True,
)
def learn(
    x,  # (n, dim)
    # the sheet
    afferents,  # (blocks, dim, 16): s
    live,  # (blocks, 16)
    margin,
    cell_index,  # (cells,)
    ee,  # (neighbours,)
    ei,
    ie,
    # the settling
    p,
    q,
    r,
    theta,
    delta,
    steps,
    # the score
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    # counter and quality
    samples,  # (1,)
    quality,  # (3,)
    decay,  # of the quality and the score, per sample
    # the rule
    afferent_sum,  # Σ_i s_ik of every cell
    h,  # (n,): learning rate
    interrupt,  # (1,): ends the call after the current sample
    gate,  # see stream/gate.py
    # the outputs
    winner,  # (n,)
    activity,  # (n, cells)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,): number of values present
    watched,  # (n,)
    contribution,  # (2n, dim): contributions, then expected values; (0, dim) if nobody needs it
):
    """Learn ``x`` in order. Writes the outputs for each sample as they are before it is learned.

    Returns the number of samples that were learned.
    """
    sheet, strengths = Sheet(live, margin, ee, ei, ie), Strengths(p, q, r, theta, delta)
    histogram, outputs = (
        Score(score_reference, score_columns, score_decay),
        Outputs(winner, activity, distance, score, present),
    )
    buffers = _allocate_buffers(sheet, x.shape[1])
    for n in range(x.shape[0]):
        present[n] = read_activities(x, n, buffers.inputs)
        change = _settle(afferents, sheet, strengths, steps, buffers)
        _write_outputs(x, n, afferents, margin, cell_index, buffers.e_output, histogram, outputs)
        if contribution.shape[0] > 0:
            place = cell_index[winner[n]] - margin if winner[n] >= 0 else -1
            shares, expected = row_of(contribution, n), row_of(contribution, x.shape[0] + n)
            _write_explanation(x, n, afferents, place, expected, shares)
        learned = gates.admits(gate, score[n])
        watched[n] = not learned
        if winner[n] >= 0 and learned:
            _update(buffers.inputs, afferents, margin, buffers.e_output, h[n], afferent_sum)
        if present[n] > 0:
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[FIRING] = quality[FIRING] * decay + count_firing(activity, n) / cell_index.size
            quality[UNSETTLED] = quality[UNSETTLED] * decay + np.float64(change)
        gates.observe(gate, histogram, distance[n], present[n], learned)
        samples[0] += 1
        if requested(interrupt):
            return n + 1
    return x.shape[0]


@kernel("void(f4[:,::1], i4[::1], f4[:,:,::1], i8, i8[::1], f4[:,::1], f4[:,::1])", allocates=True)
def explain(
    x,  # (n, dim)
    winner,  # (n,)
    afferents,  # (blocks, dim, 16)
    margin,
    cell_index,  # (cells,)
    # the outputs
    expected,  # (n, dim)
    contribution,  # (n, dim)
):
    """Write the winner's afferents with the length of the sample, and the share of each line in the distance.

    Does not change the model.
    """
    for n in range(x.shape[0]):
        place = cell_index[winner[n]] - margin if winner[n] >= 0 else -1
        _write_explanation(x, n, afferents, place, row_of(expected, n), row_of(contribution, n))
