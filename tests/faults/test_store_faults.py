"""The journal after power losses, full and failing disks, and flipped bits."""

from __future__ import annotations

import copy
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.errors import DamagedJournal, DiskFull, JournalFailed
from streamlearn.store import Record, RecordKind, record, verify_journal
from tests.faults.journals import PLACE, contents, expected, journal_of, learn, reopen
from tests.faults.lossyfs import LossyFS, PowerLoss

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("close", [True, False])
def test_a_flipped_bit_in_any_byte_is_never_believed(close: bool) -> None:
    """Harmless, or damage, or, in the last record of a journal that was not closed, a torn tail."""
    count = 9
    original = journal_of(count, close=close)
    outcomes = {"harmless": 0, "damage": 0, "torn": 0}
    for name in original.listdir(PLACE):
        for place in range(len(original.read(PLACE / name))):
            fs = copy.deepcopy(original)
            fs.file(PLACE / name).seen[place] ^= 1 << place % 8
            try:
                journal, warnings = reopen(fs)
                found = contents(journal)
            except DamagedJournal:
                assert {found.level for found in verify_journal(fs, PLACE)} == {"damage"}
                outcomes["damage"] += 1
                continue
            kept = len(found)
            assert found == expected(kept)
            if kept == count:
                outcomes["harmless"] += 1
            else:
                assert not close
                assert kept == count - 1
                assert "where record 9 should be" in warnings[0]
                outcomes["torn"] += 1
            assert journal.append([learn(kept)]) == kept + 1
    assert outcomes["damage"] > 800
    assert bool(outcomes["torn"]) is not close


@pytest.mark.parametrize("close", [True, False])
def test_a_file_cut_at_any_byte_gives_the_records_before_the_cut(close: bool) -> None:
    count = 9
    original = journal_of(count, close=close)
    names = original.listdir(PLACE)
    for name in names:
        for size in range(len(original.read(PLACE / name))):
            fs = copy.deepcopy(original)
            del fs.file(PLACE / name).seen[size:]
            try:
                found = contents(reopen(fs)[0])
            except DamagedJournal:
                continue
            assert found == expected(len(found))
            assert len(found) == count or name == names[-1]


@pytest.mark.parametrize("close", [True, False])
def test_zeros_where_a_durable_record_was_are_damage(close: bool) -> None:
    """Lost sectors look like a clean end; only later links prove the loss."""
    count = 9
    original = journal_of(count, close=close)
    for name in original.listdir(PLACE):
        data = original.read(PLACE / name)
        place = data.find(b"SLRC")
        while place >= 0:
            behind = data.find(b"SLRC", place + 1)
            fs = copy.deepcopy(original)
            length = int.from_bytes(data[place + 4 : place + 8], "little")
            fs.file(PLACE / name).seen[place : place + length] = bytes(length)
            if behind >= 0 or name != original.listdir(PLACE)[-1]:
                with pytest.raises(DamagedJournal):
                    contents(reopen(fs)[0])
            else:
                assert contents(reopen(fs)[0]) == expected(count if close else count - 1)
            place = behind


def test_a_sample_that_looks_like_a_record_is_no_evidence() -> None:
    """A client may send a record's bytes, but it does not know the id that their hash is seeded with."""
    prefix, body, _ = record.encode(learn(5), lsn=9, durable=8, prev=0, seed=0)
    fs = LossyFS()
    journal, _ = reopen(fs)
    journal.append([learn(0)])
    journal.sync()
    end = journal.bytes
    journal.append([Record(RecordKind.RESTORE, 0, 0, "pump", payload=prefix + body)])
    fs.file(PLACE / fs.listdir(PLACE)[0]).seen[end] ^= 1
    journal, warnings = reopen(fs)
    assert contents(journal) == expected(1)
    assert "nothing in these bytes had been acknowledged" in warnings[0]


def test_a_segment_header_alone_is_evidence() -> None:
    """All records from 2 on are lost; the header of the empty next segment proves that they were durable."""
    fs = LossyFS()
    journal, _ = reopen(fs)
    journal.append([learn(0), learn(1), learn(2)])
    end_of_first = (journal.bytes - 64) // 3 + 64
    journal.sync()
    journal.append([learn(3)])
    journal.append([learn(4)])
    first, second = fs.listdir(PLACE)
    fs.file(PLACE / first).seen[end_of_first:] = b""
    fs.file(PLACE / second).seen[64:] = b""
    with pytest.raises(DamagedJournal, match=f"segment {second} says that record 3 had been durable"):
        reopen(fs)


def test_a_header_proves_that_the_last_record_before_it_was_durable() -> None:
    """Only record 3 is gone, and it was acknowledged: the next header has `durable` = 3, not more.

    A reader that wants `durable` > 3 takes the gap for a torn tail and cuts the record without an error.
    """
    fs = LossyFS()
    journal, _ = reopen(fs)
    journal.append([learn(0), learn(1), learn(2)])
    end_of_second = (journal.bytes - 64) // 3 * 2 + 64
    journal.sync()
    journal.append([learn(3)])
    journal.append([learn(4)])
    first, second = fs.listdir(PLACE)
    fs.file(PLACE / first).seen[end_of_second:] = b""
    fs.file(PLACE / second).seen[64:] = b""
    with pytest.raises(DamagedJournal, match=f"segment {second} says that record 3 had been durable"):
        reopen(fs)
    assert [found.level for found in verify_journal(fs, PLACE)] == ["damage"]


def test_close_proves_that_the_last_record_was_durable() -> None:
    """The last record is damaged, and only CLOSE follows, with `durable` equal to its lsn."""
    fs = journal_of(3, close=True)
    name = fs.listdir(PLACE)[-1]
    seen = fs.file(PLACE / name).seen
    last = seen.rfind(b"SLRC", 0, seen.rfind(b"SLRC"))
    seen[last + 100] ^= 1
    with pytest.raises(DamagedJournal, match=r"says that record 3 had been durable"):
        reopen(fs)


def test_a_record_with_the_wrong_number_is_not_taken() -> None:
    """Not even if all its hashes are right."""
    fs = LossyFS()
    journal, _ = reopen(fs)
    journal.append([learn(0)])
    file = fs.file(PLACE / fs.listdir(PLACE)[0])
    seed = int.from_bytes(file.seen[24:32], "little")
    chain = int.from_bytes(file.seen[72:80], "little")
    file.seen[journal.bytes :] = b"".join(record.encode(learn(1), 3, 0, chain, seed)[:2])
    assert reopen(fs)[0].next_lsn == 2
    file.seen[journal.bytes :] = b"".join(record.encode(learn(1), 2, 0, chain, seed)[:2])
    assert reopen(fs)[0].next_lsn == 3


def test_a_refused_group_does_not_come_back_behind_the_one_that_took_its_place() -> None:
    """The power fails when the disk has both writes, but not the cut between them."""
    fs = LossyFS()
    fs.allocate = lambda fd, size: None  # type: ignore[method-assign] # so that the writes need room
    journal, _ = reopen(fs)
    fs.capacity = journal.bytes + 300
    with pytest.raises(DiskFull):
        journal.append([learn(7), learn(8), learn(9)])
    fs.capacity = None
    journal.append([learn(0)])
    file = fs.file(PLACE / fs.listdir(PLACE)[0])
    refused, cut, taken = file.pending
    assert isinstance(cut, int)
    file.pending = [refused, taken]
    fs.power_loss(keep=True)
    journal, warnings = reopen(fs)
    assert contents(journal) == expected(1)
    assert "where record 2 should be" in warnings[0]


def test_what_recovery_cuts_off_stays_off() -> None:
    fs = LossyFS()
    journal, _ = reopen(fs)
    journal.append([learn(0), learn(1)])
    file = fs.file(PLACE / fs.listdir(PLACE)[0])
    file.seen[journal.bytes - 1] ^= 1
    file.disk[:] = file.seen
    for warned in (True, False, False):
        journal, warnings = reopen(fs)
        assert contents(journal) == expected(1)
        assert bool(warnings) is warned
        fs.power_loss()


def test_numbers_that_were_left_out_stay_out() -> None:
    for seed in range(20):
        fs = journal_of(2, close=False)
        journal, _ = reopen(fs)
        journal.advance(10)
        journal.advance(20)
        fs.power_loss(Random(seed))
        journal, _ = reopen(fs)
        assert journal.next_lsn == 20
        assert contents(journal) == expected(2)


def test_an_unsynced_segment_behind_an_unsynced_one_is_not_damage() -> None:
    """The new segment's name and records may reach the disk before the old one's last records do."""
    fs = LossyFS()
    journal, _ = reopen(fs)
    for number in range(8):
        journal.append([learn(number)])
    assert journal.segments > 1
    for name in fs.listdir(PLACE)[1:]:
        file = fs.file(PLACE / name)
        file.disk[:] = file.seen
    fs.directory(PLACE).disk.update(fs.directory(PLACE).seen)
    fs.power_loss()
    journal, warnings = reopen(fs)
    assert contents(journal) == []
    assert "batches acknowledged as `written` may be among them" in warnings[0]
    journal.append([learn(0)])
    journal.close()
    assert contents(reopen(fs)[0]) == expected(1)


@given(st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_power_loss_at_any_step_keeps_what_was_durable(random: Random) -> None:
    fs = LossyFS()
    fs.off_at = random.randrange(60)
    fs.short = random.choice([None, None, 50])
    count = durable = 0
    journal = None
    try:
        while True:
            if journal is None:
                journal, _ = reopen(fs)
            group = random.randint(1, 3)
            journal.append([learn(number) for number in range(count, count + group)])
            count += group
            if random.random() < 0.5:
                durable = journal.sync()
                assert durable == count
            if random.random() < 0.1:
                journal.close()
                durable, journal = count, None
    except PowerLoss:
        fs.power_loss(random)
    for _ in range(3):
        journal, _ = reopen(fs)
        found = contents(journal)
        # A part of the interrupted group may exist.
        assert durable <= len(found) <= count + 3
        assert found == expected(len(found))
        assert journal.durable_lsn == len(found)
        assert [found for found in verify_journal(fs, PLACE) if found.level == "damage"] == []
        fs.power_loss(random)
        durable = len(found)


def test_power_loss_at_any_step_of_recovery_loses_nothing_more() -> None:
    for seed in range(20):
        random = Random(seed)
        crashed = LossyFS()
        journal, _ = reopen(crashed)
        for number in range(12):
            journal.append([learn(number)])
            if number == 4:
                journal.sync()
        crashed.power_loss(random)
        kept = len(contents(reopen(copy.deepcopy(crashed))[0]))
        assert kept >= 5
        for step in range(100):
            fs = copy.deepcopy(crashed)
            fs.steps, fs.off_at = 0, step
            try:
                reopen(fs)
            except PowerLoss:
                fs.power_loss(random)
                assert contents(reopen(fs)[0]) == expected(kept)
            else:
                break
        else:
            pytest.fail("recovery has more steps than this test walks through")


def test_power_loss_at_any_step_of_a_repair_can_be_repaired() -> None:
    damaged = journal_of(12, close=True)
    name = damaged.listdir(PLACE)[-2]
    damaged.file(PLACE / name).seen[100] ^= 1
    damaged.file(PLACE / name).disk[100] ^= 1
    kept = int(name[:20]) - 1
    for step in range(100):
        fs = copy.deepcopy(damaged)
        fs.steps, fs.off_at = 0, step
        try:
            assert contents(reopen(fs, repair=True)[0]) == expected(kept)
        except PowerLoss:
            fs.power_loss(Random(step))
            assert contents(reopen(fs, repair=True)[0]) == expected(kept)
        else:
            assert step > 8
            break
    else:
        pytest.fail("a repair has more steps than this test walks through")


def test_power_loss_at_any_step_of_retiring() -> None:
    original = journal_of(12, close=False)
    first_lsns = [int(name[:20]) for name in original.listdir(PLACE)]
    for step in range(20):
        for seed in range(5):
            fs = copy.deepcopy(original)
            journal, _ = reopen(fs)
            fs.steps, fs.off_at = 0, step
            try:
                journal.retire(first_lsns[-1])
            except PowerLoss:
                fs.power_loss(Random(seed))
            fs.off_at = None
            journal, _ = reopen(fs)
            assert contents(journal) == expected(12)[journal.first_lsn - 1 :]
            assert verify_journal(fs, PLACE) == []


def test_bytes_that_a_failed_sync_lost_are_written_again_by_the_next_start() -> None:
    """After a failed sync Linux shows the bytes, calls them written, and does not have them on the disk."""
    for lost_from in range(12):
        fs = LossyFS()
        journal, _ = reopen(fs)
        for number in range(12):
            journal.append([learn(number)])
            if number == lost_from:
                fs.fail_sync = True
                with pytest.raises(
                    JournalFailed,
                    match="start the daemon again: every record acknowledged as durable is kept",
                ):
                    journal.sync()
                break
            journal.sync()
        journal.close()
        journal, _ = reopen(fs)
        assert contents(journal) == expected(lost_from + 1)
        assert journal.durable_lsn == lost_from + 1
        fs.power_loss()
        assert contents(reopen(fs)[0]) == expected(lost_from + 1)


def test_a_disk_that_fills_up_at_any_byte() -> None:
    """The group is refused as a whole, what was there stays, and it goes in once there is room."""
    for room in range(0, 700, 3):
        fs = LossyFS()
        fs.allocate = lambda fd, size: None  # type: ignore[method-assign] # it cannot reserve
        journal, _ = reopen(fs)
        empty = journal.bytes
        journal.append([learn(0)])
        fs.capacity = journal.bytes + room
        group = [learn(1), learn(2), learn(3)]
        if room < 3 * (journal.bytes - empty):
            with pytest.raises(DiskFull, match=r"cannot append to .*/0*1\.log: No space left on device"):
                journal.append(group)
            count = 1
        else:
            journal.append(group)
            count = 4
        assert journal.written_lsn == count
        assert contents(journal) == expected(count)
        assert contents(reopen(copy.deepcopy(fs))[0]) == expected(count)
        fs.capacity = None
        journal.append([learn(number) for number in range(count, 6)])
        journal.sync()
        fs.power_loss()
        assert contents(reopen(fs)[0]) == expected(6)


def test_a_disk_too_full_for_a_whole_segment_gets_a_smaller_one() -> None:
    fs = LossyFS()
    journal, _ = reopen(fs)
    for number in range(4):
        journal.append([learn(number)])
    journal.sync()
    assert journal.segments == 1
    fs.capacity = len(fs.read(PLACE / fs.listdir(PLACE)[0])) + 250
    journal.append([learn(4)])
    assert journal.segments == 2
    with pytest.raises(DiskFull, match=r"cannot begin the journal segment .* with \d+ bytes"):
        journal.append([learn(5), learn(6)])
    assert contents(journal) == expected(5)
    assert len(fs.listdir(PLACE)) == 2
    fs.capacity = None
    journal.append([learn(5), learn(6)])
    assert contents(journal) == expected(7)


def test_a_disk_too_full_to_leave_numbers_out() -> None:
    fs = journal_of(2, close=True)
    journal, _ = reopen(fs)
    fs.capacity = 0
    with pytest.raises(DiskFull):
        journal.advance(10)
    assert journal.next_lsn == 3
    fs.capacity = None
    journal.append([learn(2)])
    assert contents(reopen(fs)[0]) == expected(3)


def test_a_full_disk_does_not_keep_a_journal_from_opening_or_closing() -> None:
    fs = journal_of(9, close=True)
    fs.capacity = 0
    journal, warnings = reopen(fs)
    assert contents(journal) == expected(9)
    with pytest.raises(DiskFull):
        journal.append([learn(9)])
    journal.close()
    assert warnings == []
    fs.capacity = None
    assert contents(reopen(fs)[0]) == expected(9)
