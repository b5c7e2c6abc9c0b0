"""Cutting a table that arrives in pieces into parts of whole rows.

A full part has `LINES` lines, or `BYTES` bytes if these are fewer. So the parts of a body do not depend on
the pieces in which it arrives, and a body that is sent again has the same parts.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

from streamlearn.errors import BadMessage, TooLarge

LINES: Final = 4096
BYTES: Final = 256 * 1024
_QUOTE: Final = b'"'


class Cutter(Protocol):
    """Cuts one body. The parts are whole rows, in order."""

    def feed(self, data: bytes) -> None:
        """Add a piece of the body. Raises `TooLarge` if a single row exceeds the limit of a body."""

    def full(self) -> bytes | None:
        """Return the next full part."""

    def complete(self) -> bytes | None:
        """Return all complete rows that are in no full part."""

    def rest(self) -> bytes | None:
        """Return what is left at the end of the body. Raises `BadMessage` if it is no whole row."""


class LineCutter:
    """Cuts text at the ends of its lines.

    Parameters
    ----------
    most
        The largest number of bytes of one row.
    quoted
        Whether a quoted field may contain ends of lines, as in CSV.
    skip_lines
        Lines at the beginning whose quotes do not count.
    comment
        Begin of other such lines; empty: none.
    """

    def __init__(self, most: int, quoted: bool, skip_lines: int = 0, comment: bytes = b"") -> None:
        self._most, self._quoted = most, quoted
        self._skip_lines, self._comment = skip_lines, comment
        self._buffer = bytearray()
        self._start = self._end = self._scanned = (
            0  # of the next part; of its complete rows; of what was read
        )
        self._lines = 0  # of the next part
        self._in_quotes = False
        self._full: deque[bytes] = deque()

    def feed(self, data: bytes) -> None:
        """Add a piece of the body."""
        self._buffer += data
        quoted = self._quoted and _QUOTE in self._buffer
        while (end := self._buffer.find(b"\n", self._scanned) + 1) > 0:
            if self._skip_lines:
                self._skip_lines -= 1
            elif quoted and self._buffer.count(_QUOTE, self._scanned, end) % 2:
                is_comment = self._comment and self._buffer.startswith(self._comment, self._scanned)
                self._in_quotes ^= self._in_quotes or not is_comment
            self._scanned = end
            if self._in_quotes:
                continue
            self._end, self._lines = end, self._lines + 1
            if self._lines == LINES or end - self._start >= BYTES:
                self._full.append(self._taken())
        del self._buffer[: self._start]
        self._end, self._scanned, self._start = self._end - self._start, self._scanned - self._start, 0
        if len(self._buffer) - self._end > self._most:
            raise TooLarge(
                f"one row is larger than {self._most} bytes; raise --body-bytes, or send smaller rows",
                limit="body_bytes",
                most=self._most,
            )

    def _taken(self) -> bytes:
        part = bytes(self._buffer[self._start : self._end])
        self._start, self._lines = self._end, 0
        return part

    def full(self) -> bytes | None:
        """Return the next full part."""
        return self._full.popleft() if self._full else None

    def complete(self) -> bytes | None:
        """Return all complete rows that are in no full part."""
        return self._taken() if self._end > self._start else None

    def rest(self) -> bytes | None:
        """Return what is left at the end of the body."""
        self._end = len(self._buffer)
        return self.complete()


class ArrowCutter:
    """Cuts an Arrow IPC stream: a part is its schema, its dictionaries and one record batch."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._buffer = bytearray()
        self._head = b""  # the schema and the dictionaries
        self._batches: deque[bytes] = deque()
        self._ended = False

    def feed(self, data: bytes) -> None:
        """Add a piece of the body."""
        self._buffer += data
        while not self._ended and (size := _message_bytes(self._buffer)) is not None:
            if size > self._most:
                raise TooLarge(
                    f"a record batch is larger than {self._most} bytes; write smaller batches, or raise"
                    " --body-bytes",
                    limit="body_bytes",
                    most=self._most,
                )
            if len(self._buffer) < size:
                return
            message = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._take(message)

    def _take(self, message: bytes) -> None:
        if len(message) <= _PREFIX:
            self._ended = True
        elif _header_type(message) == _RECORD_BATCH:
            self._batches.append(self._head + message)
        else:
            self._head += message

    def full(self) -> bytes | None:
        """Return the next record batch."""
        return self._batches.popleft() if self._batches else None

    def complete(self) -> bytes | None:
        """Return the next record batch."""
        return self.full()

    def rest(self) -> bytes | None:
        """Return nothing: the last record batch is a full part."""
        if self._buffer and not self._ended:
            raise BadMessage(
                f"the body is not an Arrow IPC stream, or {len(self._buffer)} bytes of it are missing"
            )
        return None


_PREFIX: Final = 8
_CONTINUES: Final = b"\xff\xff\xff\xff"
_RECORD_BATCH: Final = 3
_HEADER_TYPE, _BODY_BYTES = 1, 3  # fields of the flatbuffer table `Message`


def _message_bytes(data: bytearray) -> int | None:
    """Return the size of the first encapsulated message; ``None`` if more bytes are needed to know it."""
    if len(data) < _PREFIX:
        return None
    if data[:4] != _CONTINUES:
        raise BadMessage("the body is not an Arrow IPC stream: a message does not begin with ff ff ff ff")
    size = int.from_bytes(data[4:8], "little", signed=True)
    if not 0 <= size < 2**31 - _PREFIX:
        raise BadMessage(f"the body is not an Arrow IPC stream: a message has {size} bytes")
    if size == 0:  # the end of the stream
        return _PREFIX
    if len(data) < _PREFIX + size:
        return None if size < 2**24 else _PREFIX + size
    body = _field(bytes(data[_PREFIX : _PREFIX + size]), _BODY_BYTES, 8)
    if body < 0:
        raise BadMessage(f"the body is not an Arrow IPC stream: a message has {body} bytes")
    return _PREFIX + size + body


def _header_type(message: bytes) -> int:
    return _field(message[_PREFIX:], _HEADER_TYPE, 1)


def _field(metadata: bytes, number: int, size: int) -> int:
    """Return an integer of the root table of a flatbuffer (Arrow's format, ``Message.fbs``); 0 if absent."""
    try:
        table = _integer(metadata, 0, 4)
        vtable = table - _integer(metadata, table, 4)
        place = 4 + 2 * number
        offset = _integer(metadata, vtable + place, 2) if place < _integer(metadata, vtable, 2) else 0
        return _integer(metadata, table + offset, size) if offset else 0
    except IndexError:
        raise BadMessage("the body is not an Arrow IPC stream: the header of a message is damaged") from None


def _integer(data: bytes, place: int, size: int) -> int:
    if not 0 <= place <= len(data) - size:
        raise IndexError
    return int.from_bytes(data[place : place + size], "little", signed=True)
