"""Compressed bodies: any pieces, several members, bounded memory, and damage that is named."""

from __future__ import annotations

import asyncio
import gzip
import random
import zlib
from collections.abc import AsyncIterator

import pytest

from streamlearn.errors import BadMessage, TooLarge
from streamlearn.gateway.encodings import PIECE, decoded, whole, zstd
from streamlearn.gateway.problems import UnsupportedMediaType

TEXT = b"".join(b"%d,%d\n" % (n, n * n) for n in range(50_000))
COMPRESS = {"gzip": gzip.compress, "zstd": zstd.compress}


async def pieces_of(body: bytes, most: int, seed: int = 0) -> AsyncIterator[bytes]:
    chance, start = random.Random(seed), 0
    while start < len(body):
        end = start + chance.randint(1, most)
        yield body[start:end]
        start = end


def read(body: bytes, encoding: str, most: int = 1 << 30, size: int = 10_000) -> bytes:
    return asyncio.run(whole(pieces_of(body, size), encoding, most))


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("size", [7, 1000, 10**6])
def test_a_body_of_several_members_in_pieces(encoding, size):
    half = len(TEXT) // 2
    body = COMPRESS[encoding](TEXT[:half]) + COMPRESS[encoding](TEXT[half:])
    assert read(body, encoding, size=size) == TEXT
    assert read(TEXT, "", size=size) == TEXT


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_bomb_is_decompressed_in_small_pieces_and_refused(encoding):
    bomb = COMPRESS[encoding](bytes(100 * PIECE))

    async def largest() -> int:
        return max([len(piece) async for piece in decoded(pieces_of(bomb, len(bomb)), encoding)])

    assert asyncio.run(largest()) <= PIECE
    with pytest.raises(TooLarge, match="larger than 1000000 bytes when it is decompressed"):
        read(bomb, encoding, most=10**6)


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_damaged_body_is_named(encoding):
    body = bytearray(COMPRESS[encoding](TEXT))
    for wrong in (TEXT, bytes(body[: len(body) // 2])):
        with pytest.raises(BadMessage, match=f"the body is not {encoding}"):
            read(wrong, encoding)


def test_other_encodings_are_refused():
    with pytest.raises(UnsupportedMediaType, match="bodies are read as gzip, zstd or identity"):
        read(zlib.compress(TEXT), "deflate")
