"""Alarms: how many are false on healthy streams, and which faults are found, how soon and how often.

All streams are generated, so every fault is known. An alarm of a peer begins at a sample above its threshold,
if there was none within the 200 samples before. Peers: the map's own score above 0.999; the largest deviation
from the mean of the last 500 samples, in standard deviations of them, above 3 or 6; river's HalfSpaceTrees
with min–max scaling and its QuantileFilter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import streamlearn as sl

from .tables import Claim, Row, Settings

TITLE = "Alarms"

Stream = NDArray[np.float64]
Detector = Callable[[Stream], list[int]]  # samples at which an alarm begins

DAY = 1440
QUIET = 200
SETTLED = 500  # samples before the first alarm
_FAULT_AT = 8000
_FAULT_SAMPLES = 150
_SOON = 200  # an alarm later than this after the begin of the fault is false


def noise(random: np.random.Generator, n: int) -> Stream:
    """White noise in four channels."""
    return random.normal(size=(n, 4))


def clusters(random: np.random.Generator, n: int) -> Stream:
    """Eight clusters in six channels."""
    centres = 4 * np.random.default_rng(7).normal(size=(8, 6))
    return centres[random.integers(0, 8, n)] + 0.5 * random.normal(size=(n, 6))


def daily(random: np.random.Generator, n: int) -> Stream:
    """A daily rhythm in four channels, one sample a minute, with noise."""
    phase = 2 * np.pi * np.arange(n)[:, None] / DAY + np.arange(4)
    return 3 * np.sin(phase) + 0.3 * random.normal(size=(n, 4))


def on_off(random: np.random.Generator, n: int) -> Stream:
    """Two channels that are on 1 % of the time, and two of noise."""
    return np.hstack([random.random((n, 2)) < 0.01, random.normal(size=(n, 2))]).astype(float)


def heavy_tails(random: np.random.Generator, n: int) -> Stream:
    """Student's t with three degrees of freedom in four channels."""
    return random.standard_t(3, size=(n, 4))


def slow(random: np.random.Generator, n: int) -> Stream:
    """Four channels, each of which keeps 95 % of its last value."""
    x = random.normal(size=(n, 4))
    for row in range(1, n):
        x[row] += 0.95 * x[row - 1]
    return x


def skewed(random: np.random.Generator, n: int) -> Stream:
    """Log-normal values in three channels."""
    return np.exp(random.normal(size=(n, 3)))


def missing(random: np.random.Generator, n: int) -> Stream:
    """White noise in four channels, 20 % of it missing."""
    return np.where(random.random((n, 4)) < 0.2, np.nan, random.normal(size=(n, 4)))


HEALTHY = {
    "white noise": noise,
    "eight clusters": clusters,
    "daily sine with noise": daily,
    "on/off, 1 % on": on_off,
    "heavy tails": heavy_tails,
    "autocorrelated": slow,
    "log-normal": skewed,
    "20 % missing": missing,
}


def _offset(x: Stream, at: slice, d: int, width: float) -> None:
    x[at, d] += 5 * width


def _spike(x: Stream, at: slice, d: int, width: float) -> None:
    x[at.start, d] += 10 * width


def _louder(x: Stream, at: slice, d: int, width: float) -> None:
    x[at, d] += 4 * width * np.random.default_rng(at.start).normal(size=at.stop - at.start)


def _ramp(x: Stream, at: slice, d: int, width: float) -> None:
    x[at, d] += np.linspace(0, 10 * width, at.stop - at.start)


def _stuck(x: Stream, at: slice, d: int, width: float) -> None:
    x[at, d] = x[at.start, d]


FAULTS = {"offset": _offset, "spike": _spike, "noise": _louder, "ramp": _ramp, "stuck": _stuck}
FAULTY = {"white noise": (noise, 1.0), "daily sine with noise": (daily, 0.3)}  # stream, width of its noise


def _model(make: Callable[[int], Any]) -> Detector:
    def detect(x: Stream) -> list[int]:
        out = make(x.shape[1]).learn(x)
        return [event.sample for event in out.events if event.state == "begin"]

    return detect


def _grouped(high: NDArray[np.bool_]) -> list[int]:
    begins, last = [], -QUIET - 1
    for n in np.flatnonzero(high).tolist():
        if n >= SETTLED:
            if n - last > QUIET:
                begins.append(n)
            last = n
    return begins


def _rolling(sigmas: float, window: int = 500) -> Detector:
    def detect(x: Stream) -> list[int]:
        x = np.where(np.isnan(x), 0.0, x)  # the mean of every stream with missing values
        sums = np.cumsum(np.vstack([np.zeros((1, x.shape[1])), x]), axis=0)
        squares = np.cumsum(np.vstack([np.zeros((1, x.shape[1])), x * x]), axis=0)
        mean = (sums[window:-1] - sums[: -window - 1]) / window
        variance = (squares[window:-1] - squares[: -window - 1]) / window - mean * mean
        z = np.abs(x[window:] - mean) / np.sqrt(np.maximum(variance, 1e-12))
        return _grouped(np.concatenate([np.zeros(window, bool), z.max(axis=1) > sigmas]))

    return detect


def _score(x: Stream) -> list[int]:
    som = sl.SOM(dim=x.shape[1], grid=(6, 6), scale="standard", seed=1)
    return _grouped(som.learn(x).score > 0.999)


def _half_space_trees(x: Stream) -> list[int]:
    from river import anomaly, compose, preprocessing

    trees = anomaly.HalfSpaceTrees(seed=1)
    detector = compose.Pipeline(preprocessing.MinMaxScaler(), anomaly.QuantileFilter(trees, q=0.999))
    high = np.zeros(len(x), np.bool_)
    for n, row in enumerate(x.tolist()):
        sample = {d: value for d, value in enumerate(row) if value == value}
        score = detector.score_one(sample)
        high[n] = detector["QuantileFilter"].classify(score)
        detector.learn_one(sample)
    return _grouped(high)


OURS: dict[str, Detector] = {
    "som": _model(lambda dim: sl.SOM(dim=dim, grid=(6, 6), scale="standard", alarm=True, seed=1)),
    "competitive": _model(
        lambda dim: sl.Competitive(dim=dim, units=16, scale="standard", alarm=True, seed=1)
    ),
    "rnn": _model(lambda dim: sl.RNN(dim=dim, alarm=True, seed=1)),
    "lstm": _model(
        lambda dim: sl.RNN(dim=dim, hidden=16, readout="adam", scale="standard", alarm=True, seed=1)
    ),
}
PEERS: dict[str, Detector] = {
    "score > 0.999": _score,
    "rolling 3 σ": _rolling(3),
    "rolling 6 σ": _rolling(6),
    "river HalfSpaceTrees": _half_space_trees,
}


def rows(settings: Settings) -> Iterator[Row]:
    """Yield false alarms by stream, and found faults by kind."""
    n = settings.choose(100_000, 2000)
    part = "False alarms in 100,000 healthy samples"
    for case, make in HEALTHY.items():
        x = make(np.random.default_rng(settings.seed), n)
        figures: dict[str, float] = {}
        for name, detect in {**OURS, **PEERS}.items():
            few = x[: settings.choose(20_000, 600)] if name.startswith("river") else x
            figures[name] = round(1e5 * len(detect(few)) / len(few), 1)
        yield Row(case, figures, part)
    for fault, damage in FAULTS.items():
        for case, (make, width) in FAULTY.items():
            yield Row(case, _found(settings, make, damage, width), f"Faults found: {fault}")


def _found(settings: Settings, make: Any, damage: Any, width: float) -> dict[str, str]:
    """Return the share of faults found, their median delay, and alarms per fault, by detector."""
    figures: dict[str, str] = {}
    begin = settings.choose(_FAULT_AT, 700)
    for name, detect in {**OURS, **PEERS}.items():
        trials = settings.choose(3 if name.startswith("river") else 10, 1)
        delays, counts = [], []
        for trial in range(trials):
            x = make(np.random.default_rng(1000 * settings.seed + trial), begin + 600)
            damage(x, slice(begin, begin + _FAULT_SAMPLES), trial % x.shape[1], width)
            after = [at - begin for at in detect(x) if at >= begin]
            delays += [min(after)] if after and min(after) < _SOON else []
            counts.append(len(after))
        delay = f", after {np.median(delays):.0f}" if delays else ""
        figures[name] = f"{100 * len(delays) / trials:.0f} %{delay}, {np.mean(counts):.1f} alarms"
    return figures


def claims(rows: Sequence[Row]) -> Sequence[Claim]:
    """Return what the table should show."""
    healthy = [row for row in rows if row.part.startswith("False")]
    means = [np.mean([float(row.figures[name] or 0) for row in healthy]) for name in OURS if healthy]
    most = max(means, default=0.0)
    return [
        Claim("at most 2 false alarms in 100,000 healthy samples", f"at most {most:.1f} (mean)", most <= 2)
    ]
