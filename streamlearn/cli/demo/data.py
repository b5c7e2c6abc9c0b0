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
    """Flow through a branch of a pipeline, in l/s, hour by hour.

    111 of the 1,379 hours were not read. They are samples like any other, with the value missing (NaN), so
    that time passes for the net as it did for the pipe. It is given, and forecasts, the change within the
    hour: the flow itself hardly moves from one hour to the next, so its last value is hard to beat.
    """

    x: Float32  # (1378, 1): the change since the hour before; NaN where one of the two was not read
    readings: int


def shuttle() -> Shuttle:
    rows = list(_river().Shuttle())
    x = np.array([list(features.values()) for features, _ in rows], np.float32)
    return Shuttle(x, np.array([label for _, label in rows], np.bool_))


def water() -> Water:
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
            "the demo's data come with river, which is not installed: pip install 'streamlearn[demo]'"
        ) from None
    return datasets
