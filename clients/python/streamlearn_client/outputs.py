"""What a model says about a batch: named arrays with one row per sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Outputs"]


class Outputs:
    """Named arrays of one batch, all of the same length ``n``, in the order of its samples; unless ``sample``
    (n,) int64 is there, which is the number of the sample that each row is about (-1: of none).

    Each array is an attribute (``out.winner``) and an entry of ``out.arrays``; ``out[i:j]`` is the
    same for some of the samples (views, not copies).

    A SOM or competitive net gives ``winner`` (n,) int32 (-1: none), ``coords`` (n, 2) int32 (SOM
    only), ``distance`` (n,) float32, ``score`` (n,) float32 and ``present`` (n,) int32 (how many
    channels of the sample were present); with ``labels`` also ``label`` (n,) int32 (-1: none). A
    recurrent net gives ``prediction`` (n, outputs) float32, ``error`` (n,) float32, ``score`` (n,)
    float32 and ``present`` (n,) int32.

    Raises ``ValueError`` when the arrays' lengths differ or one has no axis.
    """

    __slots__ = ("_length", "applied_lsn", "arrays")

    arrays: dict[str, NDArray[Any]]
    applied_lsn: int | None
    """The last record the model had learned when it answered; ``None`` when there is no daemon."""

    def __init__(self, applied_lsn: int | None = None, /, **arrays: ArrayLike) -> None:
        self.arrays = {name: np.asarray(array) for name, array in arrays.items()}
        self.applied_lsn = applied_lsn
        lengths = {array.shape[0] if array.ndim else -1 for array in self.arrays.values()}
        if len(lengths) > 1 or -1 in lengths:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in self.arrays.items())
            raise ValueError(f"the arrays of Outputs must share their first axis, not: {shapes}")
        self._length = lengths.pop() if lengths else 0

    def __getattr__(self, name: str) -> NDArray[Any]:
        arrays = object.__getattribute__(self, "arrays") if name[:1] != "_" else {}
        if name in arrays:
            array: NDArray[Any] = arrays[name]
            return array
        raise AttributeError(f"these outputs have no {name!r}, but: {', '.join(arrays) or 'nothing'}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.arrays]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, rows: slice) -> Outputs:
        if not isinstance(rows, slice):
            raise TypeError("Outputs take a slice, out[i:j]; for one sample's value use out.winner[i]")
        return Outputs(self.applied_lsn, **{name: array[rows] for name, array in self.arrays.items()})

    def __repr__(self) -> str:
        parts = [f"{name} {array.dtype}{list(array.shape)}" for name, array in self.arrays.items()]
        return f"Outputs(n={self._length}, {', '.join(parts)})" if parts else f"Outputs(n={self._length})"
