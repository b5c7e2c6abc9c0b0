"""Share of values inside the bands of the default forecaster, after a change and without one.

The first 2,000 samples of each stream are usual. Then comes the change: a flat stretch, or another noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

import streamlearn as sl

from .tables import Claim, Row, Settings

TITLE = "Bands: share of values inside, %, for a coverage of 90 %"
HORIZON, USUAL, SEEDS = 6, 2_000, 4
LATER = "from 3,000 on"
# Samples after the change
PARTS = {"0 … 100": (0, 100), "0 … 500": (0, 500), "500 … 1,500": (500, 1_500), LATER: (3_000, 6_000)}
Values = np.ndarray


def after_a_flat_stretch(kind: str, flat: int, generator: np.random.Generator) -> tuple[Values, int]:
    """Return values that repeat the last one ``flat`` times, and the first sample after that."""
    n = USUAL + 6_000
    t, noise = np.arange(n), generator.normal(size=n)
    x = {
        "white noise": noise,
        "season": 2 * np.sin(2 * np.pi * t / 24) + 0.5 * noise,
        "random walk": np.cumsum(noise),
    }[kind]
    return np.concatenate([x[:USUAL], np.full(flat, x[USUAL - 1]), x[USUAL:]]), USUAL + flat


def other_noise(factor: float, generator: np.random.Generator) -> tuple[Values, int]:
    """Return white noise whose size changes by ``factor``, and the first sample with the new size."""
    n = USUAL + 6_000
    return generator.normal(size=n) * np.where(np.arange(n) < USUAL, 1.0, factor), USUAL


def streams(settings: Settings, seed: int) -> Iterator[tuple[str, Values, int]]:
    for kind in ("white noise", "season", "random walk"):
        for flat in (300,) if settings.quick else (0, 300, 3_000):
            case = f"{kind}, flat for {flat:,}" if flat else f"{kind}, no change"
            yield case, *after_a_flat_stretch(kind, flat, np.random.default_rng([settings.seed, seed, flat]))
    for factor in (2.0, 0.5):
        generator = np.random.default_rng([settings.seed, seed])
        yield f"white noise, then {factor:g} times as much", *other_noise(factor, generator)


def rows(settings: Settings) -> Iterator[Row]:
    found: dict[str, list[list[float]]] = {}
    for seed in range(settings.choose(SEEDS, 1)):
        for case, x, change in streams(settings, seed):
            found.setdefault(case, []).append(coverage(x, change))
    for case, shares in found.items():
        yield Row(case, dict(zip(PARTS, np.mean(shares, axis=0).tolist(), strict=True)))


def coverage(x: Values, change: int) -> list[float]:
    """Return the share of values inside in each part, %: the mean of the first and the last step."""
    values = x.astype(np.float32)
    out = sl.RNN(dim=1, horizon=HORIZON, seed=1, period=24).learn(values[:, None])
    shares = []
    for begin, end in PARTS.values():
        inside = []
        for h in (0, HORIZON - 1):
            rows = slice(change + begin, min(change + end, len(x) - h))
            target = values[rows.start + h : rows.stop + h]
            lower, upper = out.lower[rows, h, 0], out.upper[rows, h, 0]
            inside.append(float(((lower <= target) & (target <= upper)).mean()))
        shares.append(100 * float(np.mean(inside)))
    return shares


def claims(rows: Sequence[Row]) -> list[Claim]:
    shares = np.array([row.figures[LATER] for row in rows], float)
    return [
        Claim(f"{LATER}: within ±1 % of the coverage", f"{shares.min():.1f} … {shares.max():.1f} %",
              bool((abs(shares - 90) <= 1).all())),
    ]  # fmt: skip
