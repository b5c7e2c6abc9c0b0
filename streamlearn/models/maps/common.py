"""The units that the score compares a sample with (``kernels/maps/common_units.py``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.simd.blocks import WIDTH
from ..batch import Float32
from ..spec import decay_per_sample
from ..state_checks import COUNT, LARGEST_FLOAT, ByName, Range, Ranges, State

_MEMORY = 50  # half-life of the wins, in samples per unit
_SHORTEST_MEMORY = 2000
_RANGES = Ranges({"common.wins": Range(0, LARGEST_FLOAT), "common.learned": COUNT})


class CommonUnits(ByName):
    """Which units are common. Its arrays are part of the model's ``state``, unless no unit is rare."""

    may_hold_inf = ("common.units",)

    def __init__(self, rare_below: float, units: int, pad: Float32) -> None:
        self._used = rare_below > 0
        self._all = pad
        self._units = pad.copy() if self._used else np.empty((0, WIDTH), np.float32)
        self._wins = np.zeros(units + 1 if self._used else 1)
        self._wins[-1] = 1.0
        self._learned = np.zeros(1, np.int64)
        self.state = {}
        self.ranges = _RANGES if self._used else Ranges()
        if self._used:
            self.state = {
                "common.units": self._units,
                "common.wins": self._wins,
                "common.learned": self._learned,
            }
        self._decay = decay_per_sample(max(_MEMORY * units, _SHORTEST_MEMORY))
        self._rare_below = rare_below

    @property
    def predict_arguments(self) -> dict[str, Any]:
        """Arguments of the kernels by name."""
        return {"common": self._units}

    @property
    def learn_arguments(self) -> dict[str, Any]:
        """More arguments of those that learn."""
        return {
            "common_wins": self._wins,
            "common_learned": self._learned,
            "common_decay": self._decay,
            "rare_below": self._rare_below,
        }

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe units that are neither common nor rare."""
        units = state.get("common.units", self._units)
        if not ((units == 0) | (units == np.inf)).all():
            yield "'common.units' has a value that is neither 0 nor infinity"

    def begin_again(self) -> None:
        """Forget the wins. All units are common until the next selection."""
        if self._used:
            self._units[...] = self._all
            self._wins[:-1], self._wins[-1] = 0.0, 1.0
            self._learned[0] = 0

    def forget(self, units: NDArray[np.int64]) -> None:
        """Units have moved: they are not common until they have won."""
        if self._used:
            self._units.reshape(-1)[units] = np.inf
            self._wins[units] = 0.0
