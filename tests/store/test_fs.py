"""Directories that can't be used, locks, and file systems that can't reserve room."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path

import pytest

from streamlearn.errors import BadConfig, DirectoryLocked, DiskFull, JournalFailed
from streamlearn.store import FS, Journal
from streamlearn.store.fs import write_atomically
from tests.faults.lossyfs import LossyFS
from tests.store.journals import filled, numbers


@pytest.mark.parametrize(
    ("operation", "code", "error", "says"),
    [
        ("mkdir", errno.EROFS, BadConfig, "Read-only file system. Give the daemon read and write permission"),
        ("mkdir", errno.EACCES, BadConfig, "cannot open the journal in /data/j: Permission denied"),
        (
            "create",
            errno.ENOSPC,
            DiskFull,
            "No space left on device. Nothing of it was kept; free some space",
        ),
        ("fdatasync", errno.EIO, JournalFailed, "could not be opened"),
    ],
)
def test_a_directory_that_cannot_be_used(
    operation: str, code: int, error: type[Exception], says: str
) -> None:
    fs = LossyFS()
    fs.refuse[operation] = code
    with pytest.raises(error, match=says):
        Journal.open(fs, Path("/data/j"))


def test_a_data_directory_has_one_user(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with FS().lock(path):
        with pytest.raises(DirectoryLocked, match=f"process {os.getpid()}.*--data-dir") as caught:
            FS().lock(path)
        assert caught.value.detail["directory"] == str(path.parent)
    lock = FS().lock(path)
    lock.release()
    lock.release()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_lock_in_a_place_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadConfig, match="cannot lock the data directory"):
        FS().lock(tmp_path / "file" / "lock")


def test_a_file_system_that_cannot_reserve_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    journal = filled(tmp_path, 10)
    assert numbers(journal) == list(range(10))
    assert numbers(Journal.open(FS(), tmp_path, segment_bytes=512)) == list(range(10))
    journal.close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o277])
def test_what_the_store_creates_belongs_to_its_owner_only(tmp_path: Path, umask: int) -> None:
    fs, before = FS(), os.umask(umask)
    try:
        fs.makedirs(tmp_path / "data" / "journal")
        fs.close(fs.create(tmp_path / "data" / "journal" / "segment"))
        fs.lock(tmp_path / "data" / "lock").release()
        write_atomically(fs, tmp_path / "data" / "checkpoint", b"state")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").rglob("*")}
    assert modes == {"journal": 0o700, "segment": 0o600, "lock": 0o600, "checkpoint": 0o600}
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
