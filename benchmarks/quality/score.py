"""The score: its share of samples above 0.99 and 0.999, on streams that stay, change or have missing values.

A calibrated score is above 0.99 for 1 % of the samples and above 0.999 for 0.1 %, whatever the stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import streamlearn as sl

from .tables import Claim, Row, Settings

TITLE = "Score"
STATIONARY = "Stationary streams: samples with a score above 0.99 / above 0.999, %, after 20,000 samples"
CHANGED = (
    "After a change of noise: samples with a score above 0.99, %, and outliers of 4 times the noise found, %"
)
MISSING = "Missing values: samples with a score above 0.99, %, by number of channels present"
ABOVE = ("0.99", "0.999")
BEFORE, AFTER = "outliers before", "after"

Values = NDArray[np.float64]
KINDS = ("som", "hard", "gas", "gng", "lstm")


def model(kind: str, dim: int, **rule: Any) -> sl.Model:
    if kind == "som":
        return sl.SOM(dim=dim, grid=(8, 8), **rule)
    if kind == "gng":
        return sl.GrowingNeuralGas(dim=dim, max_units=64, **rule)
    if kind == "lstm":
        return sl.RNN(dim=dim, hidden=16, readout="adam", **rule)
    return sl.Competitive(dim=dim, units=16, mode=kind, **rule)


def stationary(n: int, seed: int) -> Iterator[tuple[str, Values]]:
    """Yield streams that do not change, ``(n, dim)``."""
    random, t = np.random.default_rng(seed), np.arange(n)
    yield "Gaussian, 4 channels", random.normal(size=(n, 4))
    centres = 4 * random.normal(size=(8, 3))
    yield "eight clusters", centres[random.integers(8, size=n)] + 0.5 * random.normal(size=(n, 3))
    yield "white noise, 1 channel", random.normal(size=(n, 1))
    yield "on/off, 1 % on", (random.random((n, 1)) < 0.01) + 0.01 * random.normal(size=(n, 1))
    day = 2 * np.pi * t / 1440
    yield (
        "daily sine, a sample per minute",
        np.c_[np.sin(day), np.cos(day)] + 0.1 * random.normal(size=(n, 2)),
    )
    yield "hourly sine", (np.sin(2 * np.pi * t / 60) + 0.2 * random.normal(size=n))[:, None]
    walk = random.normal(size=(n, 2))
    for i in range(1, n):
        walk[i] += 0.9 * walk[i - 1]
    yield "autoregressive", walk
    yield "heavy tails, Student's t of 3", random.standard_t(3, size=(n, 4))
    yield "log-normal", random.lognormal(size=(n, 2))
    yield "uniform, 8 channels", random.random((n, 8))
    yield "counts, Poisson of 3", random.poisson(3, size=(n, 2)).astype(float)
    mixing = random.normal(size=(4, 16))
    yield "correlated, 16 channels", random.normal(size=(n, 4)) @ mixing + 0.3 * random.normal(size=(n, 16))


def share(scores: NDArray[np.float32], above: float) -> float:
    """Return the percentage of scores above a limit; NaN scores do not count."""
    known = scores[~np.isnan(scores)]
    return round(100 * float((known > above).mean()), 3) if known.size else 0.0


def scores_of(kind: str, x: Values) -> NDArray[np.float32]:
    """Return the score of each sample before it is learned."""
    return np.asarray(model(kind, x.shape[1]).learn(x).score, np.float32)


def rows(settings: Settings) -> Iterator[Row]:
    n, settled = settings.choose(100_000, 400), settings.choose(20_000, 100)
    for name, x in stationary(n, settings.seed):
        figures: dict[str, float | int | str | None] = {}
        for kind in KINDS:
            scores = scores_of(kind, x)[settled:]
            figures |= {f"{kind} {limit}": share(scores, float(limit)) for limit in ABOVE}
        yield Row(name, figures, STATIONARY)
    yield from changed(settings)
    yield from missing(settings)


def changed(settings: Settings) -> Iterator[Row]:
    """Yield the shares from 2,000 samples after a change of the noise on, in parts of 4,000 samples."""
    n, change = settings.choose(60_000, 400), settings.choose(30_000, 200)
    later, size = settings.choose(2000, 20), settings.choose(4000, 60)
    for factor, name in ((0.5, "noise halved"), (2.0, "noise doubled")):
        for kind in KINDS:
            random = np.random.default_rng(settings.seed)
            noise = random.normal(size=(n, 4)) * np.where(np.arange(n) < change, 1.0, factor)[:, None]
            outlier = random.random(n) < 0.004
            wave = 4 * np.sin(2 * np.pi * np.arange(n)[:, None] / [20, 30, 40, 50]) * (kind == "lstm")
            scores = scores_of(kind, wave + noise * np.where(outlier, 4.0, 1.0)[:, None])
            begin = change + later
            yield Row(
                f"{name}, {kind}",
                {
                    f"{later:,} to {later + size:,}": share(scores[begin : begin + size], 0.99),
                    "to the end": share(scores[begin + size :], 0.99),
                    BEFORE: share(scores[change // 3 : change][outlier[change // 3 : change]], 0.99),
                    AFTER: share(scores[begin:][outlier[begin:]], 0.99),
                },
                CHANGED,
            )


def missing(settings: Settings) -> Iterator[Row]:
    """Yield the shares by number of channels present."""
    n, settled = settings.choose(100_000, 400), settings.choose(20_000, 100)
    for stream in ("Gaussian", "eight clusters"):
        for part in (0.2, 0.5):
            random = np.random.default_rng(settings.seed)
            centres = 3 * random.normal(size=(8, 4)) if stream == "eight clusters" else np.zeros((8, 4))
            width = 0.5 if stream == "eight clusters" else 1.0
            x = centres[random.integers(8, size=n)] + width * random.normal(size=(n, 4))
            x[random.random((n, 4)) < part] = np.nan
            present = (~np.isnan(x)).sum(axis=1)[settled:]
            for kind in KINDS:
                scores = scores_of(kind, x)[settled:]
                yield Row(
                    f"{stream}, {part:.0%} missing, {kind}",
                    {f"{k} present": share(scores[present == k], 0.99) for k in range(1, 5)},
                    MISSING,
                )


def claims(rows: Sequence[Row]) -> Sequence[Claim]:
    def figures(part: str, ending: str = "", but: tuple[str, ...] = ()) -> list[float]:
        return [
            float(value or 0)
            for row in rows
            if row.part == part
            for name, value in row.figures.items()
            if name.endswith(ending) and name not in but
        ]

    def within(values: list[float], low: float, high: float) -> tuple[str, bool]:
        count = sum(low <= value <= high for value in values)
        return f"{count} of {len(values)}, {min(values):.2f} … {max(values):.2f} %", count == len(values)

    usual = figures(CHANGED, but=(BEFORE, AFTER))
    before, after = figures(CHANGED, BEFORE), figures(CHANGED, AFTER)
    lost = max(b - a for b, a in zip(before, after, strict=True))
    return [
        Claim("stationary: above 0.99 for 1 ± 0.2 %", *within(figures(STATIONARY, " 0.99"), 0.8, 1.2)),
        Claim("stationary: above 0.999 for 0.1 ± 0.05 %", *within(figures(STATIONARY, " 0.999"), 0.05, 0.15)),
        Claim("2,000 samples after a change of noise: above 0.99 for 0.5 to 2 %", *within(usual, 0.5, 2)),
        Claim("outliers are found as often as before, less 10 %", f"at most {lost:.1f} % fewer", lost <= 10),
        Claim(
            "for every number of channels present: above 0.99 for 0.5 to 2 %",
            *within(figures(MISSING), 0.5, 2),
        ),
    ]
