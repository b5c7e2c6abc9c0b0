"""The bands around the forecasts of a net that learns by gradients: see ``kernels/forecast/bands.py``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import compiler
from ...kernels.forecast import bands as kernels
from ...kernels.forecast import sizes
from ..batch import Float32, Integers
from ..row_cost import SCALAR, Cost
from ..state_checks import COUNT, LARGEST_FLOAT, Range

GAIN = 0.004  # η: between the 0.002 and 0.005 at which far horizons keep their coverage


def state_values(streams: int, horizon: int, columns: int) -> int:
    """Return the number of values of the arrays."""
    return horizon * columns * (2 * sizes.RING + 3 * streams * horizon)


def row_cost(horizon: int, columns: int, names: tuple[str, ...]) -> Cost:
    """Return the work of one row."""
    return Cost(horizon * columns * SCALAR * (12 + sizes.RING // 16), names, learning=True)


class Bands:
    """Bands of a stated coverage. Their arrays are part of the model's ``state``."""

    may_hold_nan = ("bands.waiting",)  # forecasts and bands that were not made
    may_hold_inf = ("bands.waiting",)  # a forecast may overflow float32

    def __init__(self, coverage: float, streams: int, horizon: int, columns: int) -> None:
        compiler.ready(kernels)
        outputs = horizon * columns
        self._columns = columns
        self._constants = np.array([1.0 - coverage, GAIN])
        self._shared: dict[str, NDArray[Any]] = {
            "bands.errors": np.zeros((outputs, sizes.RING), np.float32),
            "bands.ordered": np.zeros((outputs, sizes.RING), np.float32),
            "bands.counts": np.zeros(outputs, np.int64),
            "bands.levels": np.zeros((outputs, sizes.LEVELS)),
            "bands.miss": np.full(outputs, 1.0 - coverage),
        }
        self._position = np.zeros(streams, np.int64)
        self._waiting = np.full((streams, horizon, 3, horizon, columns), np.nan, np.float32)
        self.state: dict[str, NDArray[Any]] = {
            **self._shared,
            "bands.position": self._position,
            "bands.waiting": self._waiting,
        }
        self.ranges: dict[str, Range] = {
            "bands.counts": COUNT,
            "bands.levels": Range(0, LARGEST_FLOAT),
            "bands.miss": Range(0, 1),
            "bands.position": COUNT,
        }

    def observe(
        self,
        prediction: Float32,
        values: Float32,
        slots: Integers,
        new_stream: NDArray[np.bool_],
        watched: NDArray[np.bool_],
    ) -> dict[str, Float32]:
        """Return ``lower`` and ``upper`` of rows that were learned or watched, and compare the forecasts.

        ``prediction`` is (n, outputs) and ``values`` (n, columns).
        """
        return self._call(prediction, values, slots, new_stream, watched, self._position, self._waiting)

    def around(self, prediction: Float32) -> dict[str, Float32]:
        """Return ``lower`` and ``upper`` of predictions. Changes nothing."""
        n = len(prediction)
        values = np.full((n, self._columns), np.nan, np.float32)
        slots, no, yes = np.zeros(n, np.int64), np.zeros(n, np.bool_), np.ones(n, np.bool_)
        position, waiting = np.zeros(1, np.int64), np.empty_like(self._waiting[:1])
        return self._call(prediction, values, slots, no, yes, position, waiting)

    def _call(self, prediction: Float32, *rows_and_streams: NDArray[Any]) -> dict[str, Float32]:
        *rows, position, waiting = rows_and_streams
        shaped = prediction.reshape(len(prediction), self._waiting.shape[1], self._columns)
        found = {name: np.empty_like(shaped) for name in ("lower", "upper")}
        kernels.observe(
            shaped, *rows, self._constants, *self._shared.values(), position, waiting, *found.values()
        )
        return {name: bound.reshape(prediction.shape) for name, bound in found.items()}
