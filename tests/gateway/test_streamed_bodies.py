"""Bodies that are learned in parts while they arrive: as they come, with back-pressure, and exactly once."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from streamlearn.errors import BadMessage, TooLarge
from streamlearn.gateway.bodies import Columns, Samples, open_table, read_samples
from streamlearn.gateway.learning import Learning
from streamlearn.tabular.cutting import BYTES, LINES, ArrowCutter, Cutter, LineCutter
from streamlearn.tabular.errors import BadData
from streamlearn_client import Client
from streamlearn_client.results import Ack
from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import SECONDS, GatewayProcess
from tools.waiting import wait_for

X = np.random.default_rng(23).normal(size=(10_000, 2)).astype(np.float32)
SPEC = {"dim": 2, "grid": [4, 4], "channels": ["flow", "pressure"], "seed": 3}
CSV, NDJSON, ARROW = "text/csv", "application/x-ndjson", "application/vnd.apache.arrow.stream"


def csv_of(x: Any) -> bytes:
    return b"flow,pressure\n" + b"".join(f"{flow!s},{pressure!s}\n".encode() for flow, pressure in x)


def arrow_of(x: Any, rows: int) -> bytes:
    table = pa.table({"flow": x[:, 0], "pressure": x[:, 1]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return bytes(sink.getvalue().to_pybytes())


BODIES = {
    CSV: csv_of(X),
    NDJSON: b"".join(json.dumps({"flow": float(f), "pressure": float(p)}).encode() + b"\n" for f, p in X),
    ARROW: arrow_of(X, 3000),
}


def parts_of(cutter: Cutter, pieces: list[bytes]) -> list[bytes]:
    found = []
    for piece in pieces:
        cutter.feed(piece)
        while (part := cutter.full()) is not None:
            found.append(part)
    last = cutter.rest()
    return found if last is None else [*found, last]


def pieces_of(body: bytes, random: random.Random, most: int) -> list[bytes]:
    pieces, start = [], 0
    while start < len(body):
        end = start + random.randint(1, most)
        pieces.append(body[start:end])
        start = end
    return pieces


@pytest.mark.parametrize("seed", range(5))
def test_parts_do_not_depend_on_the_pieces(seed: int) -> None:
    chance = random.Random(seed)
    rows = ['"a\n""b"",",1', "", "2,3", '"\n\n",4', "x" * 40_000]
    body = "\n".join(chance.choices(rows, weights=[3, 1, 5, 3, 0.01], k=20_000)).encode() + b"\n5,6"
    parts = parts_of(LineCutter(BYTES, quoted=True), [body])
    assert b"".join(parts) == body
    assert len(parts) > 2
    for part in parts[:-1]:
        assert part.endswith(b"\n")
        assert part.count(b'"') % 2 == 0
        assert len(part) >= BYTES or part.count(b"\n") >= LINES
    for most in (700, 100_000):
        pieces = pieces_of(body, chance, most)
        assert parts_of(LineCutter(BYTES, quoted=True), pieces) == parts, seed


@pytest.mark.parametrize("seed", range(3))
def test_a_table_read_in_parts_is_the_whole_table(seed: int) -> None:
    """Also with blank lines, missing values, times and quoted keys. Errors have the line of the body."""
    chance = random.Random(seed)
    lines = ["time,key,flow,pressure"]
    for n in range(12_000):
        lines.append(f'2026-01-01T{n // 3600:02d}:{n // 60 % 60:02d}:{n % 60:02d},"k\n{n % 3}",{n % 97},')
        lines.extend([""] * (chance.random() < 0.01))
    body = "\n".join(lines).encode()
    columns = Columns(key="key", time="time")
    whole = read_samples(body, CSV, columns, None)
    table = open_table(CSV, columns, None)
    found = [table.read(part) for part in parts_of(table.cutter(BYTES), pieces_of(body, chance, 5000))]
    assert len(found) > 2
    for name in ("x", "keys", "times"):
        joined = np.concatenate([getattr(each, name) for each in found])
        assert np.array_equal(joined, np.asarray(getattr(whole, name)), equal_nan=name == "x"), name
    wrong = body + b'\n2026-01-02T00:00:00,"k",word,1\n'
    table = open_table(CSV, columns, None)
    *parts, last = parts_of(table.cutter(BYTES), [wrong])
    for part in parts:
        table.read(part)
    with pytest.raises(BadData, match=f"line {wrong.count(10)}: 'word'"):
        table.read(last)


def test_an_arrow_stream_with_dictionaries_in_pieces() -> None:
    chance = random.Random(4)
    keys = pa.array([f"press-{n % 7}" for n in range(5000)]).dictionary_encode()
    table = pa.table({"flow": X[:5000, 0], "key": keys})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=700)
    body = sink.getvalue().to_pybytes()
    reader = open_table(ARROW, Columns(key="key"), ["flow"])
    parts = parts_of(reader.cutter(10**6), pieces_of(body, chance, 999))
    found = [reader.read(part) for part in parts]
    assert len(found) == 8
    assert [key for each in found if each for key in each.keys] == [f"press-{n % 7}" for n in range(5000)]
    assert np.array_equal(np.concatenate([each.x["flow"] for each in found if each]), X[:5000, 0])
    with pytest.raises(BadMessage, match="bytes of it are missing"):
        parts_of(ArrowCutter(10**6), [body[: len(body) // 2]])
    with pytest.raises(TooLarge):
        parts_of(ArrowCutter(1000), [body])


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_arrow_stream_is_an_error_of_the_body(seed: int) -> None:
    chance = random.Random(seed)
    body = bytearray(arrow_of(X[:50], 20))
    for _ in range(chance.randint(1, 4)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    reader = open_table(ARROW, Columns(), ["flow", "pressure"])
    with suppress(BadMessage, TooLarge, BadData):
        for part in parts_of(reader.cutter(10**6), pieces_of(bytes(body), chance, 100)):
            reader.read(part)


def test_a_row_that_is_too_long() -> None:
    with pytest.raises(TooLarge, match="one row"):
        parts_of(LineCutter(1000, quoted=False), [b"1," * 300] * 3)


def test_a_slow_daemon_slows_the_sender() -> None:
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(20):
            taken += 1
            yield b"1,2\n" * LINES

    async def run() -> None:
        gate, sent = asyncio.Event(), 0

        async def send(samples: Samples, number: int) -> Ack:
            nonlocal sent
            sent += 1
            await gate.wait()
            return Ack(number, number, number)

        table = open_table(CSV, Columns(), None)
        learning = Learning(table, table.cutter(BYTES), send, None, True)
        running = asyncio.create_task(learning.run(body(), asyncio.Event()))
        while not sent:
            await asyncio.sleep(0)
        for _ in range(500):  # as long as it takes to see that nothing more is taken
            await asyncio.sleep(0.0001)
        assert (sent, taken <= 4) == (1, True), taken
        gate.set()
        await running
        assert learning.summary()["rows"] == 20 * LINES

    asyncio.run(run())


def create(http: httpx.Client) -> None:
    answer = http.post("/v1/models", json={"name": "pump", "kind": "som", "spec": SPEC})
    assert answer.status_code == 201, answer.text


def samples(http: httpx.Client) -> int:
    return int(http.get("/v1/models/pump").json()["samples"])


@pytest.fixture(scope="module")
def expected(daemon: DaemonProcess) -> str:
    """The state of a model that learned all samples from the Python client."""
    with Client(daemon.requests, timeout=60) as client:
        client.create("twin", "som", **SPEC)
        client.learn("twin", X)
        state: str = client.describe("twin")["state_hash"]
        client.delete("twin")
    return state


@pytest.mark.parametrize("media_type", BODIES)
def test_an_endless_body_is_learned_as_it_comes(http: httpx.Client, expected: str, media_type: str) -> None:
    create(http)
    body = BODIES[media_type]
    learned = []

    def pieces() -> Iterator[bytes]:
        third = len(body) // 3
        for start in range(0, len(body), third):
            yield body[start : start + third]
            wait_for(lambda: samples(http) > (learned[-1] if learned else 0), "the rows so far")
            learned.append(samples(http))

    answer = http.post("/v1/models/pump/learn", content=pieces(), headers={"Content-Type": media_type})
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows"] == len(X)
    assert http.get("/v1/models/pump").json()["state_hash"] == expected


@pytest.mark.parametrize("media_type", BODIES)
def test_a_body_that_is_sent_again_after_a_broken_connection(
    http: httpx.Client, gateway: GatewayProcess, expected: str, media_type: str
) -> None:
    create(http)
    body = BODIES[media_type]
    head = (
        f"POST /v1/models/pump/learn HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {media_type}\r\n"
        f"Content-Length: {len(body)}\r\nIdempotency-Key: night\r\n\r\n"
    )
    for share in (0.7, 0.95):
        before = samples(http)
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=SECONDS) as raw:
            raw.sendall(head.encode() + body[: int(share * len(body))])
            wait_for(lambda: samples(http) > before or before >= 8192, "parts of the body")  # noqa: B023
    headers = {"Content-Type": media_type, "Idempotency-Key": "night"}
    answer = http.post("/v1/models/pump/learn", content=body, headers=headers).json()
    assert (answer["rows"], answer["duplicate"]) == (len(X), True), answer
    assert answer["duplicate_rows"] < len(X)
    again = http.post("/v1/models/pump/learn", content=body, headers=headers).json()
    assert again["duplicate_rows"] == len(X)
    assert http.get("/v1/models/pump").json()["state_hash"] == expected
    other = csv_of(X + 1) if media_type == CSV else body.replace(b"1", b"2") if media_type == NDJSON else None
    if other is not None:
        answer = http.post("/v1/models/pump/learn", content=other, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (409, "CONFLICT")
    assert samples(http) == len(X)


def test_many_more_parts_than_the_daemon_can_compare(http: httpx.Client) -> None:
    create(http)
    body, headers = arrow_of(X[:3000], 10), {"Content-Type": ARROW, "Idempotency-Key": "many"}
    for duplicates in (0, 3000):
        answer = http.post("/v1/models/pump/learn?ack=received", content=body, headers=headers).json()
        assert (answer["rows"], answer["duplicate_rows"]) == (3000, duplicates), answer
    assert samples(http) == 3000


def test_a_wrong_row_says_how_much_is_learned(http: httpx.Client) -> None:
    create(http)
    body = csv_of(X[:5000]) + b"1,word\n"
    answer = http.post("/v1/models/pump/learn", content=body, headers={"Content-Type": CSV})
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (400, "BAD_DATA")
    assert problem["facts"]["learned"] == samples(http) == 4095  # a full part: a header and its rows
    assert "line 5002" in problem["detail"]
    assert "the first 4095 samples of the body are learned" in problem["detail"]


def test_a_gateway_that_stops_answers_an_endless_body(
    daemon: DaemonProcess, http: httpx.Client, start: Callable[..., GatewayProcess]
) -> None:
    create(http)
    other = start(daemon.requests).ready()
    with socket.create_connection(("127.0.0.1", other.port), timeout=SECONDS) as raw:
        raw.sendall(
            b"POST /v1/models/pump/learn HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/csv\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n19\r\nflow,pressure\n1,2\n3,4\n5,6\r\n"
        )
        wait_for(lambda: samples(http) == 2, "the complete rows")
        assert other.end() == 0
        answer = b""
        while piece := raw.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 503"), answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["facts"]["learned"] == 2
