"""Interleaved timing: ours and every peer run in turn, so that a slower machine affects all of them.

Work in this process is timed in CPU time of the thread. Other programs then change it little. All peers
compute on the calling thread, on one core.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Clock = Callable[[], float]  # seconds


@dataclass(frozen=True)
class Settings:
    """How much to measure. ``quick`` runs everything once with small sizes: its numbers mean nothing."""

    rounds: int = 5
    seed: int = 1
    quick: bool = False

    @property
    def seconds(self) -> float:
        """Duration of one run of one contestant."""
        return 0.002 if self.quick else 0.1

    def choose(self, full: int, quick: int) -> int:
        """Return a size."""
        return quick if self.quick else full


class Contestant(NamedTuple):
    """One side of a comparison. ``run(n)`` processes n samples; n is a multiple of ``step``."""

    name: str
    run: Callable[[int], object]
    clock: Clock = time.thread_time
    step: int = 1


class Absent(NamedTuple):
    """A peer that cannot be had here, and why."""

    name: str
    reason: str


Peer = Contestant | Absent


@dataclass(frozen=True)
class Quality:
    """What was learned, beside the speed: the same measure of both, on the same stream."""

    measure: str
    ours: float
    theirs: float | None


@dataclass(frozen=True)
class Limit:
    """The machine's limit for the same work, in the unit of the row, measured in the same run."""

    of: str
    value: float


@dataclass(frozen=True)
class Row:
    """One measurement: ours beside one peer. ``theirs`` is None without a peer or if the peer is absent.

    ``ratio`` is ours ÷ theirs: median, minimum and maximum over the rounds.
    """

    name: str
    ours: float
    unit: str = "samples/s"
    peer: str = ""
    theirs: float | None = None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    quality: Quality | None = None
    limit: Limit | None = None
    absent: str = ""  # why there is no peer
    at: float | None = None  # for a point of a curve: its place


def measure(contestant: Contestant, n: int) -> float:
    """Return the samples per second of one run over ``n`` samples."""
    began = contestant.clock()
    contestant.run(n)
    return n / max(contestant.clock() - began, 1e-9)


def calibrate(contestant: Contestant, seconds: float) -> int:
    """Return the number of samples that take about ``seconds``. Also warms the contestant up."""
    step = contestant.step
    n = step
    contestant.run(n)  # loads the kernels of a call of this size
    while True:
        took = n / measure(contestant, n)
        if took >= 0.2 * seconds:
            return step * max(1, round(n / step * seconds / took))
        n = step * max(2 * n // step, min(16 * n // step, round(n / step * 0.5 * seconds / took)))


def race(contestants: Sequence[Contestant], settings: Settings) -> list[list[float]]:
    """Run all contestants in turn, ``settings.rounds`` times. Return the rates of each."""
    samples = [calibrate(each, settings.seconds) for each in contestants]
    rates: list[list[float]] = [[] for _ in contestants]
    for _ in range(settings.rounds):
        for each, n, found in zip(contestants, samples, rates, strict=True):
            found.append(measure(each, n))
    return rates


def compare(
    name: str,
    ours: Contestant,
    peers: Sequence[Peer],
    settings: Settings,
    quality: Mapping[str, Quality] | None = None,
    limit: Limit | None = None,
) -> Iterator[Row]:
    """Race ours against the peers and yield one row per peer. ``quality`` is by name of the peer."""
    present = [peer for peer in peers if isinstance(peer, Contestant)]
    own, *others = race([ours, *present], settings)
    rates = dict(zip((peer.name for peer in present), others, strict=True))
    for peer in peers:
        yield paired(name, own, peer, rates.get(peer.name), (quality or {}).get(peer.name), limit)
    if not peers:
        yield Row(name, statistics.median(own), limit=limit)


def paired(
    name: str,
    ours: Sequence[float],
    peer: Peer,
    theirs: Sequence[float] | None,
    quality: Quality | None = None,
    limit: Limit | None = None,
    unit: str = "samples/s",
) -> Row:
    """Return the row of one comparison from the values of each round."""
    value = statistics.median(ours)
    if theirs is None:
        reason = peer.reason if isinstance(peer, Absent) else ""
        return Row(name, value, unit, peer.name, quality=quality, limit=limit, absent=reason)
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return Row(
        name, value, unit, peer.name, statistics.median(theirs),
        statistics.median(ratios), min(ratios), max(ratios), quality, limit,
    )  # fmt: skip


def over(stream: np.ndarray, call: Callable[[np.ndarray], object]) -> Callable[[int], None]:
    """Return a run that calls ``call`` with ``n`` samples of the stream, from its start again if needed."""

    def run(n: int) -> None:
        while n > 0:
            part = stream[:n]
            call(part)
            n -= len(part)

    return run


def one_by_one(samples: Sequence[object], call: Callable[..., object]) -> Callable[[int], None]:
    """Return a run that calls ``call`` with each of ``n`` samples, from the first again if needed."""

    def run(n: int) -> None:
        while n > 0:
            for sample in samples[:n]:
                call(sample)
            n -= len(samples)

    return run
