"""What a model learns from at once: samples with all that came along, or targets that came later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.outputs import Outputs

Float32 = NDArray[np.float32]
Integers = NDArray[np.int64]

NUMBER = np.iinfo(np.int64).min
"""An id that was not given: the sample's number stands for it."""


class Batch(NamedTuple):
    """Samples in order. A field that the model does not take is None."""

    x: Float32  # (n, dim)
    y: Float32 | None = None  # (n, target_dim), NaN where it is missing
    keys: Integers | None = None  # (n,)
    ids: Integers | None = None  # (n,)
    times: NDArray[np.float64] | None = None  # (n,): of arrival, seconds since the epoch

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.x)

    def numbered(self, first: int) -> Batch:
        """With the samples' own numbers, from ``first`` on, where no id was given."""
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
    """Rows ``start`` … ``stop`` of the like."""
    if start == 0 and stop == batch.rows:
        return batch
    columns: list[Any] = [None if each is None else each[start:stop] for each in batch]
    return type(batch)(*columns)


def joined(batches: Sequence[Batch | Targets]) -> Any:
    """All rows in one of the like, as kernels take them: writable and aligned."""
    return type(batches[0])(*map(_joined, zip(*batches, strict=True)))


def _joined(columns: Sequence[Any]) -> Any:
    if columns[0] is None:
        return None
    if len(columns) == 1 and columns[0].flags.writeable and columns[0].flags.aligned:
        return columns[0]
    return np.concatenate(columns)


def joined_outputs(parts: Sequence[Outputs]) -> Outputs:
    """Return the rows of all ``parts`` in one."""
    if len(parts) == 1:
        return parts[0]
    names = parts[0].arrays
    return Outputs(**{name: np.concatenate([each.arrays[name] for each in parts]) for name in names})
