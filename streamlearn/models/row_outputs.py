"""Outputs of one sample, whose arrays are made when somebody reads them: a daemon mostly discards them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.alarms import AlarmEvent
from streamlearn_client.outputs import NamedArrays

Words = NDArray[np.int64]
_T = TypeVar("_T", bound=NamedArrays)


class Field(NamedTuple):
    """An array within the memory of a row."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    at: int  # bytes from the beginning

    def of(self, memory: Words | bytearray) -> NDArray[Any]:
        """Return the array in ``memory``."""
        return np.ndarray(self.shape, self.dtype, memory, self.at)


class Fields:
    """Arrays in one piece of memory, those of larger values first: so all are aligned."""

    def __init__(self, shapes: Sequence[tuple[str, type[np.generic], tuple[int, ...]]]) -> None:
        dtypes = [np.dtype(kind) for _, kind, _ in shapes]
        places, at = [0] * len(shapes), 0
        for number in sorted(range(len(shapes)), key=lambda number: -dtypes[number].itemsize):
            places[number] = at
            at += dtypes[number].itemsize * math.prod(shapes[number][2])
        self.fields = [
            Field(name, dtype, shape, place)
            for (name, _, shape), dtype, place in zip(shapes, dtypes, places, strict=True)
        ]
        self.words = -(-at // 8)
        """The memory that they take, in words of eight bytes."""

    def of(self, memory: Words) -> dict[str, NDArray[Any]]:
        """Return the arrays in ``memory`` by name."""
        return {field.name: field.of(memory) for field in self.fields}


class Reader(Protocol):
    """Makes the outputs of a row."""

    def output(self, name: str, row: bytearray) -> NDArray[Any] | None:
        """Return an output that is a part of ``row``; None if there is none with this name."""

    def outputs(self, row: bytearray) -> dict[str, NDArray[Any]]:
        """Return all outputs by name."""


class RowOutputs(NamedArrays):
    """The outputs of one sample.

    An array is made when it is read. The first must be read before the model learns its next sample, unless
    the outputs are made with a copy of the row.
    """

    __slots__ = ("_memory", "_reader")

    plain: ClassVar[type[NamedArrays]] = NamedArrays
    """The class of outputs whose arrays are made."""

    def __init__(self, reader: Reader, memory: Any, events: list[AlarmEvent]) -> None:
        # The model's words; a copy; the memory of the arrays that are made. None: ``arrays`` has them
        self._reader, self._memory = reader, memory
        self.applied_lsn, self.events, self._length = None, events, 1

    def typed(self, cls: type[_T]) -> _T:
        """Return outputs that were not read yet as ``cls``. The next sample does not change them."""
        copied = row_class(cls)  # type: ignore[arg-type] # a class has a hash
        return copied(self._reader, self._memory.tobytes(), self.events)  # type: ignore[return-value]

    def _row(self) -> bytearray:
        memory = self._memory
        if type(memory) is not bytearray:
            memory = bytearray(memory if type(memory) is bytes else memory.tobytes())
            self._memory = memory
        return memory

    def _made(self) -> NamedArrays:
        """Return the same with arrays that are made."""
        made = self.plain.unchecked(self.arrays, self._length)
        made.applied_lsn, made.events = self.applied_lsn, self.events
        return made

    def __getitem__(self, rows: slice) -> Any:
        """Return views of the rows."""
        return self._made()[rows]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Copy and pickle the outputs with arrays that are made."""
        return _same, (self._made(),)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Make ``arrays``, which are unset; or return an output."""
            if name == "arrays":
                self.arrays = self._reader.outputs(self._row())
                self._memory = None
                return self.arrays
            if name[:1] != "_" and self._memory is not None:
                found = self._reader.output(name, self._row())
                if found is not None:
                    return found
                self.arrays  # noqa: B018 - makes them
            return super().__getattr__(name)


def _same(outputs: NamedArrays) -> NamedArrays:
    return outputs


@cache
def row_class(cls: type[NamedArrays]) -> type[RowOutputs]:
    """Return a class of outputs of a row that is also ``cls``, and looks like it."""
    names = {"__slots__": (), "__doc__": cls.__doc__, "__module__": cls.__module__, "plain": cls}
    return type(cls.__name__, (RowOutputs, cls), names)
