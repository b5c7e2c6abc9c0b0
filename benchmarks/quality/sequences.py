"""Order and pace of the winners: false alarms on healthy streams, and skipped states, stays and long cycles.

All streams are generated. A machine passes through six states, each for 40 samples on average, ±30 %
("regular") or gamma-distributed with a deviation of half the mean ("irregular"). A fault is found if an alarm
of the order or the pace begins within the next 700 samples.

The peer is what a user would write: k-means with the true number of states on the first 10,000 samples; the
most frequent of five labels is the state. An alarm begins at a transition that these samples do not have, and
at a stay or a return that is longer than 1.2 times their longest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import streamlearn as sl

from .tables import Claim, Row, Settings

TITLE = "Order and pace"

Stream = NDArray[np.float64]
Detector = Callable[[Stream, int], list[int]]  # a stream and its states → samples

QUIET = 200
ALARMS = {"transitions": True, "dwell": True, "cycle": True}
CAUSES = ("transition", "dwell", "cycle")
_LEARNED = 10_000  # samples of the peer
_EVERY = 4500  # samples from fault to fault
_SOON = 700
_MEAN = 40


def _centres(states: int, dim: int) -> Stream:
    return 2 * np.random.default_rng(7).normal(size=(states, dim))


def machine(
    random: np.random.Generator,
    n: int,
    fault: str = "",
    irregular: bool = False,
    noise: float = 0.3,
    drift: float = 0.0,
) -> tuple[Stream, list[int]]:
    """Return a machine of six states with five channels, and where faults begin, in the second half."""
    states, faults, state, slow = [], [], 0, 0
    following = n // 2
    while len(states) < n:
        mean = random.gamma(4, _MEAN / 4) if irregular else _MEAN * random.uniform(0.7, 1.3)
        if fault and len(states) >= following and (fault != "long cycle" or state == 0):
            faults.append(len(states))
            following += _EVERY
            if fault == "skipped state":
                state = (state + 1) % 6
            elif fault == "back two states":
                state = (state - 2) % 6
            elif fault == "long stay":
                mean = 6 * _MEAN
            else:
                slow = 6
        if slow > 0:
            mean, slow = 1.7 * mean, slow - 1
        states += [state] * max(1, round(mean))
        state = (state + 1) % 6
    x = _centres(6, 5)[states[:n]] + noise * random.normal(size=(n, 5))
    direction = np.random.default_rng(3).normal(size=5)
    return x + drift * np.linspace(0, 1, n)[:, None] * direction, faults


def season(random: np.random.Generator, n: int) -> Stream:
    """A period of about 200 samples in four channels, with noise."""
    phase = np.cumsum(2 * np.pi / 200 * (1 + 0.03 * random.normal(size=n)))
    return 1.5 * np.sin(phase[:, None] + np.arange(4)) + 0.2 * random.normal(size=(n, 4))


def switch(random: np.random.Generator, n: int) -> Stream:
    """On and off for times of random length."""
    lengths = np.maximum(1, random.gamma(3, np.resize([60, 20], n // 20))).astype(int)
    level = np.repeat(np.resize([0.0, 3.0], len(lengths)), lengths)[:n]
    return np.column_stack([level, np.zeros(n)]) + 0.3 * random.normal(size=(n, 2))


def clusters(random: np.random.Generator, n: int) -> Stream:
    """Eight clusters in random order."""
    centres = 4 * np.random.default_rng(7).normal(size=(8, 6))
    return centres[random.integers(0, 8, n)] + 0.5 * random.normal(size=(n, 6))


def markov(random: np.random.Generator, n: int) -> Stream:
    """Six states of 20 samples on average. One transition in ten skips a state, one in a hundred two."""
    states, state = np.empty(n, np.int64), 0
    for row in range(n):
        states[row] = state
        if random.random() < 0.05:
            state = (state + random.choice([1, 2, 3], p=[0.89, 0.1, 0.01])) % 6
    return _centres(6, 5)[states] + 0.3 * random.normal(size=(n, 5))


def slow(random: np.random.Generator, n: int) -> Stream:
    """Four channels, each of which keeps 97 % of its last value."""
    x = random.normal(size=(n, 4))
    for row in range(1, n):
        x[row] += 0.97 * x[row - 1]
    return x


HEALTHY: dict[str, tuple[Callable[[np.random.Generator, int], Stream], int]] = {  # with the number of states
    "machine, regular": (lambda random, n: machine(random, n)[0], 6),
    "machine, irregular": (lambda random, n: machine(random, n, irregular=True)[0], 6),
    "machine, much noise": (lambda random, n: machine(random, n, noise=0.9)[0], 6),
    "machine, drifting": (lambda random, n: machine(random, n, drift=3.0)[0], 6),
    "Markov chain, some transitions rare": (markov, 6),
    "season with noise": (season, 8),
    "on/off": (switch, 2),
    "clusters in random order": (clusters, 8),
    "autocorrelated": (slow, 8),
}
FAULTS = ("skipped state", "back two states", "long stay", "long cycle")


def _model(make: Callable[[int], Any]) -> Detector:
    def detect(x: Stream, states: int) -> list[int]:
        events = make(x.shape[1]).learn(x).events
        return [event.sample for event in events if event.state == "begin" and event.cause in CAUSES]

    return detect


def _k_means(x: Stream, states: int) -> list[int]:
    from sklearn.cluster import KMeans

    learned = min(_LEARNED, len(x) // 2)
    means = KMeans(states, n_init=3, random_state=1).fit(x[:learned])
    labels = means.predict(x)
    votes = np.array([np.convolve(labels == k, np.ones(5), "same") for k in range(states)])
    labels = votes.argmax(axis=0)
    changes = np.flatnonzero(np.diff(labels)) + 1
    known: set[tuple[int, int]] = set()
    longest = np.zeros((2, states))
    begins: list[int] = []
    last, entered, since = -QUIET - 1, np.full(states, -1), 0

    def alarm(n: int) -> None:
        nonlocal last
        if n >= learned and n - last > QUIET:
            begins.append(n)
        last = n if n >= learned else last

    at = set(changes.tolist())
    for n in range(1, len(x)):
        state = labels[n]
        if n in at:
            before = labels[n - 1]
            if n < learned:
                known.add((before, state))
                longest[0, before] = max(longest[0, before], n - since)
                if entered[state] >= 0:
                    longest[1, state] = max(longest[1, state], n - entered[state])
            elif (before, state) not in known:
                alarm(n)
            since = entered[state] = n
        elif n >= learned:
            returns = n - entered > 1.2 * longest[1]
            returns[state] = False
            if n - since > 1.2 * longest[0, state] or (returns & (entered >= 0) & (longest[1] > 0)).any():
                alarm(n)
    return begins


OURS: dict[str, Detector] = {
    "som": _model(lambda dim: sl.SOM(dim=dim, grid=(6, 6), scale="standard", seed=1, alarm=ALARMS)),
    "som 10 × 10": _model(lambda dim: sl.SOM(dim=dim, grid=(10, 10), scale="standard", seed=1, alarm=ALARMS)),
    "hard": _model(lambda dim: sl.Competitive(dim=dim, units=16, scale="standard", seed=1, alarm=ALARMS)),
    "gas": _model(
        lambda dim: sl.Competitive(dim=dim, units=16, mode="gas", scale="standard", seed=1, alarm=ALARMS)
    ),
    "gng": _model(
        lambda dim: sl.GrowingNeuralGas(dim=dim, max_units=30, scale="standard", seed=1, alarm=ALARMS)
    ),
}
PEERS: dict[str, Detector] = {"Markov chain on k-means": _k_means}


def rows(settings: Settings) -> Iterator[Row]:
    """Yield false alarms by stream, and found faults by machine."""
    n, seeds = settings.choose(100_000, 2500), settings.choose(3, 1)
    for case, (make, states) in HEALTHY.items():
        streams = [make(np.random.default_rng(100 * settings.seed + seed), n) for seed in range(seeds)]
        figures = {
            name: round(1e5 / n * float(np.mean([len(detect(x, states)) for x in streams])), 1)
            for name, detect in {**OURS, **PEERS}.items()
        }
        yield Row(case, figures, "False alarms in 100,000 healthy samples")
    for fault in FAULTS:
        for irregular in (False, True):
            case = "machine, irregular" if irregular else "machine, regular"
            yield Row(case, _found(settings, fault, irregular), f"Faults found: {fault}")


def _found(settings: Settings, fault: str, irregular: bool) -> dict[str, str]:
    """Return the share of faults found, their median delay, and alarms elsewhere per stream."""
    n, trials = settings.choose(40_000, 3000), settings.choose(4, 1)
    streams = [
        machine(np.random.default_rng(100 * settings.seed + trial), n, fault, irregular)
        for trial in range(trials)
    ]
    figures: dict[str, str] = {}
    for name, detect in {**OURS, **PEERS}.items():
        delays, count, others = [], 0, 0
        for x, faults in streams:
            at = np.array(detect(x, 6), np.int64)
            for begin in faults:
                soon = at[(at >= begin) & (at < begin + _SOON)] - begin
                delays += soon[:1].tolist()
                at = at[(at < begin) | (at >= begin + _SOON)]
            count += len(faults)
            others += len(at)
        delay = f", after {np.median(delays):.0f}" if delays else ""
        figures[name] = f"{100 * len(delays) / max(count, 1):.0f} %{delay}, {others / trials:.1f} false"
    return figures


def claims(rows: Sequence[Row]) -> Sequence[Claim]:
    """Return what the table should show."""
    healthy = [row for row in rows if row.part.startswith("False")]
    means = [np.mean([float(row.figures[name] or 0) for row in healthy]) for name in OURS if healthy]
    most = max(means, default=0.0)
    return [
        Claim("at most 1 false alarm in 100,000 healthy samples", f"at most {most:.1f} (mean)", most <= 1)
    ]
