"""The journal: append, segments, replay, retire, open, repair."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import pytest

from streamlearn.errors import DamagedJournal
from streamlearn.store import FS, Journal, verify_journal
from streamlearn.store.segment import VERSION
from tests.faults.lossyfs import LossyFS
from tests.store.journals import filled, learn, numbers


def test_records_come_back_in_order_from_any_lsn(tmp_path: Path) -> None:
    journal = filled(tmp_path, 20)
    assert journal.segments > 3
    for begin in range(1, 21):
        assert numbers(journal, begin) == list(range(begin - 1, 20))
    assert numbers(journal) == list(range(20))
    assert numbers(journal, 21) == []
    assert [record.lsn for record in journal.replay()] == list(range(1, 21))
    journal.close()


def test_append_numbers_the_records_and_sync_advances_durable_lsn(tmp_path: Path) -> None:
    journal = Journal.open(FS(), tmp_path)
    group = [learn(0), learn(1), learn(2)]
    assert journal.next_lsn == 1
    assert journal.append(group) == 1
    assert [record.lsn for record in group] == [1, 2, 3]
    assert (journal.next_lsn, journal.written_lsn, journal.durable_lsn) == (4, 3, 0)
    assert journal.sync() == 3
    assert journal.durable_lsn == 3
    assert journal.sync() == 3
    assert journal.append([]) == 4
    assert journal.written_lsn == 3
    journal.close()


@pytest.mark.parametrize("clean", [True, False])
def test_it_goes_on_after_a_restart(tmp_path: Path, clean: bool) -> None:
    warnings: list[str] = []
    for start in range(0, 12, 3):
        journal = Journal.open(FS(), tmp_path, segment_bytes=700, warn=warnings.append)
        assert journal.next_lsn == start + 1
        assert journal.durable_lsn == start
        journal.append([learn(start)])
        journal.append([learn(start + 1), learn(start + 2)])
        if clean:
            journal.close()
    journal = Journal.open(FS(), tmp_path, segment_bytes=700, warn=warnings.append)
    assert numbers(journal) == list(range(12))
    assert warnings == []
    assert verify_journal(FS(), tmp_path) == []
    journal.close()


def test_closing_gives_back_what_was_reserved(tmp_path: Path) -> None:
    journal = Journal.open(FS(), tmp_path, segment_bytes=2**20)
    journal.append([learn(0)])
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size == 2**20
    journal.close()
    assert path.stat().st_size < 1000
    Journal.open(FS(), tmp_path, segment_bytes=2**20).close()
    size = path.stat().st_size
    Journal.open(FS(), tmp_path, segment_bytes=2**20).close()
    assert path.stat().st_size == size


def test_full_segments_give_back_what_was_reserved(tmp_path: Path) -> None:
    journal = Journal.open(FS(), tmp_path, segment_bytes=2**16)
    for number in range(3):
        journal.append([learn(number, 40_000)])
        journal.sync()
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert sizes[0] == sizes[1] < 2**16 == sizes[2]
    journal.close()


def test_a_group_larger_than_a_segment_gets_one_of_its_own(tmp_path: Path) -> None:
    journal = Journal.open(FS(), tmp_path, segment_bytes=1000)
    journal.append([learn(0)])
    journal.append([learn(1, 5000), learn(2, 5000)])
    journal.append([learn(3)])
    assert journal.segments == 3
    assert numbers(journal) == [0, 1, 2, 3]
    journal.close()


def test_more_buffers_than_one_call_takes(tmp_path: Path) -> None:
    journal = Journal.open(FS(), tmp_path)
    journal.append([learn(number) for number in range(3000)])
    assert numbers(journal) == list(range(3000))
    journal.close()


def test_writes_that_the_system_splits_anywhere() -> None:
    for short in (1, 7, 16, 100):
        fs = LossyFS()
        fs.short = short
        journal = filled(Path("/j"), 5, fs=fs)
        journal.append([learn(5), learn(6)])
        assert numbers(journal) == list(range(7))


def test_retire_removes_whole_segments_and_never_the_last(tmp_path: Path) -> None:
    journal = filled(tmp_path, 20)
    firsts = [int(path.stem) for path in sorted(tmp_path.iterdir())]
    assert journal.retire(firsts[1] - 1) == 0
    assert journal.retire(firsts[1]) == 1
    assert journal.first_lsn == firsts[1]
    assert journal.retire(10**6) == len(firsts) - 2
    assert journal.first_lsn == firsts[-1]
    assert [path.name for path in tmp_path.glob("*.log")] == [f"{firsts[-1]:020d}.log"]
    assert numbers(journal) == list(range(firsts[-1] - 1, 20))
    with pytest.raises(DamagedJournal, match=f"begins at record {firsts[-1]}, but record 1 is asked for"):
        journal.replay(1)
    journal.close()
    journal = Journal.open(FS(), tmp_path, segment_bytes=512)
    assert journal.first_lsn == firsts[-1]
    assert journal.next_lsn == 21
    journal.close()


def test_retire_waits_for_the_sync() -> None:
    journal = Journal.open(LossyFS(), Path("/j"), segment_bytes=300)
    for number in range(6):
        journal.append([learn(number)])
    assert journal.segments > 2
    assert journal.retire(7) == 0
    journal.sync()
    assert journal.retire(7) == 5
    assert journal.segments == 1


def test_advance_leaves_numbers_out(tmp_path: Path) -> None:
    journal = filled(tmp_path, 3)
    journal.advance(3)
    assert journal.next_lsn == 4
    journal.advance(100)
    assert (journal.next_lsn, journal.durable_lsn) == (100, 99)
    assert journal.append([learn(3)]) == 100
    journal.close()
    journal = Journal.open(FS(), tmp_path, segment_bytes=512)
    assert [record.lsn for record in journal.replay()] == [1, 2, 3, 100]
    assert [record.lsn for record in journal.replay(50)] == [100]
    assert journal.next_lsn == 101
    journal.close()


def test_an_empty_journal_can_begin_anywhere(tmp_path: Path) -> None:
    journal = Journal.open(FS(), tmp_path)
    journal.advance(501)
    assert list(journal.replay()) == []
    journal.close()
    journal = Journal.open(FS(), tmp_path)
    assert journal.next_lsn == 501
    assert journal.append([learn(0)]) == 501
    journal.sync()
    assert journal.retire(501) == 1
    assert journal.first_lsn == 501
    journal.close()


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "1.log", "x0000000000000000001.log", "00000000000000000001.log.damaged"):
        (tmp_path / name).write_text("not yours")
    journal = filled(tmp_path, 3)
    journal.close()
    journal = Journal.open(FS(), tmp_path, segment_bytes=512)
    assert numbers(journal) == [0, 1, 2]
    journal.close()
    assert verify_journal(FS(), tmp_path) == []
    assert (tmp_path / "1.log").read_text() == "not yours"


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"\0" * 1000, b"SLJOURNL" + b"\0" * 30])
def test_a_segment_that_a_crash_left_without_a_header(tmp_path: Path, content: bytes) -> None:
    journal = filled(tmp_path, 3)
    journal.close()
    (tmp_path / f"{4:020d}.log").write_bytes(content)
    journal = Journal.open(FS(), tmp_path, segment_bytes=512)
    assert numbers(journal) == [0, 1, 2]
    for number in range(3, 9):
        journal.append([learn(number)])
    assert numbers(journal) == list(range(9))
    journal.close()


@pytest.mark.parametrize("first", [1, 77])
def test_a_first_segment_without_a_header_is_begun_again(tmp_path: Path, first: int) -> None:
    (tmp_path / f"{first:020d}.log").write_bytes(b"\0" * 1000)
    journal = Journal.open(FS(), tmp_path)
    assert journal.append([learn(0)]) == first
    journal.close()


def test_a_missing_segment_is_damage_if_it_is_needed(tmp_path: Path) -> None:
    filled(tmp_path, 20).close()
    paths = sorted(tmp_path.iterdir())
    paths[2].unlink()
    gone = int(paths[2].stem)
    journal = Journal.open(FS(), tmp_path, segment_bytes=512)
    assert numbers(journal, int(paths[3].stem)) == list(range(int(paths[3].stem) - 1, 20))
    with pytest.raises(
        DamagedJournal, match=f"record {gone} should be at byte .* of {paths[1].name}"
    ) as caught:
        list(journal.replay(1))
    assert caught.value.detail["lsn"] == gone
    assert caught.value.detail["segment"] == paths[1].name
    journal.close()
    (finding,) = verify_journal(FS(), tmp_path)
    assert finding.level == "damage"
    assert finding.path == paths[1]


def test_a_segment_of_another_journal_is_damage(tmp_path: Path) -> None:
    filled(tmp_path / "a", 3).close()
    filled(tmp_path / "b", 9).close()
    shutil.copy(tmp_path / "b" / f"{4:020d}.log", tmp_path / "a")
    with pytest.raises(DamagedJournal, match="belongs to another journal"):
        Journal.open(FS(), tmp_path / "a")
    assert "another journal" in verify_journal(FS(), tmp_path / "a")[0].message


def test_a_newer_format_is_refused_and_not_touched(tmp_path: Path) -> None:
    import xxhash

    filled(tmp_path, 1).close()
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    newer = data[16] = VERSION + 1
    data[8:16] = xxhash.xxh3_64_intdigest(bytes(data[16:64])).to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(DamagedJournal, match=f"format {newer}, but this streamlearn reads format {VERSION} "):
        Journal.open(FS(), tmp_path, repair=True)
    assert path.read_bytes() == data
    assert f"format {newer}" in verify_journal(FS(), tmp_path)[0].message


@pytest.mark.parametrize("segment", [0, -1])
def test_repair_copies_and_cuts(tmp_path: Path, segment: int) -> None:
    filled(tmp_path, 20).close()
    path = sorted(tmp_path.iterdir())[segment]
    original = bytearray(path.read_bytes())
    original[220] ^= 1  # in the segment's second record
    path.write_bytes(original)
    with pytest.raises(DamagedJournal, match=r"restore the journal from a backup; or start with --repair"):
        list(Journal.open(FS(), tmp_path, segment_bytes=512).replay())
    warnings: list[str] = []
    journal = Journal.open(FS(), tmp_path, segment_bytes=512, repair=True, warn=warnings.append)
    kept = int(path.stem)
    assert numbers(journal) == list(range(kept))
    assert "*.damaged" in warnings[0]
    assert (tmp_path / f"{path.name}.damaged").read_bytes()[: len(original)] == original
    journal.append([learn(kept)])
    assert numbers(journal) == list(range(kept + 1))
    journal.close()
    assert verify_journal(FS(), tmp_path) == []


def test_repair_of_the_first_header_begins_anew(tmp_path: Path) -> None:
    filled(tmp_path, 3).close()
    (path,) = sorted(tmp_path.iterdir())[:1]
    data = bytearray(path.read_bytes())
    data[30] ^= 4
    path.write_bytes(data)
    with pytest.raises(DamagedJournal):
        list(Journal.open(FS(), tmp_path, segment_bytes=512).replay())
    journal = Journal.open(FS(), tmp_path, segment_bytes=512, repair=True)
    assert numbers(journal) == []
    journal.advance(50)
    journal.append([learn(0)])
    journal.close()
    assert [record.lsn for record in Journal.open(FS(), tmp_path).replay()] == [50]


@pytest.mark.parametrize("operation", ["pwritev", "create"])
def test_other_write_errors_are_raised_unchanged(operation: str) -> None:
    fs = LossyFS()
    journal = filled(Path("/j"), 3, fs=fs)
    fs.refuse[operation] = errno.EROFS
    with pytest.raises(OSError, match="Read-only file system"):
        journal.append([learn(3)])
    fs.refuse.clear()
    assert journal.append([learn(3)]) == 4
    assert numbers(journal) == [0, 1, 2, 3]
