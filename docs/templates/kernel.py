"""The rule of the template: author, title, year, equation.

    w_i += ε(t)·(x − w_i) for the winner i

``units.py`` defines the layout of the units.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..compiler import device, kernel
from ..simd.groups import GROUP
from ..simd.lanes import fma
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import units
from .common_units import CommonUnits
from .units import Learning, Outputs, Progress, new_stream
from .winner import Units


class Template(NamedTuple):
    """What the rule needs."""

    weights: Any  # (groups, dim, 64)
    learning_rate: Any  # (n,): ε(t)


@device
def _learn(sample, winner, nearest, second, net):
    """w_i += ε·(x − w_i) in the present channels."""
    if winner >= 0:
        g, l = winner // GROUP, winner % GROUP
        for k in range(sample.count):
            d = sample.channels[k]
            w = net.weights[g, d, l]
            net.weights[g, d, l] = fma(net.learning_rate[sample.n], sample.x[d] - w, w)


@kernel(
    "i8(f4[:,::1], u1[::1], f8[::1], f4[:,:,::1], f4[:,::1], i8, i8, f8[:,::1], f8, f8[::1], i8, f8,"
    " f4[:,::1], f8[::1], i8[::1], f8, f8, i8[::1], f8[::1], f8[::1], f8, f4[::1], i4[::1], f4[::1],"
    " f4[::1], i4[::1], b1[::1], f4[:,::1])",
    allocates=True,
)
def learn(
    x,  # (n, dim)
    interrupt,  # (1,): see stream/interrupt.py
    gate,  # (SIZE,): see stream/gate.py
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
    # Rule
    learning_rate,  # (n,): ε(t)
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
    common_of_units = CommonUnits(common, common_wins, common_learned, common_decay, rare_below)
    learning = Learning(gate, common_of_units, interrupt, watched, expected)
    net = Template(weights, learning_rate)
    return units.learn(stream, progress, learning, units.find, _learn, net)
