"""Named arrays in the safetensors format. The same arrays always give the same bytes.

This module writes the header itself, for two reasons: version 0.8 of the safetensors library orders the
metadata differently in every call, and it corrupts arrays that are not C-contiguous. The library does the
reading; it checks the header against the data.

The format has no checksum, so the metadata has a digest: xxh3_128 of the whole file, computed with zeros in
place of the digest. It detects damage. It does not protect against a forged file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from xxhash import xxh3_128

from streamlearn.errors import BadCheckpoint

Arrays = dict[str, NDArray[Any]]

_NAMES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint64": "U64",
    "uint32": "U32",
    "uint16": "U16",
    "uint8": "U8",
    "bool": "BOOL",
}
_DTYPES = {name: np.dtype(dtype).newbyteorder("<") for dtype, name in _NAMES.items()}
_CODES = {dtype: name for name, dtype in _DTYPES.items()}
_BFLOAT16 = "BF16"  # for reading only; NumPy has no such type: it is the upper half of a float32
_METADATA = "__metadata__"
_LENGTH_BYTES = 8
_DIGEST = "digest"  # name in the metadata
_NO_DIGEST = "0" * 32


def encode(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file with ``arrays``, ``metadata`` and a digest of both.

    Arrays are ordered by element size, largest first, then by name, so that all of them are aligned. Raises
    ``ValueError`` if an array is not C-contiguous or not little-endian, or if the format lacks its dtype.
    """
    named = {**metadata, _DIGEST: _NO_DIGEST}
    header: dict[str, Any] = {_METADATA: {key: named[key] for key in sorted(named)}}
    parts: list[bytes | memoryview] = []
    end = 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):
        array = arrays[name]
        dtype = _CODES.get(array.dtype)
        if dtype is None:
            raise ValueError(f"array {name!r} has dtype {array.dtype.str}, which a checkpoint cannot hold")
        if not array.flags.c_contiguous:
            raise ValueError(f"array {name!r} is not C-contiguous; state arrays must be")
        start, end = end, end + array.nbytes
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [start, end]}
        parts.append(array.reshape(-1).view(np.uint8).data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    length = len(text).to_bytes(_LENGTH_BYTES, "little")
    digest = _digest([length, text, *parts])
    return b"".join([length, text.replace(_entry(_NO_DIGEST), _entry(digest), 1), *parts])


def decode(data: bytes, *, foreign: bool = False) -> tuple[Arrays, dict[str, str]]:
    """Return ``(arrays, metadata)`` of a safetensors file's bytes. The metadata is without the digest.

    The arrays are writable and share no memory. bfloat16 becomes float32, which represents all its values.

    Parameters
    ----------
    data
        The content of the file.
    foreign
        Whether the file may come from another program, and therefore have no digest.

    Raises
    ------
    BadCheckpoint
        If the bytes are not such a file, if they do not have the digest, or if NumPy lacks the dtype of an
        array.
    """
    try:
        tensors = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
        length = int.from_bytes(data[:_LENGTH_BYTES], "little")
        header = json.loads(data[_LENGTH_BYTES : _LENGTH_BYTES + length])
    except (safetensors.SafetensorError, ValueError) as error:
        raise BadCheckpoint(
            f"these {len(data)} bytes are not a file in safetensors format ({error}); use another copy"
        ) from error
    metadata = header.get(_METADATA) or {}
    _check_digest(data, length, metadata.pop(_DIGEST, None), foreign)
    arrays = {
        name: _values(name, tensor["dtype"], tensor["data"]).reshape(tensor["shape"])
        for name, tensor in tensors
    }
    return arrays, metadata


def _check_digest(data: bytes, length: int, digest: str | None, foreign: bool) -> None:
    """Raise ``BadCheckpoint`` unless ``data``, with a header of ``length`` bytes, has this digest."""
    if digest is None:
        if foreign:
            return
        raise BadCheckpoint(
            "the file has no digest, so streamlearn did not save it as a model. Load a model from a file of"
            " save or of a daemon's checkpoint; load a network's parameters with load_parameters or"
            " from_state_dict"
        )
    view = memoryview(data)
    first, end = view[:_LENGTH_BYTES], _LENGTH_BYTES + length
    text = bytes(view[_LENGTH_BYTES:end]).replace(_entry(digest), _entry(_NO_DIGEST), 1)
    if _digest([first, text, view[end:]]) != digest:
        raise BadCheckpoint(
            "the content of the file does not have the digest that was saved with it: the file is damaged or"
            " was changed. Use another copy of it, or an older checkpoint"
        )


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    digest = xxh3_128()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _entry(digest: str) -> bytes:
    """Return the digest's entry of the header. No other text of the header equals it: JSON escapes quotes."""
    return f'"{_DIGEST}":"{digest}"'.encode()


def _values(name: str, dtype: str, data: bytearray) -> NDArray[Any]:
    if dtype == _BFLOAT16:
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    if dtype not in _DTYPES:
        raise BadCheckpoint(
            f"'{name}' has type {dtype}, which is not supported: save it as float32,"
            " from PyTorch {name: values.float() for name, values in net.state_dict().items()}"
        )
    return np.frombuffer(data, _DTYPES[dtype])
