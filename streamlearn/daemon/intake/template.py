"""Headers of `learn` that differ in `id` and `seq` only.

A sender repeats its header with every batch. The codec decodes the first one in full. It leaves a template:
the bytes around the values of `id` and `seq`, and what the header says. A later header with the same bytes
around two integers has the same meaning, so it need not be decoded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import msgpack
import numpy as np
from numpy.typing import NDArray

from streamlearn.access.identity import Identity
from streamlearn_client.protocol import Frame, Id, Learn

ID, SEQ = b"\xa2id", b"\xa3seq"  # the names of the fields, as MessagePack texts
MOST_TEMPLATES = 1 << 14
MOST_HEADER_BYTES = 512  # an ordinary header has 300 at most; bounds the memory of the templates

Columns: TypeAlias = tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]
"""Name, type, and shape of a row, of each array of a batch."""
Key: TypeAlias = tuple[bytes, bytes, bytes]
"""The bytes of a header before, between and after the values of `id` and `seq`.

Without `id` the first is empty, without `seq` the last.
"""


def _token_lengths() -> bytes:
    """Return the length of an unsigned integer, or nil, by its first byte; 0 for all other values."""
    lengths = bytearray(256)
    lengths[:0x80] = b"\1" * 0x80
    lengths[0xC0], lengths[0xCC], lengths[0xCD], lengths[0xCE], lengths[0xCF] = 1, 2, 3, 5, 9
    return bytes(lengths)


TOKEN_LENGTHS = _token_lengths()


def split(header: bytes) -> tuple[Key, int, int] | None:
    """Return the key of a header, and where the values of `id` and `seq` are; 0 for a field it lacks.

    `None` if a value is not an unsigned integer or nil. The places are guesses: a text may contain the same
    bytes. A template exists only for guesses that were checked.
    """
    size = len(header)
    begin, end = header.find(ID) + len(ID), 0
    if begin < len(ID):
        begin = 0
    else:
        if begin >= size or not TOKEN_LENGTHS[header[begin]]:
            return None
        end = begin + TOKEN_LENGTHS[header[begin]]
        if end > size:
            return None
    at = header.rfind(SEQ, end) + len(SEQ)
    if at < len(SEQ):
        return (header[:begin], header[end:], b""), begin, 0
    if at >= size:
        return None
    length = TOKEN_LENGTHS[header[at]]
    if not length or at + length > size:
        return None
    return (header[:begin], header[end:at], header[at + length :]), begin, at


def integer(header: bytes, at: int) -> int | None:
    """Return the unsigned integer or nil at this place."""
    tag = header[at]
    if tag < 0x80:
        return tag
    return None if tag == 0xC0 else int.from_bytes(header[at + 1 : at + TOKEN_LENGTHS[tag]], "big")


@lru_cache(maxsize=256)
def _layout(columns: Columns, rows: int) -> tuple[Columns, tuple[int, ...]]:
    """Return the columns, and the bytes of each in a batch. Templates share them: thousands are alike."""
    return columns, tuple(rows * dtype.itemsize * math.prod(shape) for _, dtype, shape in columns)


class Template:
    """What all headers with one key say.

    Parameters
    ----------
    key
        The key of the headers.
    learn
        The batch of one of them. Its arrays are not kept.
    identity
        Who sent it, and was permitted to.
    """

    __slots__ = (
        "batch_bytes",
        "columns",
        "frame_bytes",
        "has_only_x",
        "identity",
        "key",
        "largest_frame",
        "model",
        "numbered",
        "rows",
        "without_arrays",
    )

    def __init__(self, key: Key, learn: Learn, identity: Identity) -> None:
        self.key = key
        self.identity = identity
        self.model = learn.model
        self.numbered = bool(learn.producer)
        self.rows = learn.rows
        arrays = learn.arrays
        columns = tuple((name, array.dtype, array.shape[1:]) for name, array in arrays.items())
        self.columns, self.frame_bytes = _layout(columns, self.rows)
        self.has_only_x = list(arrays) == ["x"] and learn.channels is None and learn.key_names is None
        self.batch_bytes = sum(self.frame_bytes)
        self.largest_frame = max(self.frame_bytes)
        self.without_arrays = learn._replace(x=None, y=None, keys=None, ids=None, times=None)

    def learn(self, seq: int, request_id: Id, arrays: Mapping[str, NDArray[Any]]) -> Learn:
        """Return a batch with this number, id and arrays. `_replace` takes four times as long."""
        given = arrays.get
        model, _, _, producer, epoch, _, ack, _, _, _, _, channels, key_names = self.without_arrays
        x, y, keys, ids, times = given("x"), given("y"), given("keys"), given("ids"), given("times")
        return Learn(
            model, x, y, producer, epoch, seq, ack, request_id, keys, ids, times, channels, key_names
        )


class Templates:
    """The templates of the headers that were accepted last.

    Parameters
    ----------
    most_bytes
        The largest batch, in bytes, that gets a template.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._templates: dict[Key, Template] = {}
        self.get = self._templates.get

    def remember(self, frames: Sequence[Frame], learn: Learn, identity: Identity) -> None:
        """Make a template from a batch that was accepted, if its header is an ordinary one."""
        header, *buffers = frames
        arrays = learn.arrays
        if learn.x is None or len(buffers) != len(arrays) or sum(map(len, buffers)) > self._most_bytes:
            return  # late targets, numbers in the header, or a batch so large that decoding is cheap
        header = bytes(header)
        found = split(header)
        if found is None or len(header) > MOST_HEADER_BYTES:
            return
        key, id_at, seq_at = found
        known = self._templates.get(key)
        if known is not None and known.identity is identity:
            return
        if bool(seq_at) == bool(learn.producer) and _places_are_right(header, key, id_at, seq_at):
            while len(self._templates) >= MOST_TEMPLATES:
                del self._templates[next(iter(self._templates))]
            self._templates[key] = Template(key, learn, identity)


def _places_are_right(header: bytes, key: Key, id_at: int, seq_at: int) -> bool:
    """Whether the two places have the values of `id` and `seq`: others there change these fields only."""
    fields = msgpack.unpackb(header)
    before, between, after = key
    packed = [before, b"", between, b"", after]
    changes = {}
    for name, at, part in (("id", id_at, 1), ("seq", seq_at, 3)):
        if at:
            changes[name] = 1 << 40 if fields.get(name) != 1 << 40 else 1 << 41
            packed[part] = msgpack.packb(changes[name])
    try:
        return bool(msgpack.unpackb(b"".join(packed)) == fields | changes)
    except (ValueError, TypeError, msgpack.UnpackException):  # the places are within something else
        return False
