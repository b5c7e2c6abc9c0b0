"""Replies with wrong fields, wrong arrays or unreadable frames raise ``ProtocolError`` in every call."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import io
import random
from contextlib import closing
from typing import get_args, get_type_hints

import msgpack
import numpy as np
import pytest

from streamlearn_client import AsyncClient, Client, Outputs
from streamlearn_client.errors import ProtocolError, StreamlearnError, StreamLost
from streamlearn_client.files import Source
from streamlearn_client.protocol import OPS, EventMessage, Request, decode_reply, encode_event, encode_reply
from streamlearn_client.replies import _REPLIES, OUTPUT_DTYPES, check_reply
from streamlearn_client.results import read_event
from streamlearn_client.session import Session
from tests.client.fake import FakeModels
from tests.client.interrupts import Memory, batch

SOURCE = Source("state", "som", 5, lambda: io.BytesIO(b"state"))


class ExportSink:
    """An export that stays in memory."""

    def begin(self):
        self.content = b""

    def write(self, part):
        self.content += bytes(part)

    @property
    def sha256(self):
        return hashlib.sha256(self.content).hexdigest()


CALLS = {
    "hello": lambda session: session.hello(),
    "create": lambda session: session.create("new", "som", {"dim": 1}),
    "upload": lambda session: session.create("copy", "som", {}, SOURCE),
    "export": lambda session: session.export("pump", ExportSink()),
    "clone": lambda session: session.clone("pump", "copy"),
    "delete": lambda session: session.delete("pump"),
    "models": lambda session: session.request_list("models"),
    "describe": lambda session: session.request("describe", "pump"),
    "learn": lambda session: session.learn("pump", None, [[1], [2]], None, [0, 1], "durable"),
    "predict": lambda session: session.predict("pump", batch(0, 2), None),
    "explain": lambda session: session.explain("pump", batch(0, 2), None, None),
    "forecast": lambda session: session.forecast("pump", 3, None),
    "sample": lambda session: session.sample("pump", 3, 1.0, 0, None),
    "read": lambda session: session.read("pump", ["weights", "hits"]),
    "reheat": lambda session: session.reheat("pump", 1.0),
    "pause": lambda session: session.pause("pump"),
    "resume": lambda session: session.resume("pump"),
    "feedback": lambda session: session.feedback("pump", 1, "normal", ""),
    "label": lambda session: session.label("pump", "worn", 1, None, None),
    "checkpoint": lambda session: session.request("checkpoint", "pump"),
    "checkpoints": lambda session: session.request_list("checkpoints", "pump"),
    "restore": lambda session: session.restore("pump", None, None, None),
    "unpin": lambda session: session.request("unpin", "pump", name="n"),
    "backup": lambda session: session.request("backup", directory="/backup"),
    "position": lambda session: session.position("pump", "p"),
    "stream": lambda session: session.stream_config("pump", "p", 1, 1, "durable"),
    "endpoint": lambda session: session.endpoint("events"),
}
WRONG = [None, True, -1, 0, 1, 2**63, 2**64 - 1, 1.5, "text", b"bytes", [], [1], {}, {"a": 1}, [{}], [[]]]
SEED = 20260101


def test_every_operation_has_a_check_and_a_call():
    assert set(_REPLIES) == set(OPS)
    assert set(CALLS) >= set(OPS) - {"stats"}


def test_the_dtypes_of_outputs_are_those_that_outputs_declares():
    hints = {
        name: np.dtype(get_args(get_args(hint)[1])[0]).str
        for name, hint in get_type_hints(Outputs).items()
        if name not in ("arrays", "applied_lsn", "events")
    }
    assert hints == dict(OUTPUT_DTYPES)


class Mangled(FakeModels):
    """A daemon that changes the maps of its replies."""

    def __init__(self, mangle) -> None:
        super().__init__()
        self.add("pump", dim=1, accepts_late_targets=True)
        self._mangle = mangle

    def answer(self, request):
        frames = super().answer(request)
        reply = msgpack.unpackb(bytes(frames[0]), strict_map_key=False)
        changed, frames = self._mangle(reply, frames[1:])
        return [msgpack.packb(changed), *frames]


def paths(value, path=()):
    """Return the paths of all values in nested maps and lists."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    found = [path] if path else []
    for key, entry in entries:
        found += paths(entry, (*path, key))
    return found


def replaced(value, path, new):
    """Return a copy of ``value`` with another entry at ``path``; without the entry if ``new`` is missing."""
    value = copy.deepcopy(value)
    owner = value
    for key in path[:-1]:
        owner = owner[key]
    if new is MISSING:
        del owner[path[-1]]
    else:
        owner[path[-1]] = new
    return value


MISSING = object()


def outcome(op, mangle):
    """Return the error of a call, or its result. Any other exception fails the test."""
    try:
        return Memory(Mangled(mangle)).run(CALLS[op](Session(None, "memory")))
    except ProtocolError as error:
        return error if error.detail["endpoint"] == "memory" and error.in_doubt else None
    except StreamlearnError as error:  # for example TooLarge, for a limit of 1 row
        return error


@pytest.mark.parametrize("op", CALLS)
def test_changed_replies_raise_a_protocol_error_or_are_accepted(op):
    """Each value of each reply is replaced by each wrong value, and removed."""
    chance = random.Random(SEED)
    refused = 0
    for call in range(3):
        seen = []

        def keep(reply, frames, seen=seen):
            seen.append(reply)
            return reply, frames

        Memory(Mangled(keep)).run(CALLS[op](Session(None, "memory")))
        if call >= len(seen):
            break
        for path in paths(seen[call]):
            if path[0] in ("v", "id"):
                continue
            for new in (MISSING, *WRONG, *(chance.getrandbits(64) for _ in range(2))):
                count = iter(range(99))

                def mangle(reply, frames, path=path, new=new, count=count, call=call):
                    return (replaced(reply, path, new) if next(count) == call else reply), frames

                refused += isinstance(outcome(op, mangle), ProtocolError)
    assert refused > 10, f"seed {SEED}"


@pytest.mark.parametrize(
    ("op", "name", "array"),
    [
        ("predict", "winner", np.zeros(3, "<i4")),
        ("predict", "winner", np.zeros(2, "<f4")),
        ("predict", "score", np.zeros((2, 1), "<f8")),
        ("explain", "expected", np.zeros((3, 1), "<f4")),
        ("explain", "contribution", np.zeros((2, 1), "<f8")),
        ("forecast", "other", np.zeros((3, 2), "<f4")),
        ("forecast", "forecast", np.zeros(3, "<f4")),
        ("forecast", "forecast", np.zeros((4, 2), "<f4")),
        ("forecast", "forecast", np.zeros((3, 2), "<f8")),
        ("sample", "sample", np.zeros((3, 1), "<i4")),
        ("sample", "sample", np.zeros(3, "<i8")),
        ("sample", "other", np.zeros(3, "<i4")),
    ],
)
def test_wrong_arrays(op, name, array):
    daemon = FakeModels()
    daemon.add("pump", dim=1)
    daemon._query = lambda request: ({"applied_lsn": 1, "samples": 1}, {name: array})
    with pytest.raises(ProtocolError, match=f"the answer to {op} is invalid"):
        Memory(daemon).run(CALLS[op](Session(None, "memory")))


@pytest.mark.parametrize(
    "error",
    [
        {},
        {"code": 5, "message": "m"},
        {"code": "GAP", "message": 5},
        {"code": "GAP", "message": "m"},
        {"code": "GAP", "message": "m", "detail": {"expected_seq": -1}},
        {"code": "UNKNOWN_PRODUCER", "message": "m", "detail": {"epoch": "9"}},
        {"code": "FENCED", "message": "m", "detail": {"epoch": 2**63}},
        {"code": "NO_ANSWER", "message": "m"},
        {"code": "STREAM_LOST", "message": "m"},
        {"code": "WRONG_PROCESS", "message": "m"},
        "text",
    ],
)
def test_wrong_errors(daemon, error):
    daemon.add("pump", dim=1)
    wire(daemon, lambda request: [msgpack.packb({"v": 1, "id": request.id, "error": error})])
    with Client(daemon.endpoint, timeout=60) as client, pytest.raises(ProtocolError):
        client.learn("pump", batch(0))


GARBAGE = [
    [b""],
    [b"HTTP/1.1 400 Bad Request"],
    [msgpack.packb([1, 2])],
    [msgpack.packb({"v": 2, "id": 1, "ok": {}})],
    [msgpack.packb({"v": 1, "id": 1})],
    [msgpack.packb({"v": 1, "id": 1.5, "ok": {}})],
    [msgpack.packb({"v": 1, "id": 1, "ok": {}, "arrays": 5})],
    [msgpack.packb({"v": 1, "id": 1, "ok": {}}), b"frame"],
]


def wire(daemon, answer):
    """Replace the answers of a daemon: ``answer(request)`` returns frames; ``None``: the usual answer."""
    usual = daemon.answer
    daemon.answer = lambda request: answer(request) or usual(request)


@pytest.mark.parametrize("frames", GARBAGE)
def test_unreadable_answers(daemon, frames):
    daemon.add("pump", dim=1)
    with Client(daemon.endpoint, timeout=60) as client:
        stream = client.stream("pump")
        wire(daemon, lambda request: frames)
        for call in (client.models, lambda: client.learn("pump", batch(0)), lambda: client.subscribe("pump")):
            with pytest.raises(ProtocolError) as caught:
                call()
            assert caught.value.detail["endpoint"] == daemon.endpoint
            client._session._hello = None
        with pytest.raises(StreamLost, match="PROTOCOL_ERROR"), closing(stream):
            stream.push([0])  # may raise already, because the stream has sent hello; else its end raises

    async def use():
        async with AsyncClient(daemon.endpoint, timeout=60) as client:
            results = await asyncio.gather(client.models(), client.stats(), return_exceptions=True)
            assert [type(result) for result in results] == [ProtocolError, ProtocolError]
            assert results[0] is not results[1]

    asyncio.run(use())


@pytest.mark.parametrize("endpoint", ["", "nowhere", "tcp://", "tcp://[", "tcp://host:port", "udp://1"])
@pytest.mark.parametrize("channel", ["firehose", "subscribe"])
def test_announced_endpoints_that_zeromq_cant_read(daemon, endpoint, channel):
    daemon.add("pump", dim=1)
    hello = daemon._do

    def announce(request):
        ok, arrays = hello(request)
        return ({**ok, "endpoints": {"firehose": endpoint, "events": endpoint}}, arrays)

    daemon._do = announce
    with Client(daemon.endpoint, timeout=60) as client, pytest.raises(ProtocolError):
        getattr(client, channel)("pump")


def test_wrong_events():
    event = EventMessage("output", "pump", 1, 0, 2, 5, {"winner": np.zeros(2, "<i4")})
    frames = [bytes(frame) for frame in encode_event(event)]
    assert read_event(frames, "there").outputs.winner.tolist() == [0, 0]
    odd = EventMessage("output", "pump", 1, 0, 2, 5, {"a": np.zeros(2, "<i4"), "b": np.zeros(3, "<i4")})
    for wrong in (
        [],
        [b"topic"],
        [b"topic", b"junk"],
        frames[:2],
        [frames[0], msgpack.packb({"v": 1}), *frames[2:]],
        [bytes(frame) for frame in encode_event(odd)],
    ):
        with pytest.raises(ProtocolError) as caught:
            read_event(wrong, "there")
        assert caught.value.detail["endpoint"] == "there"


def test_further_fields_are_accepted():
    """A newer daemon may send more."""
    reply = decode_reply(encode_reply(1, {"epoch": 1, "next_seq": 2, "more": None}, {}))
    check_reply(Request("position", 1, "pump", {"producer": "p"}), reply, "there")
