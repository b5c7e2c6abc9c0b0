"""The arrays of a request: frames beside its header that its fields describe, or numbers in the header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.errors import BadDtype, BadMessage, BadShape, TooLarge
from streamlearn_client.protocol.identifiers import Identifiers, as_identifiers
from streamlearn_client.protocol.messages import Frame, Limits, Samples
from streamlearn_client.protocol.samples import F4, as_samples, as_targets
from streamlearn_client.protocol.wire import shown

__all__ = ["Buffers", "count"]

I8 = np.dtype("<i8")
_TYPES = {F4: "float32", I8: "int64"}


class Buffers:
    """The frames of one request, taken one after the other as the header's fields describe them."""

    __slots__ = ("_frames", "_limits", "_used")

    def __init__(self, frames: Sequence[Frame], limits: Limits) -> None:
        self._frames = frames
        self._limits = limits
        self._used = 1  # the header is the first

    def samples(self, value: Any, what: str, rows: int | None = None, of: str = "x") -> Samples:
        """Samples as ``value`` describes or lists them; or targets of the ``rows`` rows that ``of`` has."""
        kind = type(value)
        if kind is dict:
            array = self._rows(value, what)
            if rows is not None and array.shape[0] != rows:
                array = as_targets(array[0] if len(value["shape"]) == 1 else array, rows, what, of)
        elif kind is list or kind is int or kind is float:
            array = as_samples(value, what) if rows is None else as_targets(value, rows, what, of)
        else:
            raise _neither(value, what)
        if array.shape[0] > self._limits.rows:
            raise TooLarge(
                f"{what} has {array.shape[0]} rows and a batch may have {self._limits.rows}; "
                "send it in parts",
                rows=array.shape[0],
                limit=self._limits.rows,
            )
        return array

    def identifiers(self, value: Any, rows: int, what: str) -> Identifiers:
        """Keys or ids, one for each of ``rows`` or one for all of them."""
        kind = type(value)
        if kind is dict:
            value = self._described(value, I8, (1,), what, "[samples]")
        elif kind is not list and kind is not int and kind is not str:
            raise _neither(value, what)
        return as_identifiers(value, rows, what)

    def check_all_used(self) -> None:
        """Raises ``BadMessage`` where there are frames that no field described."""
        if self._used != len(self._frames):
            came = len(self._frames)
            raise BadMessage(
                f"{came} frames came, but the header describes {self._used - 1} beside itself", frames=came
            )

    def _rows(self, value: dict[Any, Any], what: str) -> Samples:
        array = self._described(value, F4, (1, 2), what, "[samples, columns] or [columns]")
        return array if array.ndim == 2 else array.reshape(1, -1)

    def _described(
        self, value: dict[Any, Any], dtype: np.dtype[Any], axes: tuple[int, ...], what: str, expected: str
    ) -> NDArray[Any]:
        """The next frame, as an array."""
        told, shape = value.get("dtype"), value.get("shape")
        if told != dtype.str:
            raise BadDtype(
                f"{what} is {shown(told)}; only {dtype.str!r} ({_TYPES[dtype]}, little-endian) is taken: "
                "convert it first",
                dtype=shown(told),
                expected=dtype.str,
            )
        if type(shape) is not list or len(shape) not in axes:
            raise BadShape(f"the shape of {what} must be {expected}, not {shown(shape)}")
        size = dtype.itemsize
        for n in shape:
            if type(n) is not int or n < 1:
                raise BadShape(f"the shape of {what} must be positive integers, not {shown(shape)}")
            size *= n
        if self._used >= len(self._frames):
            raise BadMessage(f"the frame that {what} describes is missing", field=what)
        buffer = self._frames[self._used]
        if len(buffer) > self._limits.frame_bytes:
            raise TooLarge(
                f"{what} has {len(buffer)} bytes and one frame may have {self._limits.frame_bytes}; "
                "send it in parts",
                bytes=len(buffer),
                limit=self._limits.frame_bytes,
            )
        if size != len(buffer):
            raise BadShape(
                f"{what} of shape {shape} takes {size} bytes, but its frame has {len(buffer)}",
                shape=shape,
                bytes=len(buffer),
            )
        self._used += 1
        array: NDArray[Any] = np.ndarray(shape, dtype, buffer)
        return array if array.flags.aligned else array.copy()


def count(value: Any) -> int:
    """How many identifiers ``value`` describes or lists; of what can't be read, whatever is refused later."""
    if type(value) is dict:
        shape = value.get("shape")
        return shape[0] if type(shape) is list and shape and type(shape[0]) is int else 1
    return len(value) if type(value) is list else 1


def _neither(value: Any, what: str) -> BadMessage:
    return BadMessage(
        f"{what} must be {{dtype, shape}} of the next frame, or stand in the header, not {shown(value)}",
        field=what,
    )
