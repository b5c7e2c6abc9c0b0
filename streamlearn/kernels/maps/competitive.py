"""Competitive learning: the winner learns (hard), or all units by distance (soft) or by rank (gas).

    hard   w_i += ε(t)·(x − w_i) for the learner i; leaky: w_j += ε_l(t)·(x − w_j) for the others
    soft   y = softmax(−β(t)·‖x − w_j‖²),  w_j += ε(t)·y_j·(x − w_j)
    gas    w_j += ε(t)·exp(−k_j/λ(t))·(x − w_j), k_j the number of units nearer than j (Martinetz & Schulten
           1991)

ε(t) is a schedule, or a rate for each unit in place of it: see ``unit_rate.py``. ``units.py`` defines the
layout of the units. In a hard net the learner is the winner i = argmin_j ‖x − w_j‖, unless ``fairness.py``
selects another unit.

A hard net of at most 16 units measures the next sample while its weights are in registers, as a map does. The
next search would otherwise wait until they are stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp
from ..simd.groups import GROUP, load_block, store_block
from ..simd.lanes import WIDTH, fma, iota, lane, load, select, store, zero
from ..simd.views import floats_of, row_of
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import unit_rate, units
from .common_units import CommonUnits
from .fairness import NONE, Fairness, select_learner, update_share
from .ranking import dissimilarities, ranks
from .unit_rate import UnitRate
from .units import NO_SAMPLE, Learning, Outputs, Progress, new_stream
from .winner import EUCLIDEAN, Units, add_square, dissimilarity, nearest_of_distances

HARD, SOFT, GAS = 0, 1, 2
MODES = {"hard": HARD, "soft": SOFT, "gas": GAS}

_SMALLEST_SPREAD = np.float32(1e-3)  # only the nearest unit learns; avoids a division by 0 as λ decays to 0
_0, _INF = np.float32(0), np.float32(np.inf)


class Net(NamedTuple):
    """The units, and what decides how they learn."""

    units: Any
    number: Any  # of units
    mode: Any
    learning_rate: Any  # (n,): ε(t), or the floor of the units' own rates
    own_rate: Any  # see unit_rate.py
    softness: Any  # (n,): β(t) or λ(t)
    leak: Any  # (n,): ε_l(t)
    fairness: Any
    stream: Any
    scratch: Any  # (blocks, 16): in a hard net the squared distances to sample ``ahead_of``
    looks_ahead: Any  # whether the units are one block, which is measured for the next sample as it moves
    ahead_of: Any  # (1,): number of the sample in the call that was measured ahead, or NO_SAMPLE


@device
def _move(sample, weights, b, step):
    """w += step·(x − w) for block ``b``, in the present channels."""
    for k in range(sample.count):
        d = sample.channels[k]
        w = load_block(weights, b, d)
        store_block(weights, b, d, fma(step, sample.x[d] - w, w))


@device
def _learn_hard(sample, net, i):
    weights, leak = net.units.weights, net.leak[sample.n]
    learning_rate = unit_rate.winner_rate(net.own_rate, i, net.learning_rate[sample.n])
    if leak > _0:
        index = iota()
        learner = np.float32(i)
        for b in range(net.scratch.shape[0]):
            step = select(index == learner, zero() + learning_rate, zero() + leak)
            step = select(load(net.units.pad, b) == _0, step, zero())
            _move(sample, weights, b, step)
            index = index + np.float32(WIDTH)
        return
    following = sample.n + 1
    ahead = net.looks_ahead and sample.count == sample.x.size and following < net.stream.x.shape[0]
    if ahead and net.stream.outputs.present[following] == sample.x.size:
        step = select(iota() == np.float32(i), zero() + learning_rate, zero())
        _move_and_measure(sample.x, units.sample_at(net.stream, following).x, step, net)
        net.ahead_of[0] = following
        return
    l, group = i % GROUP, floats_of(row_of(weights, i // GROUP), 0, sample.x.size * GROUP)
    for k in range(sample.count):
        d = sample.channels[k]
        w = group[d * GROUP + l]
        group[d * GROUP + l] = fma(learning_rate, sample.x[d] - w, w)


@device
def _move_and_measure(x, y, step, net):
    """Move the only block towards ``x``. Write its squared distances to ``y`` to ``scratch``."""
    weights, total = net.units.weights, load(net.units.pad, 0)
    for d in range(x.size):
        w = load_block(weights, 0, d)
        w = fma(step, x[d] - w, w)
        store_block(weights, 0, d, w)
        total = add_square(y[d], w, total)
    store(net.scratch, 0, total)


@device
def _find(stream, sample, net):
    """Search for the nearest units, unless the distances were measured while the weights moved."""
    if net.ahead_of[0] == sample.n:
        return nearest_of_distances(net.scratch, stream.common)
    return units.find(stream, sample, net)


@device
def _learn_soft(sample, net, nearest):
    """``nearest``: the winner's dissimilarity. ``scratch`` holds y before division."""
    x, channels, count = sample.x, sample.channels, sample.count
    weights, pad, measure = net.units
    learning_rate, beta = net.learning_rate[sample.n], net.softness[sample.n]
    total = zero()
    for b in range(net.scratch.shape[0]):
        # Relative to the winner: else all exponentials may underflow. An unused lane gives 0, even if β = 0.
        excess = dissimilarity(x, channels, count, weights, b, load(pad, b), measure) - nearest
        y = unit_rate.without_unplaced(net.own_rate, b, select(excess < _INF, exp(-beta * excess), zero()))
        store(net.scratch, b, y)
        total = total + y
    sum_y = np.float32(0)
    for l in range(WIDTH):
        sum_y += lane(total, l)
    for b in range(net.scratch.shape[0]):
        y = load(net.scratch, b) * (np.float32(1) / sum_y)
        _move(sample, weights, b, unit_rate.steps(net.own_rate, b, y, learning_rate))


@device
def _learn_by_rank(sample, net):
    """``scratch`` holds the dissimilarities."""
    learning_rate, spread = net.learning_rate[sample.n], net.softness[sample.n]
    dissimilarities(sample.x, sample.channels, sample.count, net.units, net.scratch)
    index = iota()
    for b in range(net.scratch.shape[0]):
        k = ranks(net.scratch, b, index, net.number)
        h = select(load(net.units.pad, b) == _0, exp(-k / max(spread, _SMALLEST_SPREAD)), zero())
        _move(sample, net.units.weights, b, unit_rate.steps(net.own_rate, b, h, learning_rate))
        index = index + np.float32(WIDTH)


@device
def _learn(sample, winner, nearest, second, net):
    if winner < 0:
        return
    if net.mode == GAS:
        _learn_by_rank(sample, net)
        return
    own = net.own_rate
    placed = unit_rate.unit_to_place(own, winner, net.stream.outputs.distance[sample.n], net.number)
    if placed >= 0:
        unit_rate.place(own, sample, net.units.weights, winner, placed)
    elif net.mode == SOFT:
        _learn_soft(sample, net, nearest)
    else:
        learner = winner
        if net.fairness.kind != NONE:
            learner = select_learner(sample, net.units, net.fairness, net.number, winner)
            update_share(net.fairness, winner, learner)
        _learn_hard(sample, net, learner)


@kernel(
    "i8(f4[:,::1], u1[::1], f8[::1], f4[:,:,::1], f4[:,::1], i8, i8, f8[:,::1], f8, f8[::1], i8, f8,"
    " f4[:,::1], f8[::1], i8[::1], f8, f8, i8[::1], f8[::1], f8[::1], f8, i8, f4[::1], f4[:,::1],"
    " i8[::1], f8[::1], f4[::1], f4[::1], f4[::1], i8, f4[:,::1], f4, f4, i4[::1], f4[::1], f4[::1],"
    " i4[::1], b1[::1], f4[:,::1])",
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
    quality,  # (2,)
    decay,
    # Net
    mode,
    learning_rate,  # (n,): ε(t), or the floor of the units' own rates
    learned,  # (blocks, 16): n_j; (0, 16) for a schedule
    unplaced,  # (1,)
    placing,  # (3,)
    beta,  # soft: (n,): β(t)
    spread,  # gas: (n,): λ(t)
    leak,  # (n,): ε_l(t)
    # Fairness
    fairness,
    share,  # (blocks, 16)
    conscience,  # C
    conscience_rate,  # B
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
    own = Units(weights, pad, measure)
    stream = new_stream(
        x,
        own,
        Scaling(method, statistics, scale_clip),
        Score(score_reference, score_columns, score_decay),
        common,
        Outputs(winner, distance, score, present),
    )
    number = hits.size - 1
    scratch = np.empty((-(-number // WIDTH), WIDTH), np.float32)
    fair = Fairness(fairness, share, conscience, conscience_rate)
    softness = spread if mode == GAS else beta
    own_rate = UnitRate(learned, unplaced, placing)
    looks_ahead, ahead_of = number <= WIDTH and measure == EUCLIDEAN, np.full(1, NO_SAMPLE)
    net = Net(
        own,
        number,
        mode,
        learning_rate,
        own_rate,
        softness,
        leak,
        fair,
        stream,
        scratch,
        looks_ahead,
        ahead_of,
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
