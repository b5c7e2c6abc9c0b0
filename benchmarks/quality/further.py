"""Forecasts of further series, on which one constant of the mix was chosen. Otherwise as `forecasts`."""

from __future__ import annotations

from collections.abc import Iterator

from . import forecasts
from .forecasts import LEAST_SQUARES, NAIVE, OURS, PEERS
from .series import further
from .tables import Row, Settings

TITLE = "Forecasts of further series: mean absolute error ÷ that of the better naive forecast"
claims = forecasts.claims


def rows(settings: Settings) -> Iterator[Row]:
    peers = {name: PEERS[name] for name in (NAIVE, OURS, LEAST_SQUARES)}
    yield from forecasts.ratios((each.name, forecasts.errors(each, peers)) for each in further(settings))
