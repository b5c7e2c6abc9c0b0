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
from ..simd.lanes import larger, smaller
from ..simd.views import floats_of, row_of
from ..stream import forgetting, scaling
from ..stream import gate as gates
from ..stream import score as scores
from ..stream.interrupt import requested
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import common_units
from .explanation import write_expected
from .winner import EUCLIDEAN, Units, as_distance, present_channels, search, search_both

# Live quality, float64 (2,) or longer: exponentially weighted count and Σ distance
COUNT, QUANTIZATION = 0, 1
RESOLUTION = np.float32(1e-3)  # of the distance of scaled samples, for the score
LARGEST = np.float32(2.0**100)  # its square overflows, and its difference from any weight does not
TOGETHER = 8  # samples that are copied at once if there is no scaling: a power of 2
ROWS = 2 * TOGETHER  # samples that are kept scaled
RANKED = 32  # samples whose scores are computed at once, at most
NO_SAMPLE = -1  # in place of the number of a sample that was measured ahead


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
    common: Any  # (blocks, 16): 0 for the units that the score compares with; see common_units.py
    scaled: Any  # (ROWS, dim): the scaled sample, those before it and the next one
    channels: Any  # (ROWS + 1, dim): indices of their present channels; in the last row of all channels


class Sample(NamedTuple):
    """One scaled sample."""

    n: Any  # place in the call
    x: Any  # (dim,)
    channels: Any  # (dim,): indices of the present channels
    count: Any  # number of present channels


@allocating_device
def new_stream(x, units, scale, score, common, outputs):
    """The stream of one call, for ``x`` ``(n, dim)``."""
    dim = x.shape[1]
    scaled, channels = np.empty((ROWS, dim), np.float32), np.empty((ROWS + 1, dim), np.uint64)
    for d in range(dim):
        channels[ROWS, d] = d
    compared = common if common.shape[0] > 0 else units.pad
    return Stream(x, units, scale, score, outputs, compared, scaled, channels)


@device
def sample_at(stream, n):
    """Sample ``n`` of the call, which is one of those that were scaled last."""
    row, count = n & (ROWS - 1), stream.outputs.present[n]
    channels = row_of(stream.channels, row if count < stream.x.shape[1] else ROWS)
    return Sample(n, row_of(stream.scaled, row), channels, count)


@device
def _cut(value):
    return smaller(larger(value, -LARGEST), LARGEST)


@device
def _copy(stream, first, end):
    """Copy samples, cut at ±``LARGEST``. Writes the numbers of their present channels to the outputs."""
    present, dim = stream.outputs.present, stream.x.shape[1]
    size, missing = (end - first) * dim, False
    values, copied = floats_of(stream.x, first, size), floats_of(stream.scaled, first & (ROWS - 1), size)
    for i in range(size):
        copied[i] = _cut(values[i])
        missing |= not (values[i] == values[i])
    for n in range(first, end):
        present[n] = dim
        if missing:
            row = n & (ROWS - 1)
            present[n] = present_channels(row_of(stream.scaled, row), row_of(stream.channels, row))


@device
def _scale(stream, n):
    """Scale sample ``n``, cut at ±``LARGEST``. Without scaling, copy it and those after it."""
    if stream.scale.method == scaling.NONE:
        if n & (TOGETHER - 1) == 0:
            _copy(stream, n, min(n + TOGETHER, stream.x.shape[0]))
        return
    row, present = n & (ROWS - 1), stream.outputs.present
    scaled = row_of(stream.scaled, row)
    present[n] = scaling.transform(stream.scale, stream.x, n, scaled)
    for c in range(scaled.size):
        scaled[c] = _cut(scaled[c])
    if present[n] < scaled.size:
        present_channels(scaled, row_of(stream.channels, row))


@device
def _write_outputs(stream, sample, winner, nearest, compared):
    """Write the outputs, with the distance that the score compares in place of the score. Return the winner.

    The winner is −1 if all channels are missing (distance NaN) or the distance overflows float32 (inf). Of
    scaled samples, all distances below ``RESOLUTION`` are equal for the score.
    """
    if sample.count == 0:
        winner, nearest, compared = np.int64(-1), np.float32(np.nan), np.float32(np.nan)
    outputs, n, measure = stream.outputs, sample.n, stream.units.measure
    dim, count = sample.x.size, max(sample.count, 1)
    outputs.winner[n] = winner
    outputs.distance[n] = as_distance(nearest, measure, dim, count)
    compared = as_distance(compared, measure, dim, count)
    scaled = stream.scale.method != scaling.NONE
    outputs.score[n] = RESOLUTION if scaled and compared < RESOLUTION else compared
    return winner


@device
def _write_expected(stream, sample, winner, expected):
    """Write what the unit expects that the score compares the sample with."""
    x, units = sample.x, stream.units
    unit = common_units.compared_unit(x, sample.channels, sample.count, units, stream.common, winner)
    write_expected(x, units, unit, stream.scale, row_of(expected, sample.n))


@device
def _write_score(stream, n):
    outputs = stream.outputs
    outputs.score[n] = scores.rank(stream.score, outputs.score[n], outputs.present[n])


@device
def find(stream, sample, learner):
    """Search for the nearest units, for learners that do nothing else during the search."""
    return search(sample.x, sample.channels, sample.count, stream.units, stream.common)


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
def learn(stream, progress, learning, find, adapt, learner):
    """Learn the samples in order. Write the outputs of each sample before it is learned.

    ``find(stream, sample, learner)`` returns what ``search`` of winner.py returns. ``adapt(sample, winner,
    nearest, second, learner)`` learns the sample; the winner is −1 if there is none. It is not called for a
    sample that is only watched. Returns the number of samples done.

    If no score decides what is learned, the scores of up to ``RANKED`` samples are computed together: one
    after another, the processor would wait for each.
    """
    outputs, decay, quality = stream.outputs, progress.decay, progress.quality
    rows = stream.x.shape[0]
    if rows > 0:
        _scale(stream, 0)
    early = not gates.needs_score(learning.gate)  # then a search may look ahead
    done, ranked = rows, 0
    for n in range(rows):
        sample = sample_at(stream, n)
        if early:
            _decide(stream, learning, progress, n)
        winner, nearest, second, compared = find(stream, sample, learner)
        winner = _write_outputs(stream, sample, winner, nearest, compared)
        if learning.expected.shape[0] > 0:
            _write_expected(stream, sample, winner, learning.expected)
        distance = outputs.distance[n]
        if not early:
            compared = outputs.score[n]
            _write_score(stream, n)
            _decide(stream, learning, progress, n)
            gates.observe(learning.gate, stream.score, compared, sample.count, not learning.watched[n])
        elif n + 1 - ranked == RANKED:
            _rank_and_observe(stream, learning, ranked, n + 1)
            ranked = n + 1
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
    if early:
        _rank_and_observe(stream, learning, ranked, done)
    return done


@device
def _rank_and_observe(stream, learning, first, end):
    """Score samples ``first`` … ``end − 1``."""
    score, outputs = stream.score, stream.outputs
    scores.rank_and_observe(
        score.reference,
        score.columns,
        score.decay,
        outputs.score,
        outputs.present,
        learning.watched,
        first,
        end,
    )


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
        _scale(stream, n)
        sample = sample_at(stream, n)
        if n + 1 < x.shape[0] and measure == EUCLIDEAN:  # two at a time share the loads of the weights
            _scale(stream, n + 1)
            following = sample_at(stream, n + 1)
            if sample.count == sample.x.size and following.count == sample.x.size:
                first, second = search_both(
                    sample.x, following.x, sample.channels, stream.units, stream.common
                )
                _write_outputs(stream, sample, first[0], first[1], first[3])
                _write_outputs(stream, following, second[0], second[1], second[3])
                _write_score(stream, n)
                _write_score(stream, n + 1)
                n += 2
                continue
        i, nearest, _, compared = find(stream, sample, 0)
        _write_outputs(stream, sample, i, nearest, compared)
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
