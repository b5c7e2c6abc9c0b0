"""The gate: which samples are learned. All others are *watched*.

A watched sample gives all outputs. It counts in the live quality and in the number of samples, and hidden
states and windows advance. It changes no weights, no statistics of the scaling and no reference of the score.

With a limit, two rules select what is watched, once the first FIRST samples are learned:

- A sample whose score is above the limit.
- Every sample of an *unusual stretch*. The surprise −log(1 − score) has the mean 1 on a healthy stream.
  Evidence of a higher mean is gathered by a cumulative sum (Page 1954): g ← max(g + surprise − 1 − 3σ, 0),
  where σ² is the mean square of (mean of the last 64 surprises − 1). So a stream whose scores are high for a
  while now and then needs more evidence. A stretch begins at g > 2000σ². In it, surprise − 2 is added at
  most: the scores of a model that does not learn are a little higher. It ends at g = 0.

After PATIENCE watched samples in a row, all are learned until a sample is usual again.

What came and passed is learned. A phase of a slow rhythm that the model does not know looks like a fault that
comes again and again. An *episode* is 64 watched samples or more, with gaps of fewer than 32 learned ones.
Its height is the largest mean of about eight distances or errors in it. It counts if it ended by itself, not
by the patience. After the first four unusual samples in a row, those are learned that follow a mean of eight
below the heights of each of the last three episodes. The heights decay, at a quarter of the score's rate.

Reference of the score. A share of 1 − LIMIT of a healthy stream is above the limit. A reference without these
would lose its tail, and more and more samples would be above the limit. So a watched sample waits, and joins
the reference after a sample that is learned: up to twice as many as belong to the learned ones, 2·(1 −
LIMIT)/LIMIT for each of these. Those that wait when an unusual stretch begins are dropped. So a fault is not
compared with itself: its scores stay above the limit as long as it lasts.

State: ``gate`` float64 ``(SIZE,)``, with the entries below.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from ..simd.elementary import log
from . import score as scores

# Constant
MODE = 0  # LEARN: every sample is learned. WATCH: none is. BELOW: as above
LIMIT, FIRST = 1, 2
PATIENCE = 3  # 0: as many as were learned so far; twice as many up to 10,000
CONSTANTS = 4

RUN = 4  # watched samples in a row so far, without those that are learned since they passed before
LEARNED = 5  # usual samples that were learned so far
SMOOTHED, SQUARE = 6, 7  # mean of 64 surprises − 1, and the mean of its square: σ²
EVIDENCE = 8  # g
UNUSUAL = 9  # 1 in an unusual stretch
CREDIT = 10  # watched samples that the reference still gets
WAITING = 11  # number of watched samples that wait
VALUES = 12  # their distances or errors
ROOM = 16
PRESENT = VALUES + ROOM  # and their numbers of present values
LATELY = PRESENT + ROOM  # mean of about eight distances or errors
EPISODE = LATELY + 1  # watched samples of the current episode
GAP = LATELY + 2  # learned samples since the last of them
HEIGHT = LATELY + 3  # largest LATELY in it
PASSED = LATELY + 4  # the heights of the last episodes that ended by themselves, the newest first
EPISODES = 3
SIZE = PASSED + EPISODES

LEARN, WATCH, BELOW = 0.0, 1.0, 2.0
MOST_SURPRISE = 7.0  # so that a single sample is not a stretch
FIRST_SQUARE = 0.25

OPEN = np.zeros(SIZE)  # learns every sample; constant

UNKNOWN = np.float32(np.nan)  # the score of a sample without one; the gate is open to it

_USUAL_PATIENCE = 10_000.0
_SMOOTHING = 1 / 64
_FIRST_SAMPLES, _LEAST_GAIN = 128.0, 1 / 20_000  # of SQUARE
_LEAST_SQUARE = 1 / 72  # of independent scores: 1/127
_SLACK, _BEGIN, _MOST = 3.0, 2000.0, 3.0
_RETURN = 1.0
_LONG_EPISODE, _LONG_GAP = 64.0, 32.0  # samples
_OF_LATELY = 1 / 8
_ALWAYS_WATCHED = 4.0  # the first unusual samples in a row: single ones are no part of a rhythm
_SLOWER = 0.25  # decay of heights, relative to that of the score
_LARGEST = 3.4028234663852886e38


@device
def is_shut(gate):
    """Whether no sample is learned."""
    return gate[MODE] == WATCH


@device
def needs_score(gate):
    """Whether the score of a sample decides. Then no later sample may be scaled before the decision."""
    return gate[MODE] == BELOW


@device
def admits(gate, score):
    """Decide whether the next sample is learned. ``score`` matters only if ``needs_score``."""
    if gate[MODE] != BELOW:
        return gate[MODE] == LEARN
    unusual = score > gate[LIMIT] or gate[UNUSUAL] == 1.0
    if score == score:
        _gather(gate, score)
    if gate[LEARNED] < gate[FIRST] or not unusual:
        gate[RUN] = 0.0
        gate[LEARNED] += 1.0
        return True
    if gate[RUN] >= _ALWAYS_WATCHED and _has_passed(gate):
        gate[LEARNED] += 1.0
        return True
    gate[RUN] += 1.0
    return _is_given_up(gate)


@device
def _has_passed(gate):
    """Whether each of the last episodes was higher than the distances are now."""
    least = gate[PASSED]
    for k in range(1, EPISODES):
        least = min(least, gate[PASSED + k])
    return gate[LATELY] < least


@device
def _is_given_up(gate):
    """Whether samples are learned because the patience has ended."""
    return gate[RUN] > _patience(gate)


@device
def _patience(gate):
    learned = gate[LEARNED]
    usual = max(learned, min(2.0 * learned, _USUAL_PATIENCE))
    return gate[PATIENCE] if gate[PATIENCE] > 0.0 else usual


@device
def _gather(gate, score):
    """Add the surprise of a score to the evidence. An unusual stretch begins or ends with the next sample."""
    surprise = min(np.float64(-log(np.float32(1.0) - score)), MOST_SURPRISE) - 1.0
    gate[SMOOTHED] += _SMOOTHING * (surprise - gate[SMOOTHED])
    if gate[UNUSUAL] == 0.0:
        gain = max(1.0 / (gate[LEARNED] + _FIRST_SAMPLES), _LEAST_GAIN)
        gate[SQUARE] += gain * (gate[SMOOTHED] * gate[SMOOTHED] - gate[SQUARE])
    if gate[LEARNED] < gate[FIRST]:
        return
    square = max(gate[SQUARE], _LEAST_SQUARE)
    slack, limit = _SLACK * math.sqrt(square), _BEGIN * square
    if gate[UNUSUAL] == 1.0:
        slack = max(slack, _RETURN)
    gate[EVIDENCE] = min(max(gate[EVIDENCE] + surprise - slack, 0.0), _MOST * limit)
    if gate[UNUSUAL] == 0.0 and gate[EVIDENCE] > limit:
        gate[UNUSUAL], gate[WAITING] = 1.0, 0.0
    elif gate[EVIDENCE] == 0.0:
        gate[UNUSUAL] = 0.0


@device
def observe(gate, score, value, present, learned):
    """Add a distance or error to the reference of the score, now, later or never.

    Call it once for each sample with a score, after ``admits``.
    """
    value, present = np.float32(value), np.int64(present)
    _follow_episode(gate, score.decay, value, learned)
    if not learned:
        _wait(gate, value, present)
        return
    for _ in range(1 + _joins(gate)):
        scores.observe(score, value, present)
        at = np.int64(gate[WAITING])  # it was the last one
        value, present = np.float32(gate[VALUES + at]), np.int64(gate[PRESENT + at])


@device
def _follow_episode(gate, decay, value, learned):
    """Add a distance or error to the current episode, or end the episode after a gap."""
    if gate[MODE] != BELOW or not (value == value):
        return
    gate[LATELY] += _OF_LATELY * (np.float64(min(abs(value), _LARGEST)) - gate[LATELY])
    if not learned:
        gate[EPISODE], gate[GAP] = gate[EPISODE] + 1.0, 0.0
        gate[HEIGHT] = max(gate[HEIGHT], gate[LATELY])
        return
    for k in range(EPISODES):
        gate[PASSED + k] *= 1.0 - _SLOWER * (1.0 - decay)
    if gate[EPISODE] > 0.0:
        gate[GAP] += 1.0
        if _is_given_up(gate) or gate[GAP] == _LONG_GAP:
            _end_episode(gate)


@device
def _end_episode(gate):
    """Keep the height of the current episode if it was long and ended by itself."""
    if gate[EPISODE] >= _LONG_EPISODE and not _is_given_up(gate):
        for k in range(EPISODES - 1, 0, -1):
            gate[PASSED + k] = gate[PASSED + k - 1]
        gate[PASSED] = gate[HEIGHT]
    gate[EPISODE] = gate[GAP] = gate[HEIGHT] = 0.0


@device
def _wait(gate, value, present):
    """Let a watched sample wait, except one of an unusual stretch."""
    at = np.int64(gate[WAITING])
    if gate[MODE] == BELOW and gate[UNUSUAL] == 0.0 and at < ROOM and value == value:
        gate[VALUES + at], gate[PRESENT + at] = min(value, _LARGEST), present
        gate[WAITING] += 1.0


@device
def _joins(gate):
    """Whether the last one of those that wait joins the reference after a learned sample. Remove it."""
    if gate[MODE] != BELOW:
        return 0
    gate[CREDIT] = min(gate[CREDIT] + 2.0 * (1.0 - gate[LIMIT]) / gate[LIMIT], np.float64(ROOM))
    if gate[CREDIT] < 1.0 or gate[WAITING] < 1.0:
        return 0
    gate[CREDIT] -= 1.0
    gate[WAITING] -= 1.0
    return 1
