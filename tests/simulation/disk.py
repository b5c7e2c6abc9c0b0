"""The lossy file system under the scheduler: every operation is a point where other tasks run, or a fault."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from streamlearn.store.fs import Bytes, Lock
from tests.faults.lossyfs import File, LossyFS

FAILED = errno.EIO


class Disk(LossyFS):
    """A disk that outlives the processes that use it.

    ``pause`` is called before every operation that changes something: the scheduler runs other tasks, or ends
    the process. ``observe`` is called after every write.
    """

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.pause: Callable[[str], None] = lambda operation: None
        self.observe: Callable[[File, int, int], None] = lambda file, offset, size: None
        self.observe_size: Callable[[File, int], None] = lambda file, size: None
        self.observe_rename: Callable[[Path], None] = lambda path: None
        self.before = self._before
        self.fail_next: dict[str, int] = {}  # operation: errno of the next one
        self.faults = 0
        self._random = random
        self._writing: list[tuple[File, int, bytes]] = []  # calls in progress

    def _before(self, operation: str) -> None:
        self.pause(operation)
        number = self.fail_next.pop(operation, None)
        if number is not None:
            self.faults += 1
            if operation == "fdatasync":
                self.fail_sync = True
            else:
                raise OSError(number, os.strerror(number))

    def pwritev(self, fd: int, buffers: Sequence[Bytes], offset: int) -> int:
        call = (self.files[fd], offset, b"".join(buffers))
        self._writing.append(call)
        try:
            written = super().pwritev(fd, buffers, offset)
        except OSError:
            self.faults += 1
            raise
        finally:
            self._writing.remove(call)
        self.observe(call[0], offset, written)
        return written

    def allocate(self, fd: int, size: int) -> None:
        try:
            super().allocate(fd, size)
        except OSError:
            self.faults += 1
            raise

    def truncate(self, fd: int, size: int) -> None:
        file = self.files[fd]
        super().truncate(fd, size)
        self.observe_size(file, size)

    def rename(self, old: Path, new: Path) -> None:
        super().rename(old, new)
        self.observe_rename(new)

    def end_process(self) -> None:
        """The process that uses the disk was killed. A write in progress may have written its beginning."""
        for file, offset, data in self._writing:
            done = data[: self._random.randint(0, len(data))]
            if done and self._room() >= len(done):
                self._write(file, (offset, done))
                self.observe(file, offset, len(done))
        self._writing.clear()
        self.files.clear()
        self.fail_next.clear()
        self.fail_sync = False

    def lock(self, path: Path) -> Lock:
        """Nothing else uses the directory."""
        self.makedirs(path.parent)
        return Lock(-1)
