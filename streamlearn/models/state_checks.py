"""Valid values of state arrays.

Kernels index by state arrays without a check, and a file may hold anything. So the owner of an array declares
the range of its values, and checks its relations to other arrays (``Model.inconsistencies``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

State = Mapping[str, NDArray[Any]]

LARGEST_COUNT = 1 << 62
LARGEST_FLOAT = float(np.finfo(np.float64).max)


class Range(NamedTuple):
    """Smallest and largest valid value of an array, or of each of its columns. NaN is not valid."""

    low: ArrayLike
    high: ArrayLike


class Ranges(dict[str, Range]):
    """The ranges of arrays by name, as a constant that many models share (``sharing.py``)."""


class Component(Protocol):
    """A part of a model with arrays of its own."""

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """The arrays by name, which are part of the model's state."""

    @property
    def ranges(self) -> Mapping[str, Range]:
        """Valid values of the arrays."""


class ByName:
    """A component that finds its arrays by name only.

    The model lets it use the ``state`` of the model, in place of a dict of its own: less memory.
    """

    state: dict[str, NDArray[Any]]


ANY_INTEGER = Range(np.iinfo(np.int64).min, np.iinfo(np.int64).max)
COUNT = Range(0, LARGEST_COUNT)


def misfits(own: State, given: State) -> Iterator[str]:
    """Describe the arrays of ``given`` that differ from ``own`` in name, shape or dtype."""
    for name in sorted(own.keys() - given.keys()):
        yield f"'{name}' is missing"
    for name in sorted(given.keys() - own.keys()):
        yield f"'{name}' is unknown"
    for name in sorted(own.keys() & given.keys()):
        expected, found = own[name], given[name]
        if expected.shape != found.shape or expected.dtype != found.dtype:
            yield f"'{name}' is {found.dtype}{found.shape}, not {expected.dtype}{expected.shape}"


def out_of_range(state: State, ranges: Mapping[str, Range]) -> Iterator[str]:
    """Describe the first value of each array of ``state`` that is not within its range."""
    for name in sorted(state.keys() & ranges.keys()):
        values, (low, high) = state[name], ranges[name]
        valid = (values >= low) & (values <= high)
        if not valid.all():
            place = tuple(np.argwhere(~valid)[0].tolist())
            low, high = (np.broadcast_to(limit, values.shape) for limit in (low, high))
            yield f"'{name}'{list(place)} is {values[place]}; expected {low[place]} to {high[place]}"


def invalid_codes(name: str, values: NDArray[np.float32], count: int) -> Iterator[str]:
    """Describe the first of ``values`` that is neither NaN nor a whole number from 0 to ``count`` − 1."""
    with np.errstate(invalid="ignore"):
        valid = np.isnan(values) | ((values >= 0) & (values < count) & (values == np.floor(values)))
    if not valid.all():
        value = values[~valid].flat[0]
        yield f"'{name}' has the code {value}; expected whole numbers from 0 to {count - 1}"
