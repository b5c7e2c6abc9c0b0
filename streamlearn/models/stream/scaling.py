"""Statistics of the scaling, as arrays of a model's state (``kernels/stream/scaling.py``)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...kernels.stream.scaling import (
    COUNT,
    LARGEST_PATIENCE,
    MINMAX,
    NONE,
    PATIENCE,
    RESOLUTION,
    ROWS,
    SPREAD,
    SUMMARY,
    WIDEST,
    WIDTH,
)
from ..state_checks import LARGEST_COUNT, Range

_LARGEST = 2.0**129  # a difference of two float32 values is smaller


class Statistics:
    """The statistics of ``dim`` channels, without a value yet.

    ``rows`` is the argument of the kernels. The state has two views of it, so that its first array describes
    the channels: count, centre and spread, ``(3, dim)``.
    """

    def __init__(self, name: str, method: int, dim: int) -> None:
        self.rows: NDArray[np.float64] = np.zeros((0 if method == NONE else ROWS, dim))
        self.rows[PATIENCE : PATIENCE + 1] = 1.0
        low, high = np.full((len(self.rows), 1), -_LARGEST), np.full((len(self.rows), 1), _LARGEST)
        if method != NONE:
            low[[COUNT, WIDTH, PATIENCE, RESOLUTION, WIDEST], 0] = 0.0, 0.0, 1.0, 0.0, 0.0
            high[[COUNT, PATIENCE], 0] = LARGEST_COUNT, LARGEST_PATIENCE
        if method not in (NONE, MINMAX):
            low[SPREAD], high[SPREAD] = 0.0, _LARGEST**2
        parts = {f"scale.{name}": slice(SUMMARY), f"scale.{name}.robust": slice(SUMMARY, None)}
        self.state = {part: self.rows[place] for part, place in parts.items()}
        self.ranges = {part: Range(low[place], high[place]) for part, place in parts.items()}
