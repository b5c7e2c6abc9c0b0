"""Growing neural gas (Fritzke 1995): units joined by edges that age. New units go where the error is largest.

For each sample x, i the nearest unit, s the second nearest, N_i the units joined to i:

    error      e_i += ‖x − w_i‖²
    adaptation w_i += ε_b(t)·(x − w_i),  w_j += ε_n(t)·(x − w_j) for j in N_i
    edges      add 1 to the age of the edges of i; set the age of edge i – s to 0; remove edges older than
               ``max_age``, and units that lose their last edge by this
    insertion  every ``insert_every`` samples: q the unit of the largest e, f the one in N_q of the largest e;
               w_r = ½(w_q + w_f), edges q – r and r – f replace q – f; e_q, e_f *= α, then e_r = e_q
    forgetting e_j *= d for all j

``units.py`` defines the layout of the units. The arrays have room for ``max_units``; the first ``count[0]``
are in use, and the last unit takes the place of a removed one. ``pad`` ``(blocks, 16)`` is +inf for an unused
place. ``ages`` int32 ``(room, room)`` is symmetric: the age of each edge, NO_EDGE elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, fma
from ..stream.scaling import Scaling
from ..stream.score import Score
from .units import Outputs, Progress, Units, begin_sample, finish_sample

NO_EDGE = -1

_0, _HALF, _INF = np.float32(0), np.float32(0.5), np.float32(np.inf)
_SMALLEST_ERROR = 1e-200  # smaller errors become 0: arithmetic with subnormal numbers is slow


class Graph(NamedTuple):
    """The units, their edges and their errors."""

    weights: Any  # (blocks, dim, 16)
    pad: Any  # (blocks, 16)
    count: Any  # (1,)
    ages: Any  # (room, room)
    errors: Any  # (room,)
    hits: Any  # (room + 1,)


@device
def _move(weights, j, x, channels, count, rate):
    """w_j += rate·(x − w_j), in the present channels."""
    b, l = j // WIDTH, j % WIDTH
    for k in range(count):
        d = channels[k]
        w = weights[b, d, l]
        weights[b, d, l] = fma(rate, x[d] - w, w)


@device
def _set_age(ages, i, j, age):
    ages[i, j] = age
    ages[j, i] = age


@device
def _has_no_edge(ages, j, units):
    edges = 0
    for k in range(units):
        edges += ages[j, k] != NO_EDGE
    return edges == 0


@device
def _remove(graph, j):
    """Remove unit ``j``, which has no edges. The last unit takes its place and its number."""
    weights, pad, count, ages, errors, hits = graph
    last = count[0] - 1
    if j != last:
        for d in range(weights.shape[1]):
            weights[j // WIDTH, d, j % WIDTH] = weights[last // WIDTH, d, last % WIDTH]
        for k in range(last):
            _set_age(ages, j, k, ages[last, k])
            _set_age(ages, last, k, NO_EDGE)
        errors[j] = errors[last]
        hits[j] = hits[last]
    for d in range(weights.shape[1]):
        weights[last // WIDTH, d, last % WIDTH] = _0
    pad[last // WIDTH, last % WIDTH] = _INF
    errors[last] = 0.0
    hits[last] = 0.0
    count[0] = last


@device
def _adapt(x, channels, present, graph, i, second, learning_rate, neighbour_rate, max_age):
    """Adaptation and edges, for a sample with winner ``i`` and second nearest unit ``second``."""
    weights, ages, count = graph.weights, graph.ages, graph.count
    _move(weights, i, x, channels, present, learning_rate)
    for j in range(count[0]):
        if ages[i, j] != NO_EDGE:
            _set_age(ages, i, j, ages[i, j] + 1)
            _move(weights, j, x, channels, present, neighbour_rate)
    _set_age(ages, i, second, 0)
    for j in range(count[0] - 1, -1, -1):  # downwards: a unit that moves to place j was examined before
        if ages[i, j] > max_age:
            _set_age(ages, i, j, NO_EDGE)
            if _has_no_edge(ages, j, count[0]):
                _remove(graph, j)
                if i == count[0]:
                    i = j


@device
def _largest_error(graph, q):
    """The unit of the largest error, the lowest index among equals: of all units for q = −1, else of N_q.

    −1 if N_q is empty.
    """
    ages, errors = graph.ages, graph.errors
    largest = -1
    for j in range(graph.count[0]):
        if (q < 0 or ages[q, j] != NO_EDGE) and (largest < 0 or errors[j] > errors[largest]):
            largest = j
    return largest


@device
def _insert(graph, error_split):
    """Insert unit r between the unit q of the largest error and the unit f of the largest error in N_q."""
    weights, pad, count, ages, errors, _ = graph
    r = count[0]
    q = _largest_error(graph, -1)
    f = _largest_error(graph, q)
    if f < 0:  # no edge: no sample was learned yet
        return
    for d in range(weights.shape[1]):
        middle = _HALF * weights[q // WIDTH, d, q % WIDTH] + _HALF * weights[f // WIDTH, d, f % WIDTH]
        weights[r // WIDTH, d, r % WIDTH] = middle
    pad[r // WIDTH, r % WIDTH] = _0
    _set_age(ages, q, f, NO_EDGE)
    _set_age(ages, q, r, 0)
    _set_age(ages, r, f, 0)
    errors[q] *= error_split
    errors[f] *= error_split
    errors[r] = errors[q]
    count[0] = r + 1


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " i8[::1], i8[::1], f8[::1], f8[::1], f8, i8[::1], i4[:,::1], f8[::1], f4[::1], f4[::1], i8, i8, f8, f8,"
    " i4[::1], f4[::1], f4[::1], i4[::1])"
)
def learn(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    measure,
    statistics,  # (3, dim)
    tree,  # (3072,)
    head,  # (2,)
    method,
    scale_clip,
    samples,  # (1,)
    since,  # (1,): samples since the last time that a unit was due
    hits,  # (room + 1,)
    quality,  # (2,)
    decay,
    count,  # (1,)
    ages,  # (room, room)
    errors,  # (room,)
    learning_rate,  # (n,): ε_b(t)
    neighbour_rate,  # (n,): ε_n(t)
    max_age,
    insert_every,
    error_split,  # α
    error_decay,  # d
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,)
):
    """Learn the samples in order. Write the outputs of each sample before it is learned."""
    units, scale = Units(weights, pad, measure), Scaling(method, statistics, scale_clip)
    histogram = Score(tree, head)
    progress = Progress(samples, hits, quality, decay)
    outputs = Outputs(winner, distance, score, present)
    graph = Graph(weights, pad, count, ages, errors, hits)
    scaled = np.empty(x.shape[1], np.float32)
    channels = np.empty(x.shape[1], np.uint64)
    for n in range(x.shape[0]):
        i, _, second = begin_sample(x, n, units, scale, histogram, progress, outputs, scaled, channels)
        if i >= 0 and second >= 0:  # −1 if the distances overflow
            errors[i] += np.float64(distance[n]) * np.float64(distance[n])
            _adapt(
                scaled, channels, present[n], graph, i, second, learning_rate[n], neighbour_rate[n], max_age
            )
        finish_sample(x, n, scale, histogram, progress, outputs)
        since[0] += 1
        if since[0] == insert_every:
            since[0] = 0
            if count[0] < errors.size:
                _insert(graph, error_split)
        for j in range(count[0]):
            errors[j] = errors[j] * error_decay if errors[j] > _SMALLEST_ERROR else 0.0
