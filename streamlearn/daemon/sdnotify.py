"""Status messages to systemd (`Type=notify`): datagrams to the socket in `NOTIFY_SOCKET`."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time

START_SECONDS = 120  # until the next sign of life during a start; a kernel may take a minute to compile
DEFAULT_SECONDS = 10.0  # without a watchdog
LEAST_SECONDS = 1.0  # between two signs of life
SEND_SECONDS = 0.1


def notify(state: str) -> None:
    """Send `READY=1`, `STOPPING=1` or `STATUS=…`. Does nothing if systemd did not start the daemon."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.settimeout(SEND_SECONDS)  # the queue is full if nobody reads it
        out.sendto(state.encode(), address)


class Watchdog:
    """Signs of life, at most as often as systemd needs them. For the main thread.

    With `WatchdogSec=` in the unit, systemd kills a daemon that makes no progress. During a start, a sign of
    life also extends the time limit: a long replay is not ended as long as it makes progress.
    """

    def __init__(self) -> None:
        seconds = _watchdog_seconds()
        self.seconds = DEFAULT_SECONDS if seconds is None else seconds
        """Without a sign of life for so long, the daemon hangs."""
        self._watched = seconds is not None
        self._interval = min(LEAST_SECONDS, self.seconds / 4)
        self._next = -math.inf  # steady clock, s

    def feed(self, now: float) -> None:
        """The loop makes progress. `now`: seconds of a steady clock."""
        if self._watched and now >= self._next:
            self._next = now + self._interval
            notify("WATCHDOG=1")

    def feed_start(self) -> None:
        """The start makes progress."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._interval
            notify(f"EXTEND_TIMEOUT_USEC={START_SECONDS * 10**6}" + "\nWATCHDOG=1" * self._watched)


def _watchdog_seconds() -> float | None:
    """How long systemd waits for a sign of life; `None` if it does not watch this process."""
    microseconds, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    watched = microseconds.isdecimal() and process in ("", str(os.getpid()))
    return int(microseconds) / 1e6 or None if watched else None
