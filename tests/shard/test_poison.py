"""Deaths at a record, found out by processes that really die: forks of this one, with fake models."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import numpy as np
import pytest

from streamlearn.daemon.sdnotify import Watchdog
from streamlearn.daemon.trial import survives
from streamlearn.errors import DirectoryLocked, Quarantined, UnknownModel
from streamlearn.recovery import Recovered, first_needed_lsn, recover, take_over
from streamlearn.replay import MOST_REPEATS, ReplayOptions
from streamlearn.set_aside import Repair
from streamlearn.shard import Snapshot
from streamlearn.store.backup import plan_backup, write_backup
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.deaths import MOST_SUSPECTS, DeathLog
from streamlearn.store.fs import FS, Lock
from streamlearn.store.journal import Journal
from streamlearn.store.manifest import ManifestFile
from streamlearn.store.record import Place, Record, RecordKind
from streamlearn.store.scan import JournalScan
from streamlearn.verification import verify
from streamlearn_client.protocol import Learn
from tests.shard.fakes import Fakes, RunningSum

pytestmark = [pytest.mark.faults, pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")]

X = np.random.default_rng(13).normal(size=(400, 2)).astype(np.float32)
POISON = np.float32(666)
DIED = 9
SECONDS = 60.0


class Poisoned(RunningSum):
    """Ends the process at a sample with the value POISON, and takes its time."""

    kind = "poisoned"
    pause = 0.0  # seconds per sample
    began: ClassVar[list[int]] = []  # file descriptors to tell, once, that samples are being learned

    def _learn(self, batch: Any) -> Any:
        while self.began:
            os.close(self.began.pop())
        for sample in batch.x:
            time.sleep(self.pause)
            if POISON in sample:
                os._exit(DIED)
        return super()._learn(batch)


class Source(Fakes):
    kinds = Fakes.kinds | {"poisoned": Poisoned}


def in_child(run: Callable[[], object]) -> int:
    """Run in a fork of this process; return its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            run()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def lock_of_the_dead(directory: Path) -> Lock:
    """The lock, as soon as it is free. A killed process may leave a trial that has just been forked."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return FS().lock(directory / "lock")
        except DirectoryLocked:
            assert time.monotonic() < deadline
            time.sleep(0.001)


class Start:
    """One process on a data directory. It holds the lock until `end`."""

    def __init__(self, directory: Path, trial: Callable[[Any], bool] | None = None) -> None:
        fs = FS()
        self.lock = fs.lock(directory / "lock")
        self.store = CheckpointStore(fs, directory / "checkpoints")
        scan = JournalScan(fs, directory / "journal")
        self.recovered: Recovered = recover(
            scan,
            self.store,
            Source(),
            manifest=ManifestFile(fs, directory).read(),
            deaths=DeathLog(self.lock, lambda: 1_800_000_000_000_000_000),
            options=ReplayOptions(trial=trial or (lambda step: survives(self.lock, Watchdog(), step))),
        )
        self.shard = self.recovered.shard
        self.journal = take_over(fs, directory, scan, self.store, self.recovered, segment_bytes=2048)

    def write(self, record: Record) -> None:
        self.journal.append([record])
        self.shard.enqueue(record)

    def create(self, name: str) -> None:
        self.write(self.shard.accept_create(name, "poisoned", {"dim": 2}, self.journal.next_lsn, 0))

    def learn(self, name: str, x: np.ndarray, **fields: Any) -> None:
        record = self.shard.accept_learn(Learn(name, x, **fields), self.journal.next_lsn, 0)
        assert isinstance(record, Record)
        self.write(record)

    def hash(self, name: str) -> str:
        self.shard.drain()
        return self.shard.hosted(name).model.state_hash()

    def end(self) -> None:
        self.journal.close()
        self.lock.release()


def reference(*parts: np.ndarray) -> str:
    model = Poisoned(dim=2)
    for part in parts:
        model.learn(part)
    return model.state_hash()


def poison(rows: int, row: int) -> np.ndarray:
    x = X[:rows].copy()
    x[row, 1] = POISON
    return x


def journal_with(directory: Path, *batches: np.ndarray) -> None:
    """A process that journals the batches for `bad` and `good` in turn, and dies when it learns them."""

    def run() -> None:
        start = Start(directory)
        for name in ("bad", "good"):
            start.create(name)
        for batch in batches:
            start.learn("bad", batch, producer="p", epoch=1, seq=start.journal.next_lsn - 3)
        start.journal.sync()
        start.shard.drain()

    assert in_child(run) == DIED


def die(directory: Path) -> None:
    assert in_child(lambda: Start(directory)) == DIED


@pytest.mark.parametrize(("rows", "row"), [(1, 0), (40, 0), (40, 17), (40, 39), (300, 290)])
def test_after_two_deaths_the_model_is_set_aside(tmp_path: Path, rows: int, row: int) -> None:
    journal_with(tmp_path, X[:50], X[50:60], poison(rows, row), X[60:90])
    die(tmp_path)
    for _ in range(2):
        start = Start(tmp_path)
        aside = start.shard.find("bad").set_aside
        assert aside is not None
        assert (aside.lsn, aside.deaths) == (5, 2)
        with pytest.raises(Quarantined, match="died 2 times while it applied record 5") as error:
            start.shard.hosted("bad")
        assert error.value.detail["lsn"] == 5
        assert "2027-01-15" in error.value.detail["reason"]
        hosted = start.shard.find("bad")
        assert hosted.applied_lsn == 4
        assert hosted.model.state_hash() == reference(X[:60])
        assert hosted.accepted_lsn == 6
        start.end()
        report = verify(FS(), tmp_path, Source())
        assert report.refusal is None
        assert [(found.level, found.path.name) for found in report.findings] == [("note", "lock")]
        assert "model bad is set aside: the daemon died 2 times" in report.findings[0].message


def test_every_request_for_it_is_refused_and_the_others_go_on(tmp_path: Path) -> None:
    journal_with(tmp_path, poison(3, 1))
    die(tmp_path)
    start = Start(tmp_path)
    shard = start.shard
    refused: list[Callable[[], object]] = [
        lambda: shard.accept_learn(Learn("bad", X[:1]), 9, 0),
        lambda: shard.accept_delete("bad", 9, 0),
        lambda: shard.accept_restore("bad", b"", 9, 0),
        lambda: shard.accept_reheat("bad", 0.5, 9, 0),
    ]
    for request in refused:
        with pytest.raises(Quarantined):
            request()
    start.learn("good", X[:30])
    shard.forget_unqueued()
    assert start.hash("good") == reference(X[:30])
    assert first_needed_lsn(shard.find("bad"), []) == 1
    start.end()


def test_its_segments_are_kept(tmp_path: Path) -> None:
    journal_with(tmp_path, X[:10], poison(3, 1))
    die(tmp_path)
    start = Start(tmp_path)
    hosted = start.shard.find("bad")
    infos = [start.store.write(*Snapshot("bad", 1, 3, {"a": X}, {})) for _ in range(2)]
    assert first_needed_lsn(hosted, infos) == 4
    start.end()


def test_a_dropped_record_is_dropped_in_every_replay(tmp_path: Path) -> None:
    journal_with(tmp_path, X[:50], poison(40, 17), X[60:90])
    die(tmp_path)
    Start(tmp_path).end()
    with Repair(FS(), tmp_path) as repair:
        assert [(each.name, each.lsn) for each in repair.set_aside()] == [("bad", 4)]
        with pytest.raises(UnknownModel, match=r"at record 5; set aside: bad \(at record 4\)"):
            repair.drop_record(5)
        copy = repair.drop_record(4)
        assert poison(40, 17).tobytes() in copy.read_bytes()
        assert repair.set_aside() == []
    hashes = set()
    for _ in range(3):
        start = Start(tmp_path)
        hashes.add(start.hash("bad"))
        assert start.shard.hosted("bad").accepted_producers.position("p")[1] == 3
        start.lock.release()
    start = Start(tmp_path)
    copy = tmp_path.parent / f"{tmp_path.name} copy"
    write_backup(FS(), plan_backup(FS(), tmp_path, start.journal, start.store), copy)
    copied = Start(copy)
    assert copied.hash("bad") == reference(X[:50], X[60:90])
    copied.end()
    start.learn("bad", X[90:95], producer="p", epoch=1, seq=3)
    start.shard.drain()
    start.store.write(*start.shard.hosted("bad").snapshot())
    start.end()
    assert hashes == {reference(X[:50], X[60:90])}
    assert Start(tmp_path).hash("bad") == reference(X[:50], X[60:90], X[90:95])


def test_a_dropped_model_is_deleted_and_a_copy_kept(tmp_path: Path) -> None:
    journal_with(tmp_path, X[:50], poison(40, 17))
    die(tmp_path)
    start = Start(tmp_path)
    start.learn("good", X[:10])
    start.end()
    with Repair(FS(), tmp_path) as repair:
        with pytest.raises(UnknownModel, match="no model 'good' is set aside"):
            repair.drop_model("good")
        copy = repair.drop_model("bad")
    assert sorted(path.name for path in (copy / "journal").iterdir())
    for _ in range(2):
        start = Start(tmp_path)
        assert [hosted.name for hosted in start.shard] == ["good"]
        assert start.hash("good") == reference(X[:10])
        assert start.recovered.deaths.suspects == []
        start.end()
    start = Start(tmp_path)
    start.create("bad")
    start.learn("bad", X[:20])
    assert start.hash("bad") == reference(X[:20])
    start.end()


def test_repair_needs_a_stopped_daemon(tmp_path: Path) -> None:
    start = Start(tmp_path)
    with pytest.raises(DirectoryLocked):
        Repair(FS(), tmp_path)
    start.end()


def test_two_bad_records_are_found_one_after_the_other(tmp_path: Path) -> None:
    journal_with(tmp_path, poison(5, 2), X[:10], poison(5, 3))
    die(tmp_path)
    Start(tmp_path).end()
    with Repair(FS(), tmp_path) as repair:
        repair.drop_record(3)
    for _ in range(2):
        die(tmp_path)
    start = Start(tmp_path)
    aside = start.shard.find("bad").set_aside
    assert aside is not None
    assert aside.lsn == 5
    start.end()


def test_a_record_that_kills_only_the_daemon_is_set_aside_in_the_end(tmp_path: Path) -> None:
    """The trial survives it each time."""
    journal_with(tmp_path, X[:50], poison(40, 17))
    deaths = 1
    while in_child(lambda: Start(tmp_path, trial=lambda step: True)) == DIED:
        deaths += 1
    assert deaths == 1 + MOST_REPEATS
    start = Start(tmp_path)
    aside = start.shard.find("bad").set_aside
    assert aside is not None
    assert (aside.lsn, aside.deaths) == (4, deaths)
    start.end()


def test_the_list_of_suspects_is_bounded(tmp_path: Path) -> None:
    for number in range(2 * MOST_SUSPECTS):
        with FS().lock(tmp_path / "lock") as lock:
            log = DeathLog(lock)
            if number == 1:
                log.set_aside(log.suspects[0], "m")
            log.enter(7, Place(3 * number + 1, 0, 3 * number + 2, 5))
    with FS().lock(tmp_path / "lock") as lock:
        suspects = DeathLog(lock).suspects
    assert [each.lsn for each in suspects if each.set_aside] == [1]
    assert [each.lsn for each in suspects[1:]] == [
        3 * number + 1 for number in range(MOST_SUSPECTS, 2 * MOST_SUSPECTS)
    ]


def test_random_kills_set_no_healthy_model_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int
) -> None:
    """Most kills hit the row-by-row replay of an earlier one, so that pairs of deaths share a record."""
    seed = 7
    random = Random(seed)
    print(f"seed {seed}, {kills} kills")

    def run() -> None:
        start = Start(tmp_path)
        if "bad" not in start.shard:
            start.create("bad")
            for begin in range(0, 400, 40):
                start.learn("bad", X[begin : begin + 40])
            start.journal.sync()
        start.shard.drain()

    monkeypatch.setattr(Poisoned, "pause", 0.0005)
    deaths = 0
    for number in range(5 * kills):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            Poisoned.began.append(writer)
            try:
                run()
            finally:
                os._exit(0)
        os.close(writer)
        if number < 4:  # on a busy machine, too, some kills hit a sample
            os.read(reader, 1)
        os.close(reader)
        time.sleep(random.uniform(0.0, 0.02 if number < 4 else 0.25))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        with lock_of_the_dead(tmp_path) as lock:
            log = DeathLog(lock)
            deaths = max([deaths, *(each.deaths for each in log.suspects)])
            assert not any(each.set_aside for each in log.suspects)
    monkeypatch.setattr(Poisoned, "pause", 0.0)
    start = Start(tmp_path)
    assert deaths > 1
    assert start.hash("bad") == reference(X)
    start.end()


def test_a_death_outside_of_records_counts_for_none(tmp_path: Path) -> None:
    def run() -> None:
        start = Start(tmp_path)
        start.create("bad")
        start.learn("bad", X[:10])
        start.shard.drain()
        start.journal.sync()
        os._exit(DIED)

    assert in_child(run) == DIED
    with FS().lock(tmp_path / "lock") as lock:
        assert DeathLog(lock).suspects == []


def test_a_full_disk_and_a_damaged_lock_file_do_not_matter(tmp_path: Path) -> None:
    journal_with(tmp_path, poison(3, 1))
    path = tmp_path / "lock"
    for content in (
        b"",
        b"x" * 500,
        path.read_bytes()[:60],
        bytes(4096),
        b"12\n" + bytes(125) + b'[{"a": 1}]',
    ):
        path.write_bytes(content)
        with FS().lock(path) as lock:
            assert DeathLog(lock).suspects == []
    lock = FS().lock(path)
    lock.release()
    log = DeathLog(None)
    log._lock = lock  # every write fails now, as on a full disk
    log.enter(1, Place(1, 0, 1, 1))
    log.leave()
    log.keep([])


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (Place(5, 0, 5, 10), [None, 0, 0, None]),
        (Place(5, 3, 5, 10), [None, 3, 0, None]),
        (Place(5, 3, 5, 0), [None, 3, 0, None]),
        (Place(5, 0, 5, 4), [None, 0, None, None]),
        (Place(4, 0, 6, 90), [0, 0, 0, 0]),
    ],
)
def test_rows_before_a_place(place: Place, expected: list[int | None]) -> None:
    positions = [(4, 0), (5, 0), (5, 4), (6, 0)]
    if place == Place(5, 3, 5, 0):
        positions[2] = (5, 3)
    assert [place.rows_before(*position) for position in positions] == expected


def test_dropped_records_go_with_their_segment(tmp_path: Path) -> None:
    journal = Journal.open(FS(), tmp_path / "journal", segment_bytes=300)
    from streamlearn.store.dropped import drop, dropped_lsns

    for number in range(6):
        journal.append([Record(RecordKind.LEARN, 0, number, "m", rows=1, x_cols=2, payload=bytes(8))])
    journal.sync()
    for record in list(journal.replay()):
        drop(FS(), tmp_path / "journal", record, journal.id)
    assert all(record.dropped for record in journal.replay())
    journal.retire(5)
    assert dropped_lsns(FS(), tmp_path / "journal") == frozenset(range(journal.first_lsn, 7))
    journal.close()


def test_a_place_torn_by_a_kill_is_no_place(tmp_path: Path) -> None:
    """The process may be killed in the middle of a write. Bytes of two places are neither of them."""
    place = slice(32, 88)
    file, contents = tmp_path / "LOCK", []
    for lsn, row in [(300, 0), (0x10203, 0x405)]:
        with FS().lock(file) as lock:
            DeathLog(lock).enter(1, Place(lsn, row, lsn, 9))
        contents.append(file.read_bytes()[:128])
    found = set()
    for end in range(place.start, place.stop + 1):
        file.write_bytes(contents[1][:end] + contents[0][end:])
        with FS().lock(file) as lock:
            last = DeathLog(lock).last
        found.add(last.place if last is not None else None)
    assert found == {None, Place(300, 0, 300, 9), Place(0x10203, 0x405, 0x10203, 9)}
