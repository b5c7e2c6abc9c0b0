"""Counts of refused peers and requests, and a log line about them from time to time."""

from __future__ import annotations

from collections import Counter
from threading import Lock
from typing import Final, Literal

from streamlearn import logs

log = logs.get_logger(__name__)

LOG_SECONDS: Final = 10.0  # between two log lines: a flood of refusals must not become a flood of lines
MAX_REASONS: Final = 20  # different reasons in one line; further ones are only counted

Kind = Literal["peers", "requests", "pushes", "subscriptions"]
KINDS: Final[tuple[Kind, ...]] = ("peers", "requests", "pushes", "subscriptions")


class Refusals:
    """`count` may run on any thread. `report` runs on the loop's thread, which alone writes to the log."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
        self._pending: Counter[str] = Counter()  # since the last line, by reason
        self._next_line = 0.0  # steady s

    def count(self, kind: Kind, reason: str = "") -> None:
        """Count one refusal. An empty reason is not logged. A reason contains no secret."""
        with self._lock:
            self._counts[kind] += 1
            if reason:
                known = reason in self._pending or len(self._pending) < MAX_REASONS
                self._pending[reason if known else "others"] += 1

    def report(self, now: float) -> None:
        """Log the refusals since the last line, if there are any and the last line is old enough."""
        if not self._pending or now < self._next_line:
            return
        self._next_line = now + LOG_SECONDS
        with self._lock:
            pending, self._pending = self._pending, Counter()
        reasons = "; ".join(
            reason if times == 1 else f"{reason} ({times} times)" for reason, times in pending.items()
        )
        log.warning("refused: %s", reasons)

    def to_map(self) -> dict[str, int]:
        """Return the counts since the start, as `stats` sends them."""
        with self._lock:
            return dict(self._counts)
