"""Headers and buffers, written out without a codec."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

import msgpack

NAN = float("nan")
EPOCH = 1_700_000_000_000_000_000
TOP = 2**63 - 1


def f4(*rows: list[float]) -> bytes:
    values = [value for row in rows for value in row]
    return struct.pack(f"<{len(values)}f", *values)


def i4(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}i", *values)


def i8(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def identifier(name: str) -> int:
    """Return the integer that a name stands for as a key or an id."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def described(*shape: int, dtype: str = "<f4") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape)}


def numbers(count: int) -> dict[str, Any]:
    return described(count, dtype="<i8")


def request(name: str, header: dict[str, Any], *buffers: bytes, **message: Any) -> dict[str, Any]:
    """Return a vector. Its message has the header's fields, with arrays as rows or integers (``message``)."""
    meaning = {key: value for key, value in header.items() if key != "v"} | message
    return {"name": name, "frames": [msgpack.packb(header), *buffers], "message": meaning}


def learn(id: Any, model: str, **fields: Any) -> dict[str, Any]:
    return {"v": 1, "id": id, "op": "learn", "model": model, **fields}


def op(id: Any, op: str, **fields: Any) -> dict[str, Any]:
    return {"v": 1, "id": id, "op": op, **fields}
