"""A file system in memory that keeps no more than POSIX promises, and fails on demand.

Every file and directory has two contents: what programs see, and what is on the disk. Changes reach the
disk by ``fdatasync`` (bytes) and ``fsync_dir`` (names) only; ``power_loss`` keeps any combination of the
others, and of a write any part.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from streamlearn.store.fs import FS, Bytes, Stat


class PowerLoss(BaseException):
    """The power went off before an operation: no handler of the code under test may see it."""


@dataclass(eq=False)
class File:
    """``pending``: writes ``(offset, bytes)`` and new sizes, in order, that are not on the disk.

    ``path`` is the name with which the file was created.
    """

    path: Path
    seen: bytearray = field(default_factory=bytearray)
    disk: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes] | int] = field(default_factory=list)


@dataclass(eq=False)
class Directory:
    """``pending``: changes of names, each ``{name: node, or None where it is removed}``, not on the disk."""

    seen: dict[str, Node] = field(default_factory=dict)
    disk: dict[str, Node] = field(default_factory=dict)
    pending: list[dict[str, Node | None]] = field(default_factory=list)


Node = File | Directory


def apply(content: bytearray, change: tuple[int, bytes] | int) -> None:
    """Make ``change`` in ``content``: a write, or a new size."""
    if isinstance(change, int):
        del content[change:]
        content.extend(bytes(change - len(content)))
    else:
        offset, data = change
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(data)] = data


def rename_in(entries: dict[str, Node], change: dict[str, Node | None]) -> None:
    """Make the change of names in ``entries``."""
    for name, node in change.items():
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


class LossyFS(FS):
    """``steps`` counts the operations that change something; the one numbered ``off_at`` meets a power loss.

    ``capacity``: bytes that all files together may have. ``short``: a call writes that many bytes at most.
    ``before``: called with every operation's name before it takes place.
    """

    def __init__(self) -> None:
        self.root = Directory()
        self.files: dict[int, File] = {}
        self.steps = 0
        self.off_at: int | None = None
        self.capacity: int | None = None
        self.short: int | None = None
        self.fail_sync = False
        self.before: Callable[[str], None] = lambda operation: None
        self.refuse: dict[str, int] = {}  # operation: errno

    def power_loss(self, random: Random | None = None, keep: bool = False) -> None:
        """Forget what is not on the disk: any part of it by ``random``, or (``keep``) nothing, or all of "
        "it."""
        self._settle(self.root, random, keep)
        self.files.clear()
        self.off_at, self.fail_sync, self.capacity = None, False, None

    def _settle(self, node: Node, random: Random | None, keep: bool) -> None:
        def survives() -> bool:
            return keep if random is None else random.random() < 0.5

        if isinstance(node, Directory):
            for change in node.pending:
                if survives():
                    rename_in(node.disk, change)
            node.seen = dict(node.disk)
            for child in node.disk.values():
                self._settle(child, random, keep)
        else:
            for write in node.pending:
                if survives():
                    apply(node.disk, write)
                elif random is not None and not isinstance(write, int):
                    offset, data = write
                    begin, end = sorted(random.randint(0, len(data)) for _ in range(2))
                    begin = random.choice([0, begin])
                    if begin < end:
                        apply(node.disk, (offset + begin, data[begin:end]))
            node.seen = bytearray(node.disk)
        node.pending.clear()

    # ------------------------------------------------------------------------------------ finding things

    def _node(self, path: Path) -> Node:
        node: Node = self.root
        for part in path.parts[1:]:
            if not isinstance(node, Directory) or part not in node.seen:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
            node = node.seen[part]
        return node

    def directory(self, path: Path) -> Directory:
        node = self._node(path)
        assert isinstance(node, Directory)
        return node

    def file(self, path: Path) -> File:
        node = self._node(path)
        assert isinstance(node, File)
        return node

    def _step(self, operation: str) -> None:
        self.before(operation)
        if self.off_at is not None and self.steps >= self.off_at:
            raise PowerLoss
        self.steps += 1
        if operation in self.refuse:
            raise OSError(self.refuse[operation], os.strerror(self.refuse[operation]))

    def used(self) -> int:
        """The bytes of all files."""

        def size(node: Node) -> int:
            return sum(map(size, node.seen.values())) if isinstance(node, Directory) else len(node.seen)

        return size(self.root)

    def _room(self) -> int:
        return 2**62 if self.capacity is None else max(0, self.capacity - self.used())

    def _change_names(self, directory: Path, change: dict[str, Node | None]) -> None:
        node = self.directory(directory)
        rename_in(node.seen, change)
        node.pending.append(change)

    # -------------------------------------------------------------------------------------- the interface

    def listdir(self, directory: Path) -> list[str]:
        return sorted(self.directory(directory).seen) if self.exists(directory) else []

    def mkdir(self, directory: Path) -> None:
        self._step("mkdir")
        if not self.exists(directory):
            self._change_names(directory.parent, {directory.name: Directory()})

    def create_directory(self, directory: Path) -> None:
        self._step("create_directory")
        if self.exists(directory):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(directory))
        self._change_names(directory.parent, {directory.name: Directory()})

    def resolve(self, path: Path) -> Path:
        self._node(path)
        return path

    def free_bytes(self, directory: Path) -> int:
        return self._room()

    def set_time(self, path: Path, nanoseconds: int) -> None:
        self._step("set_time")
        self.file(path)

    def exists(self, path: Path) -> bool:
        try:
            self._node(path)
        except FileNotFoundError:
            return False
        return True

    def writable(self, path: Path) -> bool:
        return self.exists(path)

    def stat(self, path: Path) -> Stat:
        return Stat(len(self.file(path).seen), 0)

    def has_other_names(self, path: Path) -> bool:
        return False

    def read(self, path: Path, offset: int = 0, size: int | None = None) -> bytes:
        return bytes(self.file(path).seen[offset : None if size is None else offset + size])

    def create(self, path: Path) -> int:
        self._step("create")
        if self.exists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        self._change_names(path.parent, {path.name: File(path)})
        return self.open(path)

    def open(self, path: Path) -> int:
        fd = max(self.files, default=2) + 1
        self.files[fd] = self.file(path)
        return fd

    def close(self, fd: int) -> None:
        self.files.pop(fd, None)  # a power loss has closed all

    def _write(self, file: File, change: tuple[int, bytes] | int) -> None:
        apply(file.seen, change)
        file.pending.append(change)

    def allocate(self, fd: int, size: int) -> None:
        self._step("allocate")
        file = self.files[fd]
        more = max(0, size - len(file.seen))
        if more > self._room():
            self._write(file, len(file.seen) + self._room())  # like ext4: keeps what it could reserve
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if more:
            self._write(file, size)

    def pwritev(self, fd: int, buffers: Sequence[Bytes], offset: int) -> int:
        self._step("pwritev")
        file = self.files[fd]
        data = b"".join(buffers)[: self.short]
        fits = max(0, len(file.seen) - offset) + self._room()
        if data and fits <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write(file, (offset, data[:fits]))
        return min(fits, len(data))

    def truncate(self, fd: int, size: int) -> None:
        self._step("truncate")
        self._write(self.files[fd], size)

    def fdatasync(self, fd: int) -> None:
        self._step("fdatasync")
        file = self.files[fd]
        pending, file.pending = file.pending, []
        if self.fail_sync:
            # As Linux: the bytes are still seen, count as written from now on, and are not on the disk.
            self.fail_sync = False
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        for change in pending:
            apply(file.disk, change)

    def fsync_dir(self, directory: Path) -> None:
        self._step("fsync_dir")
        node = self.directory(directory)
        for change in node.pending:
            rename_in(node.disk, change)
        node.pending.clear()

    def begin_group_sync(self, directory: Path) -> int:
        fd = max(self.files, default=2) + 1
        self.files[fd] = File(directory)  # holds the number
        return fd

    def group_sync(self, fd: int) -> None:
        self._step("group_sync")
        assert fd in self.files
        failed, self.fail_sync = self.fail_sync, False
        self._sync_all(self.root, lose_bytes=failed)
        if failed:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def _sync_all(self, node: Node, lose_bytes: bool) -> None:
        if isinstance(node, Directory):
            for change in node.pending:
                rename_in(node.disk, change)
            for child in node.seen.values():
                self._sync_all(child, lose_bytes)
        elif not lose_bytes:
            for write in node.pending:
                apply(node.disk, write)
        node.pending.clear()

    def rename(self, old: Path, new: Path) -> None:
        assert old.parent == new.parent
        self._step("rename")
        self._change_names(old.parent, {old.name: None, new.name: self._node(old)})

    def unlink(self, path: Path) -> None:
        self._step("unlink")
        self.file(path)
        self._change_names(path.parent, {path.name: None})

    def rmdir(self, directory: Path) -> None:
        self._step("rmdir")
        if self.directory(directory).seen:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(directory))
        self._change_names(directory.parent, {directory.name: None})
