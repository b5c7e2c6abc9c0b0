"""The gate: which samples are learned. All others are *watched*.

A watched sample gives all outputs. It counts in the live quality and in the number of samples, and hidden
states and windows advance. It changes no weights, no statistics of the scaling and no reference of the score.

State: ``gate`` float64 ``(5,)``.

    MODE      LEARN: every sample is learned. WATCH: none is. BELOW: those whose score is at most LIMIT
    LIMIT     see BELOW
    PATIENCE  BELOW: after so many samples in a row above the limit, the next ones are learned after all
    RUN       number of samples in a row above the limit so far
    CREDIT    BELOW: watched samples that the score's reference still gets

The score is a rank among earlier samples: a share of 1 − LIMIT of a healthy stream is above the limit. If the
reference never got these, it would lose its tail, and more and more samples would be above the limit. So it
gets up to twice as many of them as belong to the samples that were learned: 2·(1 − LIMIT)/LIMIT for each of
these. A long anomaly uses up the credit, and then changes nothing.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device

MODE, LIMIT, PATIENCE, RUN, CREDIT = range(5)
SIZE = 5
LEARN, WATCH, BELOW = 0.0, 1.0, 2.0
MOST_CREDIT = 10.0

OPEN = np.zeros(SIZE)  # learns every sample; constant

UNKNOWN = np.float32(np.nan)  # the score of a sample without one; the gate is open to it


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
    if not (score > gate[LIMIT]):
        gate[RUN] = 0.0
        gate[CREDIT] = min(gate[CREDIT] + 2.0 * (1.0 - gate[LIMIT]) / gate[LIMIT], MOST_CREDIT)
        return True
    gate[RUN] += 1.0
    return gate[RUN] > gate[PATIENCE]


@device
def observes(gate, learned):
    """Whether the score's reference gets the sample. Call it once for each sample with a score."""
    if learned or gate[MODE] != BELOW or gate[CREDIT] < 1.0:
        return learned
    gate[CREDIT] -= 1.0
    return True
