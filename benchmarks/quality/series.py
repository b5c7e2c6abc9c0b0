"""Series to forecast: those that installed wheels carry, and generated ones. Nothing is downloaded."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from importlib import resources
from typing import NamedTuple

import numpy as np

from .tables import Settings

Values = np.ndarray  # (n,) float64


class Series(NamedTuple):
    """A series at equal intervals. ``period`` is the samples of its season; None if it has none."""

    name: str
    source: str  # the wheel, or "generated"
    values: Values
    period: int | None


def shipped() -> Iterator[Series]:
    """Yield the series of the installed wheels."""
    for name, package, file, column, period in SHIPPED:
        yield Series(name, package.partition(".")[0], read(package, file, column), period)
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
    for name, (make, period) in GENERATED.items():
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


GENERATED: dict[str, tuple[Callable[[Values, np.random.Generator], Values], int | None]] = {
    "trend and season": (trend, 24),
    "two seasons": (two_seasons, 24),
    "level shifts": (level_shifts, None),
    "random walk": (random_walk, None),
    "intermittent demand": (intermittent, None),
}


def series(settings: Settings) -> Iterator[Series]:
    """Yield all series; in quick mode, the first samples of two of them."""
    if settings.quick:
        yield from (each._replace(values=each.values[:150]) for each in list(shipped())[3:4])
        yield from list(generated(150, settings.seed))[:1]
        return
    yield from shipped()
    yield from generated(6_000, settings.seed)
