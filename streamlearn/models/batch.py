"""The units of a learn call: a batch of samples, or late targets of earlier samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.outputs import NamedArrays

Float32 = NDArray[np.float32]
Integers = NDArray[np.int64]
NO_CONTRIBUTION = np.empty((0, 0), np.float32)
"""The output ``contribution`` of kernels, if nobody needs it."""
_T = TypeVar("_T", bound=NamedArrays)

NUMBER = np.iinfo(np.int64).min
"""Marks a sample without an id. Its id is then the sample's number."""


class Batch(NamedTuple):
    """Samples in order. A field that the model does not take is None."""

    x: Float32  # (n, dim)
    y: Float32 | None = None  # (n, target_dim), NaN where it is missing
    keys: Integers | None = None  # (n,)
    ids: Integers | None = None  # (n,)
    times: Integers | None = None  # (n,): nanoseconds since 1970, of the sender or of arrival

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.x)

    def numbered(self, first: int) -> Batch:
        """Replace each missing id by the sample's number. ``first``: number of the first sample."""
        if self.ids is None:
            return self
        numbers = np.arange(first, first + self.rows)
        return self._replace(ids=np.where(self.ids == NUMBER, numbers, self.ids))


class Targets(NamedTuple):
    """Targets of samples that were learned before."""

    ids: Integers  # (n,)
    y: Float32  # (n, target_dim)
    keys: Integers | None = None  # (n,)

    @property
    def rows(self) -> int:
        """Number of targets."""
        return len(self.ids)


def part(batch: Batch | Targets, start: int, stop: int) -> Any:
    """Rows ``start`` to ``stop`` of ``batch``, as an object of the same class."""
    if start == 0 and stop == batch.rows:
        return batch
    columns: list[Any] = [None if column is None else column[start:stop] for column in batch]
    return type(batch)(*columns)


def joined(batches: Sequence[Batch | Targets]) -> Any:
    """Concatenate batches of one class. The arrays are writable and aligned, as kernels need them."""
    if len(batches) == 1:
        batch = batches[0]
        if all(column is None or column.flags.behaved for column in batch):
            return batch
        return type(batch)(*map(_usable, batch))
    return type(batches[0])(*map(_joined_column, zip(*batches, strict=True)))


def _usable(column: Any) -> Any:
    if column is None or column.flags.behaved:
        return column
    return column.copy()


def _joined_column(columns: Sequence[Any]) -> Any:
    return None if columns[0] is None else np.concatenate(columns)


def first_rows(outputs: _T, rows: int) -> _T:
    """Return the first ``rows`` rows of ``outputs``."""
    first = type(outputs)(**{name: array[:rows] for name, array in outputs.arrays.items()})
    first.events = outputs.events
    return first


def joined_outputs(parts: Sequence[_T]) -> _T:
    """Return the rows of all ``parts`` in one."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].arrays
    whole = type(parts[0])(**{name: np.concatenate([out.arrays[name] for out in parts]) for name in names})
    first = 0
    for out in parts:
        whole.events += [replace(event, row=event.row + first) for event in out.events]
        first += len(out)
    return whole
