"""A copy of a data directory, made while a daemon writes to it.

`plan_backup` lists what the copy contains, at one moment: all checkpoints, and the journal up to a durable
record. Until `write_backup` has copied it, no checkpoint and no segment may be removed. New checkpoints and
later records are not part of the copy. Its journal ends with CLOSE, as after a clean stop. So `verify`
notices a copy that lost its end.

The copy is written as `.<name>.<journal's id>.partial` beside its place, synced, and renamed. An error
removes it. One that a crash left is removed by the next backup into the same directory.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from xxhash import xxh3_64

from streamlearn.errors import BadValue, DiskFull, Forbidden, Internal
from streamlearn.store.checkpoint import CheckpointInfo, CheckpointStore
from streamlearn.store.dropped import dropped_files
from streamlearn.store.fs import FS, FULL
from streamlearn.store.journal import DurablePart, Journal

CHUNK_BYTES = 1 << 20
ROOT_FILE = re.compile(r"[^.].*\.json")  # small files of the data directory itself, for example the manifest

_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NOT_A_PLACE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What a backup contains. `files` are the small files, with their content, by path."""

    journal: DurablePart
    journal_id: int
    checkpoints: list[CheckpointInfo]
    files: dict[str, bytes]

    @property
    def bytes(self) -> int:
        """The bytes to write."""
        copied = sum(size for _, size in self.journal.files) + sum(info.bytes for info in self.checkpoints)
        return copied + len(self.journal.close) + sum(map(len, self.files.values()))


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """A finished backup. `damaged` are checkpoints that were left out because they cannot be read."""

    lsn: int
    bytes: int
    segments: int
    checkpoints: int
    damaged: int


def plan_backup(fs: FS, data_dir: Path, journal: Journal, checkpoints: CheckpointStore) -> BackupPlan:
    """Return the content of a backup as of now. Runs where files are removed, so that nothing is removed."""
    infos = [info for key in checkpoints.models() for info in checkpoints.list(*key)]
    files = {name: fs.read(data_dir / name) for name in fs.listdir(data_dir) if ROOT_FILE.fullmatch(name)}
    notes = dropped_files(fs, data_dir / "journal")
    files |= {f"journal/{name}": content for name, content in notes.items()}
    # The journal last: it contains the record of every checkpoint that is listed.
    return BackupPlan(journal.durable_part(), journal.id, infos, files)


def check_destination(fs: FS, destination: str, data_dir: Path, within: Path | None) -> Path:
    """Return the resolved path of a new backup.

    Parameters
    ----------
    fs
        File access.
    destination
        The requested path.
    data_dir
        The data directory, which must not contain it.
    within
        The directory that must contain it; `None` for any.

    Raises
    ------
    BadValue
        If it is not an absolute path of something new in an existing directory outside the data directory.
    Forbidden
        If it is not in `within`.
    """
    path = Path(destination)
    if not path.is_absolute() or ".." in path.parts or "\0" in destination or not path.name:
        raise BadValue(
            f"{destination!r} is not an absolute path; give the path of a new directory on the daemon's host",
            path=destination,
            problem="not absolute",
        )
    allowed = None
    if within is not None:
        with _typed_errors(within):
            allowed = fs.resolve(within)
    try:
        resolved = fs.resolve(path.parent) / path.name
    except OSError as error:
        _check_within(path, allowed)
        raise _typed(error, path) from error
    _check_within(resolved, allowed)
    if resolved.is_relative_to(fs.resolve(data_dir)):
        raise BadValue(
            f"{resolved} is in the data directory; choose a path outside, best on another disk",
            path=str(resolved),
            problem="in the data directory",
        )
    with _typed_errors(resolved):
        if fs.exists(resolved):
            raise FileExistsError(errno.EEXIST, "")
    return resolved


def write_backup(
    fs: FS, plan: BackupPlan, destination: Path, pause: Callable[[], None] = lambda: None
) -> BackupSummary:
    """Write a backup; it is durable on return. After an error nothing of it is left.

    Parameters
    ----------
    fs
        File access.
    plan
        The content. Nothing of it may be removed meanwhile.
    destination
        A path from `check_destination`.
    pause
        Called before each chunk. May raise, to give up.

    Raises
    ------
    DiskFull
        If the disk of the destination has too little space.
    BadValue
        If the directory can't be made: it exists meanwhile, or the daemon lacks the permission.
    Internal
        If a segment can't be read, or on any other error of the disk.
    """
    parent, suffix = destination.parent, f".{plan.journal_id:016x}.partial"
    with _typed_errors(destination):
        for name in fs.listdir(parent):
            if name.startswith(".") and name.endswith(suffix):  # left by a crash
                remove_backup(fs, parent / name)
        free = fs.free_bytes(parent)
    if free < plan.bytes:
        raise _disk_full(f"it has {plan.bytes} bytes, and {free} bytes are free", destination)
    place = parent / f".{destination.name}{suffix}"
    with _typed_errors(destination):
        fs.create_directory(place)
    try:
        with _typed_errors(destination):
            summary = _Copy(fs, pause).write(plan, place)
            if fs.exists(destination):
                raise FileExistsError(errno.EEXIST, "")
            fs.rename(place, destination)
            place = destination
            fs.fsync_dir(parent)
    except Exception:
        with suppress(OSError):  # the first error is reported
            remove_backup(fs, place)
        raise
    return summary


def remove_backup(fs: FS, place: Path) -> None:
    """Remove a backup, finished or not. Raises ``OSError`` if it contains anything that no backup has."""
    checkpoints = place / "checkpoints"
    folders = [
        place / "journal",
        *(checkpoints / name for name in fs.listdir(checkpoints)),
        checkpoints,
        place,
    ]
    for folder in folders:
        for name in fs.listdir(folder):
            fs.unlink(folder / name)
        if fs.exists(folder):
            fs.rmdir(folder)


class _Copy:
    """Copies files into a new directory."""

    def __init__(self, fs: FS, pause: Callable[[], None]) -> None:
        self._fs = fs
        self._pause = pause

    def write(self, plan: BackupPlan, place: Path) -> BackupSummary:
        """Write the content of `place`; it is durable on return."""
        fs, journal, checkpoints = self._fs, place / "journal", place / "checkpoints"
        for directory in (journal, checkpoints):
            fs.create_directory(directory)
        copied, folder = 0, None
        for info in sorted(plan.checkpoints, key=lambda info: str(info.path)):
            if folder != checkpoints / info.path.parent.name:
                self._sync(folder)
                folder = checkpoints / info.path.parent.name
                fs.create_directory(folder)
            copied += self._copy_checkpoint(info, folder / info.path.name)
        self._sync(folder)
        last, _ = plan.journal.files[-1]
        for segment, size in plan.journal.files:
            close = plan.journal.close if segment is last else b""
            self._copy(segment.path, size, journal / segment.path.name, close)
        for name, content in plan.files.items():
            self._write(place / name, content)
        for directory in (journal, checkpoints, place):
            self._sync(directory)
        count = len(plan.checkpoints)
        return BackupSummary(plan.journal.lsn, plan.bytes, len(plan.journal.files), copied, count - copied)

    def _sync(self, directory: Path | None) -> None:
        if directory is not None:
            self._fs.fsync_dir(directory)

    def _copy_checkpoint(self, info: CheckpointInfo, target: Path) -> bool:
        """Copy a checkpoint with its time; return whether its content is that of its name."""
        try:
            digest = self._copy(info.path, info.bytes, target)
        except _Unreadable:
            digest = ""
        if digest != info.digest:
            self._fs.unlink(target)
            return False
        self._fs.set_time(target, info.time)
        return True

    def _copy(self, source: Path, size: int, target: Path, end: bytes = b"") -> str:
        """Copy `size` bytes, and `end` after them; return the hash of the copied bytes."""
        fs, digest, offset = self._fs, xxh3_64(), 0
        fd = fs.create(target)
        try:
            while offset < size:
                self._pause()
                data = self._read(source, offset, min(CHUNK_BYTES, size - offset))
                digest.update(data)
                fs.write(fd, [data], offset)
                offset += len(data)
            if end:
                fs.write(fd, [end], offset)
            fs.fdatasync(fd)
        finally:
            fs.close(fd)
        return digest.hexdigest()

    def _read(self, source: Path, offset: int, size: int) -> bytes:
        try:
            data = self._fs.read(source, offset, size)
        except OSError as error:
            raise _Unreadable(f"{source} cannot be read: {error.strerror or error}") from error
        if not data:
            raise _Unreadable(f"{source} is shorter than expected: it ends at byte {offset}")
        return data

    def _write(self, target: Path, content: bytes) -> None:
        fd = self._fs.create(target)
        try:
            self._fs.write(fd, [content], 0)
            self._fs.fdatasync(fd)
        finally:
            self._fs.close(fd)


class _Unreadable(Internal):
    """A file of the data directory cannot be read."""


def _check_within(path: Path, allowed: Path | None) -> None:
    if allowed is not None and not path.is_relative_to(allowed):
        raise Forbidden(
            f"the daemon writes backups into {allowed} only (backup.directory); choose a path there",
            path=str(path),
            directory=str(allowed),
        )


@contextmanager
def _typed_errors(path: Path) -> Iterator[None]:
    """Replace an ``OSError`` of the destination by a typed error."""
    try:
        yield
    except OSError as error:
        raise _typed(error, path) from error


def _disk_full(reason: str, path: Path) -> DiskFull:
    error = DiskFull(
        f"cannot write the backup {path}: {reason}. Nothing of it was kept; free some space, or choose "
        "another disk",
        path=str(path),
    )
    error.retryable = False  # a client must not copy everything again and again
    return error


def _typed(error: OSError, path: Path) -> Exception:
    reason = error.strerror or str(error)
    if error.errno in FULL:
        return _disk_full(reason, path)
    if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
        return BadValue(
            f"{path} exists already; choose a new path, or remove it first", path=str(path), problem="exists"
        )
    if error.errno in _REFUSED:
        return BadValue(
            f"the daemon may not write the backup {path}: {reason}; give it write permission for "
            f"{path.parent}, or choose another path",
            path=str(path),
            problem="permission",
        )
    if error.errno in _NOT_A_PLACE:
        return BadValue(
            f"cannot make {path}: {reason}; give a path in an existing directory on the daemon's host",
            path=str(path),
            problem="no such directory",
        )
    return Internal(f"the backup {path} could not be written: {reason}; nothing of it was kept")
