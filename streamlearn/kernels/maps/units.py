"""The frame that all learners with units share: scale a sample, find the winner, score the distance, count.

Layout: ``weights`` float32 ``(groups, dim, 64)``: unit u is at ``[u // 64, d, u % 64]``. A group is four
blocks of 16 lanes; see ``simd/groups.py``. ``pad`` ``(blocks, 16)`` is 0 for a unit and +inf for an unused
lane, so that an unused lane never wins.

An entry point takes flat arguments and groups them in the records below. A record costs nothing in a kernel.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import allocating_device, device, kernel
from ..simd.views import row_of
from ..stream import forgetting, scaling
from ..stream import gate as gates
from ..stream import score as scores
from ..stream.interrupt import requested
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import common_units
from .explanation import write_expected
from .winner import EUCLIDEAN, Units, as_distance, nearest_two, nearest_two_of_both, present_channels

# Live quality, float64 (2,) or longer: exponentially weighted count and Σ distance
COUNT, QUANTIZATION = 0, 1
RESOLUTION = np.float32(1e-3)  # of the distance of scaled samples, for the score
LARGEST = np.float32(2.0**100)  # its square overflows, and its difference from any weight does not
ROWS = 4  # samples that are kept scaled: a power of 2, so that the remainder is cheap


class Progress(NamedTuple):
    """What a learned sample is counted in."""

    samples: Any  # (1,)
    hits: Any  # (units + 1,): wins, as in stream/forgetting.py
    quality: Any  # (2,) or longer
    decay: Any


class Outputs(NamedTuple):
    """The outputs for n samples."""

    winner: Any  # (n,)
    distance: Any  # (n,)
    score: Any  # (n,)
    present: Any  # (n,)


class Learning(NamedTuple):
    """Which samples are learned, and the outputs that only learning has."""

    gate: Any  # see stream/gate.py
    common: Any  # see common_units.py
    interrupt: Any  # (1,): see stream/interrupt.py
    watched: Any  # (n,)
    expected: Any  # (n, dim): what the units expect; (0, dim) if nobody needs it


class Stream(NamedTuple):
    """The samples of one call, and what they share."""

    x: Any  # (n, dim)
    units: Any
    scale: Any
    score: Any
    outputs: Any
    common: Any  # (blocks, 16): see common_units.py
    scaled: Any  # (ROWS, dim): the scaled sample, those before it and the one after it
    channels: Any  # (ROWS, dim): indices of their present channels
    compared: Any  # (ROWS,): their distances for the score


class Sample(NamedTuple):
    """One scaled sample."""

    n: Any  # place in the call
    x: Any  # (dim,)
    channels: Any  # (dim,): indices of the present channels
    count: Any  # number of present channels


@allocating_device
def new_stream(x, units, scale, score, common, outputs):
    """The stream of one call, for ``x`` ``(n, dim)``."""
    shape = (ROWS, x.shape[1])
    scaled, channels, compared = (
        np.empty(shape, np.float32),
        np.empty(shape, np.uint64),
        np.empty(ROWS, np.float32),
    )
    return Stream(x, units, scale, score, outputs, common, scaled, channels, compared)


@device
def sample_at(stream, n):
    """Sample ``n`` of the call, which is one of those that were scaled last."""
    row = n & (ROWS - 1)
    return Sample(n, row_of(stream.scaled, row), row_of(stream.channels, row), stream.outputs.present[n])


@device
def _scale(stream, n):
    """Scale sample ``n``, cut at ±``LARGEST``. Writes the number of its present channels to the outputs."""
    scaled, present = row_of(stream.scaled, n & (ROWS - 1)), stream.outputs.present
    present[n] = scaling.transform(stream.scale, stream.x, n, scaled)
    for c in range(scaled.size):
        scaled[c] = LARGEST if scaled[c] > LARGEST else -LARGEST if scaled[c] < -LARGEST else scaled[c]
    if present[n] < scaled.size or n < ROWS or present[n - ROWS] < scaled.size:
        present_channels(scaled, row_of(stream.channels, n & (ROWS - 1)))  # else all, as in this row before
    return sample_at(stream, n)


@device
def _write_outputs(stream, sample, winner, nearest):
    """Write the outputs except the score. Return the winner, and the unit that the score compares with.

    The winner is −1 if all channels are missing (distance NaN) or the distance overflows float32 (inf).
    """
    if sample.count == 0:
        winner, nearest = np.int64(-1), np.float32(np.nan)
    outputs, n, measure = stream.outputs, sample.n, stream.units.measure
    dim, count = sample.x.size, max(sample.count, 1)
    outputs.winner[n] = winner
    outputs.distance[n] = as_distance(nearest, measure, dim, count)
    unit, least = common_units.compared_unit(
        sample.x, sample.channels, sample.count, stream.units, stream.common, winner, nearest
    )
    stream.compared[n & (ROWS - 1)] = as_distance(least, measure, dim, count)
    return winner, unit


@device
def _compared(stream, n):
    """The distance that the score compares: below ``RESOLUTION`` widths, all distances are equal."""
    distance = stream.compared[n & (ROWS - 1)]
    return RESOLUTION if stream.scale.method != scaling.NONE and distance < RESOLUTION else distance


@device
def _write_score(stream, n):
    outputs = stream.outputs
    outputs.score[n] = scores.rank(stream.score, _compared(stream, n), outputs.present[n])


@device
def _observe(stream, learning, n):
    """Add the distance of sample ``n`` to the reference of the score, as the gate decides."""
    present, learned = stream.outputs.present[n], not learning.watched[n]
    gates.observe(learning.gate, stream.score, _compared(stream, n), present, learned)


@device
def find(stream, sample, learner):
    """Search for the nearest two units, for learners that do nothing else during the search."""
    return nearest_two(sample.x, sample.channels, sample.count, stream.units)


@device
def _decide(stream, learning, progress, n):
    """Decide whether sample ``n`` is learned, and scale the next sample, which depends on it."""
    learned = gates.admits(learning.gate, stream.outputs.score[n])
    learning.watched[n] = not learned
    if learned:
        scaling.update(stream.scale, progress.decay, stream.x, n)
    if n + 1 < stream.x.shape[0]:
        _scale(stream, n + 1)


@device
def learn(stream, progress, learning, search, adapt, learner):
    """Learn the samples in order. Write the outputs of each sample before it is learned.

    ``search(stream, sample, learner)`` returns what ``nearest_two`` returns. ``adapt(sample, winner, nearest,
    second, learner)`` learns the sample; the winner is −1 if there is none. It is not called for a sample
    that is only watched. Returns the number of samples done.

    The score of a sample is computed after the search for the next one. It depends on the sample's distance,
    which is known last, and the processor would wait for it.
    """
    outputs, decay, quality = stream.outputs, progress.decay, progress.quality
    rows = stream.x.shape[0]
    if rows > 0:
        _scale(stream, 0)
    early = not gates.needs_score(learning.gate)  # then a search may look ahead
    done = rows
    for n in range(rows):
        sample = sample_at(stream, n)
        if early:
            _decide(stream, learning, progress, n)
        winner, nearest, second = search(stream, sample, learner)
        winner, unit = _write_outputs(stream, sample, winner, nearest)
        if learning.expected.shape[0] > 0:
            write_expected(sample.x, stream.units, unit, stream.scale, row_of(learning.expected, n))
        distance = outputs.distance[n]
        scored = n - 1 if early else n
        if scored >= 0:
            _write_score(stream, scored)
        if not early:
            _decide(stream, learning, progress, n)
        if scored >= 0:
            _observe(stream, learning, scored)
        if winner >= 0:
            forgetting.count(progress.hits, winner, decay)
            quality[COUNT] = quality[COUNT] * decay + 1.0
            quality[QUANTIZATION] = quality[QUANTIZATION] * decay + np.float64(distance)
        if not learning.watched[n]:
            common_units.count(learning.common, winner)
            adapt(sample, winner, nearest, second, learner)
            common_units.update(learning.common)
        progress.samples[0] += 1
        if requested(learning.interrupt):
            done = n + 1
            break
    if early and done > 0:
        _write_score(stream, done - 1)
        _observe(stream, learning, done - 1)
    return done


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], i8, i8, f8[:,::1], f8, f8[::1], i8, f8, f4[:,::1], i4[::1],"
    " f4[::1], f4[::1], i4[::1])",
    allocates=True,
)
def predict(
    x,  # (n, dim)
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
    # Outputs
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    present,  # (n,)
):
    """Write the outputs for each sample. Changes no state."""
    stream = new_stream(
        x,
        Units(weights, pad, measure),
        Scaling(method, statistics, scale_clip),
        Score(score_reference, score_columns, score_decay),
        common,
        Outputs(winner, distance, score, present),
    )
    n = 0
    while n < x.shape[0]:
        sample = _scale(stream, n)
        if n + 1 < x.shape[0] and measure == EUCLIDEAN:  # two at a time share the loads of the weights
            following = _scale(stream, n + 1)
            if sample.count == sample.x.size and following.count == sample.x.size:
                first, second = nearest_two_of_both(sample.x, following.x, sample.channels, stream.units)
                _write_outputs(stream, sample, first[0], first[1])
                _write_outputs(stream, following, second[0], second[1])
                _write_score(stream, n)
                _write_score(stream, n + 1)
                n += 2
                continue
        i, nearest, _ = find(stream, sample, 0)
        _write_outputs(stream, sample, i, nearest)
        _write_score(stream, n)
        n += 1


@kernel("void(f4[:,::1], f8[:,::1], i8)")
def restore(
    weights,  # (units, dim)
    statistics,  # (rows, dim): see scaling.py
    method,
):
    """Convert scaled weights to the stream's own units, in place."""
    scale = Scaling(method, statistics, np.inf)
    for unit in range(weights.shape[0]):
        for c in range(weights.shape[1]):
            weights[unit, c] = scaling.restore(scale, c, weights[unit, c])
