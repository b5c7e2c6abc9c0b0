"""The arrays of alarms, as parts of three arrays: one for each type of number.

A call of a kernel takes 50 ns for each array among its arguments. So a kernel gets three arrays, and
``layout`` int64 ``(arrays, 4)``: the first value of each part, then its shape, filled with 1.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..compiler import device
from ..simd.parts import cube_of, matrix_of, vector_of
from . import alarm as alarms
from . import deviations, evidence, patterns, stuck, threshold

DTYPES = np.float64, np.float32, np.int64


class Sizes(NamedTuple):
    """The sizes on which the shapes depend."""

    slots: int
    channels: int
    watched: int  # channels that may be stuck
    compared: int  # channels with deviations
    hours: int


class Arrays(NamedTuple):
    """The arrays of the state. Those with 16 lanes come first, so that the lanes are aligned."""

    covariance: Any
    references: Any
    hours: Any
    threshold: Any
    levels: Any
    shares: Any
    runs: Any
    channels: Any
    verdicts: Any
    moments: Any
    weights: Any
    lasting: Any
    last: Any
    expected: Any
    patterns: Any
    kept: Any
    numbers: Any
    kept_numbers: Any


def shapes(sizes: Sizes) -> dict[str, tuple[Any, tuple[int, ...]]]:
    """Return type and shape of each of ``Arrays``, in the order of their fields."""
    slots, channels, watched, compared, hours = sizes
    groups, side, lanes = deviations.groups(compared), deviations.side(compared), deviations.GROUP
    double, single, integer = DTYPES
    return {
        "covariance": (double, (groups, side, deviations.columns(compared))),
        "references": (double, (evidence.ROWS, evidence.SIZE)),
        "hours": (double, (3, hours)),
        "threshold": (double, (threshold.SIZE,)),
        "levels": (double, (slots, alarms.LEVELS)),
        "shares": (double, (slots, channels)),
        "runs": (double, (slots, stuck.ROWS, watched)),
        "channels": (double, (3, channels)),
        "verdicts": (double, (patterns.PATTERNS, 3)),
        "moments": (single, (2 * groups, lanes)),
        "weights": (single, (groups, side, lanes)),
        "lasting": (single, (slots, groups, lanes)),
        "last": (single, (slots, deviations.groups(watched), lanes)),
        "expected": (single, (slots, channels)),
        "patterns": (single, (patterns.PATTERNS, channels)),
        "kept": (single, (patterns.KEPT_ROWS, channels)),
        "numbers": (integer, (slots, alarms.NUMBERS)),
        "kept_numbers": (integer, (patterns.KEPT_ROWS + 1,)),
    }


class Layout:
    """Where the arrays are. Constant: models with equal sizes share it."""

    def __init__(self, sizes: Sizes) -> None:
        self._lengths = dict.fromkeys(DTYPES, 0)
        self._parts: dict[str, tuple[Any, tuple[int, ...], int]] = {}
        rows = []
        for name, (dtype, shape) in shapes(sizes).items():
            first = self._lengths[dtype]
            self._parts[f"alarm.{name}"] = dtype, shape, first
            rows.append((first, *shape, 1, 1)[:4])
            self._lengths[dtype] += math.prod(shape)
        self.layout = np.array(rows, np.int64)

    def create(self) -> tuple[tuple[NDArray[Any], ...], dict[str, NDArray[Any]]]:
        """Return the three arrays, all 0, and their parts by their names in the state."""
        whole = {dtype: np.zeros(length, dtype) for dtype, length in self._lengths.items()}
        parts = {
            name: np.ndarray(shape, dtype, whole[dtype], first * whole[dtype].itemsize)
            for name, (dtype, shape, first) in self._parts.items()
        }
        return tuple(whole.values()), parts


@device
def arrays_of(layout, doubles, singles, integers):
    """The arrays of the state. The numbers are those of the rows of ``layout``."""
    return Arrays(
        covariance=cube_of(doubles, layout, 0),
        references=matrix_of(doubles, layout, 1),
        hours=matrix_of(doubles, layout, 2),
        threshold=vector_of(doubles, layout, 3),
        levels=matrix_of(doubles, layout, 4),
        shares=matrix_of(doubles, layout, 5),
        runs=cube_of(doubles, layout, 6),
        channels=matrix_of(doubles, layout, 7),
        verdicts=matrix_of(doubles, layout, 8),
        moments=matrix_of(singles, layout, 9),
        weights=cube_of(singles, layout, 10),
        lasting=cube_of(singles, layout, 11),
        last=cube_of(singles, layout, 12),
        expected=matrix_of(singles, layout, 13),
        patterns=matrix_of(singles, layout, 14),
        kept=matrix_of(singles, layout, 15),
        numbers=matrix_of(integers, layout, 16),
        kept_numbers=vector_of(integers, layout, 17),
    )
