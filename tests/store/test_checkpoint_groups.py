"""Checkpoints of many models that are written together: the same files, with two syncs for all."""

from __future__ import annotations

import ctypes
import errno
import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from streamlearn.errors import BadCheckpoint, CheckpointExists, DiskFull
from streamlearn.store import CheckpointStore
from streamlearn.store import fs as fs_module
from streamlearn.store.checkpoint import Content, Written
from streamlearn.store.fs import FS
from streamlearn.store.retention import Retention
from tests.faults.lossyfs import LossyFS
from tests.store.test_checkpoint import damage, named, newest, state, write

DIRECTORY = Path("/c")
EXT4 = 0xEF53


class CountingFS(LossyFS):
    """Counts the calls of every operation, reads included."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        super().__init__()

    def __getattribute__(self, name: str) -> Any:
        if name in vars(FS) and not name.startswith("_"):
            self.calls[name] += 1
        return super().__getattribute__(name)


def contents(lsn: int, count: int, first: int = 0) -> list[Content]:
    metadata = {"kind": "som", "lsn": str(lsn)}
    return [Content(f"m{n}", 1, lsn, state(lsn), metadata) for n in range(first, first + count)]


def infos(results: Any) -> list[tuple[str, int]]:
    assert all(isinstance(result, Written) for result in results), results
    return [(result.info.model, result.info.lsn) for result in results]


def files(directory: Path) -> dict[str, bytes]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def test_the_files_are_those_of_single_checkpoints(tmp_path: Path) -> None:
    one, many = (CheckpointStore(FS(), tmp_path / name, Retention(2)) for name in ("one", "many"))
    for store in (one, many):
        write(store, 5, "m3")
    for lsn in (10, 20, 20, 30):
        results = many.write_all(contents(lsn, 12))
        for content, result in zip(contents(lsn, 12), results, strict=True):
            info = one.write(*content)
            assert isinstance(result, Written)
            assert (result.info.lsn, result.info.copy, result.info.digest) == (lsn, info.copy, info.digest)
            assert list(result.infos) == list(many.list(content.model, 1))
    assert files(tmp_path / "many") == files(tmp_path / "one")
    assert many.verify() == []


def test_a_group_needs_two_syncs_and_work_in_proportion_to_its_size() -> None:
    fs = CountingFS()
    store = CheckpointStore(fs, DIRECTORY)
    infos(store.write_all(contents(10, 1)))  # creates the directory
    work = {}
    for count in (50, 100, 200, 400):
        for lsn in (20, 30, 40):  # the third removes an older one
            fs.calls.clear()
            assert len(infos(store.write_all(contents(lsn, count, first=1000 * count)))) == count
        calls = dict(fs.calls)
        assert (calls.pop("group_sync"), calls.pop("begin_group_sync")) == (2, 1)
        assert calls["unlink"] == count
        assert not {"fdatasync", "fsync_dir"} & calls.keys()
        work[count] = sum(calls.values())
    # The models that the store has already, and the others of the group, cost nothing.
    assert work[400] - work[200] == 2 * (work[200] - work[100]) == 4 * (work[100] - work[50])


def test_one_more_checkpoint_costs_the_same_with_many_models() -> None:
    counts = []
    for models in (5, 500):
        fs = CountingFS()
        store = CheckpointStore(fs, DIRECTORY)
        store.write_all(contents(10, models))
        for lsn in (20, 30, 40):
            fs.calls.clear()
            write(store, lsn, "m1")
        counts.append(dict(fs.calls))
    assert counts[0] == counts[1]


def test_a_system_without_a_sync_of_all_files_syncs_each() -> None:
    fs = CountingFS()
    fs.begin_group_sync = lambda directory: None  # type: ignore[assignment, method-assign, return-value]
    store = CheckpointStore(fs, DIRECTORY)
    write(store, 10, "m0")
    fs.calls.clear()
    assert infos(store.write_all(contents(20, 10))) == [(f"m{n}", 20) for n in range(10)]
    assert fs.calls["fdatasync"] == 10
    fs.power_loss()
    assert all(newest(CheckpointStore(fs, DIRECTORY), f"m{n}") == 20 for n in range(10))


def test_a_refused_one_does_not_affect_the_others() -> None:
    fs = LossyFS()
    store = CheckpointStore(fs, DIRECTORY)
    named(store, 10, "kept", "m2")
    group = contents(20, 12)
    group[2] = group[2]._replace(name="kept")
    group[3] = group[3]._replace(arrays={"weights": state(1)["weights"][:, ::2]})  # not C-contiguous
    results = list(store.write_all(group))
    assert isinstance(results.pop(3), ValueError)
    assert isinstance(results.pop(2), CheckpointExists)
    assert len(infos(results)) == 10
    assert newest(store, "m2") == 10
    assert ("m3", 1) not in store.models()


def test_a_full_disk_keeps_what_was_there() -> None:
    fs = LossyFS()
    store = CheckpointStore(fs, DIRECTORY)
    infos(store.write_all(contents(10, 6)))
    size = store.list("m0", 1)[0].bytes
    fs.capacity = fs.used() + 3 * size + size // 2
    results = list(store.write_all(contents(20, 6) + contents(20, 6, first=6)))
    assert len(infos(results[:3])) == 3
    assert all(isinstance(result, DiskFull) for result in results[3:])
    assert [newest(store, f"m{n}") for n in range(6)] == [20, 20, 20, 10, 10, 10]
    assert store.models() == [(f"m{n}", 1) for n in range(6)]
    assert store.verify() == []


@pytest.mark.parametrize("failing", [1, 2])
def test_a_failed_sync_fails_all_and_removes_none(failing: int) -> None:
    fs = LossyFS()
    store = CheckpointStore(fs, DIRECTORY)
    infos(store.write_all(contents(10, 9)))
    infos(store.write_all(contents(20, 9)))
    calls = 0

    def fail(operation: str) -> None:
        nonlocal calls
        calls += operation == "group_sync"
        if calls == failing:
            calls += 1
            raise OSError(errno.EIO, "Input/output error")

    fs.before = fail
    results = store.write_all(contents(30, 9) + contents(30, 2, first=9))
    assert [type(result) for result in results] == [OSError] * 11
    fs.power_loss()
    store = CheckpointStore(fs, DIRECTORY)
    assert [newest(store, f"m{n}") for n in range(9)] == [20] * 9
    assert [len(store.list(f"m{n}", 1)) for n in range(9)] == [2] * 9
    assert [found for found in store.verify() if found.level == "damage"] == []


def test_one_that_does_not_read_back_is_set_aside() -> None:
    fs = LossyFS()
    store = CheckpointStore(fs, DIRECTORY)
    infos(store.write_all(contents(10, 9)))
    infos(store.write_all(contents(20, 9)))
    whole = fs.read

    def misread(path: Path, offset: int = 0, size: int | None = None) -> bytes:
        data = whole(path, offset, size)
        return data[:-1] if path.parent.name == "m4@1" and f"{30:020d}" in path.name else data

    fs.read = misread  # type: ignore[method-assign]
    results = list(store.write_all(contents(30, 9)))
    assert isinstance(results.pop(4), BadCheckpoint)
    assert len(infos(results)) == 8
    assert [info.lsn for info in store.list("m4", 1)] == [20, 10]


def test_bad_ones_do_not_count_in_a_group(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path)
    for lsn in (10, 20):
        infos(store.write_all(contents(lsn, 9)))
    damage(store.list("m5", 1)[0].path)
    infos(store.write_all(contents(30, 9)))
    assert [info.lsn for info in store.list("m5", 1)] == [30, 10]
    assert [info.lsn for info in store.list("m6", 1)] == [30, 20]
    infos(store.write_all(contents(40, 9), retire=False))
    assert [info.lsn for info in store.list("m6", 1)] == [40, 30, 20]


def test_a_process_that_may_not_sync_all_files_syncs_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container may forbid the system call."""

    def forbidden(fd: int) -> int:
        ctypes.set_errno(errno.EPERM)
        return -1

    store = CheckpointStore(FS(), tmp_path)
    write(store, 10, "m0")
    monkeypatch.setattr(fs_module, "_syncfs", forbidden)
    monkeypatch.setattr(fs_module, "_file_system", lambda fd: EXT4)
    assert FS().begin_group_sync(tmp_path) is None
    assert infos(store.write_all(contents(20, 10))) == [(f"m{n}", 20) for n in range(10)]
    assert store.verify() == []


class Syncfs:
    """A system call that is permitted, and keeps the directories that it was called for."""

    def __init__(self) -> None:
        self.synced: list[Path] = []

    def __call__(self, fd: int) -> int:
        try:
            self.synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")))
        except FileNotFoundError:
            ctypes.set_errno(errno.EBADF)
            return -1
        return 0


@pytest.mark.parametrize("file_system", [EXT4, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994])
def test_a_group_costs_two_syncs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_system: int) -> None:
    syncfs = Syncfs()
    monkeypatch.setattr(fs_module, "_syncfs", syncfs)
    monkeypatch.setattr(fs_module, "_file_system", lambda fd: file_system)
    store = CheckpointStore(FS(), tmp_path)
    infos(store.write_all(contents(10, 10)))  # creates the directories
    syncfs.synced.clear()
    assert infos(store.write_all(contents(20, 10))) == [(f"m{n}", 20) for n in range(10)]
    assert len(syncfs.synced) == 2


@pytest.mark.parametrize(
    "file_system", [0x65735546, 0x794C7630, 0x6969, 0], ids=["FUSE", "overlay", "NFS", "?"]
)
def test_a_file_system_that_hides_errors_syncs_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_system: int
) -> None:
    syncfs = Syncfs()
    monkeypatch.setattr(fs_module, "_syncfs", syncfs)
    monkeypatch.setattr(fs_module, "_file_system", lambda fd: file_system)
    synced: list[int] = []
    fdatasync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (synced.append(fd), fdatasync(fd)))
    store = CheckpointStore(FS(), tmp_path)
    assert infos(store.write_all(contents(10, 10))) == [(f"m{n}", 10) for n in range(10)]
    assert len(synced) == 10
    assert syncfs.synced == []
    links = [Path("/proc/self/fd", fd) for fd in os.listdir("/proc/self/fd")]
    opened = [os.readlink(link) for link in links if link.is_symlink()]
    assert not [path for path in opened if path.startswith(str(tmp_path))]


@pytest.mark.parametrize(
    ("system", "release", "found"),
    [
        ("Linux", "5.10.0-28-amd64", False),
        ("Linux", "5.16.20", False),
        ("Linux", "5.17.0", True),
        ("Linux", "6.1.0-18-amd64", True),
        ("Darwin", "23.4.0", False),
    ],
)
def test_only_a_linux_that_reports_errors_syncs_a_group(
    monkeypatch: pytest.MonkeyPatch, system: str, release: str, found: bool
) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(sysname=system, release=release))
    assert (fs_module._find_syncfs() is not None) == found
