"""The channel of an injected fault: how often its contribution is the largest, and whether the score sees it.

The streams are those of a machine with 8 channels, in pairs of the same quantity. All channels follow a
common cycle and a common load, in one of three regimes; or each follows a cycle and a load of its own. A
model learns the first part. Then one channel gets a fault for 300 samples, and ``explain`` ranks the channels
by the sum of their contributions over the fault. The AUC is the share of pairs of a faulty and an earlier
healthy sample of which the faulty one has the larger distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import streamlearn as sl

from .tables import Claim, Row, Settings

TITLE = "Channel of an injected fault"
FAULTS = ("offset", "drift", "noise", "stuck", "swapped pair")
CHANNELS, REGIMES = 8, 3
LEARNED, FAULTY = 20_000, 300  # samples
SIZE = 3.0  # of a fault, in standard deviations of the channel
GOAL = 95.0  # % of the faults
HEALTHY = 3_000  # samples before the fault
AUC, ALL = "AUC of the distance", "all"

Samples = NDArray[np.float64]  # (n, CHANNELS)

TOGETHER, APART = "Channels with a common cycle and load", "Channels with cycles and loads of their own"
DEFAULT = "least squares (the default of rnn)"

_SCALED = {"dim": CHANNELS, "scale": "standard"}
MODELS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "som, 10 × 10": (sl.SOM, {**_SCALED, "grid": (10, 10)}),
    "hard competition, 32 units": (sl.Competitive, {**_SCALED, "units": 32, "init": "samples"}),
    "neural gas, 64 units": (sl.Competitive, {**_SCALED, "units": 64, "mode": "gas"}),
    "growing neural gas": (sl.GrowingNeuralGas, _SCALED),
    "lstm": (sl.RNN, {**_SCALED, "readout": "adam", "cell": "lstm", "alarm": {}}),
    "gru": (sl.RNN, {**_SCALED, "readout": "adam", "cell": "gru", "alarm": {}}),
    DEFAULT: (sl.RNN, {"dim": CHANNELS}),
}
WITH_LAGS = "som, 10 × 10, lags 1 and 2"
SCORED = MODELS | {WITH_LAGS: (sl.SOM, {**_SCALED, "grid": (10, 10), "features": {"lags": [1, 2]}})}


class Case(NamedTuple):
    """A fault, and the channels of which one should come first."""

    fault: str
    samples: Samples
    channels: frozenset[int]


def machine(random: np.random.Generator, n: int) -> Samples:
    """Return ``n`` samples of a machine: regimes of 50 to 200 samples, a cycle, a load, and noise.

    Every channel has the standard deviation 1 and noise of 0.05 to 0.15. The two channels of a pair have
    different means.
    """
    levels = random.normal(0, 1, (REGIMES, CHANNELS))
    regime = np.repeat(random.integers(REGIMES, size=n // 50 + 1), random.integers(50, 200, n // 50 + 1))[:n]
    cycle = 1.4 * np.sin(2 * np.pi * np.arange(n) / random.integers(30, 100))
    load, steps = np.zeros(n), random.normal(0, np.sqrt(1 - 0.98**2), n)
    for t in range(1, n):
        load[t] = 0.98 * load[t - 1] + steps[t]
    gains = random.uniform(0.5, 1.5, (2, CHANNELS)) * random.choice([-1, 1], (2, CHANNELS))
    x = levels[regime] + np.outer(cycle, gains[0]) + np.outer(load, gains[1])
    x /= x.std(axis=0)
    return (
        x
        + random.normal(0, 1, x.shape) * random.uniform(0.05, 0.15, CHANNELS)
        + random.normal(0, 1.5, CHANNELS)
    )


def separate(random: np.random.Generator, n: int) -> Samples:
    """Return ``n`` samples of channels that do not depend on each other: a cycle, and a load.

    Every channel has the standard deviation 1.
    """
    cycles = np.outer(np.arange(n), 1 / random.integers(30, 200, CHANNELS)) + random.random(CHANNELS)
    loads, steps = np.zeros((n, CHANNELS)), random.normal(size=(n, CHANNELS))
    memory = random.uniform(0.5, 0.97, CHANNELS)
    for t in range(1, n):
        loads[t] = memory * loads[t - 1] + np.sqrt(1 - memory**2) * steps[t]
    x = random.uniform(0.7, 1.4, CHANNELS) * np.sin(2 * np.pi * cycles) + 0.5 * loads
    return x / x.std(axis=0) + random.normal(0, 1.5, CHANNELS)


def inject(fault: str, samples: Samples, channel: int, random: np.random.Generator) -> Case:
    """Return the samples with a fault in ``channel``."""
    x, size = samples.copy(), SIZE * random.choice([-1, 1])
    n, partner = len(x), channel ^ 1
    if fault == "offset":
        x[:, channel] += size
    elif fault == "drift":
        x[:, channel] += size * np.arange(n) / n
    elif fault == "noise":
        x[:, channel] += random.normal(0, SIZE / 2, n)
    elif fault == "stuck":
        x[:, channel] = x[0, channel]
    else:
        x[:, [channel, partner]] = x[:, [partner, channel]]
    return Case(fault, x, frozenset((channel, partner)) if fault == "swapped pair" else frozenset((channel,)))


def cases(samples: Samples, random: np.random.Generator) -> Iterator[Case]:
    """Yield every fault in every channel."""
    for channel in range(CHANNELS):
        for fault in FAULTS:
            yield inject(fault, samples, channel, random)


def ranks_first(model: Any, case: Case) -> bool:
    """Whether a channel of the fault has the largest sum of contributions."""
    shares = np.nansum(model.explain(case.samples).contribution, axis=0)
    return int(shares.argmax()) in case.channels


def auc(healthy: NDArray[np.float32], faulty: NDArray[np.float32]) -> float:
    """Return the share of pairs in which the faulty sample has the larger distance."""
    below = np.searchsorted(np.sort(healthy[np.isfinite(healthy)]), faulty[np.isfinite(faulty)])
    return float(below.mean() / np.isfinite(healthy).sum())


def rows(settings: Settings) -> Iterator[Row]:
    machines, learned = settings.choose(10, 1), settings.choose(LEARNED, 1_000)
    scored = []
    for part, make in {TOGETHER: machine, APART: separate}.items():
        for name, (kind, spec) in SCORED.items():
            found: dict[str, list[bool]] = {fault: [] for fault in FAULTS}
            seen: dict[str, list[float]] = {fault: [] for fault in FAULTS}
            for seed in range(settings.seed, settings.seed + machines):
                random = np.random.default_rng(seed)
                samples = make(random, learned + FAULTY)
                model = kind(seed=seed, **spec)
                healthy = model.learn(samples[:learned]).distance[-HEALTHY:]
                for case in cases(samples[learned:], random):
                    found[case.fault].append(ranks_first(model, case))
                    seen[case.fault].append(auc(healthy, model.predict(case.samples).distance))
            if name in MODELS:
                figures = {f"{fault}, %": 100 * float(np.mean(hits)) for fault, hits in found.items()}
                yield Row(name, {**figures, "all, %": float(np.mean(list(figures.values())))}, part)
            areas = {fault: float(np.mean(values)) for fault, values in seen.items()}
            scored.append(Row(name, {**areas, ALL: float(np.mean(list(areas.values())))}, f"{AUC}: {part}"))
    yield from sorted(scored, key=lambda row: row.part)


def claims(rows: Sequence[Row]) -> list[Claim]:
    shares = {row.case: float(row.figures["all, %"] or 0) for row in rows if row.part == TOGETHER}
    worst = min(shares, key=lambda case: shares[case])
    alone = next(row for row in rows if row.part == APART and row.case == DEFAULT).figures["all, %"]
    areas = {
        row.case: float(row.figures[ALL] or 0)
        for row in rows
        if row.part == f"{AUC}: {TOGETHER}" and row.case in (DEFAULT, WITH_LAGS)
    }
    return [
        Claim(
            f"the channel of the fault comes first in at least {GOAL:.0f} % of the faults, with every model,"
            " if they have a common cycle and load",
            f"at least {shares[worst]:.1f} % ({worst})",
            shares[worst] >= GOAL,
        ),
        Claim(
            f"by default an rnn reaches {GOAL:.0f} % also with channels that do not depend on each other",
            f"{alone} %",
            float(alone or 0) >= GOAL,
        ),
        Claim(
            "the faults have at least the AUC of a SOM with lags, with the default of rnn",
            f"{areas[DEFAULT]:.3f} and {areas[WITH_LAGS]:.3f}",
            areas[DEFAULT] >= areas[WITH_LAGS],
        ),
    ]
