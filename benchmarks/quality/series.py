"""Series to forecast: those that installed wheels carry, and generated ones. Nothing is downloaded."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from typing import NamedTuple

import numpy as np

from .tables import Settings

Values = np.ndarray  # (n,) float64
Files = Sequence[tuple[str, str, str, str, int | None]]  # name, package, file, column, period
Makers = Mapping[str, tuple[Callable[[Values, np.random.Generator], Values], int | None]]


class Series(NamedTuple):
    """A series at equal intervals. ``period`` is the samples of its season; None if it has none."""

    name: str
    source: str  # the wheel, or "generated"
    values: Values
    period: int | None


def shipped() -> Iterator[Series]:
    """Yield the series of the installed wheels."""
    yield from _columns_of(SHIPPED)
    months = [_read_rows("statsmodels.datasets.elnino", "elnino.csv")]
    values = np.array([float(row[month]) for row in months[0] for month in list(row)[1:]])
    yield Series("sea surface temperature, monthly", "statsmodels", values, 12)


SHIPPED = (
    ("temperature of Seattle, hourly", "vega_datasets", "_data/seattle-temps.csv", "temp", 24),
    ("temperature of San Francisco, hourly", "vega_datasets", "_data/sf-temps.csv", "temp", 24),
    ("highest temperature of Seattle, daily", "vega_datasets", "_data/seattle-weather.csv", "temp_max", 365),
    ("water flow, hourly", "river.datasets", "water-flow.csv", "Water flow [l/s]", 24),
    ("approval of a president, daily", "river.datasets", "trump_approval.csv.gz", "five_thirty_eight", None),
    ("airline passengers, monthly", "river.datasets", "airline-passengers.csv", "passengers", 12),
    ("CO₂ in air, weekly", "statsmodels.datasets.co2", "co2.csv", "co2", 52),
    ("sunspots, yearly", "statsmodels.datasets.sunspots", "sunspots.csv", "SUNACTIVITY", 11),
    ("turnover of electrical equipment, monthly", "statsmodels.datasets.elec_equip", "elec_equip.csv",
     "STS.M.I7.W.TOVT.NS0016.4.000", 12),
    ("real GDP, quarterly", "statsmodels.datasets.macrodata", "macrodata.csv", "realgdp", None),
    ("unemployment, quarterly", "statsmodels.datasets.macrodata", "macrodata.csv", "unemp", None),
)  # fmt: skip


# Further ones, on which only one constant of the mix was chosen
FURTHER = (
    ("lowest temperature of Seattle, daily", "vega_datasets", "_data/seattle-weather.csv", "temp_min", 365),
    ("wind in Seattle, daily", "vega_datasets", "_data/seattle-weather.csv", "wind", 365),
    ("rain in Seattle, daily", "vega_datasets", "_data/seattle-weather.csv", "precipitation", 365),
    ("employment, monthly", "vega_datasets", "_data/us-employment.csv", "nonfarm", 12),
    ("employment in retail, monthly", "vega_datasets", "_data/us-employment.csv", "retail_trade", 12),
    ("change of the share price of IBM, daily", "river.datasets", "sp500.csv.gz", "IBM", None),
    ("flow of the Nile, yearly", "statsmodels.datasets.nile", "nile.csv", "volume", None),
    ("consumer prices, quarterly", "statsmodels.datasets.macrodata", "macrodata.csv", "cpi", None),
    ("interest, quarterly", "statsmodels.datasets.macrodata", "macrodata.csv", "tbilrate", None),
)


def read(package: str, file: str, column: str) -> Values:
    """Read a column of a CSV file of a package. A missing value is the one before it."""
    values = np.array([float(row[column] or "nan") for row in _read_rows(package, file)])
    for t in np.flatnonzero(np.isnan(values)):
        values[t] = values[t - 1]
    return values


def _read_rows(package: str, file: str) -> list[dict[str, str]]:
    data = resources.files(package).joinpath(file).read_bytes()
    text = gzip.decompress(data) if file.endswith(".gz") else data
    return list(csv.DictReader(text.decode().splitlines()))


def generated(n: int, seed: int) -> Iterator[Series]:
    """Yield the generated series, each of length n."""
    yield from _made(GENERATED, n, seed)


def _columns_of(files: Files) -> Iterator[Series]:
    for name, package, file, column, period in files:
        yield Series(name, package.partition(".")[0], read(package, file, column), period)


def _made(makers: Makers, n: int, seed: int) -> Iterator[Series]:
    for name, (make, period) in makers.items():
        generator = np.random.default_rng([seed, *name.encode()])
        yield Series(name, "generated", make(np.arange(n), generator), period)


def trend(t: Values, generator: np.random.Generator) -> Values:
    return 0.01 * t + 3 * np.sin(2 * np.pi * t / 24) + generator.normal(0, 1, len(t))


def two_seasons(t: Values, generator: np.random.Generator) -> Values:
    """A day and a week of hours."""
    day, week = 2 * np.pi * t / 24, 2 * np.pi * t / 168
    return 3 * np.sin(day) + np.sin(2 * day + 1) + 2 * np.sin(week) + generator.normal(0, 0.7, len(t))


def level_shifts(t: Values, generator: np.random.Generator) -> Values:
    jumps = generator.normal(0, 8, len(t)) * (generator.random(len(t)) < 1 / 500)
    return np.cumsum(jumps) + generator.normal(0, 1, len(t))


def random_walk(t: Values, generator: np.random.Generator) -> Values:
    return np.cumsum(generator.normal(0, 1, len(t)))


def intermittent(t: Values, generator: np.random.Generator) -> Values:
    """Demand that is zero on nine of ten days."""
    return generator.poisson(4, len(t)) * (generator.random(len(t)) < 0.1).astype(float)


GENERATED: Makers = {
    "trend and season": (trend, 24),
    "two seasons": (two_seasons, 24),
    "level shifts": (level_shifts, None),
    "random walk": (random_walk, None),
    "intermittent demand": (intermittent, None),
}


def arma(t: Values, generator: np.random.Generator) -> Values:
    """ARMA(2, 1)."""
    noise, x = generator.normal(size=len(t)), np.zeros(len(t))
    for i in range(2, len(t)):
        x[i] = 1.4 * x[i - 1] - 0.6 * x[i - 2] + noise[i] + 0.5 * noise[i - 1]
    return x


def mackey_glass(t: Values, generator: np.random.Generator) -> Values:
    """A chaotic equation with a delay of 17 samples (Mackey & Glass, Science 197, 1977)."""
    x = list(1.2 + 0.1 * generator.normal(size=18))
    for _ in range(len(t)):
        x.append(x[-1] + 0.2 * x[-18] / (1 + x[-18] ** 10) - 0.1 * x[-1])
    return np.array(x[-len(t) :])


def lorenz(t: Values, generator: np.random.Generator) -> Values:
    """The first coordinate of the Lorenz attractor, every 0.05."""
    x, y, z = 1 + 0.1 * generator.normal(size=3)
    found = np.empty(len(t))
    for i in range(len(t)):
        for _ in range(5):
            x, y, z = (
                x + 0.1 * (y - x),
                y + 0.01 * (x * (28 - z) - y),
                z + 0.01 * (x * y - 8 / 3 * z),
            )
        found[i] = x
    return found


def multiplicative(t: Values, generator: np.random.Generator) -> Values:
    """Growth with a season whose size grows too."""
    return 10 * np.exp(0.0003 * t + 0.4 * np.sin(2 * np.pi * t / 24) + 0.05 * generator.normal(size=len(t)))


def steps(t: Values, generator: np.random.Generator) -> Values:
    """One of six levels for 40 samples each."""
    return np.repeat(generator.integers(0, 6, len(t)), 40)[: len(t)] + 0.05 * generator.normal(size=len(t))


def dropouts(t: Values, generator: np.random.Generator) -> Values:
    """A sensor that reads 0 for up to 11 samples now and then."""
    noise = np.cumsum(generator.normal(0, 0.1, len(t))) + generator.normal(0, 0.3, len(t))
    x = 20 + 3 * np.sin(2 * np.pi * t / 24) + noise
    for i in np.flatnonzero(generator.random(len(t)) < 1 / 200):
        x[i : i + generator.integers(1, 12)] = 0
    return x


def pump(t: Values, generator: np.random.Generator) -> Values:
    """A vessel that is filled and emptied in turns of 20 to 39 samples."""
    level, on, found = 0.0, False, np.empty(len(t))
    turns = set(np.cumsum(generator.integers(20, 40, len(t))).tolist())
    for i in range(len(t)):
        on = on != (i in turns)
        level += ((1.0 if on else 0.0) - level) / 8
        found[i] = level
    return found + 0.02 * generator.normal(size=len(t))


def counts(t: Values, generator: np.random.Generator) -> Values:
    """Poisson counts with a day and a week of hours."""
    rate = 1 + 0.8 * np.sin(2 * np.pi * t / 24) + 0.3 * np.sin(2 * np.pi * t / 168)
    return generator.poisson(np.exp(rate)).astype(float)


def seasonal_demand(t: Values, generator: np.random.Generator) -> Values:
    """Demand on three of ten days, with a season of a week."""
    return generator.poisson(3 + 2 * np.sin(2 * np.pi * t / 7)) * (generator.random(len(t)) < 0.3).astype(
        float
    )


def heavy_tails(t: Values, generator: np.random.Generator) -> Values:
    """Noise and a walk, both with Student's t of 2.5."""
    return 0.03 * np.cumsum(generator.standard_t(2.5, len(t))) + generator.standard_t(2.5, len(t))


def quantised(t: Values, generator: np.random.Generator) -> Values:
    """A slow signal with a day of 5 minutes, read in steps of 0.1."""
    return np.round(20 + 2 * np.sin(2 * np.pi * t / 288) + np.cumsum(generator.normal(0, 0.02, len(t))), 1)


FURTHER_GENERATED: Makers = {
    "ARMA(2, 1)": (arma, None),
    "Mackey–Glass": (mackey_glass, None),
    "Lorenz": (lorenz, None),
    "multiplicative season": (multiplicative, 24),
    "steps": (steps, None),
    "sensor with dropouts": (dropouts, 24),
    "pump": (pump, None),
    "counts with two seasons": (counts, 24),
    "intermittent demand with a season": (seasonal_demand, 7),
    "heavy tails": (heavy_tails, None),
    "readings in steps of 0.1": (quantised, 288),
}


def series(settings: Settings) -> Iterator[Series]:
    """Yield all series; in quick mode, the first samples of two of them."""
    if settings.quick:
        yield from (each._replace(values=each.values[:150]) for each in list(shipped())[3:4])
        yield from list(generated(150, settings.seed))[:1]
        return
    yield from shipped()
    yield from generated(6_000, settings.seed)


def further(settings: Settings) -> Iterator[Series]:
    """Yield further series; in quick mode, the first samples of two of them."""
    if settings.quick:
        yield from (each._replace(values=each.values[:150]) for each in list(_columns_of(FURTHER[6:7])))
        yield from list(_made(FURTHER_GENERATED, 150, settings.seed))[:1]
        return
    yield from _columns_of(FURTHER)
    yield from _made(FURTHER_GENERATED, 6_000, settings.seed)
