"""The channel of an injected fault: how often its contribution is the largest.

The streams are those of a machine with 8 channels, in pairs of the same quantity. All channels follow a
common cycle and a common load, in one of three regimes. A model learns the first part. Then one channel gets
a fault for 300 samples, and ``explain`` ranks the channels by the sum of their contributions over the fault.
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

Samples = NDArray[np.float64]  # (n, CHANNELS)

_SCALED = {"dim": CHANNELS, "scale": "standard"}
MODELS: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "som, 10 × 10": (sl.SOM, {**_SCALED, "grid": (10, 10)}),
    "hard competition, 32 units": (sl.Competitive, {**_SCALED, "units": 32, "init": "samples"}),
    "neural gas, 64 units": (sl.Competitive, {**_SCALED, "units": 64, "mode": "gas"}),
    "growing neural gas": (sl.GrowingNeuralGas, _SCALED),
    "lstm": (sl.RNN, {**_SCALED, "readout": "adam", "cell": "lstm"}),
    "gru": (sl.RNN, {**_SCALED, "readout": "adam", "cell": "gru"}),
}
ALONE: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "least squares": (sl.RNN, {"dim": CHANNELS, "readout": "rls"}),
}
"""Models that compare each channel with its own past only: a slow drift is part of that past."""
PARTS = {"Channels together": MODELS, "Each channel alone": ALONE}


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


def rows(settings: Settings) -> Iterator[Row]:
    machines, learned = settings.choose(10, 1), settings.choose(LEARNED, 1_000)
    for part, models in PARTS.items():
        for name, (kind, spec) in models.items():
            found: dict[str, list[bool]] = {fault: [] for fault in FAULTS}
            for seed in range(settings.seed, settings.seed + machines):
                random = np.random.default_rng(seed)
                samples = machine(random, learned + FAULTY)
                model = kind(seed=seed, **spec)
                model.learn(samples[:learned])
                for case in cases(samples[learned:], random):
                    found[case.fault].append(ranks_first(model, case))
            figures = {f"{fault}, %": 100 * float(np.mean(hits)) for fault, hits in found.items()}
            yield Row(name, {**figures, "all, %": float(np.mean(list(figures.values())))}, part)


def claims(rows: Sequence[Row]) -> list[Claim]:
    shares = {row.case: float(row.figures["all, %"] or 0) for row in rows if row.case in MODELS}
    worst = min(shares, key=lambda case: shares[case])
    return [
        Claim(
            f"the channel of the fault comes first in at least {GOAL:.0f} % of the faults, with every model"
            " of the channels together",
            f"at least {shares[worst]:.1f} % ({worst})",
            shares[worst] >= GOAL,
        )
    ]
