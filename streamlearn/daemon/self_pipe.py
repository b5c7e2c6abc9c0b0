"""Waking the loop from another thread or from a signal handler."""

from __future__ import annotations

import contextlib
import socket


class SelfPipe:
    """A socket pair. Threads and signal handlers call `wake`; the loop polls it and calls `drain`."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def wake(self) -> None:
        """Make the loop's poll return."""
        # A full pipe already wakes the loop. A closed pipe means that the loop has ended.
        with contextlib.suppress(OSError):
            self._writer.send(b"\0")

    def drain(self) -> None:
        """Discard all pending wake-ups."""
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def fileno(self) -> int:
        """Return the file descriptor to poll for reading."""
        return self._reader.fileno()

    def close(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()
