"""Group commit without a timer: while one sync runs, the next group gathers.

The main thread appends and asks for a sync; this thread does it and reports what is durable. However
many requests come in while a sync runs, the next sync serves them all; an idle journal is synced at once.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from streamlearn.store.journal import Journal


class Flusher:
    """The thread that calls ``journal.sync``.

    ``on_durable(lsn)`` after each sync, ``on_failure(error)`` once if one fails, after which the thread
    ends: a failed sync is never retried, since the system may have dropped the very bytes that failed.
    Both are called on this thread.
    """

    def __init__(
        self, journal: Journal, on_durable: Callable[[int], None], on_failure: Callable[[Exception], None]
    ) -> None:
        self._journal = journal
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._wake = Event()
        self._stopping = False
        self._thread = Thread(target=self._run, name="flusher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request(self) -> None:
        """Ask that everything appended so far be made durable; returns at once."""
        self._wake.set()

    def stop(self) -> None:
        """Make everything durable that was asked for, then end the thread and wait for it."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            stopping = False
            while not stopping:
                self._wake.wait()
                # Both before the sync: what is asked for while it runs is served by the next one.
                stopping = self._stopping
                self._wake.clear()
                self._on_durable(self._journal.sync())
        except Exception as error:  # noqa: BLE001 - handed on: the daemon must stop, whatever it is
            self._on_failure(error)
