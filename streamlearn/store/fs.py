"""The only module that accesses files.

Tests replace ``FS`` by a class that loses unsynced data, tears writes and fails on demand. Every operation
guarantees what POSIX guarantees and no more:

- written bytes survive the end of the process; they survive a power loss only after ``fdatasync``;
- a created, renamed or removed name survives a power loss only after ``fsync_dir`` of its directory.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from streamlearn.errors import BadConfig, DirectoryLocked, DiskFull

Bytes = bytes | bytearray | memoryview

PRIVATE_FILE, PRIVATE_DIRECTORY = 0o600, 0o700  # modes of everything that the daemon creates
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR})
_NO_PREALLOCATION = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
_HOLDER_BYTES = 32  # of the lock file: the process id of its holder
_MAPPED_BYTES = 128  # of the lock file
_BUFFERS_PER_CALL = 1024  # IOV_MAX of Linux
_NOT_PERMITTED = frozenset({errno.ENOSYS, errno.EPERM, errno.EACCES})  # a filter of system calls
_EXT4, _XFS, _BTRFS, _F2FS, _TMPFS = 0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x01021994  # statfs(2)
_OVERWRITES_IN_PLACE = frozenset({_EXT4, _TMPFS})  # no block is shared or copied on write
_SYNCFS_REPORTS_ERRORS = (5, 17)  # before, Linux ignores the errors of the file system's own sync
# Not FUSE, whose syncfs may do nothing, and not overlayfs, which loses the errors of the file system below.
_SYNCFS_IS_DURABLE = frozenset({_EXT4, _XFS, _BTRFS, _F2FS, _TMPFS})


class Stat(NamedTuple):
    """Size of a file in bytes, and time of its last write in ns since 1970."""

    size: int
    time: int


class FS:
    """The operating system's files. Errors are plain ``OSError``; nothing is retried."""

    def listdir(self, directory: Path) -> list[str]:
        """Return the names in ``directory``, sorted; an empty list if it does not exist."""
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def mkdir(self, directory: Path) -> None:
        """Create one directory if it does not exist. Only its owner may read it."""
        with suppress(FileExistsError):
            os.mkdir(directory, PRIVATE_DIRECTORY)
            with suppress(PermissionError):  # a file system without modes
                os.chmod(directory, PRIVATE_DIRECTORY)

    def create_directory(self, directory: Path) -> None:
        """Create one directory. Raises ``FileExistsError``."""
        os.mkdir(directory, PRIVATE_DIRECTORY)

    def resolve(self, path: Path) -> Path:
        """Return the path without links and ``..``. Raises ``FileNotFoundError``."""
        return path.resolve(strict=True)

    def free_bytes(self, directory: Path) -> int:
        """Return the free space of the directory's file system."""
        found = os.statvfs(directory)
        return found.f_bavail * found.f_frsize

    def set_time(self, path: Path, nanoseconds: int) -> None:
        """Set the time of a file's last write, in ns since 1970."""
        os.utime(path, ns=(nanoseconds, nanoseconds))

    def makedirs(self, directory: Path) -> None:
        """Create ``directory`` and its missing parents, durably.

        A directory that can't be made durable is removed again, so that no later call relies on its name.
        """
        missing = []
        while not self.exists(directory):
            missing.append(directory)
            directory = directory.parent
        for path in reversed(missing):
            self.mkdir(path)
            try:
                self.fsync_dir(path.parent)
            except OSError:
                with suppress(OSError):  # report the first error
                    self.rmdir(path)
                raise

    def exists(self, path: Path) -> bool:
        """Whether a file or directory of that name exists."""
        return path.exists()

    def writable(self, path: Path) -> bool:
        """Whether this process may write to the file, or create files in the directory."""
        return os.access(path, os.W_OK)

    def stat(self, path: Path) -> Stat:
        """Return size and time of the file."""
        found = path.stat()
        return Stat(found.st_size, found.st_mtime_ns)

    def has_other_names(self, path: Path) -> bool:
        """Whether the file has more than one name: writing to it would change a copy by hard links."""
        return path.stat().st_nlink > 1

    def mode(self, path: Path) -> int:
        """Return the mode bits of a file or directory."""
        return path.stat().st_mode & 0o7777

    def read(self, path: Path, offset: int = 0, size: int | None = None) -> bytes:
        """Return ``size`` bytes from ``offset``, fewer at the end of the file; all bytes if ``None``."""
        with path.open("rb", buffering=0) as file:
            length = max(0, os.fstat(file.fileno()).st_size - offset)
            remaining = length if size is None else min(size, length)
            parts = []
            while remaining > 0 and (part := os.pread(file.fileno(), remaining, offset)):
                parts.append(part)
                remaining -= len(part)
                offset += len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def create(self, path: Path) -> int:
        """Create a file and open it for writing; return its descriptor. Raises ``FileExistsError``.

        Only its owner may read it.
        """
        return _private(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))

    def open(self, path: Path) -> int:
        """Open an existing file for reading and writing; return its descriptor."""
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def close(self, fd: int) -> None:
        """Close a descriptor. Does not make anything durable."""
        os.close(fd)

    def allocate(self, fd: int, size: int) -> None:
        """Reserve space so that the file is ``size`` bytes long, with zeros in the new part.

        Does nothing on a file system without preallocation: the file then grows with each write.
        """
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError as error:
            if error.errno not in _NO_PREALLOCATION:
                raise

    def pwritev(self, fd: int, buffers: Sequence[Bytes], offset: int) -> int:
        """Make one write call, which may be partial; return the number of bytes written."""
        return os.pwritev(fd, buffers, offset)

    def write(self, fd: int, buffers: Sequence[Bytes], offset: int) -> None:
        """Write all ``buffers`` consecutively, in one call unless the system writes only a part."""
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
        """Make the file's bytes and size durable. After a failure the state is unknown: do not retry."""
        os.fdatasync(fd)

    def fsync_dir(self, directory: Path) -> None:
        """Make the names in ``directory`` durable."""
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def begin_group_sync(self, directory: Path) -> int | None:
        """Open a directory for `group_sync`, before the writes that it is to make durable.

        Returns a descriptor, or ``None`` if the system does not permit such a sync, or the file system does
        not guarantee it, or hides its errors.
        """
        if _syncfs is None or (_syncfs(-1) != 0 and ctypes.get_errno() in _NOT_PERMITTED):  # else EBADF
            return None
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if _file_system(fd) not in _SYNCFS_IS_DURABLE:
            os.close(fd)
            return None
        return fd

    def group_sync(self, fd: int) -> None:
        """Make all bytes and names of the file system durable. ``fd`` is from `begin_group_sync`.

        Raises ``OSError`` also if any file of the file system could not be written since then, or earlier
        without a report to any process.
        """
        assert _syncfs is not None
        if _syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def rename(self, old: Path, new: Path) -> None:
        """Rename a file or directory atomically; an existing file of the new name is replaced."""
        os.rename(old, new)

    def unlink(self, path: Path) -> None:
        """Remove a file's name."""
        os.unlink(path)

    def rmdir(self, directory: Path) -> None:
        """Remove an empty directory."""
        os.rmdir(directory)

    def lock(self, path: Path) -> Lock:
        """Lock the file ``path`` for this process until ``release``. Raises ``DirectoryLocked``."""
        with actionable_errors(f"lock the data directory {path.parent}"):
            self.makedirs(path.parent)
            fd = _private(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE))
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, _HOLDER_BYTES, 0).strip(b"\0\n").decode("ascii", "replace") or "unknown"
            os.close(fd)
            raise DirectoryLocked(
                f"the data directory {path.parent} is in use by another streamlearn daemon (process "
                f"{holder}); stop that daemon, or give this one another --data-dir",
                directory=str(path.parent),
                process=holder,
            ) from None
        lock = Lock(fd)
        if lock.note(f"{os.getpid()}\n".encode().ljust(_HOLDER_BYTES, b"\0"), 0):
            lock.map()
        return lock


def _find_syncfs() -> Callable[[int], int] | None:
    """Return the system call, which Python does not have; ``None`` where it is missing or hides errors."""
    system = os.uname()
    version = tuple(int(part) for part in system.release.split(".")[:2] if part.isdigit())
    if system.sysname != "Linux" or version < _SYNCFS_REPORTS_ERRORS:
        return None
    syncfs: Callable[[int], int] | None = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    return syncfs


_syncfs = _find_syncfs()


def _private(fd: int) -> int:
    """Set the mode of a new file, independent of the umask. Return its descriptor."""
    with suppress(PermissionError):  # a file system without modes
        os.fchmod(fd, PRIVATE_FILE)
    return fd


def _without(buffers: Sequence[Bytes], count: int) -> Sequence[Bytes]:
    """Return ``buffers`` without their first ``count`` bytes."""
    for index, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[index + 1 :]]
        count -= len(buffer)
    return []


class Lock:
    """A held lock. The kernel releases it when the process ends for any reason.

    The file begins with the process id; the holder may write notes behind it (``deaths.py``).
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._mapped: mmap.mmap | None = None

    def map(self) -> None:
        """Map the beginning of the file into memory, so that `put` needs no system call.

        Only after a successful write to this part: then its space is reserved, also on a full disk. A file
        system that copies blocks on write would need new space for each write, and end the process by a
        signal if there is none.
        """
        if _file_system(self._fd) not in _OVERWRITES_IN_PLACE:
            return
        with suppress(OSError, ValueError):  # a file system without shared mappings
            if os.fstat(self._fd).st_size < _MAPPED_BYTES:
                os.ftruncate(self._fd, _MAPPED_BYTES)
            self._mapped = mmap.mmap(self._fd, _MAPPED_BYTES)

    def put(self, data: Bytes, offset: int) -> None:
        """Write to the first bytes of the lock file, if that is possible. They survive the process."""
        if self._mapped is None:
            self.note(data, offset)
        else:
            self._mapped[offset : offset + len(data)] = data

    def read(self, size: int, offset: int) -> bytes:
        """Return ``size`` bytes of the lock file, fewer at its end."""
        return os.pread(self._fd, size, offset)

    def write(self, data: Bytes, offset: int) -> None:
        """Write to the lock file."""
        os.pwrite(self._fd, data, offset)

    def note(self, data: Bytes, offset: int) -> bool:
        """Write to the lock file if the disk allows it: a full disk must not stop the daemon."""
        try:
            os.pwrite(self._fd, data, offset)
        except OSError:
            return False
        return True

    def cut(self, size: int) -> None:
        """Cut the lock file to ``size`` bytes."""
        os.ftruncate(self._fd, size)

    def sync(self) -> None:
        """Make the lock file's content durable."""
        os.fdatasync(self._fd)

    def release(self) -> None:
        """Release the lock. The lock file stays, since removing it would cause a race."""
        if self._mapped is not None:
            self._mapped.close()
            self._mapped = None
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


@contextmanager
def actionable_errors(action: str) -> Iterator[None]:
    """Replace an ``OSError`` in the block by ``actionable_error`` of it."""
    try:
        yield
    except OSError as error:
        raise actionable_error(error, action) from error


def actionable_error(error: OSError, action: str) -> Exception:
    """Return an error that says what to do if a person can act on it, else the same error.

    ``action`` completes the sentence "cannot …".
    """
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return DiskFull(f"cannot {action}: {reason}. Nothing of it was kept; free some space, then try again")
    if error.errno in _REFUSED:
        return BadConfig(
            f"cannot {action}: {reason}. Give the daemon read and write permission, or choose another "
            "--data-dir"
        )
    return error


def unused_name(fs: FS, path: Path, suffix: str) -> Path:
    """Return ``path`` with ``suffix`` appended, and a number after it if that name exists."""
    name, number = path.with_name(path.name + suffix), 1
    while fs.exists(name):
        number += 1
        name = path.with_name(f"{path.name}{suffix}.{number}")
    return name


def write_atomically(fs: FS, path: Path, data: Bytes, suffix: str | None = None) -> None:
    """Replace the content of ``path`` atomically and durably.

    After a crash ``path`` has the old content or the new one. The data is first written to ``path`` with
    ``suffix`` appended; the default suffix is unique to the thread, so that several threads may replace one
    file. Raises ``OSError`` with ``path`` unchanged.
    """
    unique = f".{os.getpid()}-{threading.get_native_id()}.tmp"
    temporary = path.with_name(path.name + (suffix or unique))
    if fs.exists(temporary):  # left by a crash
        fs.unlink(temporary)
    write_new(fs, temporary, data)
    fs.rename(temporary, path)
    fs.fsync_dir(path.parent)


def write_new(fs: FS, path: Path, data: Bytes, *, sync: bool = True) -> None:
    """Write a file that does not exist. Its bytes are durable on return if ``sync``; its name is not.

    Raises ``OSError``, and then leaves no file.
    """
    fd = fs.create(path)
    try:
        fs.write(fd, [data], 0)
        if sync:
            fs.fdatasync(fd)
    except OSError:
        with suppress(OSError):  # report the first error
            fs.unlink(path)
        raise
    finally:
        fs.close(fd)


def _file_system(fd: int) -> int:
    """The type of the file system that holds a file, as in ``statfs(2)``; 0 if it is unknown."""
    result = (ctypes.c_long * 32)()  # struct statfs begins with the type
    return int(result[0]) if ctypes.CDLL(None).fstatfs(fd, result) == 0 else 0
