"""``verify_journal`` finds damage and changes nothing."""

from __future__ import annotations

from pathlib import Path

from streamlearn.store import FS, verify_journal
from tests.faults.lossyfs import LossyFS
from tests.store.journals import filled, learn


def test_verify_finds_every_damaged_segment_and_changes_nothing(tmp_path: Path) -> None:
    journal = filled(tmp_path, 20)
    paths = sorted(tmp_path.iterdir())
    for path in (paths[1], paths[3]):
        data = bytearray(path.read_bytes())
        data[100] ^= 8
        path.write_bytes(data)
    before = {path: path.read_bytes() for path in paths}
    findings = verify_journal(FS(), tmp_path)
    assert [(found.level, found.path) for found in findings] == [("damage", paths[1]), ("damage", paths[3])]
    assert {path: path.read_bytes() for path in paths} == before
    journal.close()


def test_verify_looks_again_when_a_running_daemon_has_moved_on() -> None:
    fs = LossyFS()
    journal = filled(Path("/j"), 3, segment_bytes=4096, fs=fs)
    whole = fs.read

    def torn_read(path: Path, offset: int = 0, size: int | None = None) -> bytes:
        # The first read sees an old page in front of newer ones.
        data = bytearray(whole(path, offset, size))
        if len(data) > 500:
            fs.read = whole  # type: ignore[method-assign]
            data[64:200] = bytes(136)
        return bytes(data)

    fs.read = torn_read  # type: ignore[method-assign]
    assert verify_journal(fs, Path("/j")) == []
    journal.append([learn(3)])
    assert verify_journal(fs, Path("/j")) == []


def test_verify_notes_an_unfinished_write(tmp_path: Path) -> None:
    journal = filled(tmp_path, 2, segment_bytes=4096)
    (path,) = tmp_path.iterdir()
    with path.open("r+b") as file:
        file.seek(journal.bytes)
        file.write(b"SLRC half a record")
    (finding,) = verify_journal(FS(), tmp_path)
    assert finding.level == "note"
    assert "a start cuts them off" in finding.message
    assert verify_journal(FS(), tmp_path / "absent") == []
    journal.close()
