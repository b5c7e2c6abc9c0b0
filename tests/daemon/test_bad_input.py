"""Bad input is refused with an error that says why, and affects no other client (R7)."""

from __future__ import annotations

from collections.abc import Callable

import msgpack
import numpy as np
import pytest
import zmq

from streamlearn.daemon.operations.read_operations import ReadOperations
from streamlearn.errors import by_code
from streamlearn.shard import Shard
from streamlearn_client.protocol import Learn, Request
from tests.daemon.harness import Running, X, reference
from tools.waiting import wait_for

x2 = {"dtype": "<f4", "shape": [2, 2]}
good = X[:2].tobytes()
BAD_FRAMES = {
    "broken MessagePack": ([b"\xc1\xff\x00", good], "BAD_MESSAGE"),
    "no map": ([msgpack.packb([1, 2])], "BAD_MESSAGE"),
    "cut short": ([msgpack.packb({"v": 1, "id": 1, "op": "models"})[:-3]], "BAD_MESSAGE"),
    "a stray byte": ([b"\x00"], "BAD_MESSAGE"),
    "too many frames": ([msgpack.packb({"v": 1, "op": "hello"}), *[b""] * 5], "BAD_MESSAGE"),
    "missing frame": ([msgpack.packb({"v": 1, "op": "learn", "model": "m", "x": x2})], "BAD_MESSAGE"),
    "no version": ([msgpack.packb({"op": "hello"})], "BAD_MESSAGE"),
    "another version": ([msgpack.packb({"v": 9, "op": "hello"})], "UNSUPPORTED_VERSION"),
    "unknown op": ([msgpack.packb({"v": 1, "op": "explode"})], "UNKNOWN_OP"),
    "unknown model": ([msgpack.packb({"v": 1, "op": "describe", "model": "x"})], "UNKNOWN_MODEL"),
    "second create": (
        [msgpack.packb({"v": 1, "op": "create", "model": "m", "kind": "sum", "spec": {"dim": 2}})],
        "MODEL_EXISTS",
    ),
    "wrong spec": (
        [msgpack.packb({"v": 1, "op": "create", "model": "n", "kind": "sum", "spec": {"dim": 0}})],
        "BAD_SPEC",
    ),
    "bad name": (
        [msgpack.packb({"v": 1, "op": "create", "model": "a/b", "kind": "sum", "spec": {"dim": 2}})],
        "BAD_NAME",
    ),
    "wrong dtype": (
        [msgpack.packb({"v": 1, "op": "learn", "model": "m", "x": {"dtype": "<f8", "shape": [1, 2]}}), good],
        "BAD_DTYPE",
    ),
    "shape against bytes": (
        [msgpack.packb({"v": 1, "op": "learn", "model": "m", "x": {"dtype": "<f4", "shape": [3, 2]}}), good],
        "BAD_SHAPE",
    ),
    "wrong width": (
        [msgpack.packb({"v": 1, "op": "learn", "model": "m", "x": {"dtype": "<f4", "shape": [4, 1]}}), good],
        "BAD_SHAPE",
    ),
    "predict of wrong width": (
        [
            msgpack.packb({"v": 1, "op": "predict", "model": "m", "x": {"dtype": "<f4", "shape": [4, 1]}}),
            good,
        ],
        "BAD_SHAPE",
    ),
    "infinity": (
        [
            msgpack.packb({"v": 1, "op": "learn", "model": "m", "x": x2}),
            np.full((2, 2), np.inf, "<f4").tobytes(),
        ],
        "BAD_VALUE",
    ),
    "frame too large": (
        [
            msgpack.packb({"v": 1, "op": "learn", "model": "m", "x": {"dtype": "<f4", "shape": [750, 2]}}),
            bytes(6000),
        ],
        "TOO_LARGE",
    ),
    "header too large": (
        [msgpack.packb({"v": 1, "op": "learn", "model": "m", "x": [[0.0, 0.0]] * 500})],
        "TOO_LARGE",
    ),
}


@pytest.mark.parametrize(("frames", "code"), BAD_FRAMES.values(), ids=BAD_FRAMES)
def test_bad_input_is_refused_and_affects_no_other_client(
    frames: list[bytes], code: str, serve: Callable[..., Running]
) -> None:
    running = serve(limits={"frame_bytes": 4096})
    wire, culprit = running.wire, running.connect()
    wire.create()
    wire.learn(X[:10], producer="p", epoch=1, seq=0)
    culprit.socket.send_multipart(frames)
    reply = culprit.receive()
    assert isinstance(reply.error, by_code[code])
    assert reply.error.message
    assert culprit.call("hello")["server"] == "streamlearn"  # still connected
    wire.learn(X[10:20], producer="p", epoch=1, seq=1)
    assert wire.hash() == reference(X[:20])
    assert [each["name"] for each in wire.call("models")["models"]] == ["m"]


def test_an_unexpected_error_is_answered_and_the_daemon_continues(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReadOperations, "_describe", lambda *_: 1 / 0)
    number = running.wire.send(Request("describe", None, "m"))
    reply = running.wire.receive()
    assert reply.id == number
    assert isinstance(reply.error, by_code["INTERNAL"])
    assert running.wire.learn(X[:5])["rows"] == 5


def test_an_unexpected_error_of_a_firehose_batch_is_counted_and_the_daemon_continues(
    running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    firehose = running.connect(zmq.PUSH, "firehose")
    with monkeypatch.context() as patched:
        patched.setattr(Shard, "accept_learn", lambda *_, **__: 1 / 0)
        firehose.send(Learn("m", X[:5], ack="none"))
        wait_for(lambda: running.wire.call("stats")["firehose_lost"] == 1, "the refusal")
    assert "unexpected error" in caplog.text
    assert running.wire.learn(X[:5])["rows"] == 5
    firehose.send(Learn("m", X[5:9], ack="none"))
    wait_for(lambda: running.wire.call("describe", "m")["samples"] == 9, "the batch of the firehose")
