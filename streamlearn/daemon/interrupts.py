"""Requests that arrive while the loop learns: they end the slice after the current sample.

The kernel itself looks for requests (`kernels/stream/interrupt.py`): it polls the file descriptor of the
requests socket every 50 µs, as far as whole samples allow it. Between shorter slices, the loop looks every
200 µs. No second thread touches the socket.

Requests and queries come through one socket. So a batch ends a slice too, and the loop reads it in the middle
of a turn. This costs the overhead of a kernel call, about 25 µs. Therefore the next slices run for at least
`PAUSE_NS` after a read that brought batches. A query then waits so long at most. After a read that left
queries they run for as long as it took, so that queries take half of the time at most.

A second socket for queries would avoid the wait behind batches, but needs one more port in every firewall,
tunnel and proxy, and a client that finds out whether it can be reached.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import zmq
from numpy.typing import NDArray

from streamlearn.kernels.stream.interrupt_words import EVERY, FLAG, LEFT, NEVER, POLL, watching

EVENTS, POLLIN = int(zmq.EVENTS), int(zmq.POLLIN)  # enums cost more in each call
QUESTION_NS = 50_000  # of learning in one slice between two looks at the socket
LOOK_NS = 200_000  # between two looks after slices, of which many may be shorter than a look
PAUSE_NS = 1_000_000  # of learning after a read that brought batches


class RequestInterrupts:
    """Decides when a slice ends early. The loop calls `waiting` after a slice, `have_read` after a read.

    Parameters
    ----------
    socket
        The requests socket.
    steady_ns
        The steady clock.
    """

    def __init__(self, socket: zmq.Socket[bytes], steady_ns: Callable[[], int]) -> None:
        self._socket = socket
        self._steady_ns = steady_ns
        self._interrupt = watching(int(socket.get(zmq.FD)))
        self._words = self._interrupt.view(np.int64)
        self._poll = self._words[POLL]
        self._earliest = 0  # steady ns: no slice ends early before
        self._next_look = 0  # steady ns

    def begin_slice(self, rows: int, nanoseconds_per_row: float) -> NDArray[np.uint8]:
        """Return the interrupt of a slice of so many rows that begins now."""
        pace = nanoseconds_per_row or QUESTION_NS  # until the pace is measured, ask after each row
        if rows == 1 or rows * pace < QUESTION_NS:  # a slice has one row at least
            return NEVER
        words = self._words
        words[FLAG] = 0
        words[EVERY] = max(1, int(QUESTION_NS / pace))
        words[LEFT] = max(1, int((self._earliest - self._steady_ns()) / pace))
        # The descriptor reports the arrival of a message once. If one waits already, end without asking.
        words[POLL] = 0 if self._readable() else self._poll
        return self._interrupt

    def waiting(self, now: int) -> bool:
        """Whether a request waits and may be read now. `now`: steady ns."""
        if now < self._earliest or (now < self._next_look and not self._words[FLAG]):
            return False
        self._next_look = now + LOOK_NS
        return self._readable()

    def have_read(self, now: int, unfinished_ns: int, *, batches: bool) -> None:
        """Record that the socket was read.

        Parameters
        ----------
        now
            Steady ns.
        unfinished_ns
            How long the read took, if messages are left; else 0.
        batches
            Whether there were batches.
        """
        self._words[FLAG] = 0
        self._earliest = now + (PAUSE_NS if batches else min(unfinished_ns, PAUSE_NS))

    def _readable(self) -> bool:
        return bool(int(self._socket.get(EVENTS)) & POLLIN)
