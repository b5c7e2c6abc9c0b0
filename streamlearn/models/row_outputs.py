"""Outputs of one sample, whose arrays are made when somebody reads them: a daemon mostly discards them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.alarms import AlarmEvent
from streamlearn_client.outputs import NamedArrays

Words = NDArray[np.int64]


class Field(NamedTuple):
    """An array within the memory of a row."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    at: int  # bytes from the beginning

    def of(self, memory: Words) -> NDArray[Any]:
        """Return the array in ``memory``."""
        return np.ndarray(self.shape, self.dtype, memory, self.at)


class Fields:
    """Arrays one after another, those of larger values first: so all are aligned."""

    def __init__(self, shapes: Sequence[tuple[str, type[np.generic], tuple[int, ...]]]) -> None:
        self.fields: list[Field] = []
        at = 0
        for name, kind, shape in shapes:
            dtype = np.dtype(kind)
            self.fields.append(Field(name, dtype, shape, at))
            at += dtype.itemsize * math.prod(shape)
        self.words = -(-at // 8)
        """The memory that they take, in words of eight bytes."""

    def of(self, memory: Words) -> dict[str, NDArray[Any]]:
        """Return the arrays in ``memory`` by name."""
        return {field.name: field.of(memory) for field in self.fields}


class Reader(Protocol):
    """Makes the outputs of a row."""

    def outputs(self, memory: Words) -> dict[str, NDArray[Any]]:
        """Return the arrays by name. They are copies: the next sample changes ``memory``."""


class RowOutputs(NamedArrays):
    """The outputs of one sample.

    ``arrays`` are made at the first access, which must come before the model learns its next sample.
    """

    __slots__ = ("_memory", "_reader")

    def __init__(self, reader: Reader, memory: Words, events: list[AlarmEvent]) -> None:
        self._reader, self._memory = reader, memory
        self.applied_lsn, self.events, self._length = None, events, 1

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Make ``arrays``, which are unset; or return one of them."""
            if name == "arrays":
                self.arrays = self._reader.outputs(self._memory)
                return self.arrays
            if name[:1] != "_":
                self.arrays  # noqa: B018 - makes them
            return super().__getattr__(name)
