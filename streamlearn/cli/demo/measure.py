"""How good the models were, measured on what they said of each sample before they learned it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


def roc_auc(positive: ArrayLike, score: ArrayLike) -> float:
    """The chance that a positive has a higher score than a negative, ties counting half.

    It is the rank sum of Mann & Whitney (1947): U / (positives · negatives), with mean ranks for ties. NaN
    unless there are both.
    """
    is_positive = np.asarray(positive, np.bool_)
    ranks = _mean_ranks(np.asarray(score, np.float64))
    positives = int(is_positive.sum())
    negatives = is_positive.size - positives
    if not positives or not negatives:
        return float("nan")
    u = ranks[is_positive].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[Any] = last[place] - (counts[place] - 1) / 2
    return ranks


class OneStep(NamedTuple):
    """Mean absolute errors of one-step forecasts over the second half of a stream."""

    model: float
    persistence: float
    """of the forecast that nothing changes"""
    forecasts: int


def one_step(changes: NDArray[np.float32], forecast: NDArray[np.float32]) -> OneStep:
    """The errors of ``forecast`` (n, 1), made before ``changes`` (n, 1) came, where these are known.

    The first half is left out: the model starts with knowing nothing.
    """
    half = len(changes) // 2
    change = changes[half:, 0].astype(np.float64)
    known = ~np.isnan(change)
    error = np.abs(forecast[half:, 0].astype(np.float64) - change)[known]
    return OneStep(float(error.mean()), float(np.abs(change[known]).mean()), int(known.sum()))
