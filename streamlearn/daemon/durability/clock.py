"""Arrival times of records: nanoseconds since 1970 that never go back."""

from __future__ import annotations

from streamlearn import logs
from streamlearn.daemon.runtime import Runtime

log = logs.get_logger(__name__)

STEP_NS = 3600 * 10**9  # the system clock was set back by more than this: do not wait until it has caught up


class ArrivalClock:
    """The system clock, guarded against being set back.

    A time is never earlier than the last one, also across restarts: recovery passes the last arrival time in
    the data directory. If the clock is set back, the time stands still until the clock has caught up. If that
    would take more than an hour, the time continues from the last one at the pace of the steady clock, so
    that schedules in seconds do not stop.

    Parameters
    ----------
    runtime
        The clocks.
    last
        The last arrival time before the start, in ns since 1970.
    """

    def __init__(self, runtime: Runtime, last: int = 0) -> None:
        self._wall_ns, self._steady_ns = runtime.wall_ns, runtime.steady_ns
        self._last = last
        self._steady = runtime.steady_ns()
        self._behind = False

    def now(self) -> int:
        """Return the arrival time of a record that is accepted now."""
        wall, steady = self._wall_ns(), self._steady_ns()
        behind = wall < self._last - STEP_NS
        if behind and not self._behind:
            log.warning(
                "the system clock is %.0f s behind the last arrival time in the journal. Arrival times "
                "go on from there. Check the clock",
                (self._last - wall) / 1e9,
            )
        self._behind = behind
        self._last = self._last + steady - self._steady if behind else max(self._last, wall)
        self._steady = steady
        return self._last
