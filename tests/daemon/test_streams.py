"""The sockets without replies: the firehose, and events by topic."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import zmq

from streamlearn_client.protocol import EventMessage, Learn, Request, decode_event
from tests.daemon.harness import SECONDS, Running, Wire, X, reference
from tools.waiting import wait_for


def test_the_firehose_is_learned_and_its_gaps_are_counted(running: Running) -> None:
    wire, firehose = running.wire, running.connect(zmq.PUSH, "firehose")
    for number in (0, 1, 1, 4):
        firehose.send(Learn("m", X[10 * number :][:10], producer="p", epoch=1, seq=number))
    firehose.send(Learn("nobody", X[:10]))
    firehose.send(Request("models"))
    firehose.send(Learn("m", X[90:100]))
    wait_for(lambda: wire.call("describe", "m")["samples"] == 40, "the firehose's samples")
    assert wire.hash() == reference(X[:20], X[40:50], X[90:100])
    stats = wire.call("stats", "m")
    assert stats["models"]["m"]["missing_batches"] == 2
    assert stats["models"]["m"]["duplicates"] == 1
    assert stats["firehose_lost"] == 2
    assert stats["errors"] == {"UNKNOWN_MODEL": 1, "BAD_MESSAGE": 1}


def test_a_frame_of_the_firehose_has_a_16th_of_the_limit(serve: Callable[..., Running]) -> None:
    running = serve(limits={"frame_bytes": 1 << 21})
    wire, firehose = running.wire, running.connect(zmq.PUSH, "firehose")
    wire.create(dim=2)
    rows = (1 << 17) // 8
    x = np.zeros((rows + 1, 2), np.float32)
    firehose.send(Learn("m", x[:rows]))
    firehose.send(Learn("m", x))
    firehose.send(Learn("m", x[:1]))
    wait_for(lambda: wire.call("describe", "m")["samples"] == rows + 1)
    assert wire.call("stats")["errors"] == {"TOO_LARGE": 1}
    assert wire.learn(x)["rows"] == rows + 1


# -------------------------------------------------------------------------------------------------- events


def subscribe(running: Running, *topics: bytes) -> Wire:
    wire = running.connect(zmq.SUB, "events")
    for topic in (*topics, b"subscribed/me"):
        wire.socket.subscribe(topic)
    assert wire.socket.poll(int(SECONDS * 1000)), "the subscriptions are not in effect"
    assert wire.socket.recv_multipart() == [b"subscribed/me"]
    return wire


def next_event(wire: Wire) -> EventMessage:
    assert wire.socket.poll(int(SECONDS * 1000)), "no event"
    return decode_event(wire.socket.recv_multipart())


def test_a_subscriber_gets_the_outputs_of_its_topic_only(running: Running) -> None:
    wire = running.wire
    wire.create("other")
    events = subscribe(running, b"output/m")
    for start in range(0, 300, 50):
        wire.learn(X[start : start + 50], "m")
        wire.learn(X[start : start + 50], "other")
    seen = []
    while sum(event.rows for event in seen) < 300:
        seen.append(next_event(events))
    assert {event.kind for event in seen} == {"output"}
    assert {event.model for event in seen} == {"m"}
    assert [event.first for event in seen] == np.cumsum([0, *(event.rows for event in seen)])[:-1].tolist()
    from tests.shard.fakes import RunningSum

    prediction = np.concatenate([event.arrays["distance"] for event in seen])
    assert np.array_equal(prediction, RunningSum(dim=2).learn(X[:300]).distance)


def test_changes_of_a_model_are_published(running: Running) -> None:
    events = subscribe(running, b"created/n", b"checkpoint/n", b"deleted/n", b"restored/n")
    wire = running.wire
    wire.create("n")
    lsn = wire.call("checkpoint", "n")["lsn"]
    wire.call("restore", "n")
    wire.call("delete", "n")
    events_seen = [next_event(events) for _ in range(5)]
    assert [event.kind for event in events_seen] == [
        "created",
        "checkpoint",
        "checkpoint",  # of the state before the restore
        "restored",
        "deleted",
    ]
    assert [event.lsn for event in events_seen] == [lsn, lsn, lsn, lsn + 1, lsn + 2]


# ------------------------------------------------------------------------------------------ checkpoints, life
