"""The parts of all messages: a MessagePack header, an id and described arrays. `codec` uses them."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
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
"""The dtypes of arrays in replies and events."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60
_repr.maxlist = ARRAY_AXES
short_repr = _repr.repr
"""Returns a short ``repr`` of a value of any size, for error messages."""


def unpack_header(header: Frame, limit: int) -> dict[Any, Any]:
    """Return the map in ``header``.

    Raise ``TooLarge`` if it has more than ``limit`` bytes, and ``BadMessage`` if it is not a map.
    """
    size = len(header)
    error: StreamlearnError
    if size > limit:
        error = TooLarge(
            f"the header has {size} bytes and may have {limit}; send arrays as frames",
            bytes=size,
            limit="limits.control_header_bytes",
            most=limit,
        )
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
            error = BadMessage(f"the header must be a MessagePack map, not {short_repr(fields)}")
    error.request_id = peek_id([header])
    raise error


def peek_id(frames: Sequence[Frame]) -> Id:
    """Return the ``id`` in the header of ``frames``, which may be damaged after the id.

    Parameters
    ----------
    frames : sequence of bytes or memoryview
        A message, header first.

    Returns
    -------
    int, str, bytes or None
        The id; ``None`` if it can't be read.
    """
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
    """Return whether ``name`` is a valid id of a request."""
    kind = type(name)
    if kind is int or name is None:  # MessagePack integers have at most 64 bits
        return True
    if isinstance(name, str):
        return len(name) <= ID_BYTES and len(name.encode()) <= ID_BYTES
    return isinstance(name, bytes) and len(name) <= ID_BYTES


def check_version(header: Mapping[str, Any]) -> None:
    """Raise ``BadMessage`` or ``UnsupportedVersion`` unless the header has this version of the protocol."""
    version = header.get("v")
    if type(version) is int and version == VERSION:
        return
    if version is None:
        raise BadMessage(f"the header has no 'v' (protocol version); set v to {VERSION}", field="v")
    raise UnsupportedVersion(
        f"protocol version {short_repr(version)} is not supported; use {VERSION}", supported=[VERSION]
    )


def check_uint63(value: object, field: str) -> int:
    """Return ``value`` if it is an integer from 0 to 2^63 − 1. Raise ``BadValue`` otherwise."""
    if type(value) is int and 0 <= value < UINT63:
        return value
    raise BadValue(f"{field} must be an integer from 0 to 2^63 - 1, not {short_repr(value)}", field=field)


def frames_of(arrays: Iterable[NDArray[Any] | None]) -> list[Frame]:
    """Return the memory of each C-contiguous array as a frame, without a copy. `None` has no frame."""
    return [array.data.cast("B") if array.size else b"" for array in arrays if array is not None]


def describe_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[list[dict[str, Any]], list[Frame]]:
    """Return the descriptions of arrays for a header, and their frames."""
    described = [{"name": name, "dtype": a.dtype.str, "shape": a.shape} for name, a in arrays.items()]
    return described, frames_of(arrays.values())


def read_arrays(described: Any, buffers: Sequence[Frame]) -> dict[str, NDArray[Any]]:
    """Return the arrays that a reply or event describes, by name. Each array has one frame."""
    entries = [] if described is None else described
    if type(entries) is not list or len(entries) != len(buffers):
        raise BadMessage(
            f"the header has {len(buffers)} frames after it, but 'arrays' is {short_repr(described)}"
        )
    arrays: dict[str, NDArray[Any]] = {}
    for entry, buffer in zip(entries, buffers, strict=True):
        name = entry.get("name") if type(entry) is dict else None
        if type(name) is not str or name in arrays:
            raise BadMessage(f"each array needs a unique name, a dtype and a shape, not {short_repr(entry)}")
        arrays[name] = _array(name, entry.get("dtype"), entry.get("shape"), buffer)
    return arrays


def _array(name: str, dtype: Any, shape: Any, buffer: Frame) -> NDArray[Any]:
    kind = DTYPES.get(dtype) if type(dtype) is str else None
    if kind is None:
        raise BadDtype(f"{name} has dtype {short_repr(dtype)}; it must be one of {', '.join(DTYPES)}")
    if type(shape) is not list or not 1 <= len(shape) <= ARRAY_AXES:
        raise BadShape(
            f"the shape of {name} must be a list of 1 to {ARRAY_AXES} integers, not {short_repr(shape)}"
        )
    size = kind.itemsize
    for n in shape:
        if type(n) is not int or n < 0:
            raise BadShape(f"the shape of {name} must be non-negative integers, not {short_repr(shape)}")
        size *= n
    if size != len(buffer):
        raise BadShape(f"{name} of shape {shape} needs {size} bytes, but its frame has {len(buffer)}")
    try:
        array: NDArray[Any] = np.ndarray(tuple(shape), kind, buffer)
    except (ValueError, OverflowError) as error:  # an axis of 0, and other axes too large for an array
        raise BadShape(f"{name} has an invalid shape {short_repr(shape)}: {error}") from None
    return array if array.flags.aligned else array.copy()
