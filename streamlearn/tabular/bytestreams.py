"""The bytes of a file, a pipe or standard input: decompressed, and refused if they are no table that is read.

What a file is, its first bytes decide, not its name. So a pipe is decompressed too.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, cast

from streamlearn.tabular.errors import BadData

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

STDIN: Final = "-"
PIECE: Final = 256 * 1024
"""The largest number of bytes of one `ByteStream.read`."""
_HEAD: Final = 16

GZIP, ZSTD, PARQUET, ARROW_FILE, ARROW_STREAM = (
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"PAR1",
    b"ARROW1\0\0",
    b"\xff\xff\xff\xff",
)
_UTF16: Final = "is UTF-16 text, and UTF-8 was expected: convert it first, iconv -f UTF-16 -t UTF-8 {file}"
_SHEET: Final = "save the sheet as CSV UTF-8 (File, Save as)"
_REFUSED: Final = {
    b"\xff\xfe": _UTF16,
    b"\xfe\xff": _UTF16,
    b"PK\x03\x04": f"is an Excel workbook (xlsx) or a zip archive: {_SHEET}, or unzip it",
    b"\xd0\xcf\x11\xe0": f"is an Excel workbook (xls), and text was expected: {_SHEET}",
    b"\xfd7zXZ\0": "is compressed by xz: push its text, xz -dc {file} | streamlearn … -",
    b"SQLite format 3\0": "is an SQLite database: export the table, sqlite3 -header -csv {file} 'SELECT …'",
    b"\x89HDF\r\n\x1a\n": "is an HDF5 file: write its table as CSV or Parquet first",
}
_MAGIC: Final = (GZIP, ZSTD, PARQUET, ARROW_FILE, ARROW_STREAM, *_REFUSED)


class _AsItComes:
    """What decompressors read from: the first bytes again, then what a pipe has, without waiting for more."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self._file, self._head = file, head

    def read(self, size: int = -1) -> bytes:
        if self._head:
            end = len(self._head) if size < 0 else size
            data, self._head = self._head[:end], self._head[end:]
            return data
        return read_some(self._file, size)


class ByteStream:
    """The bytes of ``source``: a path, ``-`` for standard input, or an open binary file.

    Raises ``BadData`` for UTF-16, workbooks and other files that are no table.

    Attributes
    ----------
    name
        What messages call it.
    size
        Bytes of the file, compressed if it is; ``None`` for a pipe.
    live
        Whether the bytes come from a pipe, so that a piece may be small.
    head
        The first bytes, decompressed.
    """

    def __init__(self, source: str | BinaryIO) -> None:
        if not isinstance(source, str):
            self.name, self._file = "the table", source
        elif source == STDIN:
            self.name, self._file = "standard input", sys.stdin.buffer
        else:
            self.name, self._file = source, Path(source).open("rb")  # noqa: SIM115
        self.path = source if isinstance(source, str) and source != STDIN else None
        self.live = not self._file.seekable()
        self.size = None if self.live or source == STDIN else _size(self._file)
        self._decompressed: Any = None
        try:
            head = self._first_bytes(self._file)
            if head.startswith((GZIP, ZSTD)):
                source_of = cast("BinaryIO", _AsItComes(self._file, head))
                is_gzip = head.startswith(GZIP)
                self._decompressed = (
                    gzip.GzipFile(fileobj=source_of) if is_gzip else zstd.ZstdFile(source_of, "rb")
                )
                self.compression: str | None = "gzip" if is_gzip else "zstd"
                head = self._first_bytes(None)
            else:
                self.compression = None
            self._pending = head
            self.head = head[:_HEAD]
            self._refuse(head)
        except BaseException:
            self.close()
            raise

    def _first_bytes(self, file: BinaryIO | None) -> bytes:
        """Read until it is clear what the bytes are. A sensor's first row may be short."""
        head = b""
        while len(head) < _HEAD and any(each.startswith(head[: len(each)]) for each in _MAGIC):
            piece = self._inflated(PIECE) if file is None else read_some(file, PIECE)
            if not piece:
                break
            head += piece
        return head

    def _refuse(self, head: bytes) -> None:
        problem = next((text for magic, text in _REFUSED.items() if head.startswith(magic)), None)
        if problem is None and (order := _utf16(head[: _HEAD // 2 * 2])):
            problem = _UTF16.replace("-f UTF-16", f"-f {order}")
        if problem is None and head[:10].startswith(b"BZh") and head[4:10] == b"1AY&SY":
            problem = "is compressed by bzip2: push its text, bzip2 -dc {file} | streamlearn … -"
        if problem is not None:
            raise BadData(f"{self.name} {problem.replace('{file}', self.path or 'FILE')}", file=self.name)

    def read(self, size: int = PIECE) -> bytes:
        """Return the next piece; empty at the end. Of a pipe: what it has. Raises ``BadData`` if damaged."""
        if self._pending:
            data, self._pending = self._pending[:size], self._pending[size:]
            return data
        return self._inflated(size) if self._decompressed is not None else read_some(self._file, size)

    def _inflated(self, size: int) -> bytes:
        try:
            data: bytes = self._decompressed.read1(size)
        except (OSError, EOFError, zlib.error, zstd.ZstdError) as error:
            tool = {"gzip": "gzip -t", "zstd": "zstd -t", None: "gzip -t"}[self.compression]
            raise BadData(
                f"{self.name} is damaged or was cut off within its compressed data ({error}): check it by"
                f" {tool}, and copy it again",
                file=self.name,
            ) from None
        return data

    def whole(self) -> BinaryIO | None:
        """Return the file from its beginning, for readers that seek; ``None`` if it cannot be sought."""
        if self.live or self._decompressed is not None:
            return None
        self._file.seek(0)
        return self._file

    @property
    def consumed(self) -> int:
        """Bytes of the file that have been read."""
        return 0 if self.size is None else self._file.tell()

    def close(self) -> None:
        """Close the file, unless it is standard input."""
        if self._decompressed is not None:
            self._decompressed.close()
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Exactly:
    """A stream for readers that expect as many bytes as they request."""

    closed = False

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """Return true: for pyarrow."""
        return True

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes; fewer at the end."""
        pieces: list[bytes] = []
        while size > 0 and (piece := self._stream.read(size)):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Do nothing: the stream has an owner."""


def read_some(file: BinaryIO, size: int) -> bytes:
    """Read what there is, at most ``size`` bytes, and wait only if there is nothing."""
    read1 = getattr(file, "read1", None)
    data: bytes = file.read(size) if read1 is None else read1(size)
    return data


def _utf16(head: bytes) -> str | None:
    """Return the encoding of UTF-16 text without a mark of the order of its bytes."""
    even, odd = head[0::2], head[1::2]
    if len(head) < 4 or len(even) != len(odd):
        return None
    if all(even) and not any(odd):
        return "UTF-16LE"
    return "UTF-16BE" if all(odd) and not any(even) else None


def _size(file: BinaryIO) -> int:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size
