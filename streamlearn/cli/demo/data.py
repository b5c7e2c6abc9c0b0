"""The demo's streams: two real data sets that the river wheel carries (BSD-3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn.cli.errors import CommandError

Float32 = NDArray[np.float32]


class Shuttle(NamedTuple):
    """Statlog (Shuttle): readings of nine sensors of a NASA space shuttle, each row labelled."""

    x: Float32  # (49097, 9)
    anomaly: NDArray[np.bool_]  # (49097,)


class Water(NamedTuple):
    """Flow through a branch of a pipeline, in l/s, one reading per hour.

    111 of the 1,379 hours were not read. They are samples with a missing value (NaN), so the time axis is
    regular. The net learns and forecasts the change within the hour. The flow itself changes little from hour
    to hour, so its last value is a forecast that is hard to beat.
    """

    x: Float32  # (1378, 1): the change since the hour before; NaN if one of the two was not read
    readings: int


def shuttle() -> Shuttle:
    """Return the Shuttle data."""
    rows = list(_river().Shuttle())
    x = np.array([list(features.values()) for features, _ in rows], np.float32)
    return Shuttle(x, np.array([label for _, label in rows], np.bool_))


def water() -> Water:
    """Return the WaterFlow data as hourly changes."""
    rows = [(features["Time"], flow) for features, flow in _river().WaterFlow()]
    first = rows[0][0]
    hours = [(time - first) // timedelta(hours=1) for time, _ in rows]
    flow = np.full(hours[-1] + 1, np.nan)
    flow[hours] = [value for _, value in rows]
    return Water(np.diff(flow).astype(np.float32).reshape(-1, 1), len(rows))


def _river() -> Any:
    try:
        from river import datasets
    except ModuleNotFoundError:
        raise CommandError(
            "the demo's data are part of river, which is not installed: pip install 'streamlearn[demo]'"
        ) from None
    return datasets
