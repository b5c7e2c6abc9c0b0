"""Group commit without a timer: while one sync runs, the next group collects.

The main thread appends records and requests a sync. The flusher thread syncs and reports the durable lsn. One
sync serves all requests that arrived during the previous one; an idle journal is synced at once.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Thread

from streamlearn.store.journal import Journal


class Flusher:
    """The thread that calls ``journal.sync``.

    Parameters
    ----------
    journal
        The journal to sync.
    on_durable
        Called with the durable lsn after each sync, on the flusher thread.
    on_failure
        Called once with the error if a sync fails, on the flusher thread, which then ends. A failed sync is
        never retried, since the system may have dropped the bytes that it failed to write.
    thread, event
        Constructors of the thread and of the event that it waits for.
    """

    def __init__(
        self,
        journal: Journal,
        on_durable: Callable[[int], None],
        on_failure: Callable[[Exception], None],
        *,
        thread: Callable[..., Thread] = Thread,
        event: Callable[[], Event] = Event,
    ) -> None:
        self._journal = journal
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._wake = event()
        self._stopping = False
        self._requested = 0  # syncs
        self._done = 0  # of them
        self._thread = thread(target=self._run, name="flusher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def request(self) -> None:
        """Request a sync of everything appended so far; return at once."""
        self._requested += 1
        self._wake.set()

    @property
    def busy(self) -> bool:
        """Whether a requested sync has not ended. For the thread that requests them."""
        return self._done < self._requested

    def stop(self) -> None:
        """Serve all requests, then end the thread and wait for it."""
        self._stopping = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            stopping = False
            while not stopping:
                self._wake.wait()
                # Read and clear before the sync: the next sync serves requests that arrive during this one.
                stopping = self._stopping
                self._wake.clear()
                requested = self._requested
                durable_lsn = self._journal.sync()
                self._done = requested
                self._on_durable(durable_lsn)
        except Exception as error:  # noqa: BLE001 - passed on: the daemon must stop after any error
            self._on_failure(error)
