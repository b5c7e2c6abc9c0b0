"""Backups of a running daemon: consistent, complete, harmless to learning, and refused where they must be."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamlearn.errors import BadValue, Busy, DiskFull, Forbidden, ShuttingDown
from streamlearn.recovery import recover
from streamlearn.store import backup as backups
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.fs import FS
from streamlearn.store.manifest import ManifestFile
from streamlearn.store.scan import JournalScan
from streamlearn.store.verify import verify_journal
from streamlearn_client.protocol import Request
from tests.daemon.harness import Running, X, reference
from tests.shard.fakes import Fakes
from tools.waiting import wait_for

KIB = 1024


def states(copy: Path) -> dict[str, tuple[int, str]]:
    """Check a copy as `verify` and `serve` do; returns name → (samples, state hash)."""
    fs, store = FS(), CheckpointStore(FS(), copy / "checkpoints")
    assert verify_journal(fs, copy / "journal") == []
    assert store.verify() == []
    scan = JournalScan(fs, copy / "journal")
    assert scan.closed  # nothing at its end can get lost without notice
    manifest = ManifestFile(fs, copy).read()
    shard = recover(scan, store, Fakes(), manifest=manifest).shard
    return {hosted.name: (hosted.model.samples, hosted.model.state_hash()) for hosted in shard}


def left_behind(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if "partial" in name]


def test_a_backup_is_the_state_of_everything_acknowledged_before(running: Running, tmp_path: Path) -> None:
    wire = running.wire
    wire.create("n")
    wire.call("checkpoint", "m", name="pinned")
    for start in range(0, 60, 10):
        wire.learn(X[start : start + 10], producer="p", epoch=1, seq=start // 10)
        wire.learn(X[start : start + 5], "n")
        wire.call("checkpoint", "m")
    lsn = wire.learn(X[60:70], ack="received", producer="p", epoch=1, seq=6)["lsn"]
    done = wire.call("backup", directory=str(tmp_path / "copy"))
    assert done["directory"] == str(tmp_path / "copy")
    assert done["lsn"] >= lsn
    assert (done["models"], done["segments"], done["checkpoints"], done["damaged"]) == (2, 1, 3, 0)
    sizes = sum(path.stat().st_size for path in (tmp_path / "copy").rglob("*") if path.is_file())
    assert done["bytes"] == sizes
    assert done["seconds"] > 0
    n = reference(*(X[start : start + 5] for start in range(0, 60, 10)))
    assert states(tmp_path / "copy") == {"m": (70, reference(X[:70])), "n": (30, n)}
    data = tmp_path / "data"
    kept = {path.name: path.stat().st_mtime_ns for path in data.rglob("*.safetensors")}
    copied = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "copy").rglob("*.safetensors")}
    assert copied == kept  # with their times, which decide what is kept
    assert left_behind(tmp_path) == []
    wire.learn(X[70:80], producer="p", epoch=1, seq=7)
    assert wire.hash() == reference(X[:80])


def test_a_daemon_serves_a_backup(running: Running, tmp_path: Path) -> None:
    wire = running.wire
    wire.learn(X[:10], producer="p", epoch=1, seq=0)
    wire.call("backup", directory=str(tmp_path / "copy"))
    wire.learn(X[10:20], producer="p", epoch=1, seq=1)
    copy = Running(tmp_path / "copy")
    try:
        assert copy.wire.learn(X[:10], producer="p", epoch=1, seq=0)["duplicate"]
        assert copy.wire.hash() == reference(X[:10])
        copy.wire.learn(X[10:30], producer="p", epoch=1, seq=1)
        assert copy.wire.hash() == reference(X[:30])
        copy.wire.call("backup", directory=str(tmp_path / "copy of the copy"))
    finally:
        copy.stop()
    assert states(tmp_path / "copy of the copy") == {"m": (30, reference(X[:30]))}
    assert wire.hash() == reference(X[:20])


@pytest.fixture
def small_segments(serve: Callable[..., Running]) -> Running:
    running = serve(journal={"segment_bytes": 64 * KIB})
    running.wire.create()
    return running


@pytest.fixture
def slow_copy(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Semaphore]:
    """Every chunk of a backup needs one permit."""
    permits, write = threading.Semaphore(0), backups.write_backup
    stopped = threading.Event()

    def write_slowly(fs: FS, plan: Any, place: Path, pause: Callable[[], None]) -> Any:
        def wait() -> None:
            while not (stopped.is_set() or permits.acquire(timeout=0.01)):
                pause()
            pause()

        return write(fs, plan, place, wait)

    monkeypatch.setattr("streamlearn.daemon.operations.backups.write_backup", write_slowly)
    yield permits
    stopped.set()


def test_learning_goes_on_during_a_backup_and_nothing_is_removed_before_its_end(
    small_segments: Running, slow_copy: threading.Semaphore, tmp_path: Path
) -> None:
    wire, other = small_segments.wire, small_segments.connect()
    rows = np.tile(X[:500], (4, 1))
    for _ in range(5):
        wire.learn(rows)
        wire.call("checkpoint", "m")
    wire.create("gone")
    wire.learn(X[:7], "gone")
    wire.call("checkpoint", "gone")
    backup = wire.send(Request("backup", None, "", {"directory": str(tmp_path / "copy")}))
    wait_for(lambda: left_behind(tmp_path), "the copy")
    first = small_segments.journal.first_lsn
    other.call("delete", "gone")
    for _ in range(10):
        other.learn(rows)
        other.call("checkpoint", "m")
    slow_copy.release()
    with pytest.raises(Busy):
        other.call("backup", directory=str(tmp_path / "second"))
    assert small_segments.journal.first_lsn == first
    assert len(small_segments.checkpoints.models()) == 2
    for _ in range(1000):
        slow_copy.release()
    reply = wire.receive()
    assert reply.id == backup
    assert reply.error is None
    assert states(tmp_path / "copy") == {
        "m": (5 * len(rows), reference(*[rows] * 5)),
        "gone": (7, reference(X[:7])),
    }
    other.call("checkpoint", "m")
    wait_for(lambda: len(small_segments.checkpoints.models()) == 1, "the removal of the deleted model")
    wait_for(lambda: small_segments.journal.first_lsn > first, "the removal of segments")
    assert other.hash() == reference(*[rows] * 15)


def test_a_stop_gives_up_a_backup_and_leaves_nothing(
    small_segments: Running, slow_copy: threading.Semaphore, tmp_path: Path
) -> None:
    wire = small_segments.wire
    wire.learn(X)
    wire.send(Request("backup", None, "", {"directory": str(tmp_path / "copy")}))
    wait_for(lambda: left_behind(tmp_path), "the copy")
    small_segments.daemon.loop.stop()
    assert isinstance(wire.receive().error, ShuttingDown)
    small_segments.join()
    assert small_segments.failure is None
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "copy").exists()


def test_a_full_disk_leaves_nothing_and_is_not_tried_again(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, create = running.wire, running.disk.create

    def create_and_fill(path: Path) -> int:
        running.disk.full = "partial" in str(path) and path.suffix == ".log"
        return create(path)

    wire.learn(X[:10])
    wire.call("checkpoint", "m")
    monkeypatch.setattr(running.disk, "create", create_and_fill)
    with pytest.raises(DiskFull) as refused:
        wire.call("backup", directory=str(tmp_path / "copy"))
    running.disk.full = False
    assert not refused.value.retryable
    assert left_behind(tmp_path) == []
    monkeypatch.setattr(running.disk, "free_bytes", lambda _: 100)
    with pytest.raises(DiskFull, match="100 bytes are free"):
        wire.call("backup", directory=str(tmp_path / "copy"))
    assert left_behind(tmp_path) == []
    assert not (tmp_path / "copy").exists()
    monkeypatch.undo()
    wire.call("backup", directory=str(tmp_path / "copy"))
    assert states(tmp_path / "copy") == {"m": (10, reference(X[:10]))}


def test_a_damaged_checkpoint_is_left_out(running: Running, tmp_path: Path) -> None:
    wire = running.wire
    wire.learn(X[:10])
    wire.call("checkpoint", "m")
    wire.learn(X[10:20])
    wire.call("checkpoint", "m")
    path = running.checkpoints.list("m", 1)[0].path
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = wire.call("backup", directory=str(tmp_path / "copy"))
    assert (done["checkpoints"], done["damaged"]) == (1, 1)
    assert states(tmp_path / "copy") == {"m": (20, reference(X[:20]))}


def test_what_a_killed_daemon_left_is_removed_by_the_next_backup(running: Running, tmp_path: Path) -> None:
    wire = running.wire
    wire.learn(X[:10])
    for name in ("first", "second"):
        partial = tmp_path / f".{name}.{running.journal.id:016x}.partial"
        (partial / "journal").mkdir(parents=True)
        (partial / "journal" / f"{1:020d}.log").write_bytes(b"cut")
        (partial / "checkpoints" / "m@1").mkdir(parents=True)
        (partial / "checkpoints" / "m@1" / "file").write_bytes(b"cut")
    foreign = tmp_path / f".other.{running.journal.id ^ 1:016x}.partial"
    foreign.mkdir()
    wire.call("backup", directory=str(tmp_path / "first"))
    assert left_behind(tmp_path) == [foreign.name]  # of another daemon, which may be writing it


@pytest.mark.parametrize(
    ("destination", "problem"),
    [
        ("relative/copy", "not absolute"),
        ("", "not absolute"),
        ("/", "not absolute"),
        ("{tmp}/../copy", "not absolute"),
        ("{tmp}/a\0b", "not absolute"),
        ("{tmp}/missing/copy", "no such directory"),
        ("{tmp}/file/copy", "no such directory"),
        ("{tmp}/" + "x" * 300, "no such directory"),
        ("{tmp}/file", "exists"),
        ("{tmp}/data", "in the data directory"),
        ("{tmp}/data/journal/copy", "in the data directory"),
        ("{tmp}/link/copy", "in the data directory"),
        ("{tmp}/empty", "exists"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(
    running: Running, tmp_path: Path, destination: str, problem: str
) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadValue) as refused:
        running.wire.call("backup", directory=destination.format(tmp=tmp_path))
    assert refused.value.detail["problem"] == problem
    assert sorted(tmp_path.rglob("*")) == before


def test_a_directory_without_permission_is_refused(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(directory: Path) -> None:
        raise PermissionError(13, "Permission denied", str(directory))

    monkeypatch.setattr(running.disk, "create_directory", refuse)
    with pytest.raises(BadValue, match="may not write") as refused:
        running.wire.call("backup", directory=str(tmp_path / "copy"))
    assert refused.value.detail["problem"] == "permission"


def test_the_setting_limits_where_backups_are_written(serve: Callable[..., Running], tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (allowed / "link").symlink_to(tmp_path)
    running = serve(backup={"directory": str(allowed)})
    for destination in (
        tmp_path / "copy",
        allowed / "link" / "copy",
        tmp_path / "missing" / "copy",
        Path("/etc/x"),
    ):
        with pytest.raises(Forbidden) as refused:
            running.wire.call("backup", directory=str(destination))
        assert refused.value.detail["directory"] == str(allowed)
    assert not (tmp_path / "copy").exists()
    running.wire.call("backup", directory=str(allowed / "copy"))
    assert states(allowed / "copy") == {}


def test_a_daemon_for_other_hosts_needs_the_setting(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamlearn.daemon.operations.backups.is_local", lambda endpoint: False)
    with pytest.raises(Forbidden, match=r"backup\.directory"):
        running.wire.call("backup", directory=str(tmp_path / "copy"))
