"""What all messages are made of: a MessagePack header, an id, described arrays. `codec` builds on it."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgpack
import numpy as np
from numpy.typing import NDArray

from streamlearn_client.errors import (
    BadDtype,
    BadMessage,
    BadShape,
    BadValue,
    StreamlearnError,
    TooLarge,
    UnsupportedVersion,
)
from streamlearn_client.protocol.messages import VERSION, Frame, Id

UINT63: Final = 1 << 63
ID_BYTES: Final = 64
MAP_LENGTH: Final = 4096
PEEKED_BYTES: Final = 4096
ARRAY_AXES: Final = 8
DTYPES: Final = {
    text: np.dtype(text) for text in ("<f4", "<f8", "<i4", "<i8", "<u4", "<u8", "|i1", "|u1", "|b1")
}
"""What arrays of replies and events may be made of."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60
_repr.maxlist = ARRAY_AXES
shown = _repr.repr
"""A value as a message may quote it: short, however large it is."""


def unpack_header(header: Frame, limit: int) -> dict[Any, Any]:
    """The map in ``header``. Raises ``TooLarge`` beyond ``limit`` bytes, else ``BadMessage``."""
    size = len(header)
    error: StreamlearnError
    if size > limit:
        error = TooLarge(f"the header has {size} bytes and may have {limit}", bytes=size, limit=limit)
    else:
        try:
            fields = msgpack.unpackb(
                header, max_array_len=size, max_map_len=MAP_LENGTH, max_bin_len=ID_BYTES, max_ext_len=0
            )
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as problem:
            error = BadMessage(f"the header is not one MessagePack map: {problem or type(problem).__name__}")
        else:
            if type(fields) is dict:
                return fields
            error = BadMessage(f"the header must be a MessagePack map, not {shown(fields)}")
    error.request_id = peek_id([header])
    raise error


def peek_id(frames: Sequence[Frame]) -> Id:
    """The ``id`` in a header that may be cut or broken further on; ``None`` if it can't be read."""
    if not frames:
        return None
    unpacker = msgpack.Unpacker(max_buffer_size=PEEKED_BYTES)
    try:
        unpacker.feed(bytes(frames[0][:PEEKED_BYTES]))
        for _ in range(unpacker.read_map_header()):
            if unpacker.unpack() == "id":
                name = unpacker.unpack()
                return name if is_id(name) else None
            unpacker.skip()
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError):
        return None
    return None


def is_id(name: object) -> bool:
    """Whether ``name`` is what a request may be called."""
    kind = type(name)
    if kind is int or name is None:  # an integer of MessagePack has 64 bits at most
        return True
    if isinstance(name, str):
        return len(name) <= ID_BYTES and len(name.encode()) <= ID_BYTES
    return isinstance(name, bytes) and len(name) <= ID_BYTES


def check_version(header: Mapping[str, Any]) -> None:
    """Raise unless the header speaks this version of the protocol."""
    spoken = header.get("v")
    if type(spoken) is int and spoken == VERSION:
        return
    if spoken is None:
        raise BadMessage(f"the header needs 'v', the protocol version; here it is {VERSION}", field="v")
    raise UnsupportedVersion(
        f"protocol version {shown(spoken)} is not spoken here; use {VERSION}", supported=[VERSION]
    )


def check_uint63(value: object, field: str) -> int:
    """``value`` if it is an integer from 0 to 2^63 - 1."""
    if type(value) is int and 0 <= value < UINT63:
        return value
    raise BadValue(f"{field} must be an integer from 0 to 2^63 - 1, not {shown(value)}", field=field)


def bytes_of(array: NDArray[Any]) -> Frame:
    """A C-contiguous array's memory, not copied."""
    return array.data.cast("B") if array.size else b""


def describe_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[list[dict[str, Any]], list[Frame]]:
    """How a reply's header describes its arrays, and their frames."""
    described = [{"name": name, "dtype": a.dtype.str, "shape": a.shape} for name, a in arrays.items()]
    return described, [bytes_of(array) for array in arrays.values()]


def read_arrays(described: Any, buffers: Sequence[Frame]) -> dict[str, NDArray[Any]]:
    """The arrays that a reply or event describes, one frame each."""
    entries = [] if described is None else described
    if type(entries) is not list or len(entries) != len(buffers):
        raise BadMessage(f"{len(buffers)} frames came with the header, but 'arrays' is {shown(described)}")
    arrays: dict[str, NDArray[Any]] = {}
    for entry, buffer in zip(entries, buffers, strict=True):
        name = entry.get("name") if type(entry) is dict else None
        if type(name) is not str or name in arrays:
            raise BadMessage(f"each array needs a name of its own, a dtype and a shape, not {shown(entry)}")
        arrays[name] = _array(name, entry.get("dtype"), entry.get("shape"), buffer)
    return arrays


def _array(name: str, dtype: Any, shape: Any, buffer: Frame) -> NDArray[Any]:
    kind = DTYPES.get(dtype) if type(dtype) is str else None
    if kind is None:
        raise BadDtype(f"{name} is {shown(dtype)}, not one of {', '.join(DTYPES)}")
    if type(shape) is not list or not 1 <= len(shape) <= ARRAY_AXES:
        raise BadShape(
            f"the shape of {name} must be a list of 1 to {ARRAY_AXES} integers, not {shown(shape)}"
        )
    size = kind.itemsize
    for n in shape:
        if type(n) is not int or n < 0:
            raise BadShape(f"the shape of {name} must be non-negative integers, not {shown(shape)}")
        size *= n
    if size != len(buffer):
        raise BadShape(f"{name} of shape {shape} takes {size} bytes, but its frame has {len(buffer)}")
    try:
        array: NDArray[Any] = np.ndarray(tuple(shape), kind, buffer)
    except (ValueError, OverflowError) as error:  # an axis of 0 beside axes too large for an array
        raise BadShape(f"{name} can't have the shape {shown(shape)}: {error}") from None
    return array if array.flags.aligned else array.copy()
