"""Waking the loop out of its poll, and work that must not be done on it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any


class Wakeup:
    """Any thread or signal handler may `ring`; the loop polls `fileno()`, and then calls `quiet`."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def ring(self) -> None:
        # Full: the loop has not even woken from earlier rings. Closed: it has ended, and a thread was left.
        with contextlib.suppress(OSError):
            self._writer.send(b"\0")

    def quiet(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._reader.recv(4096):
                pass

    def fileno(self) -> int:
        return self._reader.fileno()

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


Done = Callable[[Any, Exception | None], None]


class Helper:
    """A thread that does slow work in order; `collect` tells what became of it on the loop's."""

    def __init__(self, wakeup: Wakeup, name: str) -> None:
        self._wakeup = wakeup
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Done] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Done, Any, Exception | None]] = SimpleQueue()
        self._pending = 0
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether a job is not yet collected."""
        return self._pending > 0

    def submit(self, work: Callable[[], Any], done: Done) -> None:
        """Run `work()` on the thread, then `done(result, None)` or `done(None, error)` on the loop's."""
        self._pending += 1
        self._jobs.put((work, done))

    def collect(self) -> None:
        """Call the `done` of every job that has ended."""
        while not self._results.empty():
            done, result, error = self._results.get()
            self._pending -= 1
            done(result, error)

    def stop(self, wait: bool = True) -> None:
        """End the thread once its jobs are done, and wait for it. One that is not waited for ends with the
        process, whatever it is at."""
        self._jobs.put(None)
        if wait:
            self._thread.join()

    def _run(self) -> None:
        while self._work():
            self._wakeup.ring()

    def _work(self) -> bool:
        """Do the next job, and hold on to nothing of it; `False` when there are to be no more."""
        job = self._jobs.get()
        if job is None:
            return False
        work, done = job
        try:
            self._results.put((done, work(), None))
        except Exception as error:  # noqa: BLE001 - handed on to `done`
            self._results.put((done, None, error))
        return True
