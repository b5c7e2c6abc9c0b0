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
from ..stream import gate as gates
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import lattice, units
from .adaptation import (
    adapt,
    adapt_and_search,
    adapt_and_search_reached,
    is_larger_than_cache,
    new_adaptation,
)
from .common_units import CommonUnits
from .cooperation import MEXICAN_HAT, new_cooperation, write_steps
from .units import NO_SAMPLE, Learning, Outputs, Progress, new_stream
from .winner import EUCLIDEAN, Units, search

# Live quality, float64 (3,): COUNT and QUANTIZATION of units.py, Σ [the nearest two are not neighbours]
TOPOGRAPHIC = 2

_FEW = 0.75  # a pass measures ahead if at most this share of the blocks is in reach of the winner


class Map(NamedTuple):
    """The cooperation of the units, their adaptation, and what a pass leaves for the next one."""

    cooperation: Any
    adaptation: Any
    ahead_of: Any  # (1,): number of the sample in the call that was measured ahead, or NO_SAMPLE
    quality: Any  # (3,)
    decay: Any
    watched: Any  # (n,): outputs
    looks_ahead: Any  # whether it pays to measure the next sample too, which is scaled before the search


@device
def _adapt_and_find(stream, sample, som):
    """Search the units nearest to a sample. The one before it is learned, on the same pass if possible."""
    n, dim = sample.n, sample.x.size
    known = som.ahead_of[0] == n
    som.ahead_of[0] = NO_SAMPLE
    if n > 0 and stream.outputs.winner[n - 1] >= 0 and not som.watched[n - 1]:
        before = units.sample_at(stream, n - 1)
        reached = write_steps(som.cooperation, n - 1, np.int64(stream.outputs.winner[n - 1]))
        complete = before.count == dim and sample.count == dim
        if complete and stream.units.measure == EUCLIDEAN and som.cooperation.neighbourhood != MEXICAN_HAT:
            if known:
                return adapt_and_search_reached(som.adaptation, before, sample, reached)
            ahead = som.looks_ahead and reached <= _FEW * som.adaptation.found.shape[0]
            ahead = ahead and n + 1 < stream.x.shape[0] and stream.outputs.present[n + 1] == dim
            if ahead:
                som.ahead_of[0] = n + 1
            following = units.sample_at(stream, n + 1 if ahead else n)
            return adapt_and_search(som.adaptation, before, sample, following, reached, ahead)
        adapt(som.adaptation, before, reached)
    return search(sample.x, sample.channels, sample.count, stream.units, stream.common)


@device
def _search(stream, sample, som):
    """Find the nearest two units, and count the topographic error."""
    winner, nearest, second, compared = _adapt_and_find(stream, sample, som)
    if winner >= 0 and sample.count > 0:
        grid, geometry = som.cooperation.grid, som.cooperation.geometry
        torn = second >= 0 and not lattice.touch(grid, winner, second, geometry)
        som.quality[TOPOGRAPHIC] = som.quality[TOPOGRAPHIC] * som.decay + (1.0 if torn else 0.0)
    return winner, nearest, second, compared


@device
def _adapt_to_last(stream, som, n):
    """Adapt the weights to sample ``n``, the last one. The caller must not free ``stream`` before."""
    winner = np.int64(stream.outputs.winner[n])
    if winner >= 0 and not som.watched[n]:
        reached = write_steps(som.cooperation, n, winner)
        adapt(som.adaptation, units.sample_at(stream, n), reached)


@device
def _adapt_later(sample, winner, nearest, second, som):
    """Do nothing: the weights adapt during the search for the next sample's winner."""


@kernel(
    "i8(f4[:,::1], u1[::1], f8[::1], f4[:,:,::1], f4[:,::1], i8, i8, f8[:,::1], f8, f8[::1], i8, f8,"
    " f4[:,::1], f8[::1], i8[::1], f8, f8, i8[::1], f8[::1], f8[::1], f8, f4[:,:,::1], i8[::1], i8,"
    " f4[::1], f4[::1], i4[::1], f4[::1], f4[::1], i4[::1], b1[::1], f4[:,::1])",
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
    expected,  # (n, dim): what the winners expect; (0, dim) if nobody needs it
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
    progress = Progress(samples, hits, quality, decay)
    common_units = CommonUnits(common, common_wins, common_learned, common_decay, rare_below)
    learning = Learning(gate, common_units, interrupt, watched, expected)
    cooperation = new_cooperation(grid, shape, neighbourhood, learning_rate, sigma)
    adaptation = new_adaptation(stream.units, stream.common, cooperation)
    looks_ahead = not gates.needs_score(gate) and is_larger_than_cache(weights)
    som = Map(cooperation, adaptation, np.full(1, NO_SAMPLE), quality, decay, watched, looks_ahead)
    done = units.learn(stream, progress, learning, _search, _adapt_later, som)
    if done > 0:
        _adapt_to_last(stream, som, done - 1)
    return done
