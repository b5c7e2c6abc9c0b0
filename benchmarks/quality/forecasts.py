"""Forecasts of single series with one setting for all, beside naive ones, least squares, river and PyTorch.

Every forecaster sees the series sample by sample. After each sample it forecasts the next 24, then it learns.
The errors count from the first sample on at which every forecaster has forecasts, and 48 samples are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from . import forecasters
from .forecasters import HORIZON, Forecaster
from .series import Series, Values, series
from .tables import Claim, Row, Settings

TITLE = "Forecasts: mean absolute error ÷ that of the better naive forecast"
NEXT, AHEAD = "1 sample ahead", f"mean of 1 … {HORIZON} samples ahead"
NAIVE, OURS, LEAST_SQUARES = "MAE of the better naive forecast", "streamlearn", "RLS, 48 lags"
PEERS: dict[str, tuple[Forecaster, ...]] = {
    NAIVE: (forecasters.persistence, forecasters.seasonal),
    OURS: (forecasters.ours,),
    "streamlearn, LSTM alone": (forecasters.lstm,),
    LEAST_SQUARES: (forecasters.least_squares,),
    "river": (forecasters.snarimax, forecasters.holt_winters),
    "PyTorch LSTM": (forecasters.pytorch,),
}
KNOWN = 48  # samples that are known before the errors count


def rows(settings: Settings) -> Iterator[Row]:
    yield from ratios((each.name, errors(each)) for each in series(settings))


def ratios(errors_of: Iterable[tuple[str, dict[str, np.ndarray]]]) -> Iterator[Row]:
    """Yield the errors of each series relative to those of the better naive forecast."""
    found = list(errors_of)
    for part, column in ((NEXT, 0), (AHEAD, 1)):
        for name, measured in found:
            naive = measured[NAIVE][column]
            relative = {peer: error[column] / naive for peer, error in measured.items()}
            yield Row(name, relative | {NAIVE: naive}, part)


def errors(of: Series, peers: Mapping[str, tuple[Forecaster, ...]] = PEERS) -> dict[str, np.ndarray]:
    """Return the mean absolute errors (2,) of each peer: of the next sample, and the mean over the horizons.

    A peer of several forecasters counts with the better one.
    """
    made = {
        peer: [found for each in forecasters_of if (found := each(of.values, of.period)) is not None]
        for peer, forecasters_of in peers.items()
    }
    ready = np.all([np.isfinite(found).all(1) for several in made.values() for found in several], axis=0)
    first = max(KNOWN, int(np.argmax(ready)))
    return {
        peer: np.min([error(of.values, found, first) for found in several], axis=0)
        for peer, several in made.items()
        if several
    }


def error(values: Values, made: np.ndarray, first: int) -> np.ndarray:
    """Return the mean absolute errors (2,) of the forecasts (n, H) made from the sample ``first`` on."""
    n = len(values)
    horizons = range(1, HORIZON + 1)
    mae = np.array([np.abs(values[first + h :] - made[first : n - h, h - 1]).mean() for h in horizons])
    return np.array([mae[0], mae.mean()])


def claims(rows: Sequence[Row]) -> list[Claim]:
    found = []
    for part in (NEXT, AHEAD):
        figures = [row.figures for row in rows if row.part == part]
        ours, peer = (np.array([row[name] for row in figures]) for name in (OURS, LEAST_SQUARES))
        worst, below = ours.max(), int((ours <= peer).sum())
        ratio = np.exp(np.mean(np.log(ours / peer)))
        found += [
            Claim(f"{part}: never more than 3 % above the better naive forecast",
                  f"at most {worst - 1:+.1%}", bool(worst <= 1.03)),
            Claim(f"{part}: at or below the recursive least squares on nine of ten series",
                  f"{below} of {len(ours)}, ratio {ratio:.2f} (geometric mean)", below >= 0.9 * len(ours)),
        ]  # fmt: skip
    return found
