"""Extreme values for numbers in messages and specs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

_EDGES: Final = (0, 1, 1 << 31, 1 << 32, 1 << 53, 1 << 63)

INTEGERS: Final[tuple[int, ...]] = tuple(
    sorted({sign * (edge + step) for edge in _EDGES for step in (-1, 0, 1) for sign in (-1, 1)} | {2**64 - 1})
)
"""0, ±1, the limits of common types, and their neighbours; up to 2^64 − 1."""

PACKED_INTEGERS: Final = tuple(value for value in INTEGERS if -(2**63) <= value < 2**64)
"""Those that MessagePack can hold."""

OTHERS: Final[tuple[Any, ...]] = (
    True, False, 0.5, -0.5, 5e-324, 1e-300, 1e300, -1e300, 2.0**31, 2.0**63, math.inf, -math.inf, math.nan,
)  # fmt: skip
"""Booleans and floats: valid for some fields."""


def with_extremes(value: Any, extremes: tuple[Any, ...]) -> Iterator[Any]:
    """Yield ``value`` with each extreme in its place, and in the place of each number inside it."""
    yield from extremes
    if isinstance(value, (list, tuple)):
        for i, entry in enumerate(value):
            for changed in with_extremes(entry, extremes):
                yield [*value[:i], changed, *value[i + 1 :]]
    elif isinstance(value, dict):
        for name, entry in value.items():
            if isinstance(entry, (int, float, list, tuple)):
                for changed in with_extremes(entry, extremes):
                    yield {**value, name: changed}
