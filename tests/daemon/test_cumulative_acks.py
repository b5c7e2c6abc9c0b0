"""A stream of the Python client accepts one ack for many batches."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
import zmq

from streamlearn_client import Client, stream_sender, window
from streamlearn_client.errors import Conflict
from streamlearn_client.protocol import Learn
from tests.daemon.harness import Running, X, reference
from tools.waiting import wait_for


def test_a_stream_accepts_cumulative_acks(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """One ack counts for all samples of a run, and none counts before it is durable."""
    answers: list[Any] = []
    receive_all = stream_sender.receive_all

    def observed(socket: zmq.Socket[Any]) -> list[list[bytes]]:
        found = receive_all(socket)
        answers.extend(msgpack.unpackb(frames[0]) for frames in found)
        return found

    monkeypatch.setattr(stream_sender, "receive_all", observed)
    monkeypatch.setattr(window, "ANSWER_TIMEOUT", (60.0, 60.0))  # a busy machine may take longer than 2 s
    with (
        Client(running.endpoints["requests"]) as client,
        client.stream("m", batch=1, window=200) as stream,
    ):
        stream.push(X[0])
        stream.flush()
        running.disk.syncs.clear()
        for row in X[1:200]:
            stream.push(row)
        wait_for(lambda: running.daemon.context.shard.hosted("m").model.samples == 200)
        assert (stream.acknowledged, stream.pending) == (1, 199)
        running.disk.syncs.set()
        stream.flush()
        assert (stream.acknowledged, stream.pending, stream.resent) == (200, 0, 0)
    acks = [answer["ok"].get("acks", 1) for answer in answers if "lsn" in answer["ok"]]
    assert sum(acks) == 200
    assert len(acks) < 150
    assert running.wire.hash() == reference(X[:200])


def test_a_stated_window_is_recognized_on_a_resend(running: Running) -> None:
    """All batches of a window of 1,000 come again, as after a lost connection. None is learned twice."""
    limits = running.wire.call("hello")["limits"]
    assert (limits["window"], limits["wide_window"]) == (256, 1024)

    def answers(batches: list[Learn]) -> list[Any]:
        for batch in batches:
            running.wire.send(batch)
        return [running.wire.receive() for _ in batches]

    def batch(seq: int, window: int = 1000) -> Learn:
        return Learn("m", X[seq : seq + 1], producer="p", epoch=1, seq=seq, window=window)

    window = [batch(seq) for seq in range(1000)]
    assert [answer.ok["duplicate"] for answer in answers(window)] == [False] * 1000
    assert [answer.ok["duplicate"] for answer in answers(window)] == [True] * 1000
    (answer,) = answers([batch(0)._replace(x=X[7:8])])
    assert isinstance(answer.error, Conflict)
    assert not running.wire.learn(X[1000:1001], producer="p", epoch=1, seq=1000)["duplicate"]  # states none
    assert [answer.error is None for answer in answers([batch(744), batch(745)])] == [False, True]
    assert running.wire.hash() == reference(X[:1001])


def test_a_stream_with_a_wide_window_states_it(running: Running) -> None:
    """The daemon keeps the digests of all batches of the window."""
    with (
        Client(running.endpoints["requests"]) as client,
        client.stream("m", batch=1, window=257, producer="p") as stream,
    ):
        for row in X[:300]:
            stream.push(row)
            stream.flush()
        producers = running.daemon.context.shard.hosted("m").accepted_producers
    assert len(producers.to_arrays()["producers.digests"]) == 300
