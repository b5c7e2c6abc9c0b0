"""The clocks of a simulation: only the scheduler and readings of the steady clock move them."""

from __future__ import annotations

SECOND = 1_000_000_000


class Clock:
    """``offset`` is what the wall clock is ahead of the steady clock. Every reading takes ``tick_ns``."""

    def __init__(self) -> None:
        self._now = 1000 * SECOND
        self.offset = 1_800_000_000 * SECOND
        self.tick_ns = 5_000

    def peek_ns(self) -> int:
        return self._now

    def advance(self, ns: int) -> None:
        self._now += ns

    def steady_ns(self) -> int:
        self._now += self.tick_ns
        return self._now

    def steady(self) -> float:
        return self._now / 1e9

    def wall_ns(self) -> int:
        return self._now + self.offset

    # `time`, as the client's session uses it

    def time_ns(self) -> int:
        return self.wall_ns()

    def monotonic(self) -> float:
        return self.steady()
