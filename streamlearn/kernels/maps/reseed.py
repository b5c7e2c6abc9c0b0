"""After a change of the stream: units that win no sample any more move to where the error is.

The window is the last R samples. A unit is *dead* if it wins none of them. While the level of the window, the
mean of d^(2/3) with d the distance of a sample to its winner, is above a goal, the dead unit with the fewest
recent wins moves to a sample s of the window, the one that lowers the error most:

    s = argmax_s Σ_x max(0, d_x² − d(x, s)²)

So units go to the large errors, as in LBG-U (Fritzke 1997, "The LBG-U method for vector quantization"), which
moves the unit of the least utility; the utility of a dead unit is 0. The choice among samples is that of fast
global k-means (Likas, Vlassis & Verbeek 2003). Equal values: the lowest index. A missing channel of s takes
the weight of the winner of s.

A growing neural gas inserts units where the error is largest by its own rule, so its dead units are only
removed, with their edges (GNG-U: Fritzke 1997, "A self-organizing network that can follow non-stationary
distributions").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device, kernel
from ..simd.groups import GROUP
from ..simd.lanes import WIDTH
from ..simd.roots import cube_root
from ..simd.views import row_of
from ..stream import scaling
from ..stream.scaling import Scaling
from .gng import NO_EDGE, Graph, remove
from .ranking import dissimilarities
from .winner import Units, as_distance, nearest_two, present_channels

_0, _INF = np.float32(0), np.float32(np.inf)


class Window(NamedTuple):
    """The samples of the window, scaled."""

    x: Any  # (R, dim)
    channels: Any  # (R, dim): indices of the present channels
    count: Any  # (R,): number of present channels
    winner: Any  # (R,): −1 for none
    squared: Any  # (R,): squared distance to the winner; NaN for none
    dead: Any  # (units,): whether the unit wins no sample


@allocating_device
def _window(x, scale, units, number):
    """Scale the samples, and find their winners among ``number`` units."""
    samples, dim = x.shape
    window = Window(
        np.empty((samples, dim), np.float32),
        np.empty((samples, dim), np.uint64),
        np.empty(samples, np.int32),
        np.empty(samples, np.int64),
        np.empty(samples),
        np.ones(number, np.bool_),
    )
    for n in range(samples):
        window.winner[n], window.squared[n] = -1, np.nan
        scaled, channels = row_of(window.x, n), row_of(window.channels, n)
        window.count[n] = scaling.transform(scale, x, n, scaled)
        present_channels(scaled, channels)
        if window.count[n] > 0:
            i, nearest, _ = nearest_two(scaled, channels, window.count[n], units)
            if i >= 0:
                d = np.float64(as_distance(nearest, units.measure, dim, window.count[n]))
                window.winner[n], window.squared[n] = i, d * d
                window.dead[i] = False
    return window


@device
def _fewest_hits(dead, hits):
    """The dead unit with the fewest recent wins; −1 if no unit is dead."""
    least = -1
    for j in range(dead.size):
        if dead[j] and (least < 0 or hits[j] < hits[least]):
            least = j
    return least


@device
def _level(squared):
    """Mean of d^(2/3)."""
    total, count = 0.0, 0
    for n in range(squared.size):
        if squared[n] == squared[n]:
            total += cube_root(squared[n])
            count += 1
    return total / max(count, 1)


@device
def _best(squared, between):
    """The candidate that lowers the error most; −1 if none does. ``between`` ``(R, R)``: d(x, s)²."""
    best, most = -1, 0.0
    for s in range(between.shape[1]):
        gain = 0.0
        for n in range(squared.size):
            if squared[n] > between[n, s]:
                gain += squared[n] - between[n, s]
        if gain > most:
            best, most = s, gain
    return best


@allocating_device
def _candidates(window, units):
    """The samples as units ``(groups, dim, 64)``, and the squared distances between samples ``(R, R)``."""
    samples, dim = window.x.shape
    weights = np.zeros((-(-samples // GROUP), dim, GROUP), np.float32)
    pad = np.full((weights.shape[0] * GROUP // WIDTH, WIDTH), _INF)
    for s in range(samples):
        winner = window.winner[s]
        if winner < 0:
            continue
        pad[s // WIDTH, s % WIDTH] = _0
        for d in range(dim):
            value = window.x[s, d]
            if not (value == value):
                value = units.weights[winner // GROUP, d, winner % GROUP]
            weights[s // GROUP, d, s % GROUP] = value
    candidates = Units(weights, pad, units.measure)
    between, row = np.empty((samples, samples)), np.empty(pad.shape, np.float32)
    for n in range(samples):
        dissimilarities(row_of(window.x, n), row_of(window.channels, n), window.count[n], candidates, row)
        for s in range(samples):
            value = row[s // WIDTH, s % WIDTH]
            d = np.float64(as_distance(value, units.measure, dim, max(window.count[n], 1)))
            between[n, s] = d * d
    return weights, between


@kernel("i8(f4[:,::1], i8, f8[:,::1], f8, f4[:,:,::1], f4[:,::1], i8, f8[::1], f8, i8[::1])", allocates=True)
def reseed(
    x,  # (R, dim): the window, in the stream's own units
    # Scaling
    method,
    statistics,  # (rows, dim)
    scale_clip,
    # Units
    weights,  # (groups, dim, 64)
    pad,  # (blocks, 16)
    measure,
    hits,  # (units + 1,)
    goal,
    moved,  # (R,)
):
    """Move dead units while the level of the window is above ``goal``, at most one for each sample.

    Write their numbers to ``moved``, and return how many they are.
    """
    units = Units(weights, pad, measure)
    window = _window(x, Scaling(method, statistics, scale_clip), units, hits.size - 1)
    squared, count = window.squared, 0
    if _level(squared) <= goal:
        return 0
    seeds, between = _candidates(window, units)
    while count < moved.size and _level(squared) > goal:
        j, s = _fewest_hits(window.dead, hits), _best(squared, between)
        if j < 0 or s < 0:
            break
        for d in range(x.shape[1]):
            weights[j // GROUP, d, j % GROUP] = seeds[s // GROUP, d, s % GROUP]
        for n in range(squared.size):
            if squared[n] > between[n, s]:
                squared[n] = between[n, s]
        window.dead[j], hits[j], moved[count] = False, 0.0, j
        count += 1
    return count


@kernel(
    "i8(f4[:,::1], i8, f8[:,::1], f8, f4[:,:,::1], f4[:,::1], i8, f8[::1], f8,"
    " f4[:,::1], f8[::1], i8[::1], i4[:,::1], f8[::1], i4[::1], i8)",
    allocates=True,
)
def remove_dead(
    x,  # (R, dim): the window, in the stream's own units
    # Scaling
    method,
    statistics,  # (rows, dim)
    scale_clip,
    # Graph
    weights,  # (groups, dim, 64)
    pad,  # (blocks, 16)
    measure,
    hits,  # (room + 1,)
    goal,
    common,  # (blocks, 16): see common_units.py
    common_wins,  # (room + 1,)
    count,  # (1,)
    ages,  # (room, room)
    errors,  # (room,)
    given,  # (room,): labels by hand, −1: none; (0,) before the first label
    most,
):
    """Remove dead units of a graph if the level of the window is above ``goal``, at most ``most``.

    Returns how many were removed.
    """
    units = Units(weights, pad, measure)
    window = _window(x, Scaling(method, statistics, scale_clip), units, hits.size - 1)
    if _level(window.squared) <= goal:
        return 0
    graph = Graph(weights, pad, count, ages, errors, hits, common, common_wins, given)
    dead, removed = window.dead, 0
    for j in range(count[0], dead.size):
        dead[j] = False
    while removed < most and count[0] > 2:
        j = _fewest_hits(dead, hits)
        if j < 0:
            break
        for k in range(count[0]):
            ages[j, k] = ages[k, j] = NO_EDGE
        remove(graph, j)
        dead[j] = dead[count[0]] and j != count[0]  # the last unit took the place
        dead[count[0]] = False
        removed += 1
    return removed
