"""Counters of a bridge, and the log of bad messages: a sample of them, never all."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from streamlearn.logs import get_logger

EVERY_SECONDS: Final = 60.0
"""A kind of problem is logged at most once in this time, with the number of the others."""
SHOWN: Final = 120
"""Bytes of a bad payload in the log."""
KINDS: Final = 1000
"""Most kinds of problems that are told apart."""

log = get_logger(__name__)


class Counters:
    """How many messages came, and what became of them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.counts: Counter[str] = Counter(messages=0, bad=0, refused=0, repeated=0, retained=0)
        self._clock = clock
        self._logged: dict[tuple[str, str], float] = {}
        self._silent: Counter[tuple[str, str]] = Counter()

    def bad(self, where: str, reason: str, topic: str, payload: bytes) -> None:
        """Count a message that has no meaning, and log a sample of them for each input."""
        self.counts["bad"] += 1
        shown = payload[:SHOWN].decode(errors="backslashreplace")
        self._sample("bad message", where, reason=reason, topic=topic, payload=shown)

    def refused(self, model: str, reason: str) -> None:
        """Count a message that the daemon refuses, and log a sample of them for each model."""
        self.counts["refused"] += 1
        self._sample("the daemon refuses a message", model, reason=reason)

    def _sample(self, event: str, where: str, **facts: str) -> None:
        kind, now = (event, where), self._clock()
        if now - self._logged.get(kind, -EVERY_SECONDS) < EVERY_SECONDS or (
            kind not in self._logged and len(self._logged) >= KINDS
        ):
            self._silent[kind] += 1
            return
        self._logged[kind] = now
        log.warning(event, where=where, **facts, others=self._silent.pop(kind, 0))
