"""The arrays of a request: frames that the header's fields describe, or numbers in the header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.errors import BadDtype, BadMessage, BadShape, TooLarge
from streamlearn_client.protocol.identifiers import Identifiers, as_identifiers
from streamlearn_client.protocol.messages import Frame, Limits, Samples
from streamlearn_client.protocol.samples import F4, as_samples, as_targets
from streamlearn_client.protocol.times import Times, as_times
from streamlearn_client.protocol.wire import short_repr

__all__ = ["FrameReader", "identifier_count"]

I8 = np.dtype("<i8")
U1 = np.dtype("|u1")
_TYPES = {F4: "float32", I8: "int64", U1: "bytes"}


class FrameReader:
    """Reads the frames of one request in the order in which the header's fields describe them."""

    __slots__ = ("_frames", "_limits", "_next")

    def __init__(self, frames: Sequence[Frame], limits: Limits) -> None:
        self._frames = frames
        self._limits = limits
        self._next = 1  # frame 0 is the header

    def samples(self, value: Any, what: str, rows: int | None = None, of: str = "x") -> Samples:
        """Return the samples that ``value`` describes or lists; with ``rows``, targets for that many rows."""
        kind = type(value)
        if kind is dict:
            array = self._read_samples(value, what)
            if rows is not None and array.shape[0] != rows:
                array = as_targets(array[0] if len(value["shape"]) == 1 else array, rows, what, of)
        elif kind is list or kind is int or kind is float:
            array = as_samples(value, what) if rows is None else as_targets(value, rows, what, of)
        else:
            raise _wrong_type(value, what)
        if array.shape[0] > self._limits.rows:
            raise TooLarge(
                f"{what} has {array.shape[0]} rows and a batch may have {self._limits.rows}; "
                "send it in parts",
                rows=array.shape[0],
                limit="limits.rows",
                most=self._limits.rows,
            )
        return array

    def identifiers(self, value: Any, rows: int, what: str) -> Identifiers:
        """Return the keys or ids that ``value`` describes or lists: one per row, or one for all rows."""
        kind = type(value)
        if kind is dict:
            value = self._read_array(value, I8, (1,), what, "[samples]")
        elif kind is not list and kind is not int and kind is not str:
            raise _wrong_type(value, what)
        return as_identifiers(value, rows, what)

    def times(self, value: Any, rows: int) -> Times:
        """Return the times that ``value`` describes or lists: one per row, or one for all rows."""
        kind = type(value)
        if kind is dict:
            value = self._read_array(value, I8, (1,), "times", "[samples]")
        elif not (kind is int or (kind is list and all(type(each) is int for each in value))):
            raise _wrong_type(value, "times")
        return as_times(value, rows)

    def content(self, value: Any) -> NDArray[np.uint8]:
        """Return the bytes that ``value`` describes."""
        if type(value) is not dict:
            raise BadMessage(
                f"content must be {{dtype, shape}} of the next frame, not {short_repr(value)}",
                field="content",
            )
        return self._read_array(value, U1, (1,), "content", "[bytes]")

    def check_all_read(self) -> None:
        """Raise ``BadMessage`` if the request has frames that no field describes."""
        if self._next != len(self._frames):
            count = len(self._frames)
            raise BadMessage(
                f"the request has {count} frames, but its header describes {self._next - 1} array frames; "
                "describe every frame, or leave it out",
                frames=count,
            )

    def _read_samples(self, value: dict[Any, Any], what: str) -> Samples:
        array = self._read_array(value, F4, (1, 2), what, "[samples, columns] or [columns]")
        return array if array.ndim == 2 else array.reshape(1, -1)

    def _read_array(
        self, value: dict[Any, Any], dtype: np.dtype[Any], axes: tuple[int, ...], what: str, expected: str
    ) -> NDArray[Any]:
        """Return the next frame as an array."""
        given, shape = value.get("dtype"), value.get("shape")
        if given != dtype.str:
            raise BadDtype(
                f"{what} has dtype {short_repr(given)}; it must be {dtype.str!r} "
                f"({_TYPES[dtype]}, little-endian): convert it first",
                dtype=short_repr(given),
                expected=dtype.str,
            )
        if type(shape) is not list or len(shape) not in axes:
            raise BadShape(f"the shape of {what} must be {expected}, not {short_repr(shape)}")
        size = dtype.itemsize
        for n in shape:
            if type(n) is not int or n < 1:
                raise BadShape(f"the shape of {what} must be positive integers, not {short_repr(shape)}")
            size *= n
        if self._next >= len(self._frames):
            raise BadMessage(
                f"the frame that {what} describes is missing; send it after the header", field=what
            )
        buffer = self._frames[self._next]
        if len(buffer) > self._limits.frame_bytes:
            raise TooLarge(
                f"{what} has {len(buffer)} bytes and one frame may have {self._limits.frame_bytes}; "
                "send it in parts",
                bytes=len(buffer),
                limit="limits.frame_bytes",
                most=self._limits.frame_bytes,
            )
        if size != len(buffer):
            raise BadShape(
                f"{what} of shape {shape} needs {size} bytes, but its frame has {len(buffer)}",
                shape=shape,
                bytes=len(buffer),
            )
        self._next += 1
        array: NDArray[Any] = np.ndarray(shape, dtype, buffer)
        return array if array.flags.aligned else array.copy()


def identifier_count(value: Any) -> int:
    """Return how many identifiers ``value`` describes or lists; 1 for a value that is refused later."""
    if type(value) is dict:
        shape = value.get("shape")
        return shape[0] if type(shape) is list and shape and type(shape[0]) is int else 1
    return len(value) if type(value) is list else 1


def _wrong_type(value: Any, what: str) -> BadMessage:
    return BadMessage(
        f"{what} must be {{dtype, shape}} of the next frame, or values in the header, "
        f"not {short_repr(value)}",
        field=what,
    )
