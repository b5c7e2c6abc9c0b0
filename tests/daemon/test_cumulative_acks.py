"""A stream of the Python client accepts one ack for many batches."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
import zmq

from streamlearn_client import Client, stream_sender
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
