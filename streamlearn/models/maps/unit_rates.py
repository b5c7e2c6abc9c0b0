"""The learning rate "1/n" of each unit: the samples it has learned (``kernels/maps/unit_rate.py``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.simd.blocks import WIDTH
from .. import lane_layout
from ..state_checks import LARGEST_COUNT, LARGEST_FLOAT, Range

_PLACING = ((0, 0, 0), (1, LARGEST_FLOAT, LARGEST_COUNT))  # least and most: the sum, mean(d²), the count

NO_UNIT_RATES = {
    "learned": np.zeros((0, WIDTH), np.float32),
    "unplaced": np.zeros(1, np.int64),
    "placing": np.zeros(3),
}
"""Arguments of a kernel whose rate is a schedule."""


class UnitRates:
    """What each unit has learned. Its arrays are part of the model's ``state``.

    A unit that is to get a place has learned 0 samples; one whose initial weights are a sample, 1.
    """

    def __init__(self, units: int, places: bool) -> None:
        begin = np.full((units, 1), 0.0 if places else 1.0)
        self._learned = lane_layout.to_lanes(begin).reshape(-1, WIDTH)
        self.arguments: dict[str, NDArray[Any]] = {
            "learned": self._learned,
            "unplaced": np.zeros(1, np.int64),
            "placing": np.zeros(3),
        }
        self.state = {f"rate.{name}": array for name, array in self.arguments.items()}
        self.ranges = {
            "rate.learned": Range(0, LARGEST_COUNT),
            "rate.unplaced": Range(0, units),
            "rate.placing": Range(*_PLACING),
        }

    def reheat(self, heat: float) -> None:
        """Limit what the units have learned to 1/heat samples, so that the next ones count more."""
        np.minimum(self._learned, np.float32(1 / heat), out=self._learned)

    def begin_again(self, units: NDArray[np.int64]) -> None:
        """Units have moved to samples."""
        self._learned[units // WIDTH, units % WIDTH] = 1
