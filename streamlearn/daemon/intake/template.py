"""Headers of `learn` that differ in `id`, `model` and `seq` only.

A sender repeats its header with every batch. The codec decodes the first one in full. It leaves a template:
the bytes around the values of `id`, `model` and `seq`, and what the header says. A later header with the same
bytes around a name and two integers has the same meaning, so it need not be decoded. Thousands of models that
get alike batches share a template.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import msgpack
import numpy as np
from msgpack import packb
from numpy.typing import NDArray

from streamlearn.access.identity import Identity
from streamlearn_client.protocol import Frame, Id, Learn

ID, MODEL, SEQ = b"\xa2id", b"\xa5model", b"\xa3seq"  # the names of the fields, as MessagePack texts
SHORT_TEXT, LONG_TEXT = 0xA0, 0xD9  # first bytes: of one with up to 31 bytes, and up to 255
MOST_TEMPLATES = 1 << 14
MOST_HEADER_BYTES = 512  # an ordinary header has 300 at most; bounds the memory of the templates

Columns: TypeAlias = tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]
"""Name, type, and shape of a row, of each array of a batch."""
Key: TypeAlias = tuple[bytes, bytes, bytes, bytes]
"""The bytes of a header before, between and after the values of `id`, `model` and `seq`.

Without `id` the first is empty, without `seq` the last. If the model is at another place than between these
two, the third is empty, and the name is within another part.
"""


def _token_lengths() -> bytes:
    """Return the length of an unsigned integer, or nil, by its first byte; 0 for all other values."""
    lengths = bytearray(256)
    lengths[:0x80] = b"\1" * 0x80
    lengths[0xC0], lengths[0xCC], lengths[0xCD], lengths[0xCE], lengths[0xCF] = 1, 2, 3, 5, 9
    return bytes(lengths)


TOKEN_LENGTHS = _token_lengths()


class Parts(NamedTuple):
    """A header around its values. The places are 0 for a field it lacks."""

    key: Key
    model: str  # empty: not at the usual place
    id_at: int
    seq_at: int


def split(header: bytes) -> Parts | None:
    """Return the parts of a header.

    `None` if the value of `id` or `seq` is not an unsigned integer or nil. The places are guesses: a text may
    contain the same bytes. A template exists only for guesses that were checked.
    """
    size = len(header)
    begin, id_end = header.find(ID) + len(ID), 0
    if begin < len(ID):
        begin = 0
    else:
        if begin >= size or not TOKEN_LENGTHS[header[begin]]:
            return None
        id_end = begin + TOKEN_LENGTHS[header[begin]]
        if id_end > size:
            return None
    at, seq_end = header.rfind(SEQ, id_end) + len(SEQ), size
    if at < len(SEQ):
        at = 0
    else:
        if at >= size or not TOKEN_LENGTHS[header[at]]:
            return None
        seq_end = at + TOKEN_LENGTHS[header[at]]
        if seq_end > size:
            return None
    until = at or size
    after = header[seq_end:]
    name_at = header.find(MODEL, id_end, until) + len(MODEL)
    if len(MODEL) <= name_at < until - 1:
        tag, first = header[name_at], name_at + 1
        length = tag - SHORT_TEXT
        if tag == LONG_TEXT:
            length, first = header[first], first + 1
        end = first + length
        if first < end <= until and (length < 32 or tag == LONG_TEXT):
            key = header[:begin], header[id_end:name_at], header[end:until], after
            return Parts(key, header[first:end].decode("latin-1"), begin, at)
    return Parts((header[:begin], header[id_end:until], b"", after), "", begin, at)


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
    parts
        The parts of one of the headers.
    learn
        The batch of it. Its arrays are not kept.
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

    def __init__(self, parts: Parts, learn: Learn, identity: Identity) -> None:
        self.key = parts.key
        self.identity = identity
        self.model = "" if parts.model else learn.model  # empty: that of each header
        self.numbered = bool(learn.producer)
        self.rows = learn.rows
        arrays = learn.arrays
        columns = tuple((name, array.dtype, array.shape[1:]) for name, array in arrays.items())
        self.columns, self.frame_bytes = _layout(columns, self.rows)
        self.has_only_x = list(arrays) == ["x"] and learn.channels is None and learn.key_names is None
        self.batch_bytes = sum(self.frame_bytes)
        self.largest_frame = max(self.frame_bytes)
        self.without_arrays = learn._replace(
            model=self.model, x=None, y=None, keys=None, ids=None, times=None
        )

    def header(self, model: str, seq: int) -> bytes:
        """Return the header of a batch of the firehose, for a template that fits any model."""
        before, to_model, to_seq, after = self.key
        no_id = packb(None) if before else b""
        number = packb(seq) if self.numbered else b""
        return b"".join((before, no_id, to_model, packb(model), to_seq, number, after))

    def learn(self, model: str, seq: int, request_id: Id, arrays: Mapping[str, NDArray[Any]]) -> Learn:
        """Return a batch with this model, number, id and arrays. `_replace` takes four times as long."""
        given = arrays.get
        _, _, _, producer, epoch, _, ack, _, _, _, _, channels, key_names, window = self.without_arrays
        x, y, keys, ids, times = given("x"), given("y"), given("keys"), given("ids"), given("times")
        return Learn(
            model, x, y, producer, epoch, seq, ack, request_id, keys, ids, times, channels, key_names, window
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
        known = self._templates.get(found.key)
        if known is not None and known.identity is identity:
            return
        if bool(found.seq_at) == bool(learn.producer) and _places_are_right(header, found):
            while len(self._templates) >= MOST_TEMPLATES:
                del self._templates[next(iter(self._templates))]
            self._templates[found.key] = Template(found, learn, identity)


def _places_are_right(header: bytes, parts: Parts) -> bool:
    """Whether the places have the values of `id`, `model` and `seq`: others there change only these."""
    fields = msgpack.unpackb(header)
    places = {"id": parts.id_at, "model": len(parts.model), "seq": parts.seq_at}
    changes: dict[str, Any] = {
        name: 1 << 40 if fields.get(name) != 1 << 40 else 1 << 41 for name, at in places.items() if at
    }
    if parts.model:
        changes["model"] = parts.model + "x"
    values = [packb(changes[name]) if name in changes else b"" for name in places]
    packed = [piece for pair in zip(parts.key, [*values, b""], strict=True) for piece in pair]
    try:
        return bool(msgpack.unpackb(b"".join(packed)) == fields | changes)
    except (ValueError, TypeError, msgpack.UnpackException):  # the places are within something else
        return False
