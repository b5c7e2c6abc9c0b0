"""Waking a thread that polls ZeroMQ sockets."""

from __future__ import annotations

import socket
from contextlib import suppress

__all__ = ["Wakeup"]


class Wakeup:
    """A socket pair. A poll of ``reader`` ends when another thread, or a signal handler, calls `wake`."""

    def __init__(self) -> None:
        self._writer, self.reader = socket.socketpair()
        self._writer.setblocking(False)
        self.reader.setblocking(False)
        self._signalled = False

    def wake(self) -> None:
        """Make ``reader`` readable until the next `clear`."""
        if not self._signalled:
            with suppress(OSError):  # bytes are waiting already, or the pair is closed
                self._writer.send(b"!")
            self._signalled = True

    def clear(self) -> None:
        """Make ``reader`` unreadable. Call it before the state is read that `wake` announces."""
        self._signalled = False
        with suppress(BlockingIOError):
            while self.reader.recv(64):
                pass

    def close(self) -> None:
        """Close both sockets."""
        self._writer.close()
        self.reader.close()
