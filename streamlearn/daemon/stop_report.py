"""The progress of a clean stop: in the log, and for systemd."""

from __future__ import annotations

from streamlearn import logs
from streamlearn.daemon import sdnotify

log = logs.get_logger(__name__)

INTERVAL_SECONDS = 2.0
EXTEND_SECONDS = 60  # of systemd's time limit, with each progress


class StopReport:
    """Reports what is left to do, every `INTERVAL_SECONDS`.

    Each report that differs from the one before extends systemd's time limit. So a stop with many models is
    not ended as long as it makes progress.
    """

    def __init__(self) -> None:
        self._next: float | None = None
        self._last = (-1, -1)

    def tick(self, now: float, samples: int, checkpoints: int) -> None:
        """Report that `samples` are to be learned, and `checkpoints` to be written.

        `now`: seconds of a steady clock.
        """
        if self._next is not None and now < self._next:
            return
        first, self._next = self._next is None, now + INTERVAL_SECONDS
        if (samples, checkpoints) != self._last:
            self._last = samples, checkpoints
            text = f"stopping: {samples} samples to learn, {checkpoints} checkpoints to write"
            sdnotify.notify(f"EXTEND_TIMEOUT_USEC={EXTEND_SECONDS * 10**6}\nSTATUS={text}")
            if not first:  # a short stop needs no report
                log.info(text)
