"""Segments in the files of retired ones: nothing that such a file held before is ever read as a record.

All records have the same size, so that old and new records lie at the same places.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from random import Random

import pytest

from streamlearn.store import FS, Journal, verify_journal
from streamlearn.store.segment import HEADER_BYTES
from tests.faults.journals import PLACE, SEGMENT_BYTES, contents, expected, learn, reopen
from tests.faults.lossyfs import LossyFS, PowerLoss
from tests.store.journals import filled

pytestmark = pytest.mark.faults

RECORD = 128  # bytes
PER_SEGMENT = (SEGMENT_BYTES - HEADER_BYTES) // RECORD


def spares(fs: FS) -> list[str]:
    return [name for name in fs.listdir(PLACE) if name.endswith(".spare")]


def append(journal: Journal, count: int) -> None:
    for _ in range(count):
        journal.append([learn(journal.written_lsn)])


def retire_all(journal: Journal) -> None:
    journal.retire(journal.durable_lsn + 1)


def recycling(count: int) -> tuple[LossyFS, Journal]:
    """A journal of ``count`` records that was retired after each third segment."""
    fs = LossyFS()
    journal, _ = reopen(fs)
    for number in range(count):
        journal.append([learn(number)])
        journal.sync()
        if number % (3 * PER_SEGMENT) == 0:
            retire_all(journal)
    return fs, journal


def is_recycled(fs: LossyFS, name: str) -> bool:
    return fs.file(PLACE / name).path.name != name


def test_retired_segments_become_the_next_ones() -> None:
    fs, journal = recycling(16)
    assert len(spares(fs)) == 3
    created = {id(fs.file(PLACE / name)) for name in spares(fs)}
    for number in range(16, 16 + 3 * PER_SEGMENT):
        journal.append([learn(number)])
        journal.sync()
    assert spares(fs) == []
    assert {id(fs.file(PLACE / name)) for name in fs.listdir(PLACE)} >= created
    assert contents(journal) == expected(16 + 3 * PER_SEGMENT)[journal.first_lsn - 1 :]
    assert verify_journal(fs, PLACE) == []


@pytest.mark.parametrize("count", range(25, 26 + PER_SEGMENT))
def test_a_kill_leaves_no_torn_tail(count: int) -> None:
    """What is left of the earlier segment is not mistaken for a write that a crash interrupted."""
    fs, journal = recycling(count)
    last = fs.listdir(PLACE)[-1 - len(spares(fs))]
    assert is_recycled(fs, last)
    assert fs.read(PLACE / last, len(fs.read(PLACE / last)) - RECORD).strip(b"\0")  # old bytes
    assert verify_journal(fs, PLACE) == []
    found, warnings = reopen(fs)
    assert warnings == []
    assert spares(fs) == []
    assert contents(found) == contents(journal) == expected(count)[journal.first_lsn - 1 :]


def test_a_flipped_bit_in_the_last_record_is_reported_as_a_torn_tail() -> None:
    fs, journal = recycling(33)
    last = [name for name in fs.listdir(PLACE) if name.endswith(".log")][-1]
    assert is_recycled(fs, last)
    end = HEADER_BYTES + RECORD * (33 - int(last[:20]) + 1)
    for byte in range(end - RECORD, end):
        damaged = copy.deepcopy(fs)
        damaged.file(PLACE / last).seen[byte] ^= 1
        found, warnings = reopen(damaged)
        assert contents(found) == contents(journal)[:-1]
        assert len(warnings) == 1, byte
        assert "not a complete record" in warnings[0]


def test_a_write_that_a_kill_interrupted_is_reported() -> None:
    fs, journal = recycling(33)
    before = contents(journal)
    last = [name for name in fs.listdir(PLACE) if name.endswith(".log")][-1]
    end = HEADER_BYTES + RECORD * (33 - int(last[:20]) + 1)
    old = fs.read(PLACE / last, end, RECORD)
    assert old.strip(b"\0")
    journal.append([learn(33)])
    written = fs.read(PLACE / last, end, RECORD)
    for size in range(RECORD):
        torn = copy.deepcopy(fs)
        torn.file(PLACE / last).seen[end : end + RECORD] = written[:size] + old[size:]
        found, warnings = reopen(torn)
        complete = written[size:] == old[size:]
        assert contents(found) == (before if not complete else contents(journal))
        # With fewer bytes than `prev`, which names the record before, nothing shows that there was a write.
        assert len(warnings) == (size >= 24 and not complete), size


@pytest.mark.parametrize("seed", range(150))
def test_power_loss_at_any_step_keeps_what_was_durable(seed: int) -> None:
    print("seed", seed)
    random = Random(seed)
    fs, journal = recycling(20)
    fs.steps, fs.off_at = 0, random.randrange(160)
    durable = count = 20
    first = journal.first_lsn
    try:
        while True:
            group = random.randint(1, 3)
            journal.append([learn(count + n) for n in range(group)])
            count += group
            if random.random() < 0.5:
                durable = journal.sync()
            if random.random() < 0.2:
                first = journal.durable_lsn + 1
                journal.retire(first)
    except PowerLoss:
        fs.power_loss(random)
    for _ in range(2):
        journal, _ = reopen(fs)
        found = contents(journal)
        assert found == expected(count + 3)[journal.first_lsn - 1 : journal.written_lsn]
        assert journal.first_lsn <= max(first, 1)
        assert durable <= journal.written_lsn
        assert verify_journal(fs, PLACE) == []
        assert spares(fs) == []
        fs.power_loss(random)
        durable = journal.written_lsn


@pytest.mark.parametrize("seed", range(60))
def test_damaged_bytes_never_bring_an_old_record_back(seed: int) -> None:
    """Any part of the last segment is lost: the records before it are found, and no others."""
    print("seed", seed)
    random = Random(seed)
    fs, journal = recycling(33)
    whole = contents(journal)
    last = [name for name in fs.listdir(PLACE) if name.endswith(".log")][-1]
    content = fs.file(PLACE / last).seen
    begin = random.randrange(len(content))
    end = random.randrange(begin, len(content) + 1)
    content[begin:end] = random.choice([bytes(end - begin), random.randbytes(end - begin)])
    found, _ = reopen(fs, repair=True)
    assert contents(found) == whole[: len(contents(found))]
    found.append([learn(100)])
    found.sync()
    assert len(contents(reopen(fs)[0])) == len(contents(found))


def test_a_copy_by_hard_links_does_not_change(tmp_path: Path) -> None:
    directory, links = tmp_path / "journal", tmp_path / "links"
    journal = filled(directory, 20)
    links.mkdir()
    for path in directory.iterdir():
        os.link(path, links / path.name)
    before = {path.name: path.read_bytes() for path in links.iterdir() if path.name[:20] != f"{19:020d}"}
    retire_all(journal)
    assert list(directory.glob("*.spare")) == []
    for number in range(20, 40):
        journal.append([learn(number)])
        journal.sync()
    assert {name: (links / name).read_bytes() for name in before} == before


def test_spares_are_removed_when_the_disk_is_nearly_full_and_at_the_end() -> None:
    fs, journal = recycling(16)
    assert len(spares(fs)) == 3
    for number in range(16, 27):
        journal.append([learn(number)])
        journal.sync()
        assert len(spares(fs)) == max(0, 3 - (number - 12) // PER_SEGMENT)
    retire_all(journal)
    assert len(spares(fs)) == 3
    append(journal, 5)
    journal.sync()
    fs.capacity = fs.used() + 10 * SEGMENT_BYTES
    retire_all(journal)
    assert spares(fs) == []
    fs.capacity = None
    append(journal, 12)
    journal.sync()
    retire_all(journal)
    assert len(spares(fs)) == 3
    journal.remove_spares()
    assert spares(fs) == []
    append(journal, 1)
    journal.close()
    assert spares(fs) == []
    assert contents(reopen(fs)[0]) == expected(45)[journal.first_lsn - 1 :]


def test_a_spare_that_somebody_removed_is_not_needed() -> None:
    fs, journal = recycling(16)
    for name in spares(fs):
        fs.unlink(PLACE / name)
    for number in range(16, 31):
        journal.append([learn(number)])
        journal.sync()
    assert contents(journal) == expected(31)[journal.first_lsn - 1 :]


@pytest.mark.parametrize("operation", ["open", "rename", "pwritev"])
def test_an_error_while_a_spare_becomes_a_segment(operation: str) -> None:
    fs, journal = recycling(16)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fs, operation, _refuse)
        with pytest.raises(OSError, match="refused"):
            append(journal, PER_SEGMENT)
    append(journal, 40 - journal.written_lsn)
    journal.sync()
    assert contents(journal) == contents(reopen(fs)[0]) == expected(40)[journal.first_lsn - 1 :]


def _refuse(*_: object) -> int:
    raise OSError(5, "refused")
