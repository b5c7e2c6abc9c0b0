"""Paired timing: ours and the peer run in turn, so that a slower machine affects both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """Rates of ours and of the peer, and their ratio: median, minimum and maximum over the rounds."""

    name: str
    peer: str
    ours: float
    theirs: float | None
    ratio: float | None
    low: float | None
    high: float | None
    unit: str = "/s"


def rate(run: Callable[[], int]) -> float:
    """Return the samples per second of one call of ``run``, which returns its number of samples."""
    began = time.perf_counter()
    samples = run()
    return samples / (time.perf_counter() - began)


def compare(
    name: str, peer: str, ours: Callable[[], int], theirs: Callable[[], int] | None, rounds: int
) -> Comparison:
    """Run both in turn, ``rounds`` times after one warm-up; ``theirs`` is None without the peer."""
    if theirs is None:
        return Comparison(
            name, f"{peer}: absent", statistics.median(rate(ours) for _ in range(rounds)), *(None,) * 4
        )
    rate(ours), rate(theirs)
    pairs = [(rate(ours), rate(theirs)) for _ in range(rounds)]
    ratios = [a / b for a, b in pairs]
    return Comparison(
        name,
        peer,
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
    )
