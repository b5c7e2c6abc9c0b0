"""Cognitron (Fukushima 1975): layers of cells with shunting inhibition. Every layer learns features of the
layer below, without labels.

    excitation     e = Σ_i a_i u_i                             u: inputs from the cell's area, one layer below
    inhibition     h = b v, v = Σ_i c_i u_i                    over the same area
    cell           w = max(0, (1 + e)/(1 + h) − 1)
    lateral stage  z = max(0, (1 + w)/(1 + Σ_j g_j w_j) − 1)   over the cell's vicinity; z is the output
    reinforcement  Δa_i = q c_i u_i,   Δb = q Σ_i c_i u_i²/(2v)  if the cell fires and no cell of its vicinity
                                                                fires more strongly
                   Δa_i = q′ c_i u_i,  Δb = q′ v                 if no cell of its vicinity fires

With q, e grows by twice as much as h, so the output for a familiar pattern tends to 1. A sample first passes
through all layers; then all layers are reinforced. a = b = 0 at first. c and g are fixed. They sum to 1 for
each cell.

Planes of cells (``plane.py``) are stored one after another: the sample, then z of every layer. Block b of
layer l is row l·blocks + b of ``a`` ``(layers·blocks, area, 16)``, ``b`` and ``v`` ``(layers·blocks, 16)``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device, kernel
from ..simd.lanes import WIDTH, anywhere, fma, lane, load, load_from, select, store, store_from, zero
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
    neighbour_max,
    read_activities,
)

# Smaller outputs are set to 0, so that rounding fires no cell. This is part of the rule.
MIN_OUTPUT = np.float32(2.0**-14)

# Live quality, float64 (4,): exponentially weighted count, Σ share of the last layer's cells that fire,
# Σ cells reinforced by q, Σ cells reinforced by q′
COUNT, FIRING, REINFORCED, RECRUITED = 0, 1, 2, 3

_0, _1, _2 = np.float32(0), np.float32(1), np.float32(2)


class Net(NamedTuple):
    """The connections of all layers."""

    a: Any  # (layers·blocks, area, 16)
    b: Any  # (layers·blocks, 16)
    c: Any  # (blocks, area, 16)
    g: Any  # (blocks, vicinity, 16)
    area_offsets: Any  # (area,)
    vicinity_offsets: Any  # (vicinity,)
    margin: Any


class Buffers(NamedTuple):
    """The response to one sample."""

    inputs: Any  # (dim,)
    planes: Any  # ((layers + 1)·size,): the sample, then z of every layer
    v: Any  # (layers·blocks, 16)
    w: Any  # (size,): of one layer
    expected: Any  # (2, size): weighted sum and weights, see _expect


@device
def _shunted(e, h):
    """max(0, (1 + e)/(1 + h) − 1), in the form (e − h)/(1 + h): it rounds less."""
    value = (e - h) / (_1 + h)
    return select(value >= MIN_OUTPUT, value, zero())


@allocating_device
def _allocate_buffers(net, dim):
    blocks, rows = net.c.shape[0], net.b.shape[0]
    size = 2 * net.margin + blocks * WIDTH
    return Buffers(
        np.empty(dim, np.float32),
        np.zeros((rows // blocks + 1) * size, np.float32),
        np.empty((rows, WIDTH), np.float32),
        np.zeros(size, np.float32),
        np.zeros((2, size)),
    )


@device
def _respond(l, net, buffers):
    """Compute z of layer ``l`` from the plane below. Stores v for the reinforcement."""
    a, b, c, g, area_offsets, vicinity_offsets, margin = net
    planes, v, w = buffers.planes, buffers.v, buffers.w
    blocks, size = c.shape[0], w.size
    for k in range(blocks):
        start, row = l * size + margin + k * WIDTH, l * blocks + k
        e, inhibition = zero(), zero()
        for i in range(area_offsets.size):
            u = load_from(planes, start + area_offsets[i])
            e = fma(load(a, row, i), u, e)
            inhibition = fma(load(c, k, i), u, inhibition)
        store(v, row, inhibition)
        store_from(w, margin + k * WIDTH, _shunted(e, load(b, row) * inhibition))
    for k in range(blocks):
        start = margin + k * WIDTH
        lateral = zero()
        for j in range(vicinity_offsets.size):
            lateral = fma(load(g, k, j), load_from(w, start + vicinity_offsets[j]), lateral)
        store_from(planes, (l + 1) * size + start, _shunted(load_from(w, start), lateral))


@device
def _reinforce(l, net, buffers, q, q_prime):
    """Reinforce the cells of layer ``l``. Returns the number reinforced by q and by q′."""
    a, b, c, _, area_offsets, vicinity_offsets, margin = net
    planes, v, w = buffers.planes, buffers.v, buffers.w
    blocks, size = c.shape[0], w.size
    by_q, by_q_prime = zero(), zero()
    for k in range(blocks):
        start, row = l * size + margin + k * WIDTH, l * blocks + k
        z = load_from(planes, start + size)
        largest = neighbour_max(planes, start + size, vicinity_offsets)
        inhibition = load(v, row)
        firing = largest > _0
        gain = select(firing, select(z >= largest, q, zero()), q_prime)
        gain = select(inhibition > _0, gain, zero())
        if anywhere(gain > _0):
            excitation_growth = zero()
            for i in range(area_offsets.size):
                u = load_from(planes, start + area_offsets[i])
                delta_a = gain * (load(c, k, i) * u)
                store(a, row, i, load(a, row, i) + delta_a)
                excitation_growth = fma(delta_a, u, excitation_growth)
            half = select(gain > _0, excitation_growth / (_2 * inhibition), zero())
            store(b, row, load(b, row) + select(firing, half, gain * inhibition))
            one = select(gain > _0, zero() + _1, zero())
            by_q = by_q + select(firing, one, zero())
            by_q_prime = by_q_prime + select(firing, zero(), one)
    return _lane_sum(by_q), _lane_sum(by_q_prime)


@device
def _lane_sum(values):
    total = _0
    for l in range(WIDTH):
        total += lane(values, l)
    return total


@device
def _write_outputs(x, n, net, buffers, input_index, cell_index, histogram, outputs):
    """Compute the response to sample ``n`` and write its outputs."""
    winner, activity, distance, score, present = outputs
    inputs, planes = buffers.inputs, buffers.planes
    present[n] = read_activities(x, n, inputs)
    for i in range(inputs.size):
        planes[input_index[i]] = inputs[i]
    for l in range(net.b.shape[0] // net.c.shape[0]):
        _respond(l, net, buffers)
    winner[n], largest = copy_activities(planes, cell_index, activity, n)
    distance[n] = _1 / (_1 + largest) if present[n] > 0 else np.float32(np.nan)
    score[n] = scores.rank(histogram, distance[n], present[n])


@device
def _expect(net, buffers):
    """Compute what the firing cells of the first layer expect in the plane below.

    A cell that learned a pattern u has a_i ∝ c_i u_i. So it expects α a_i/c_i, where α minimizes
    Σ c_i (u_i − α a_i/c_i)². The cells are averaged with the weights z c_i.
    """
    a, c, area_offsets, planes = net.a, net.c, net.area_offsets, buffers.planes
    size = buffers.w.size
    for place in range(size):
        buffers.expected[0, place] = buffers.expected[1, place] = 0.0
    for k in range(c.shape[0]):
        for l in range(WIDTH):
            cell = net.margin + k * WIDTH + l
            z = np.float64(planes[size + cell])
            if not z > 0.0:
                continue
            fit, norm = 0.0, 0.0
            for i in range(area_offsets.size):
                strength, own = np.float64(a[k, i, l]), np.float64(c[k, i, l])
                if own > 0.0:
                    fit += strength * np.float64(planes[cell + area_offsets[i]])
                    norm += strength * strength / own
            alpha = fit / norm if norm > 0.0 else 0.0
            for i in range(area_offsets.size):
                buffers.expected[0, cell + area_offsets[i]] += z * alpha * np.float64(a[k, i, l])
                buffers.expected[1, cell + area_offsets[i]] += z * np.float64(c[k, i, l])


@device
def _write_explanation(x, n, net, buffers, input_index, winner, expected, contribution):
    """Write what is expected at each line, and the share of each in Σ (u_i − expected_i)².

    NaN if no cell fires. A line in the area of no firing cell is expected to be 0.
    """
    fill_unknown(expected)
    fill_unknown(contribution)
    if winner < 0:
        return
    _expect(net, buffers)
    for i in range(x.shape[1]):
        weight = buffers.expected[1, input_index[i]]
        value = buffers.expected[0, input_index[i]] / weight if weight > 0.0 else 0.0
        expected[i] = np.float32(value)
        contribution[i] = size_of(np.float64(x[n, i]) - value)
    to_shares(contribution, True)


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], f4[:,:,::1], f4[:,:,::1], i8[::1], i8[::1], i8, i8[::1],"
    " i8[::1], f8[::1], i8, f8, i4[::1], f4[:,::1], f4[::1], f4[::1], i4[::1])",
    allocates=True,
)
def predict(
    x,  # (n, dim)
    # the net
    a,  # (layers·blocks, area, 16)
    b,  # (layers·blocks, 16)
    c,  # (blocks, area, 16)
    g,  # (blocks, vicinity, 16)
    area_offsets,  # (area,): array offsets on the plane
    vicinity_offsets,  # (vicinity,): array offsets on the plane
    margin,  # zeros before and after the cells of a plane
    input_index,  # (dim,): of the sample's values in the planes
    cell_index,  # (cells,): of the last layer's cells in the planes
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
    net = Net(a, b, c, g, area_offsets, vicinity_offsets, margin)
    buffers = _allocate_buffers(net, x.shape[1])
    histogram, outputs = (
        Score(score_reference, score_columns, score_decay),
        Outputs(winner, activity, distance, score, present),
    )
    for n in range(x.shape[0]):
        _write_outputs(x, n, net, buffers, input_index, cell_index, histogram, outputs)


@kernel(
    "i8(f4[:,::1], f4[:,:,::1], f4[:,::1], f4[:,:,::1], f4[:,:,::1], i8[::1], i8[::1], i8, i8[::1],"
    " i8[::1], f8[::1], i8, f8, i8[::1], f8[::1], f8, f4, f4, u1[::1], f8[::1], i4[::1], f4[:,::1],"
    " f4[::1], f4[::1], i4[::1], b1[::1], f4[:,::1])",
    allocates=True,
)
def learn(
    x,  # (n, dim)
    # the net
    a,  # (layers·blocks, area, 16)
    b,  # (layers·blocks, 16)
    c,  # (blocks, area, 16)
    g,  # (blocks, vicinity, 16)
    area_offsets,  # (area,)
    vicinity_offsets,  # (vicinity,)
    margin,
    input_index,  # (dim,)
    cell_index,  # (cells,)
    # the score
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    # counter and quality
    samples,  # (1,)
    quality,  # (4,)
    decay,  # of the quality and the score, per sample
    # the rule
    q,
    q_prime,
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
    net = Net(a, b, c, g, area_offsets, vicinity_offsets, margin)
    buffers = _allocate_buffers(net, x.shape[1])
    histogram, outputs = (
        Score(score_reference, score_columns, score_decay),
        Outputs(winner, activity, distance, score, present),
    )
    for n in range(x.shape[0]):
        _write_outputs(x, n, net, buffers, input_index, cell_index, histogram, outputs)
        if contribution.shape[0] > 0:
            shares, expected = row_of(contribution, n), row_of(contribution, x.shape[0] + n)
            _write_explanation(x, n, net, buffers, input_index, winner[n], expected, shares)
        learned = gates.admits(gate, score[n])
        watched[n] = not learned
        if present[n] > 0:
            reinforced, recruited = 0.0, 0.0
            for l in range(b.shape[0] // c.shape[0] if learned else 0):
                by_q, by_q_prime = _reinforce(l, net, buffers, q, q_prime)
                reinforced += by_q
                recruited += by_q_prime
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[FIRING] = quality[FIRING] * decay + count_firing(activity, n) / cell_index.size
            quality[REINFORCED] = quality[REINFORCED] * decay + reinforced
            quality[RECRUITED] = quality[RECRUITED] * decay + recruited
        gates.observe(gate, histogram, distance[n], present[n], learned)
        samples[0] += 1
        if requested(interrupt):
            return n + 1
    return x.shape[0]


@kernel(
    "void(f4[:,::1], i4[::1], f4[:,:,::1], f4[:,::1], f4[:,:,::1], f4[:,:,::1], i8[::1], i8[::1], i8,"
    " i8[::1], f4[:,::1], f4[:,::1])",
    allocates=True,
)
def explain(
    x,  # (n, dim)
    winner,  # (n,)
    # the net
    a,  # (layers·blocks, area, 16)
    b,  # (layers·blocks, 16)
    c,  # (blocks, area, 16)
    g,  # (blocks, vicinity, 16)
    area_offsets,  # (area,)
    vicinity_offsets,  # (vicinity,)
    margin,
    input_index,  # (dim,)
    # the outputs
    expected,  # (n, dim)
    contribution,  # (n, dim)
):
    """Write what the cells that fire expect, and the share of each line. Does not change the model."""
    net = Net(a, b, c, g, area_offsets, vicinity_offsets, margin)
    buffers = _allocate_buffers(net, x.shape[1])
    for n in range(x.shape[0]):
        read_activities(x, n, buffers.inputs)
        for i in range(x.shape[1]):
            buffers.planes[input_index[i]] = buffers.inputs[i]
        _respond(0, net, buffers)
        shares = row_of(contribution, n)
        _write_explanation(x, n, net, buffers, input_index, winner[n], row_of(expected, n), shares)
