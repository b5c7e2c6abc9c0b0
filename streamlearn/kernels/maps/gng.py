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
from ..simd.groups import GROUP
from ..simd.lanes import WIDTH, fma
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import common_units, units
from .common_units import CommonUnits
from .units import Learning, Outputs, Progress, new_stream
from .winner import Units

NO_EDGE = -1

_0, _HALF, _INF = np.float32(0), np.float32(0.5), np.float32(np.inf)
_SMALLEST_ERROR = 1e-200  # smaller errors become 0: arithmetic with subnormal numbers is slow


class Graph(NamedTuple):
    """The units, their edges and their errors."""

    weights: Any  # (groups, dim, 64)
    pad: Any  # (blocks, 16)
    count: Any  # (1,)
    ages: Any  # (room, room)
    errors: Any  # (room,)
    hits: Any  # (room + 1,)
    common: Any  # (blocks, 16): see common_units.py
    common_wins: Any  # (room + 1,)
    given: Any  # (room,): the label that each unit was given by hand, −1: none; (0,) before the first label


class Net(NamedTuple):
    """The graph, and what decides how it grows."""

    graph: Any
    distance: Any  # (n,): outputs
    learning_rate: Any  # (n,): ε_b(t)
    neighbour_rate: Any  # (n,): ε_n(t)
    max_age: Any
    since: Any  # (1,): samples since the last time that a unit was due
    insert_every: Any
    error_split: Any  # α
    error_decay: Any  # d
    label: Any  # (n,): outputs; (0,) without labels


@device
def _move(weights, j, sample, rate):
    """w_j += rate·(x − w_j), in the present channels."""
    g, l = j // GROUP, j % GROUP
    for k in range(sample.count):
        d = sample.channels[k]
        w = weights[g, d, l]
        weights[g, d, l] = fma(rate, sample.x[d] - w, w)


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
def remove(graph, j):
    """Remove unit ``j``, which has no edges. The last unit takes its place and its number."""
    weights, pad, count, ages, errors, hits, common, common_wins, given = graph
    last = count[0] - 1
    if j != last:
        for d in range(weights.shape[1]):
            weights[j // GROUP, d, j % GROUP] = weights[last // GROUP, d, last % GROUP]
        for k in range(last):
            _set_age(ages, j, k, ages[last, k])
            _set_age(ages, last, k, NO_EDGE)
        errors[j] = errors[last]
        hits[j] = hits[last]
    for d in range(weights.shape[1]):
        weights[last // GROUP, d, last % GROUP] = _0
    pad[last // WIDTH, last % WIDTH] = _INF
    errors[last] = 0.0
    hits[last] = 0.0
    if given.size > 0:
        given[j] = given[last]
        given[last] = -1
    common_units.move(common, common_wins, j, last)
    count[0] = last


@device
def _adapt(sample, net, i, second):
    """Adaptation and edges, for a sample with winner ``i`` and second nearest unit ``second``."""
    graph, n = net.graph, sample.n
    weights, ages, count = graph.weights, graph.ages, graph.count
    _move(weights, i, sample, net.learning_rate[n])
    for j in range(count[0]):
        if ages[i, j] != NO_EDGE:
            _set_age(ages, i, j, ages[i, j] + 1)
            _move(weights, j, sample, net.neighbour_rate[n])
    _set_age(ages, i, second, 0)
    for j in range(count[0] - 1, -1, -1):  # downwards: a unit that moves to place j was examined before
        if ages[i, j] > net.max_age:
            _set_age(ages, i, j, NO_EDGE)
            if _has_no_edge(ages, j, count[0]):
                remove(graph, j)
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
    weights, pad, count, ages, errors, _, common, common_wins, _ = graph
    r = count[0]
    q = _largest_error(graph, -1)
    f = _largest_error(graph, q)
    if f < 0:  # no edge: no sample was learned yet
        return
    for d in range(weights.shape[1]):
        middle = _HALF * weights[q // GROUP, d, q % GROUP] + _HALF * weights[f // GROUP, d, f % GROUP]
        weights[r // GROUP, d, r % GROUP] = middle
    pad[r // WIDTH, r % WIDTH] = _0
    _set_age(ages, q, f, NO_EDGE)
    _set_age(ages, q, r, 0)
    _set_age(ages, r, f, 0)
    errors[q] *= error_split
    errors[f] *= error_split
    errors[r] = errors[q]
    common_units.split(common, common_wins, q, r)
    count[0] = r + 1


@device
def _find(stream, sample, net):
    """Search for the nearest units. Write the label of the winner, which may get another number later."""
    i, nearest, second, compared = units.find(stream, sample, net)
    if net.label.size > 0:
        net.label[sample.n] = net.graph.given[i] if i >= 0 and sample.count > 0 else np.int32(-1)
    return i, nearest, second, compared


@device
def _learn(sample, winner, nearest, second, net):
    graph, since = net.graph, net.since
    count, errors = graph.count, graph.errors
    if winner >= 0 and second >= 0:  # −1 if the distances overflow
        distance = np.float64(net.distance[sample.n])
        errors[winner] += distance * distance
        _adapt(sample, net, winner, second)
    since[0] += 1
    if since[0] == net.insert_every:
        since[0] = 0
        if count[0] < errors.size:
            _insert(graph, net.error_split)
    for j in range(count[0]):
        errors[j] = errors[j] * net.error_decay if errors[j] > _SMALLEST_ERROR else 0.0


@kernel(
    "i8(f4[:,::1], u1[::1], f8[::1], f4[:,:,::1], f4[:,::1], i8, i8, f8[:,::1], f8, f8[::1], i8, f8,"
    " f4[:,::1], f8[::1], i8[::1], f8, f8, i8[::1], f8[::1], f8[::1], f8, i8[::1], i4[:,::1], f8[::1],"
    " i4[::1], f4[::1], f4[::1], i8, i8[::1], i8, f8, f8, i4[::1], f4[::1], f4[::1], i4[::1], b1[::1],"
    " f4[:,::1], i4[::1])",
    allocates=True,
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
    common,  # (blocks, 16): see common_units.py
    common_wins,  # (units + 1,)
    common_learned,  # (1,)
    common_decay,
    rare_below,
    # Progress
    samples,  # (1,)
    hits,  # (room + 1,)
    quality,  # (2,)
    decay,
    # Graph
    count,  # (1,)
    ages,  # (room, room)
    errors,  # (room,)
    given,  # (room,): labels by hand, −1: none; (0,) before the first label
    # Rule
    learning_rate,  # (n,): ε_b(t)
    neighbour_rate,  # (n,): ε_n(t)
    max_age,
    since,  # (1,): samples since the last time that a unit was due
    insert_every,
    error_split,  # α
    error_decay,  # d
    # Outputs
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,)
    watched,  # (n,)
    expected,  # (n, dim): what the winners expect; (0, dim) if nobody needs it
    label,  # (n,): (0,) without labels by hand
):
    """Learn the samples in order. Write the outputs of each sample before it is learned.

    Returns the number of samples done.
    """
    stream = new_stream(
        x,
        Units(weights, pad, measure),
        Scaling(method, statistics, scale_clip),
        Score(score_reference, score_columns, score_decay),
        common,
        Outputs(winner, distance, score, present),
    )
    graph = Graph(weights, pad, count, ages, errors, hits, common, common_wins, given)
    net = Net(
        graph,
        distance,
        learning_rate,
        neighbour_rate,
        max_age,
        since,
        insert_every,
        error_split,
        error_decay,
        label,
    )
    progress = Progress(samples, hits, quality, decay)
    learning = Learning(
        gate,
        CommonUnits(common, common_wins, common_learned, common_decay, rare_below),
        interrupt,
        watched,
        expected,
    )
    return units.learn(stream, progress, learning, _find, _learn, net)
