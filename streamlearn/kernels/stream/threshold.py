"""The threshold of alarms: calibrated, so that alarms on a healthy stream have a chosen rate.

The largest evidence of each block of 200 samples is a peak (as in peaks over threshold: Siffer et al. 2017).
Healthy evidence has an exponential tail, so peaks have one, too:

    P(peak > u + e) = ⅕·exp(−e/β)       u: the quantile at 0.8 of the peaks; β: their mean excess over u
    threshold = u + β·log(⅕·375/rate)   which ``rate`` of the 500 peaks of 100,000 samples exceed

The factor is 375, not 500, because the tail falls faster than an exponential one far out. It was measured on
streams of fifteen kinds.

u moves by stochastic approximation (Robbins & Monro 1951), β is a running mean. Excesses are cut to 3·β,
whose mean is (1 − e⁻³)·β. While the evidence is high in one block after the other, only the first one
counts. So a fault hardly raises the threshold, and what a stream does often by nature does. u and β begin as
they are on most streams.

State ``threshold`` float64 ``(7,)``: QUANTILE … WAS_HIGH, common to all streams of a model.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import log

QUANTILE, EXCESS = 0, 1  # u and β
PEAKS, BLOCKS = 2, 3  # peaks above u, as many as β begins with; blocks
LARGEST, SAMPLES = 4, 5  # of the current block: its largest evidence, its number of samples
WAS_HIGH = 6  # whether the last block had evidence above the threshold
SIZE = 7

FIRST = (6.9, 0.75, 20.0, 0.0, 0.0, 0.0, 0.0)

BLOCK = 200.0
_BEYOND = 0.2  # share of peaks above u
AT_ONE = 75.0  # the factor's argument at a rate of 1
_CUT, _MEAN_OF_CUT = 3.0, 0.950212931632136  # in β
_LEAST_GAIN = 0.02  # of β
_LEAST_STEP = 0.05  # of u, in β


@device
def factor_of(rate):
    """log(⅕·375/rate)."""
    return np.float64(log(np.float32(AT_ONE / rate)))


@device
def exceeded_at(threshold, factor):
    """The threshold at the rate with this factor."""
    return threshold[QUANTILE] + threshold[EXCESS] * factor


@device
def observe(threshold, evidence, limit):
    """Add the evidence of a sample. ``limit``: the threshold in use."""
    threshold[LARGEST] = max(threshold[LARGEST], evidence)
    threshold[SAMPLES] += 1.0
    if threshold[SAMPLES] < BLOCK:
        return
    peak, was_high = threshold[LARGEST], threshold[WAS_HIGH]
    threshold[LARGEST] = threshold[SAMPLES] = 0.0
    threshold[WAS_HIGH] = 1.0 if peak > limit else 0.0
    if was_high == 1.0 and peak > limit:
        return
    threshold[BLOCKS] += 1.0
    beta, beyond = threshold[EXCESS], peak > threshold[QUANTILE]
    step = max(_LEAST_STEP, 2.0 / (threshold[BLOCKS] + 10.0)) * beta
    if beyond:
        threshold[PEAKS] += 1.0
        excess = min(peak - threshold[QUANTILE], _CUT * beta) / _MEAN_OF_CUT
        threshold[EXCESS] = beta + max(_LEAST_GAIN, 1.0 / threshold[PEAKS]) * (excess - beta)
    threshold[QUANTILE] += step * (1.0 - _BEYOND if beyond else -_BEYOND)
