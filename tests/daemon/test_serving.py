"""The daemon over its sockets: acks are never early, queries run between slices, refusals are harmless."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import zmq

from streamlearn.daemon.limits.budget import memory_bytes
from streamlearn.errors import (
    Busy,
    DiskFull,
    Gap,
    JournalFailed,
    NoCheckpoint,
    ShuttingDown,
    UnknownModel,
    by_code,
)
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn_client.protocol import (
    Learn,
    Request,
    decode_reply,
    encode_request,
)
from tests.daemon.harness import SECONDS, Running, X, reference
from tools.waiting import wait_for


def test_the_daemon_and_a_local_model_learn_the_same_state(running: Running) -> None:
    wire = running.wire
    for start in range(0, 2000, 100):
        wire.send(Learn("m", X[start : start + 100], producer="p", epoch=1, seq=start // 100))
    acks = [wire.receive() for _ in range(20)]
    assert [ack.id for ack in acks] == list(range(2, 22))
    lsns = [ack.ok["lsn"] for ack in acks]  # consecutive batches may share a record
    assert lsns == sorted(lsns)
    assert set(lsns) == set(range(2, lsns[-1] + 1))
    for ack in acks:
        assert ack.ok["lsn"] <= ack.ok["durable_lsn"]
        assert ack.ok["lsn"] <= ack.ok["applied_lsn"]
        assert (ack.ok["rows"], ack.ok["duplicate"]) == (100, False)
    described = wire.call("describe", "m")
    assert described["state_hash"] == reference(X)
    assert described["samples"] == 2000
    assert described["spec"]["dim"] == 2
    assert described["kind"] == "sum"
    assert described["applied_lsn"] == described["durable_lsn"] == lsns[-1]
    assert described["create_lsn"] == 1
    assert "sum" in described["quality"]
    assert wire.call("position", "m", producer="p")["next_seq"] == 20


def test_an_ack_never_runs_ahead_of_the_disk(running: Running) -> None:
    wire = running.wire
    running.disk.syncs.clear()
    durable = wire.send(Learn("m", X[:10], producer="p", epoch=1, seq=0))
    again = wire.send(Learn("m", X[:10], producer="p", epoch=1, seq=0))
    written = wire.ask(Learn("m", X[10:20], ack="written"))
    received = wire.ask(Learn("m", X[20:30], ack="received"))
    assert (written["lsn"], received["lsn"]) == (3, 4)
    assert received["durable_lsn"] == 1
    assert wire.call("describe", "m")["samples"] == 30
    created = wire.send(Request("create", None, "n", {"kind": "sum", "spec": {"dim": 2}}))
    assert wire.call("position", "m", producer="p")["next_seq"] == 1
    assert wire.silent()
    running.disk.syncs.set()
    replies = {reply.id: reply.ok for reply in (wire.receive(), wire.receive(), wire.receive())}
    assert set(replies) == {durable, again, created}
    assert (replies[durable]["duplicate"], replies[again]["duplicate"]) == (False, True)
    assert all(ok["lsn"] <= ok["durable_lsn"] for ok in replies.values())


def test_a_resend_is_answered_at_once_though_nothing_is_left_to_learn(serve: Callable[..., Running]) -> None:
    running = serve(learning={"backlog_seconds": 10 * SECONDS})
    running.wire.create()
    for ack in ("durable", "written", "received"):
        for again in (False, True):
            ack_fields = running.wire.learn(X[:10], producer=ack, epoch=1, seq=0, ack=ack)
            assert ack_fields["duplicate"] == again


def test_ack_none_gets_no_reply_except_errors(running: Running) -> None:
    wire = running.wire
    wire.send(Learn("m", X[:10], ack="none"))
    refused = wire.send(Learn("m", X[:10, :1].copy(), ack="none"))
    reply = wire.receive()
    assert reply.id == refused
    assert reply.error is not None
    assert wire.hash() == reference(X[:10])
    assert wire.silent()


def test_a_req_socket_is_served_as_well(running: Running) -> None:
    wire = running.connect(zmq.REQ)
    assert wire.call("hello")["protocol"] == 1
    assert wire.learn(X[:5])["rows"] == 5


def test_a_query_is_answered_in_the_middle_of_a_long_batch(
    serve: Callable[..., Running], let_go: Event
) -> None:
    running = serve(learning={"backlog_seconds": 10 * SECONDS})
    running.wire.create(kind="slow")
    running.wire.send(Learn("m", np.tile(X, (10, 1))))
    wire = running.connect()
    seen = wait_for(
        lambda: (ok := wire.call("predict", "m", x=X[:3]))["samples"] and ok, "a query while it learns"
    )
    assert 0 < seen["samples"] < 20_000
    assert seen["applied_lsn"] == 1  # the batch is learned in part
    assert seen["arrays"]["distance"].shape == (3,)
    let_go.set()
    assert wire.call("describe", "m")["samples"] == 20_000  # waits for all accepted batches
    assert running.wire.receive().ok["applied_lsn"] == 2  # nothing was overdue, so the ack waited as well


def test_an_ack_waits_for_a_slow_model_until_its_deadline(serve: Callable[..., Running]) -> None:
    running = serve(learning={"backlog_seconds": 0.05})
    running.wire.create(kind="slow")
    ack = running.wire.learn(np.tile(X, (10, 1)))
    assert ack["lsn"] <= ack["durable_lsn"]
    assert ack["applied_lsn"] < ack["lsn"]


def test_a_producer_that_is_faster_than_its_model_gets_busy(
    serve: Callable[..., Running], let_go: Event
) -> None:
    running = serve(learning={"backlog_bytes": 1 << 20, "backlog_seconds": 10 * SECONDS})
    wire = running.wire
    wire.create(kind="slow", dim=50)
    big = np.tile(X, (2, 25))[:4000]
    for seq in range(12):
        wire.send(Learn("m", big, producer="p", epoch=1, seq=seq))
    replies = [wire.receive()]  # the first reply is a refusal: acks wait for the slow model
    let_go.set()
    replies += [wire.receive() for _ in range(11)]
    taken = sum(reply.error is None for reply in replies)
    errors = [reply.error for reply in replies if reply.error is not None]
    assert 1 <= taken < 12
    assert isinstance(errors[0], Busy)
    assert all(isinstance(error, (Busy, Gap)) for error in errors)
    wire.call("describe", "m")  # answered when every accepted batch is learned
    wire.learn(big, producer="p", epoch=1, seq=taken)  # a refused batch left no trace
    assert wire.call("describe", "m")["samples"] == (taken + 1) * len(big)


# ------------------------------------------------------------------------------------------------ the disk


def test_a_full_disk_refuses_what_it_cannot_keep_and_recovers(running: Running) -> None:
    wire, firehose = running.wire, running.connect(zmq.PUSH, "firehose")
    wire.learn(X[:10], producer="p", epoch=1, seq=0)
    running.disk.full = True
    for _ in range(2):
        with pytest.raises(DiskFull) as full:
            wire.learn(X[10:20], producer="p", epoch=1, seq=1)
        assert full.value.retryable
    with pytest.raises(DiskFull):
        wire.create("n")
    with pytest.raises(DiskFull):
        wire.call("delete", "m")
    firehose.send(Learn("m", X[20:30]))
    wait_for(lambda: wire.call("stats")["disk_full"] >= 3, "the firehose's batch")
    assert wire.call("predict", "m", x=X[:1])["samples"] == 10  # queries go on
    with pytest.raises(DiskFull):
        wire.call("checkpoint", "m")
    running.disk.full = False
    wait_for(lambda: wire.call("describe", "m")["samples"] == 20, "what the firehose had brought")
    assert wire.learn(X[10:20], producer="p", epoch=1, seq=1)["duplicate"] is False
    assert wire.hash() == reference(X[:10], X[20:30], X[10:20])
    assert wire.call("checkpoint", "m")["lsn"] == 4
    running.stop()


def test_after_a_failed_sync_nothing_is_acknowledged(running: Running) -> None:
    running.disk.broken = True
    running.wire.send(Learn("m", X[:10]))
    running.join()
    assert isinstance(running.failure, JournalFailed)
    assert running.failure.exit_code == 8
    assert running.wire.silent()


def test_a_write_that_fails_ends_the_daemon(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(running.disk, "pwritev", broken)
    running.wire.send(Learn("m", X[:10]))
    running.join()
    assert isinstance(running.failure, JournalFailed)


# ------------------------------------------------------------------------------------ restores, and the end


def test_restore_uses_the_requested_checkpoint(running: Running) -> None:
    wire = running.wire
    with pytest.raises(NoCheckpoint):
        wire.call("restore", "m", lsn=99)
    first = wire.learn(X[:10])
    assert wire.call("checkpoint", "m")["lsn"] == first["lsn"]
    second = wire.learn(X[10:20])
    assert wire.call("checkpoint", "m")["lsn"] == second["lsn"]
    assert wire.call("checkpoint", "m")["lsn"] == second["lsn"]  # as good as new
    kept = [each["lsn"] for each in wire.call("checkpoints", "m")["checkpoints"]]
    assert kept == [second["lsn"], first["lsn"]]
    assert [each["lsn"] for each in wire.call("describe", "m")["checkpoints"]] == kept
    wire.learn(X[20:30])
    restored = wire.call("restore", "m", lsn=first["lsn"])
    assert (restored["restored_lsn"], restored["samples"]) == (first["lsn"], 10)
    assert wire.hash() == reference(X[:10])
    wire.call("restore", "m")
    assert wire.hash() == reference(X[:20])
    with pytest.raises(NoCheckpoint) as none:
        wire.call("restore", "m", lsn=999)
    assert none.value.detail["ranges"] == [[1, running.journal.written_lsn]]


def test_after_a_restore_and_a_restart_a_resend_is_still_a_duplicate(serve: Callable[..., Running]) -> None:
    running = serve()
    wire = running.wire
    wire.create()
    wire.learn(X[:10], producer="p", epoch=1, seq=0)
    wire.call("checkpoint", "m")
    wire.learn(X[10:20], producer="p", epoch=1, seq=1)
    wire.call("restore", "m")
    running.stop()  # takes a checkpoint
    running = serve()
    assert running.recovered.records == 0
    assert running.wire.learn(X[10:20], producer="p", epoch=1, seq=1)["duplicate"]
    assert running.wire.hash() == reference(X[:10])


def test_restores_that_wait_for_a_checkpoint_that_is_being_written(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = running.wire
    first = wire.learn(X[:10])["lsn"]
    wire.call("checkpoint", "m")
    second = wire.learn(X[10:20])["lsn"]
    wire.call("checkpoint", "m")
    write, may_write = running.checkpoints.write, Event()

    def write_late(*what: Any, **options: Any) -> CheckpointInfo:
        assert may_write.wait(SECONDS)
        return write(*what, **options)

    monkeypatch.setattr(running.checkpoints, "write", write_late)
    third = wire.learn(X[20:30])["lsn"]
    taken = wire.send(Request("checkpoint", None, "m"))
    removed = wire.send(Request("restore", None, "m", {"lsn": first}))
    newest = wire.send(Request("restore", None, "m"))
    there = wire.call("checkpoints", "m")["checkpoints"]
    assert [each["lsn"] for each in there] == [second, first]  # it existed when restore was requested
    may_write.set()
    replies = {reply.id: reply for reply in (wire.receive() for _ in range(3))}
    assert replies[taken].ok["lsn"] == third
    assert replies[removed].ok["restored_lsn"] == first  # from the journal
    assert replies[newest].ok["restored_lsn"] == third
    assert wire.hash() == reference(X[:30])


def test_a_deletion_answers_all_waiting_requests(running: Running) -> None:
    wire = running.wire
    wire.create("slow", kind="slow")
    learned = wire.send(Learn("slow", np.tile(X, (10, 1))))
    described = wire.send(Request("describe", None, "slow"))
    checkpoint = wire.send(Request("checkpoint", None, "slow"))
    deleted = wire.send(Request("delete", None, "slow"))
    replies = {reply.id: reply for reply in (wire.receive() for _ in range(4))}
    assert replies[learned].error is None  # its batch is in the journal, as it was promised
    assert isinstance(replies[described].error, UnknownModel)
    assert isinstance(replies[checkpoint].error, UnknownModel)
    assert replies[deleted].ok["model"] == "slow"
    assert [each["name"] for each in wire.call("models")["models"]] == ["m"]
    wire.create("slow")
    assert wire.hash("slow") == reference()


def test_a_stop_finishes_accepted_work_and_refuses_new_requests(running: Running) -> None:
    wire, late = running.wire, running.connect()
    assert late.call("hello")
    running.disk.syncs.clear()
    taken = wire.send(Learn("m", X[:1000]))
    wait_for(lambda: late.call("describe", "m")["samples"] == 1000, "the batch")
    running.daemon.loop.stop()
    with pytest.raises(ShuttingDown) as refused:
        late.learn(X[:10])
    assert refused.value.retryable
    with pytest.raises(ShuttingDown):
        late.call("predict", "m", x=X[:1])
    running.disk.syncs.set()
    assert wire.receive().id == taken
    running.join()
    assert running.failure is None
    info = running.checkpoints.list("m", 1)[0]
    assert info.lsn == 2


def test_after_a_clean_stop_nothing_is_replayed(serve: Callable[..., Running]) -> None:
    running = serve()
    running.wire.create()
    running.wire.create("idle")
    running.wire.learn(X, producer="p", epoch=4, seq=0)
    running.stop()
    again = serve()
    assert (again.recovered.records, again.recovered.rows) == (0, 0)
    assert again.wire.hash() == reference(X)
    assert again.wire.learn(X, producer="p", epoch=4, seq=0)["duplicate"]
    assert again.wire.call("position", "m", producer="p")["next_seq"] == 1


def test_hello_and_stats_describe_the_daemon(running: Running) -> None:
    wire = running.wire
    hello = wire.call("hello")
    assert hello["endpoints"] == running.endpoints
    largest = min(running.settings.limits.frame_bytes, memory_bytes(running.settings) // 256)
    assert hello["limits"]["frame_bytes"] == largest
    assert hello["instance"] == wire.call("hello")["instance"]
    wire.learn(X[:100])
    wire.call("predict", "m", x=X[:10])
    stats = wire.call("stats")
    assert stats["records"] == 2
    assert stats["models"]["m"]["learned"] == stats["models"]["m"]["received"] == 100
    assert stats["models"]["m"]["queries"] == stats["query_seconds"]["count"] == 1
    assert stats["durable_lsn"] == stats["written_lsn"] == 2
    assert 0 < stats["query_seconds"]["p50"] <= stats["query_seconds"]["p99"]
    with pytest.raises(UnknownModel):
        wire.call("stats", "nobody")


def connections(endpoint: str) -> int:
    """How many TCP connections the daemon has at ``endpoint``, as the system's own table tells."""
    port = f":{int(endpoint.rpartition(':')[2]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(local.endswith(port) and state != LISTENS for _, local, _, state, *_ in rows)


LISTENS = "0A"


def test_a_client_that_left_affects_no_other_client(running: Running) -> None:
    endpoint = running.endpoints["requests"]
    gone = running.connect()
    running.disk.syncs.clear()
    gone.send(Learn("m", X[:10]))
    wait_for(lambda: running.wire.call("describe", "m")["samples"] == 10, "the batch")
    there = connections(endpoint)
    gone.socket.close(0)
    wait_for(lambda: connections(endpoint) < there, "the end of the connection")
    running.disk.syncs.set()
    wait_for(lambda: running.wire.call("stats")["replies_dropped"] == 1, "the reply that nobody reads")
    assert running.wire.hash() == reference(X[:10])


def test_only_so_many_models_are_made(serve: Callable[..., Running]) -> None:
    running = serve(limits={"models": 2})
    running.wire.create("a")
    running.wire.create("b")
    with pytest.raises(by_code["BAD_SPEC"], match=r"limits\.models"):
        running.wire.create("c")


def test_replies_echo_ids_of_every_kind(running: Running) -> None:
    for name in (0, -5, "text", b"bytes", None):
        running.wire.socket.send_multipart(encode_request(Request("hello", name)))
        assert running.wire.socket.poll(int(SECONDS * 1000))
        assert decode_reply(running.wire.socket.recv_multipart()).id == name
