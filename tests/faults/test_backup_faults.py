"""Power losses and failing disks during a backup. It is complete or not there; the original is unharmed."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random

import pytest

from streamlearn.errors import BadValue, DiskFull, Internal
from streamlearn.store.backup import check_destination, plan_backup, write_backup
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.journal import Journal
from streamlearn.store.record import Record, RecordKind
from streamlearn.store.scan import JournalScan
from streamlearn.store.verify import verify_journal
from tests.faults.lossyfs import LossyFS, PowerLoss
from tests.store.test_checkpoint import newest, write

pytestmark = pytest.mark.faults

DATA, COPY = Path("/data"), Path("/backups/monday")
SEGMENT = 1024


def record(number: int) -> Record:
    return Record(RecordKind.LEARN, 0, number, "pump", rows=1, x_cols=50, payload=bytes([number]) * 200)


class Original:
    """A data directory with segments and checkpoints; the last records are not durable."""

    def __init__(self) -> None:
        self.fs = LossyFS()
        for directory in (DATA, DATA / "checkpoints", COPY.parent):
            self.fs.makedirs(directory)
        self.journal = Journal.open(self.fs, DATA / "journal", segment_bytes=SEGMENT)
        for number in range(1, 13):
            self.journal.append([record(number)])
        self.durable = self.journal.sync()
        self.store = CheckpointStore(self.fs, DATA / "checkpoints")
        for lsn in (3, 7, 12):
            write(self.store, lsn)
        write(self.store, 11, "other", 9)
        fd = self.fs.create(DATA / "manifest.json")
        self.fs.write(fd, [b"{}"], 0)
        self.fs.fdatasync(fd)
        self.fs.close(fd)
        self.fs.fsync_dir(DATA)
        self.journal.append([record(13)])

    def backup(self) -> None:
        destination = check_destination(self.fs, str(COPY), DATA, None)
        write_backup(self.fs, plan_backup(self.fs, DATA, self.journal, self.store), destination)


def check(fs: LossyFS, directory: Path) -> None:
    """A complete data directory with everything up to record 12."""
    assert [found for found in verify_journal(fs, directory / "journal") if found.level == "damage"] == []
    store = CheckpointStore(fs, directory / "checkpoints")
    assert store.verify() == []
    assert newest(store) == 12
    assert newest(store, "other", 9) == 11
    assert fs.read(directory / "manifest.json") == b"{}"
    journal = Journal.open(fs, directory / "journal", segment_bytes=SEGMENT)
    found = list(journal.replay())
    assert [each.lsn for each in found][:12] == list(range(1, 13))
    assert all(bytes(each.payload) == bytes([each.lsn]) * 200 for each in found)
    number = journal.next_lsn
    assert journal.append([record(number)]) == number
    journal.close()


def test_a_backup_has_every_durable_record_and_a_closed_end() -> None:
    original = Original()
    original.backup()
    fs = original.fs
    scan = JournalScan(fs, COPY / "journal")
    assert scan.closed
    assert scan.end.lsn == original.durable + 1
    check(fs, COPY)
    # Cutting its last byte is damage, not a torn tail.
    other = Original()
    other.backup()
    last = max(name for name in other.fs.listdir(COPY / "journal"))
    file = other.fs.file(COPY / "journal" / last)
    del file.seen[-200:]
    assert [found.level for found in verify_journal(other.fs, COPY / "journal")] != []


@pytest.mark.parametrize("records", [0, 1, 3, 12])
def test_a_backup_of_a_journal_that_was_closed_and_not_written_since(records: int) -> None:
    fs = LossyFS()
    for directory in (DATA, COPY.parent):
        fs.makedirs(directory)
    for _ in range(2):
        journal = Journal.open(fs, DATA / "journal", segment_bytes=SEGMENT)
        for number in range(1, records + 1):
            journal.append([record(number)])
        journal.close()
    journal = Journal.open(fs, DATA / "journal", segment_bytes=SEGMENT)
    store = CheckpointStore(fs, DATA / "checkpoints")
    write_backup(fs, plan_backup(fs, DATA, journal, store), COPY)
    assert verify_journal(fs, COPY / "journal") == []
    copy = Journal.open(fs, COPY / "journal", segment_bytes=SEGMENT)
    assert len(list(copy.replay())) == 2 * records == copy.durable_lsn


def test_power_loss_at_any_step_leaves_a_complete_backup_or_none() -> None:
    complete = steps = 0
    for seed in range(-2, 3):  # -2: nothing unsynced is kept; -1: all of it
        for step in range(0, 400, 1 if seed < 0 else 7):
            original = Original()
            fs = original.fs
            fs.steps, fs.off_at = 0, step
            written = False
            try:
                original.backup()
                written = True
            except PowerLoss:
                pass
            fs.power_loss(Random(seed) if seed >= 0 else None, keep=seed == -1)
            assert fs.exists(COPY) or not written
            if fs.exists(COPY):
                check(fs, COPY)
                complete += 1
            check(fs, DATA)
            original = Original.__new__(Original)
            original.fs = fs
            original.journal = Journal.open(fs, DATA / "journal", segment_bytes=SEGMENT)
            original.store = CheckpointStore(fs, DATA / "checkpoints")
            again = COPY.with_name("tuesday")
            write_backup(fs, plan_backup(fs, DATA, original.journal, original.store), again)
            check(fs, again)
            assert set(fs.listdir(COPY.parent)) <= {"monday", "tuesday"}  # the rest was removed
            steps += 1
            if written:
                break
        else:
            pytest.fail("a backup has more steps than this test walks through")
    assert 0 < complete < steps


@pytest.mark.parametrize(
    ("operation", "number", "error"),
    [
        (operation, number, error)
        for operation in (
            "create_directory",
            "create",
            "pwritev",
            "fdatasync",
            "fsync_dir",
            "rename",
            "set_time",
        )
        for number, error in ((errno.ENOSPC, DiskFull), (errno.EACCES, BadValue), (errno.EIO, Internal))
    ],
)
def test_an_error_at_any_step_leaves_nothing(operation: str, number: int, error: type[Exception]) -> None:
    for occurrence in range(100):
        original = Original()
        fs, seen = original.fs, 0

        def before(name: str, fs: LossyFS = fs, occurrence: int = occurrence) -> None:
            nonlocal seen
            fs.refuse = {}
            if name == operation:
                if seen == occurrence:
                    fs.refuse = {operation: number}
                seen += 1

        fs.before = before
        try:
            original.backup()
        except error:
            fs.before = lambda _: None
            fs.refuse = {}
            assert fs.listdir(COPY.parent) == []
            check(fs, DATA)
        else:
            assert occurrence > 0
            return
    pytest.fail("a backup has more steps than this test walks through")


def test_a_disk_that_fills_up_at_any_byte_leaves_nothing() -> None:
    original = Original()
    plan = plan_backup(original.fs, DATA, original.journal, original.store)
    for free in range(0, plan.bytes, 97):
        fs = original.fs
        fs.capacity = None
        used = sum(map(len, _contents(fs)))
        fs.capacity = used + free
        with pytest.raises(DiskFull):
            write_backup(fs, plan, COPY)
        fs.free_bytes = lambda _: 2**40  # type: ignore[method-assign] # another program takes the space meanwhile
        with pytest.raises(DiskFull):
            write_backup(fs, plan, COPY)
        del fs.free_bytes
        assert fs.listdir(COPY.parent) == []
    fs.capacity = None
    write_backup(fs, plan, COPY)
    check(fs, COPY)


def _contents(fs: LossyFS) -> list[bytes]:
    found: list[bytes] = []

    def walk(path: Path) -> None:
        for name in fs.listdir(path):
            try:
                found.append(fs.read(path / name))
            except AssertionError:  # a directory
                walk(path / name)

    walk(Path("/"))
    return found
