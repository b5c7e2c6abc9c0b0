"""What ``replay`` changes in the forecasts of the series of the tables `forecasts` and `further`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

import streamlearn as sl

from .forecasters import HORIZON, forecasts_of
from .forecasts import AHEAD, KNOWN, NEXT, error
from .series import Series, further, series
from .tables import Row, Settings

TITLE = "Replay: change of the mean absolute error against none, %"
SIZES = 1, 2, 4


def rows(settings: Settings) -> Iterator[Row]:
    groups = {"first series": list(series(settings)), "further series": list(further(settings))}
    without = {name: errors(group, 0) for name, group in groups.items()}
    measured = {k: {name: errors(group, k) for name, group in groups.items()} for k in SIZES}
    for part, column in ((NEXT, 0), (AHEAD, 1)):
        for k in SIZES:
            figures = {}
            for name, found in measured[k].items():
                ratio = found[:, column] / without[name][:, column]
                figures[f"{name}, mean"] = float(100 * np.expm1(np.log(ratio).mean()))
                figures[f"{name}, best"] = float(100 * (ratio.min() - 1))
                figures[f"{name}, worst"] = float(100 * (ratio.max() - 1))
            yield Row(f"replay={k}", figures, part)


def errors(group: list[Series], replay: int) -> np.ndarray:
    """Return the mean absolute errors (series, 2) of the next sample and the mean over the horizons."""
    found = []
    for each in group:
        season = {} if each.period is None else {"period": each.period}
        net = sl.RNN(dim=1, horizon=HORIZON, seed=1, replay=replay, **season)
        found.append(error(each.values, forecasts_of(net, each.values), KNOWN))
    return np.array(found)
