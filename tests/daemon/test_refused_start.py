"""A start that is refused changes no file except the lock, so nothing is lost when its cause is undone."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import zmq

from streamlearn import models
from streamlearn.daemon import lifecycle
from streamlearn.daemon.config import DeclaredModel, Settings
from streamlearn.errors import StreamlearnError
from streamlearn.recovery import Recovered, first_needed_lsn, manifest_of, recover, take_over
from streamlearn.store import FS, CheckpointStore, JournalScan
from streamlearn.store.fs import Bytes
from streamlearn.store.manifest import ManifestFile
from streamlearn.store.retention import Retention
from streamlearn_client.protocol import Learn

X = np.random.default_rng(5).normal(size=(600, 2)).astype(np.float32)
FREE = dict.fromkeys(("requests", "firehose", "events"), "tcp://127.0.0.1:*")


def examine(directory: Path, repair: bool = False) -> tuple[JournalScan, CheckpointStore, Recovered]:
    scan = JournalScan(FS(), directory / "journal", repair=repair)
    store = CheckpointStore(FS(), directory / "checkpoints")
    manifest = ManifestFile(FS(), directory).read()
    return scan, store, recover(scan, store, models, manifest=manifest, repair=repair)


def make(directory: Path) -> None:
    """A data directory after kill -9.

    Its journal has several segments, without the oldest ones, and a torn tail. It has three checkpoints of
    model m, of which the newest is bad, and the checkpoints of a model that was deleted.
    """
    scan, store, recovered = examine(directory)
    journal = take_over(FS(), directory, scan, store, recovered, segment_bytes=2048)
    shard = recovered.shard

    def change(record: Any) -> None:
        journal.append([record])
        journal.sync()
        shard.enqueue(record)
        shard.drain()

    for name in ("m", "deleted"):
        change(shard.accept_create(name, "competitive", {"dim": 2, "units": 3}, journal.next_lsn, 0))
    store.write(*shard.hosted("deleted").snapshot())
    change(shard.accept_delete("deleted", journal.next_lsn, 0))
    for begin in range(0, 600, 10):
        change(shard.accept_learn(Learn("m", X[begin : begin + 10]), journal.next_lsn, 0))
        if begin in (110, 210):
            info = store.write(*shard.hosted("m").snapshot())
        if begin == 230:
            infos = store.list("m", 1)
            needed = first_needed_lsn(shard.hosted("m"), infos)
            assert needed is not None
            ManifestFile(FS(), directory).write(manifest_of(journal.id, needed, shard, {("m", 1): infos}))
            assert journal.retire(needed) > 0
    store = CheckpointStore(FS(), directory / "checkpoints", Retention(newest=3))
    info = store.write(*shard.hosted("m").snapshot())
    info.path.write_bytes(info.path.read_bytes()[:-1] + b"?")
    newest = sorted((directory / "journal").iterdir())[-1]
    with newest.open("r+b") as file:
        file.seek(len(newest.read_bytes().rstrip(b"\0")) + 8 & ~7)
        file.write(b"SLRC half a record")
    journal._close_files()  # the process is gone, and CLOSE is not written


def tree(directory: Path) -> dict[str, bytes | None]:
    """Every file's content by name, and every directory's name."""
    return {
        str(path.relative_to(directory)): None if path.is_dir() else path.read_bytes()
        for path in directory.rglob("*")
        if path.name != "lock"
    }


def start(directory: Path, **settings: Any) -> int:
    """The exit code of a start that is refused."""
    return lifecycle.run(Settings(data_dir=directory, **({"endpoints": FREE} | settings)))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("original") / "data"
    make(directory)
    assert len(segments(directory)) >= 4, "there is none in the middle"
    return directory


@pytest.fixture
def data(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


def hash_of(directory: Path) -> str:
    return examine(directory)[2].shard.hosted("m").model.state_hash()


def segments(data: Path) -> list[Path]:
    """The segments, without the spare one."""
    return sorted((data / "journal").glob("*.log"))


class Fault:
    """Files that were moved out of the data directory, until `undo`."""

    def __init__(self, data: Path, paths: Sequence[Path]) -> None:
        self._moved = [(path, data.parent / f"moved {number}") for number, path in enumerate(paths)]
        for path, aside in self._moved:
            path.rename(aside)

    def undo(self) -> None:
        for path, aside in self._moved:
            aside.rename(path)


MISSING: dict[str, tuple[int, Callable[[Path], list[Path]]]] = {
    "all segments": (5, segments),
    "the journal's directory": (5, lambda data: [data / "journal"]),
    "the first segment": (5, lambda data: segments(data)[:1]),
    "a segment in the middle": (5, lambda data: segments(data)[2:3]),
    "several segments in the middle": (5, lambda data: segments(data)[1:4]),
    "the checkpoints' directory": (6, lambda data: [data / "checkpoints"]),
    "the model's checkpoints": (6, lambda data: [data / "checkpoints/m@1"]),
    "the journal and the checkpoints": (5, lambda data: [data / "journal", data / "checkpoints"]),
}


@pytest.mark.parametrize("name", MISSING)
def test_files_that_are_moved_away_and_back(data: Path, name: str) -> None:
    code, choose = MISSING[name]
    expected = hash_of(data)
    complete = tree(data)
    fault = Fault(data, choose(data))
    before = tree(data)
    for _ in range(2):
        assert start(data) == code
        assert tree(data) == before
    fault.undo()
    assert tree(data) == complete
    assert hash_of(data) == expected


def test_segments_moved_away_and_back_after_a_start_with_repair(data: Path) -> None:
    """The repaired journal is another one. The segments of two journals are never mixed or cut."""
    expected = hash_of(data)
    originals = segments(data)
    fault = Fault(data, originals)
    scan, store, recovered = examine(data, repair=True)
    take_over(FS(), data, scan, store, recovered, repair=True)._close_files()
    started = set(segments(data)) - set(originals)  # a segment that moves back may replace one
    fault.undo()
    before = tree(data)
    for repair in (False, True):
        assert start(data, journal={"repair": repair}) == 5
        assert tree(data) == before
    for path in started:
        if path in segments(data):
            path.unlink()
    (data / "manifest.json").unlink()
    assert hash_of(data) == expected


def test_a_journal_without_checkpoints_moved_away_and_back(tmp_path: Path) -> None:
    """Only the manifest shows that there was a journal."""
    data = tmp_path / "data"
    scan, store, recovered = examine(data)
    journal = take_over(FS(), data, scan, store, recovered)
    for record in (recovered.shard.accept_create("m", "competitive", {"dim": 2, "units": 3}, 1, 0),):
        journal.append([record])
    journal.close()
    fault = Fault(data, segments(data))
    before = tree(data)
    assert start(data) == 5
    assert tree(data) == before
    fault.undo()
    assert len(examine(data)[2].shard) == 1


def damage_middle(data: Path) -> None:
    path = segments(data)[2]
    content = bytearray(path.read_bytes())
    content[300] ^= 1
    path.write_bytes(content)


def damage_all_checkpoints(data: Path) -> None:
    for path in (data / "checkpoints/m@1").iterdir():
        path.write_bytes(path.read_bytes()[:-1] + b"!")


def damage_manifest(data: Path) -> None:
    (data / "manifest.json").write_text("{")


def no_damage(data: Path) -> None:
    pass


def declared(**spec: Any) -> dict[str, Any]:
    return {"models": (DeclaredModel(name="m", kind="competitive", spec={"dim": 2, "units": 3} | spec),)}


REFUSALS: dict[str, tuple[int, Callable[[Path], None], dict[str, Any]]] = {
    "a damaged segment": (5, damage_middle, {}),
    "a damaged manifest": (5, damage_manifest, {}),
    "damaged checkpoints": (6, damage_all_checkpoints, {}),
    "a declared model that is another one": (2, no_damage, declared(units=4)),
    "more declared models than allowed": (
        2,
        no_damage,
        {
            "limits": {"models": 1},
            "models": (DeclaredModel(name="n", kind="som", spec={"dim": 1, "grid": [2]}),),
        },
    ),
    "an open network": (7, no_damage, {"endpoints": FREE | {"requests": "tcp://0.0.0.0:*"}}),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refused_start_changes_nothing(data: Path, name: str) -> None:
    code, damage, settings = REFUSALS[name]
    damage(data)
    before = tree(data)
    assert start(data, **settings) == code
    assert tree(data) == before


def test_a_port_that_is_taken(data: Path) -> None:
    before = tree(data)
    context: zmq.Context[Any] = zmq.Context()
    try:
        holder = context.socket(zmq.PULL)
        holder.bind("tcp://127.0.0.1:*")
        taken = holder.last_endpoint.rstrip(b"\0").decode()
        assert start(data, endpoints=FREE | {"events": taken}) == 3
        assert tree(data) == before
    finally:
        context.destroy(0)


def test_a_directory_in_use(data: Path) -> None:
    before = tree(data)
    with FS().lock(data / "lock"):
        assert start(data) == 4
        assert tree(data) == before


class Faulty(FS):
    """Files that can be read, and operations that fail."""

    fails: ClassVar[dict[str, int]] = {}
    unwritable: ClassVar[tuple[str, ...]] = ()
    unreadable: ClassVar[tuple[str, ...]] = ()

    def _check(self, operation: str) -> None:
        if operation in self.fails:
            raise OSError(self.fails[operation], os.strerror(self.fails[operation]))

    def fdatasync(self, fd: int) -> None:
        self._check("fdatasync")
        super().fdatasync(fd)

    def create(self, path: Path) -> int:
        self._check("create")
        return super().create(path)

    def pwritev(self, fd: int, buffers: Sequence[Bytes], offset: int) -> int:
        self._check("pwritev")
        return super().pwritev(fd, buffers, offset)

    def writable(self, path: Path) -> bool:
        return path.name not in self.unwritable

    def read(self, path: Path, offset: int = 0, size: int | None = None) -> bytes:
        if path.name in self.unreadable or path.parent.name in self.unreadable:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return super().read(path, offset, size)


FAULTS: dict[str, tuple[int, dict[str, Any]]] = {
    "a data directory that is read-only": (2, {"unwritable": ("data",)}),
    "a journal of another owner": (2, {"unwritable": ("journal",)}),
    "checkpoints of another owner": (2, {"unwritable": ("checkpoints",)}),
    "checkpoints of a model of another owner": (2, {"unwritable": ("m@1",)}),
    "a full disk that refuses what is on it": (8, {"fails": {"pwritev": errno.ENOSPC}}),
    "a journal that can't be read": (2, {"unreadable": ("journal",)}),
    "checkpoints that can't be read": (2, {"unreadable": ("m@1",)}),
    "a manifest that can't be read": (2, {"unreadable": ("manifest.json",)}),
    "a disk that fails to sync": (8, {"fails": {"fdatasync": errno.EIO}}),
    "a disk that fails to write": (8, {"fails": {"pwritev": errno.EIO}}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_start_that_the_files_refuse(data: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, faults = FAULTS[name]
    before = tree(data)
    for attribute, value in faults.items():
        monkeypatch.setattr(Faulty, attribute, value)
    monkeypatch.setattr(lifecycle, "FS", Faulty)
    assert start(data) == code
    assert tree(data) == before


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("operation", ["create", "pwritev", "fdatasync"])
def test_a_first_start_that_fails_leaves_no_journal(
    tmp_path: Path, operation: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Faulty, "fails", {operation: code})
    monkeypatch.setattr(lifecycle, "FS", Faulty)
    assert start(tmp_path / "data") == 8
    assert tree(tmp_path / "data") == {}


def test_a_journal_that_changes_during_the_start_is_not_taken_over(data: Path) -> None:
    scan, store, recovered = examine(data)
    shutil.copy(segments(data)[0], data / "copy")
    last = segments(data)[-1]
    last.write_bytes(last.read_bytes()[:100])
    before = tree(data)
    with pytest.raises(StreamlearnError, match="changed while it was replayed"):
        take_over(FS(), data, scan, store, recovered)
    assert tree(data) == before
