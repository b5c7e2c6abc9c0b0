"""Bodies with a ``Content-Encoding``: gzip and zstd, decompressed in pieces of bounded size."""

from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

from streamlearn.errors import BadMessage, TooLarge
from streamlearn.gateway.problems import UnsupportedMediaType

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE: Final = 256 * 1024
"""The largest number of bytes that is decompressed at once."""


async def decoded(body: AsyncIterator[bytes], encoding: str) -> AsyncIterator[bytes]:
    """Yield the pieces of a body, decompressed.

    Raises `UnsupportedMediaType` for another encoding, and `BadMessage` if the body is damaged or cut off.
    """
    if encoding in ("", "identity"):
        async for piece in body:
            yield piece
        return
    decoder = _decoder(encoding)
    async for piece in body:
        for data in decoder.feed(piece):
            yield data
    decoder.end()


async def whole(body: AsyncIterator[bytes], encoding: str, most: int) -> bytes:
    """Return a body, decompressed. Raises `TooLarge` beyond ``most`` bytes, and as `decoded`."""
    pieces, size = [], 0
    async for piece in decoded(body, encoding):
        pieces.append(piece)
        size += len(piece)
        if size > most:
            raise TooLarge(
                f"the body is larger than {most} bytes when it is decompressed; send it in parts, or raise"
                " --body-bytes",
                limit="body_bytes",
                most=most,
            )
    return b"".join(pieces)


class _Gzip:
    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while data:
                if self._decoder.eof:  # a further member
                    self._decoder = zlib.decompressobj(wbits=31)
                if found := self._decoder.decompress(data, PIECE):
                    yield found
                data = self._decoder.unconsumed_tail or self._decoder.unused_data
        except zlib.error as error:
            raise _damaged("gzip", str(error)) from None

    def end(self) -> None:
        if not self._decoder.eof:
            raise _damaged("gzip", "it is cut off")


class _Zstd:
    def __init__(self) -> None:
        self._decoder = zstd.ZstdDecompressor()

    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            while data or not (self._decoder.needs_input or self._decoder.eof):
                if self._decoder.eof:  # a further frame
                    self._decoder = zstd.ZstdDecompressor()
                if found := self._decoder.decompress(data, PIECE):
                    yield found
                data = self._decoder.unused_data if self._decoder.eof else b""
        except zstd.ZstdError as error:
            raise _damaged("zstd", str(error)) from None

    def end(self) -> None:
        if not self._decoder.eof:
            raise _damaged("zstd", "it is cut off")


def _decoder(encoding: str) -> _Gzip | _Zstd:
    if encoding in ("gzip", "x-gzip"):
        return _Gzip()
    if encoding == "zstd":
        return _Zstd()
    raise UnsupportedMediaType(
        f"the Content-Encoding is {encoding}; bodies are read as gzip, zstd or identity"
    )


def _damaged(encoding: str, problem: str) -> BadMessage:
    return BadMessage(f"the body is not {encoding}, as its Content-Encoding says: {problem}")
