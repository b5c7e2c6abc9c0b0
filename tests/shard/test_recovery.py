"""Recovery from checkpoints and journal on a real file system, with parts missing or damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamlearn.errors import DamagedCheckpoints, DamagedJournal
from streamlearn.recovery import Recovered, first_needed_lsn, manifest_of, recover, take_over
from streamlearn.replay import ReplayOptions
from streamlearn.shard import Shard
from streamlearn.store import tensors
from streamlearn.store.checkpoint import CheckpointInfo, CheckpointStore
from streamlearn.store.fs import FS
from streamlearn.store.manifest import ManifestFile
from streamlearn.store.record import Record, RecordKind
from streamlearn.store.retention import Retention
from streamlearn.store.scan import JournalScan
from streamlearn_client.protocol import Learn
from tests.shard.fakes import Fakes, RunningSum

X = np.random.default_rng(11).normal(size=(400, 2)).astype(np.float32)
SEGMENT = 2048  # small, for several segments


def reference(x: np.ndarray, **spec: Any) -> str:
    model = RunningSum(**({"dim": 2} | spec))
    model.learn(x)
    return model.state_hash()


class Disk:
    """A data directory, and a shard that lives on it until `crash`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.warnings: list[str] = []
        self.at = 0  # rows of X that were learned
        self.open()

    def open(self, repair: bool = False) -> Recovered:
        fs, directory, warn = FS(), self.directory, self.warnings.append
        scan = JournalScan(fs, directory / "journal", repair=repair)
        self.store = CheckpointStore(fs, directory / "checkpoints", warn=warn)
        manifest = ManifestFile(fs, directory).read()
        recovered = recover(scan, self.store, Fakes(), manifest=manifest, repair=repair)
        self.journal = take_over(
            fs, directory, scan, self.store, recovered, segment_bytes=SEGMENT, repair=repair, warn=warn
        )
        self.recovered, self.shard = recovered, recovered.shard
        return self.recovered

    def retire(self) -> int:
        """Remove the segments that no model needs, as `Checkpointer` does."""
        checkpoints = {(hosted.name, hosted.create_lsn): self.kept(hosted.name) for hosted in self.shard}
        needed = [
            first_needed_lsn(hosted, checkpoints[hosted.name, hosted.create_lsn]) for hosted in self.shard
        ]
        before = min((lsn for lsn in needed if lsn is not None), default=self.journal.durable_lsn + 1)
        ManifestFile(FS(), self.directory).write(
            manifest_of(self.journal.id, before, self.shard, checkpoints)
        )
        return self.journal.retire(before)

    def crash(self) -> None:
        """End the process; the files stay."""
        self.journal = self.shard = None  # type: ignore[assignment]

    def change(self, accept: Callable[[int, int], Record]) -> Record:
        record = accept(self.journal.next_lsn, 0)
        self.journal.append([record])
        self.journal.sync()
        self.shard.enqueue(record)
        self.shard.drain()
        return record

    def create(self, name: str = "m", **spec: Any) -> int:
        return self.change(
            lambda lsn, time: self.shard.accept_create(name, "sum", {"dim": 2} | spec, lsn, time)
        ).lsn

    def delete(self, name: str = "m") -> None:
        self.change(lambda lsn, time: self.shard.accept_delete(name, lsn, time))

    def learn(self, batches: int, name: str = "m") -> None:
        for _ in range(batches):
            learn = Learn(name, X[self.at : self.at + 10])
            self.change(lambda lsn, time, learn=learn: self.shard.accept_learn(learn, lsn, time))
            self.at += 10

    def checkpoint(self, name: str = "m") -> CheckpointInfo:
        return self.store.write(*self.shard.hosted(name).snapshot())

    def kept(self, name: str = "m") -> list[CheckpointInfo]:
        return self.store.list(name, self.shard.hosted(name).create_lsn)

    def hash(self, name: str = "m") -> str:
        return self.shard.hosted(name).model.state_hash()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def spoil(info: CheckpointInfo) -> None:
    data = bytearray(info.path.read_bytes())
    data[len(data) // 2] ^= 1
    info.path.write_bytes(data)


def test_an_empty_directory_is_an_empty_shard(disk: Disk) -> None:
    assert len(disk.shard) == 0
    assert (disk.recovered.records, disk.recovered.rows) == (0, 0)


def test_without_a_checkpoint_everything_is_replayed(disk: Disk) -> None:
    disk.create()
    disk.learn(5)
    disk.crash()
    recovered = disk.open()
    assert (recovered.records, recovered.rows) == (6, 50)
    assert disk.hash() == reference(X[:50])


def test_after_a_checkpoint_only_the_tail_is_replayed(disk: Disk) -> None:
    disk.create()
    disk.learn(5)
    disk.checkpoint()
    disk.learn(2)
    disk.create("other")
    disk.crash()
    recovered = disk.open()
    assert (recovered.records, recovered.rows) == (3, 20)
    assert disk.hash() == reference(X[:70])
    assert [info.lsn for info in recovered.checkpoints["m", 1]] == [6]
    assert recovered.checkpoints["other", 9] == []
    disk.learn(1)  # the shard continues
    assert disk.hash() == reference(X[:80])


def test_a_long_replay_reports_progress(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlearn.replay.BACKLOG_BYTES", 3000)
    disk.create()
    disk.learn(20)
    disk.crash()
    disk.open()
    reported: list[tuple[int, int]] = []
    options = ReplayOptions(progress=lambda lsn, end: reported.append((lsn, end)))
    recover(disk.journal, disk.store, Fakes(), options=options)
    assert len(reported) > 1
    assert reported == sorted(reported)
    assert {end for _, end in reported} == {21}


def test_a_bad_checkpoint_costs_a_longer_replay_and_nothing_else(disk: Disk) -> None:
    disk.create()
    disk.learn(3)
    disk.checkpoint()
    disk.learn(3)
    bad = disk.checkpoint()
    disk.learn(1)
    spoil(bad)
    disk.crash()
    assert disk.open().records == 4
    assert disk.hash() == reference(X[:70])
    assert not bad.path.exists()  # but kept under another name
    assert len(list(bad.path.parent.iterdir())) == 2
    assert any(bad.path.name in warning for warning in disk.warnings)


def test_with_all_checkpoints_bad_the_journal_is_enough_while_it_reaches_back(disk: Disk) -> None:
    disk.create()
    disk.learn(3)
    spoil(disk.checkpoint())
    disk.learn(3)
    disk.checkpoint()
    for info in disk.kept():
        spoil(info)
    disk.crash()
    assert disk.open().records == 7
    assert disk.hash() == reference(X[:60])


def grow_and_retire(disk: Disk) -> None:
    """Two checkpoints, and a journal that no longer has the records before the first."""
    disk.create()
    disk.learn(15)
    disk.checkpoint()
    disk.learn(15)
    disk.checkpoint()
    disk.learn(1)
    lsn = first_needed_lsn(disk.shard.hosted("m"), disk.kept())
    assert lsn == 17
    assert disk.retire() > 0
    assert 1 < disk.journal.first_lsn <= 17


def test_two_checkpoints_let_go_of_the_journal_before_the_older_one(disk: Disk) -> None:
    grow_and_retire(disk)
    spoil(disk.kept()[0])
    disk.crash()
    assert disk.open().records == 16
    assert disk.hash() == reference(X[:310])


def test_a_model_without_any_good_checkpoint_stops_the_start(disk: Disk) -> None:
    grow_and_retire(disk)
    for info in disk.kept():
        spoil(info)
    disk.crash()
    with pytest.raises(DamagedCheckpoints, match=r"'m' has no good checkpoint.*record 1\b") as error:
        disk.open()
    assert error.value.exit_code == 6


def test_more_bad_checkpoints_than_the_journal_makes_up_for(disk: Disk) -> None:
    disk.store = CheckpointStore(FS(), disk.directory / "checkpoints", Retention(3))
    disk.create()
    disk.learn(2)
    disk.checkpoint()
    disk.learn(13)
    disk.checkpoint()
    disk.learn(15)
    disk.checkpoint()
    lsn = first_needed_lsn(disk.shard.hosted("m"), disk.kept())
    assert lsn is not None
    assert disk.retire() > 0
    for info in disk.kept()[:2]:
        spoil(info)
    disk.crash()
    with pytest.raises(
        DamagedCheckpoints, match="2 checkpoints of model 'm' are bad, and so are the records between"
    ):
        disk.open()


def test_checkpoints_that_vanished_with_their_directory_are_missed(disk: Disk) -> None:
    grow_and_retire(disk)
    for path in disk.kept()[0].path.parent.iterdir():
        path.unlink()
    disk.crash()
    with pytest.raises(DamagedCheckpoints, match="created by record 1, and was not deleted, but has no"):
        disk.open()
    (disk.directory / "manifest.json").unlink()
    with pytest.raises(DamagedCheckpoints, match="neither its creation nor a checkpoint"):
        disk.open()


def test_a_journal_that_ends_before_a_checkpoint_is_missed(disk: Disk) -> None:
    disk.create()
    disk.learn(30)
    disk.checkpoint()
    newest = sorted((disk.directory / "journal").iterdir())[-1]
    disk.crash()
    newest.unlink()
    with pytest.raises(DamagedJournal, match="segments of the journal are missing") as error:
        disk.open()
    assert error.value.exit_code == 5
    disk.open(repair=True)
    assert disk.hash() == reference(X[:300])
    disk.learn(1)
    assert disk.shard.hosted("m").applied_lsn == 32  # no lsn is given twice
    disk.crash()
    disk.open()
    assert disk.hash() == reference(X[:310])


def test_a_deleted_model_stays_deleted_though_its_checkpoints_were_left(disk: Disk) -> None:
    disk.create()
    disk.learn(3)
    folder = disk.checkpoint().path.parent
    disk.delete()
    disk.crash()
    assert len(disk.open().shard) == 0
    assert not folder.exists()


def test_of_several_creations_under_one_name_the_last_one_lives(disk: Disk) -> None:
    disk.create()
    disk.learn(3)
    old = disk.checkpoint().path.parent
    disk.delete()
    create_lsn = disk.create(keep=0.25)
    disk.learn(3)
    disk.checkpoint()
    disk.learn(1)
    disk.crash()
    assert disk.open().records == 1
    assert disk.hash() == reference(X[30:70], keep=0.25)
    assert disk.shard.hosted("m").create_lsn == create_lsn
    assert not old.exists()


def test_a_checkpoint_of_a_spec_this_version_does_not_know(disk: Disk) -> None:
    disk.create()
    snapshot = disk.shard.hosted("m").snapshot()
    disk.store.write(*snapshot._replace(metadata={"spec": '{"dim": 2, "from_the_future": 1}'}))
    disk.crash()
    with pytest.raises(DamagedCheckpoints, match="the version of streamlearn that wrote it"):
        disk.open()


def test_a_record_of_a_kind_this_version_does_not_know(disk: Disk) -> None:
    record = disk.shard.accept_create("m", "sum", {"dim": 2}, 1, 0)
    record.payload = b'{"kind": "from the future", "spec": {}}'
    disk.journal.append([record])
    disk.crash()
    with pytest.raises(DamagedJournal, match="record 1 of model 'm' is intact, but"):
        disk.open()


def test_a_restored_checkpoint_of_another_version(disk: Disk) -> None:
    disk.create()
    disk.learn(3)
    metadata = disk.shard.hosted("m").snapshot().metadata
    record = disk.shard.accept_delete("m", disk.journal.next_lsn, 0)
    record.kind, record.payload = RecordKind.RESTORE, tensors.encode({"old": np.zeros(1)}, metadata)
    disk.journal.append([record])
    disk.crash()
    message = "record 5 of model 'm' is intact, but .*'old' is unknown.*; if another version"
    with pytest.raises(DamagedJournal, match=message) as error:
        disk.open()
    assert error.value.detail == {"lsn": 5, "model": "m"}


def test_the_first_needed_lsn_of_a_model() -> None:
    shard = Shard(Fakes())
    record = shard.accept_create("m", "sum", {"dim": 2}, 5, 0)
    shard.enqueue(record)
    hosted = shard.hosted("m")
    info = CheckpointInfo("m", 5, 5, Path("x"), 0, 0, 0, "")
    assert first_needed_lsn(hosted, []) == 5
    assert first_needed_lsn(hosted, [info]) == 5
    assert first_needed_lsn(hosted, [info, info]) is None  # idle, and safe twice
    shard.enqueue(shard.accept_learn(Learn("m", X[:10]), 9, 0))  # type: ignore[arg-type]
    assert first_needed_lsn(hosted, [info, info]) == 6


def test_an_idle_model_whose_checkpoints_vanished_is_missed(disk: Disk) -> None:
    """No record behind the journal's beginning mentions it: only the manifest does."""
    disk.create("idle")
    disk.learn(1, "idle")
    disk.checkpoint("idle")
    disk.checkpoint("idle")
    disk.create()
    for _ in range(2):
        disk.learn(15)
        disk.checkpoint()
    assert disk.retire() > 0
    idle = disk.directory / "checkpoints" / "idle@1"
    idle.rename(disk.directory / "moved")
    disk.crash()
    with pytest.raises(DamagedCheckpoints, match="model 'idle' was created by record 1, and was not deleted"):
        disk.open()
    (disk.directory / "moved").rename(idle)
    disk.open()
    disk.delete("idle")  # before the next retirement: the journal says so
    disk.crash()
    assert len(disk.open().shard) == 1
    disk.crash()
    assert len(disk.open().shard) == 1


def test_first_segments_that_vanished_are_missed(disk: Disk) -> None:
    """The checkpoint is older than what is left of the journal."""
    disk.create()
    disk.learn(3)
    disk.checkpoint()
    disk.learn(30)
    disk.crash()
    first = sorted((disk.directory / "journal").iterdir())[0]
    first.rename(disk.directory / first.name)
    with pytest.raises(DamagedJournal, match="should begin at 1 or before: segments are missing"):
        disk.open()
    (disk.directory / first.name).rename(first)
    disk.open()
    assert disk.hash() == reference(X[:330])


def test_the_journal_of_another_directory_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        disk = Disk(tmp_path / name)
        disk.create()
        disk.learn(2)
        disk.crash()
    (tmp_path / "b/journal").rename(tmp_path / "moved")
    (tmp_path / "a/journal").rename(tmp_path / "b/journal")
    disk = Disk.__new__(Disk)
    disk.directory, disk.warnings = tmp_path / "b", []
    with pytest.raises(DamagedJournal, match=r"is not the journal that manifest\.json belongs to"):
        disk.open()


def test_a_manifest_that_is_not_one_is_refused(disk: Disk) -> None:
    disk.create()
    disk.crash()
    for content in (b"", b"[]", b"{}", b'{"version": 2}', b'{"version": 1, "journal": 5}', bytes(99)):
        (disk.directory / "manifest.json").write_bytes(content)
        with pytest.raises(DamagedJournal, match=r"manifest\.json cannot be read"):
            disk.open()


def test_the_last_arrival_time_is_known_without_the_journal(disk: Disk) -> None:
    disk.create()
    batch = Learn("m", X[:10])
    disk.change(lambda lsn, time: disk.shard.accept_learn(batch, lsn, 1_000))  # type: ignore[arg-type, return-value]
    assert disk.shard.hosted("m").applied_time == 1_000
    disk.checkpoint()
    disk.change(lambda lsn, time: disk.shard.accept_learn(batch, lsn, 2_000))  # type: ignore[arg-type, return-value]
    disk.crash()
    assert disk.open().last_arrival == 2_000
    disk.crash()
    for segment in (disk.directory / "journal").iterdir():
        segment.unlink()
    assert disk.open(repair=True).last_arrival == 1_000
