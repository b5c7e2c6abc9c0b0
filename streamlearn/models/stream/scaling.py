"""Statistics of the scaling, as arrays of a model's state (``kernels/stream/scaling.py``)."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...kernels.stream import scaling as kernels
from ..sharing import shared
from ..state_checks import LARGEST_COUNT, ByName, Range, Ranges

_LARGEST = 2.0**129  # a difference of two float32 values is smaller


class Statistics(ByName):
    """The statistics of ``dim`` channels, without a value yet.

    ``rows`` is the argument of the kernels. The state has two views of it, so that its first array describes
    the channels: count, centre and spread, ``(3, dim)``.
    """

    def __init__(self, name: str, method: int, dim: int) -> None:
        if method == kernels.NONE:  # arrays without values, which models share
            self.rows = _no_rows("", dim)
            self.state = {part: _no_rows(part, dim) for part in _parts(name)}
        else:
            self.rows = np.zeros((kernels.ROWS, dim))
            self.rows[kernels.PATIENCE] = 1.0
            self.state = {part: self.rows[place] for part, place in _parts(name).items()}
        self.ranges = shared(("scaling", name, method), partial(_ranges, name, method))


def _no_rows(part: str, dim: int) -> NDArray[np.float64]:
    return shared(("no rows", part, dim), lambda: np.zeros((0, dim)))


def _parts(name: str) -> dict[str, slice]:
    """Return the rows of each array."""
    return {f"scale.{name}": slice(kernels.SUMMARY), f"scale.{name}.robust": slice(kernels.SUMMARY, None)}


def _ranges(name: str, method: int) -> Ranges:
    rows = 0 if method == kernels.NONE else kernels.ROWS
    low, high = np.full((rows, 1), -_LARGEST), np.full((rows, 1), _LARGEST)
    if method != kernels.NONE:
        low[[kernels.COUNT, kernels.WIDTH, kernels.RESOLUTION, kernels.WIDEST]] = 0.0
        low[kernels.PATIENCE] = 1.0
        high[[kernels.COUNT, kernels.PATIENCE], 0] = LARGEST_COUNT, kernels.LARGEST_PATIENCE
    if method not in (kernels.NONE, kernels.MINMAX):
        low[kernels.SPREAD], high[kernels.SPREAD] = 0.0, _LARGEST**2
    return Ranges({part: Range(low[place], high[place]) for part, place in _parts(name).items()})
