"""The only door to files: the few operations that the journal and the checkpoints rest on.

Tests swap in a class that loses what was not synced, tears writes and fails on demand, so everything
that touches a disk goes through here, and every operation means what POSIX promises and no more:

- written bytes outlive the process, but outlive a power loss only after ``fdatasync`` of their file;
- a created, renamed or removed name outlives a power loss only after ``fsync_dir`` of its directory.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from streamlearn.errors import BadConfig, DirectoryLocked, DiskFull

Bytes = bytes | bytearray | memoryview

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})
_NO_PREALLOCATION = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_BUFFERS_PER_CALL = 1024  # IOV_MAX of Linux


class Stat(NamedTuple):
    """What is asked about a file: its size in bytes, and when it was last written (ns since the epoch)."""

    size: int
    time: int


class FS:
    """The operating system's files. Errors are ``OSError``, as they come; nothing is retried."""

    def listdir(self, directory: Path) -> list[str]:
        """The names in ``directory``, sorted; none if it is not there."""
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def mkdir(self, directory: Path) -> None:
        """Make one directory; that it is there already is fine."""
        with suppress(FileExistsError):
            os.mkdir(directory, 0o755)

    def makedirs(self, directory: Path) -> None:
        """Make ``directory`` and its missing parents, all of them durable."""
        missing = []
        while not self.exists(directory):
            missing.append(directory)
            directory = directory.parent
        for path in reversed(missing):
            self.mkdir(path)
            self.fsync_dir(path.parent)

    def exists(self, path: Path) -> bool:
        """Whether there is a file or directory of that name."""
        return path.exists()

    def stat(self, path: Path) -> Stat:
        """Size and time of the file."""
        found = path.stat()
        return Stat(found.st_size, found.st_mtime_ns)

    def read(self, path: Path, offset: int = 0, size: int | None = None) -> bytes:
        """``size`` bytes from ``offset`` (fewer at the end of the file); ``None``: all that follow."""
        with path.open("rb", buffering=0) as file:
            length = max(0, os.fstat(file.fileno()).st_size - offset)
            wanted = length if size is None else min(size, length)
            parts = []
            while wanted > 0 and (part := os.pread(file.fileno(), wanted, offset)):
                parts.append(part)
                wanted -= len(part)
                offset += len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def create(self, path: Path) -> int:
        """A new, empty file, open for writing; ``FileExistsError`` if the name is taken."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)

    def open(self, path: Path) -> int:
        """An existing file, open for reading and writing."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        """Close; says nothing about durability."""
        os.close(fd)

    def allocate(self, fd: int, size: int) -> None:
        """Reserve room so that the file is ``size`` bytes long, zeros where nothing was written.

        A file system that can't reserve is left alone: the file then grows as it is written.
        """
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                raise

    def pwritev(self, fd: int, buffers: Sequence[Bytes], offset: int) -> int:
        """One write call, which may stop early; returns how many bytes it wrote."""
        return os.pwritev(fd, buffers, offset)

    def write(self, fd: int, buffers: Sequence[Bytes], offset: int) -> None:
        """Write all of ``buffers`` (of bytes), one after the other: one call, unless the system splits it."""
        left = sum(map(len, buffers))
        while left > 0:
            written = self.pwritev(fd, buffers[:_BUFFERS_PER_CALL], offset)
            left -= written
            offset += written
            if left > 0:
                buffers = _without(buffers, written)

    def truncate(self, fd: int, size: int) -> None:
        """Cut or extend the file to ``size`` bytes."""
        os.ftruncate(fd, size)

    def fdatasync(self, fd: int) -> None:
        """Make the file's bytes and size durable. After a failure nothing is known: never call again."""
        os.fdatasync(fd)

    def fsync_dir(self, directory: Path) -> None:
        """Make the names in ``directory`` durable."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or directory another name, in one step; a file of that name is replaced."""
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        """Remove a file's name."""
        os.unlink(path)

    def rmdir(self, directory: Path) -> None:
        """Remove an empty directory."""
        os.rmdir(directory)

    def lock(self, path: Path) -> Lock:
        """Take the lock file ``path`` for this process until ``release``; ``DirectoryLocked`` if taken."""
        with explained(f"lock the data directory {path.parent}"):
            self.makedirs(path.parent)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise DirectoryLocked(
                f"the data directory {path.parent} is in use by another streamlearn daemon (process "
                f"{holder}); stop that one, or give this one another --data-dir",
                directory=str(path.parent),
                process=holder,
            ) from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        return Lock(fd)


def _without(buffers: Sequence[Bytes], count: int) -> Sequence[Bytes]:
    """What of ``buffers`` is left behind their first ``count`` bytes."""
    for index, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[index + 1 :]]
        count -= len(buffer)
    return []


class Lock:
    """A lock that is held. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def release(self) -> None:
        """Let go; the lock file stays, since removing it would open a race."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Raise what ``explain`` makes of an ``OSError`` in the block."""
    try:
        yield
    except OSError as error:
        raise explain(error, doing) from error


def explain(error: OSError, doing: str) -> Exception:
    """What a person can mend, as an error that says how; any other as it is. ``doing``: what was tried."""
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return DiskFull(f"cannot {doing}: {reason}. Nothing of it was kept; free some room, then try again")
    if error.errno in _REFUSED:
        return BadConfig(
            f"cannot {doing}: {reason}. Let the daemon's user write there, or choose another --data-dir"
        )
    return error


def free_name(fs: FS, path: Path, suffix: str) -> Path:
    """``path`` with ``suffix`` behind its name, and a number behind that if the name is taken."""
    free, number = path.with_name(path.name + suffix), 1
    while fs.exists(free):
        number += 1
        free = path.with_name(f"{path.name}{suffix}.{number}")
    return free


def write_whole(fs: FS, path: Path, data: Bytes, suffix: str = ".tmp") -> None:
    """Make ``data`` the durable content of ``path``; after a crash the old content is there, or the new one.

    ``suffix`` names the file it is written to first. Raises ``OSError`` with ``path`` as it was.
    """
    temporary = path.with_name(path.name + suffix)
    if fs.exists(temporary):  # of a crash
        fs.unlink(temporary)
    fd = fs.create(temporary)
    try:
        fs.write(fd, [data], 0)
        fs.fdatasync(fd)
    except OSError:
        with suppress(OSError):  # the first error is the one to tell
            fs.unlink(temporary)
        raise
    finally:
        fs.close(fd)
    fs.rename(temporary, path)
    fs.fsync_dir(path.parent)
