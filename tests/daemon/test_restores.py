"""Restores of a running daemon: to checkpoints, to any lsn, into another model; and how to undo them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from streamlearn.daemon.operations import restores as restores_of_the_daemon
from streamlearn.daemon.operations import write_operations
from streamlearn.errors import (
    BadCheckpoint,
    BadMessage,
    BadName,
    Busy,
    CheckpointExists,
    DiskFull,
    ModelExists,
    NoCheckpoint,
    ShuttingDown,
    TooLarge,
    UnknownModel,
)
from streamlearn.history import History
from streamlearn.shard.shard import Shard
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn_client.protocol import Learn, Request
from tests.daemon.harness import SECONDS, Running, X, reference
from tools.waiting import wait_for

KIB = 1024


def test_a_named_checkpoint_is_listed_restored_and_unpinned(running: Running) -> None:
    wire = running.wire
    wire.learn(X[:10])
    made = wire.call("checkpoint", "m", name="before-overhaul")
    assert (made["name"], made["pinned"], made["model"]) == ("before-overhaul", True, "m")
    for start in range(10, 50, 10):
        wire.learn(X[start : start + 10])
        wire.call("checkpoint", "m")
    listed = wire.call("checkpoints", "m")["checkpoints"]
    assert [each["name"] for each in listed] == [None, None, "before-overhaul"]
    assert all(0 <= each["age_seconds"] < SECONDS and each["bytes"] > 0 for each in listed)
    with pytest.raises(CheckpointExists):
        wire.call("checkpoint", "m", name="before-overhaul")
    for name in ("", "undo-7", "a/b", "..", "a" * 65):
        with pytest.raises(BadName):
            wire.call("checkpoint", "m", name=name)
    done = wire.call("restore", "m", name="before-overhaul")
    assert done["restored_lsn"] == made["lsn"]
    assert wire.hash() == reference(X[:10])
    assert wire.call("unpin", "m", name="before-overhaul")["pinned"] is False
    with pytest.raises(NoCheckpoint):
        wire.call("restore", "m", name="before-overhaul")
    with pytest.raises(BadMessage):
        wire.call("restore", "m", name="a", lsn=3)
    for field in ("name", "into"):  # not the same as leaving it out
        with pytest.raises(BadName):
            wire.call("restore", "m", **{field: ""})
    assert wire.hash() == reference(X[:10])


def test_the_number_of_named_checkpoints_is_limited(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write_operations, "MOST_NAMED", 2)
    wire = running.wire
    for name in ("a", "b"):
        wire.call("checkpoint", "m", name=name)
    with pytest.raises(TooLarge) as caught:
        wire.call("checkpoint", "m", name="c")
    assert caught.value.detail == {"limit": "named checkpoints", "most": 2}
    with pytest.raises(CheckpointExists):
        wire.call("checkpoint", "m", name="a")
    wire.call("checkpoint", "m")
    wire.learn(X[:10])
    wire.call("restore", "m", name="a")  # its undo checkpoint does not count
    wire.call("unpin", "m", name="a")
    assert wire.call("checkpoint", "m", name="c")["name"] == "c"


def test_a_restore_can_be_undone(running: Running) -> None:
    wire = running.wire
    wire.learn(X[:10])
    wire.call("checkpoint", "m", name="good")
    last = wire.learn(X[10:50])["lsn"]
    done = wire.call("restore", "m", name="good")
    assert (done["undo_lsn"], done["undo_name"]) == (last, f"undo-{last}")
    assert wire.hash() == reference(X[:10])
    again = wire.call("restore", "m", name=done["undo_name"])
    assert wire.hash() == reference(X[:50])
    # And the undo can be undone, by lsn.
    wire.call("restore", "m", lsn=again["undo_lsn"])
    assert wire.hash() == reference(X[:10])


def test_without_a_target_the_newest_checkpoint_that_no_restore_wrote(running: Running) -> None:
    wire = running.wire
    wire.learn(X[:10])
    kept = wire.call("checkpoint", "m")["lsn"]
    wire.learn(X[10:50])
    for _ in range(6):  # the checkpoints that the restores write must not push it out
        assert wire.call("restore", "m")["restored_lsn"] == kept
        assert wire.hash() == reference(X[:10])


@pytest.fixture
def long_history(serve: Callable[..., Running]) -> tuple[Running, dict[int, str]]:
    """A daemon with small segments, and the state hash of model m after each record of it."""
    running = serve(journal={"segment_bytes": 64 * KIB})
    wire = running.wire
    hashes = {wire.create()["lsn"]: wire.hash()}
    wire.create("other")
    for number in range(60):
        rows = slice(10 * number, 10 * number + 1 + number % 7)
        lsn = wire.learn(X[rows], producer="p", epoch=1, seq=number)["lsn"]
        hashes[lsn] = wire.hash()
        wire.learn(np.tile(X[:200], (4, 1)), "other")  # another model's records in between
        if number in (10, 30):
            done = wire.call("restore", "m", **({"name": "pinned"} if number == 30 else {"lsn": 5}))
            hashes[done["lsn"]] = wire.hash()
        if number % 15 == 14:
            wire.call("checkpoint", "m", **({"name": "pinned"} if number == 14 else {}))
            wire.call("checkpoint", "other")
    return running, hashes


def test_a_restore_goes_to_every_lsn_that_checkpoints_and_journal_reach(
    long_history: tuple[Running, dict[int, str]],
) -> None:
    running, hashes = long_history
    wire = running.wire
    wait_for(lambda: running.journal.first_lsn > 1, "retired segments")
    with pytest.raises(NoCheckpoint) as refused:
        wire.call("restore", "m", lsn=10**12)
    ranges = refused.value.detail["ranges"]
    assert len(ranges) > 1  # the pinned one alone, and those that the journal continues
    assert ranges == sorted(ranges)
    assert "to" in refused.value.message
    end = max(hashes)
    reached = 0
    for lsn in range(1, end + 1):
        known = max((each for each in hashes if each <= lsn), default=None)
        if any(first <= lsn <= last for first, last in ranges):
            assert known is not None
            name = f"copy-{lsn}"
            made = wire.call("restore", "m", lsn=lsn, into=name)
            assert made["restored_lsn"] == lsn
            assert wire.hash(name) == hashes[known], lsn
            reached += 1
        else:
            with pytest.raises(NoCheckpoint):
                wire.call("restore", "m", lsn=lsn, into="x")
    assert reached > 30
    assert wire.hash() == hashes[end]  # m itself did not change
    some = next(first for first, last in reversed(ranges) if last > first)
    wire.call("restore", "m", lsn=some + 1)
    assert wire.hash() == hashes[max(each for each in hashes if each <= some + 1)]


def test_a_restored_model_is_recovered_from_the_journal(
    long_history: tuple[Running, dict[int, str]], serve: Callable[..., Running]
) -> None:
    running, hashes = long_history
    lsn = sorted(hashes)[-3]
    running.wire.call("restore", "m", lsn=lsn, into="copy")
    running.wire.call("restore", "m", lsn=lsn)
    running.wire.learn(X[:3], "copy")
    copy = running.wire.hash("copy")
    running.checkpoints.write = _refuse  # type: ignore[method-assign] # so that the next start replays
    running.stop()
    running = serve()
    assert running.recovered.records > 0
    assert running.wire.hash() == hashes[lsn]
    assert running.wire.hash("copy") == copy


def _refuse(*_: Any, **__: Any) -> CheckpointInfo:
    raise DiskFull("no space")


def test_a_copy_is_a_new_model_without_producers(running: Running, serve: Callable[..., Running]) -> None:
    wire = running.wire
    wire.learn(X[:10], producer="p", epoch=3, seq=0)
    wire.call("checkpoint", "m", name="a")
    wire.learn(X[10:20], producer="p", epoch=3, seq=1)
    made = wire.call("restore", "m", name="a", into="m-before")
    assert made["name"] == "m-before"
    assert made["create_lsn"] == made["lsn"] == made["applied_lsn"]
    assert "undo_lsn" not in made
    assert wire.hash("m-before") == reference(X[:10])
    assert wire.hash() == reference(X[:20])
    assert not wire.learn(X[10:30], "m-before", producer="p", epoch=0, seq=0)["duplicate"]
    with pytest.raises(ModelExists):
        wire.call("restore", "m", name="a", into="m-before")
    with pytest.raises(BadName):
        wire.call("restore", "m", name="a", into="../m")
    running.stop()
    running = serve()
    assert running.wire.hash("m-before") == reference(X[:30])


def test_batches_that_arrive_while_the_undo_checkpoint_is_written_can_be_undone_too(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = running.wire
    wire.learn(X[:10])
    wire.call("checkpoint", "m", name="a")
    wire.learn(X[10:20])
    write, may_write, begun = running.checkpoints.write, Event(), Event()

    def write_late(*what: Any, **options: Any) -> CheckpointInfo:
        begun.set()
        assert may_write.wait(SECONDS)
        return write(*what, **options)

    monkeypatch.setattr(running.checkpoints, "write", write_late)
    restore = wire.send(Request("restore", None, "m", {"name": "a"}))
    assert begun.wait(SECONDS)
    other = running.connect()
    last = other.learn(X[20:30])["lsn"]
    may_write.set()
    reply = wire.receive()
    assert reply.id == restore
    assert reply.ok["undo_lsn"] == last
    assert other.hash() == reference(X[:10])
    other.call("restore", "m", name=reply.ok["undo_name"])
    assert other.hash() == reference(X[:30])


def test_without_space_for_the_undo_checkpoint_nothing_is_restored(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = running.wire
    wire.learn(X[:10])
    wire.call("checkpoint", "m", name="a")
    wire.learn(X[10:20])
    with monkeypatch.context() as full:
        full.setattr(running.checkpoints, "write", _refuse)
        with pytest.raises(DiskFull):
            wire.call("restore", "m", name="a")
    assert wire.hash() == reference(X[:20])
    wire.call("restore", "m", name="a")
    assert wire.hash() == reference(X[:10])


def test_a_damaged_checkpoint_is_replaced_by_an_older_one_and_the_journal(running: Running) -> None:
    wire = running.wire
    wire.learn(X[:10])
    wire.call("checkpoint", "m", name="a")
    wire.learn(X[10:20])
    lsn = wire.call("checkpoint", "m", name="b")["lsn"]
    wire.learn(X[20:30])
    _damage(running.checkpoints.list("m", 1)[0].path)
    with pytest.raises(BadCheckpoint):
        wire.call("restore", "m", name="b")
    assert wire.hash() == reference(X[:30])
    wire.call("restore", "m", lsn=lsn)
    assert wire.hash() == reference(X[:20])


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_model_that_is_deleted_while_its_restore_waits_for_the_sync(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, other, write = running.wire, running.connect(), running.checkpoints.write
    last = wire.learn(X[:10])["lsn"]

    def write_and_stop_the_disk(*what: Any, **options: Any) -> CheckpointInfo:
        info = write(*what, **options)
        running.disk.syncs.clear()
        return info

    monkeypatch.setattr(running.checkpoints, "write", write_and_stop_the_disk)
    restore = wire.send(Request("restore", None, "m", {"lsn": 1}))
    wait_for(lambda: running.journal.written_lsn > last, "the record of the restore")
    deleted = other.send(Request("delete", None, "m"))
    wait_for(lambda: running.journal.written_lsn > last + 1, "the deletion")
    running.disk.syncs.set()
    reply = wire.receive()
    assert reply.id == restore
    assert isinstance(reply.error, UnknownModel)
    assert other.receive().id == deleted


def test_a_deletion_while_the_state_is_computed(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = running.wire
    wire.learn(X[:10])
    begun, may_end = _block_history(monkeypatch)
    restore = wire.send(Request("restore", None, "m", {"lsn": 1}))
    assert begun.wait(SECONDS)
    other = running.connect()
    other.call("delete", "m")
    other.create()
    may_end.set()
    reply = wire.receive()
    assert reply.id == restore
    assert isinstance(reply.error, UnknownModel)
    assert other.hash() == reference()


def _block_history(monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """Let every restore wait on its worker; returns (a restore waits, it may go on)."""
    begun, may_end, state = Event(), Event(), History.state

    def slow(self: History, target: Any, pause: Callable[[], None]) -> Any:
        begun.set()
        while not may_end.wait(0.01):
            pause()
        return state(self, target, pause)

    monkeypatch.setattr(History, "state", slow)
    return begun, may_end


def test_learning_and_queries_go_on_while_a_state_is_computed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = running.wire
    monkeypatch.setattr(restores_of_the_daemon, "MAX_WAITING", 5)
    wire.learn(X[:10])
    begun, may_end = _block_history(monkeypatch)
    restores = [wire.send(Request("restore", None, "m", {"lsn": 1})) for _ in range(6)]
    refused = wire.receive()
    assert refused.id == restores[5]
    assert isinstance(refused.error, Busy)
    assert begun.wait(SECONDS)
    other = running.connect()
    for start in range(10, 100, 10):
        other.learn(X[start : start + 10])
    other.call("checkpoint", "m")
    assert other.hash() == reference(X[:100])
    may_end.set()
    replies = [wire.receive() for _ in range(5)]
    assert [reply.id for reply in replies] == restores[:5]
    assert {reply.ok["restored_lsn"] for reply in replies} == {1}
    assert other.hash() == reference()
    undo = [each for each in other.call("checkpoints", "m")["checkpoints"] if each["name"]]
    assert len(undo) == 3  # the last ones are kept


def test_a_stop_ends_restores_that_wait(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    wire = running.wire
    wire.learn(X[:10])
    begun, _ = _block_history(monkeypatch)
    for _ in range(2):
        wire.send(Request("restore", None, "m", {"lsn": 1}))
    assert begun.wait(SECONDS)
    running.daemon.loop.stop()
    for _ in range(2):
        assert isinstance(wire.receive().error, ShuttingDown)
    running.join()
    assert running.failure is None


def test_a_restore_of_more_samples_than_a_slice(running: Running) -> None:
    wire = running.wire
    lsn = wire.ask(Learn("m", np.tile(X, (5, 1))))["lsn"]
    wire.learn(X[:5])
    wire.call("restore", "m", lsn=lsn)
    assert wire.hash() == reference(np.tile(X, (5, 1)))


def test_a_state_for_another_model_is_decoded_once_and_beside_the_loop(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.wire.call("checkpoint", "m", name="a")
    threads: list[str] = []
    decode = Shard._decode

    def decode_and_note(shard: Shard, content: bytes) -> object:
        threads.append(threading.current_thread().name)
        return decode(shard, content)

    monkeypatch.setattr(Shard, "_decode", decode_and_note)
    running.wire.call("restore", "m", name="a", into="copy")
    (thread,) = threads
    assert "restores" in thread
