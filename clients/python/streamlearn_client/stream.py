"""A stream of samples to a model, each of them learned exactly once."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import zmq
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.errors import BadShape, BadValue, NoAnswer, StreamlearnError, StreamLost
from streamlearn_client.gathering import Gathering
from streamlearn_client.protocol import Learn, as_batch, as_float32, decode_reply
from streamlearn_client.results import Ack
from streamlearn_client.session import StreamPlan
from streamlearn_client.sockets import Link, blocking, drain, send
from streamlearn_client.window import Window

__all__ = ["Stream"]

F4: Final = np.dtype("<f4")
LAST_CHANCE: Final = 2.0
"""seconds that leaving a ``with`` block by an exception gives to what was pushed before it"""


class Stream:
    """Buffers samples into batches, sends them, and keeps each until the daemon has acknowledged it.

    A batch goes out when it has ``batch`` samples, or when its first has waited for ``interval`` seconds.
    Up to ``window`` batches are under way; then `push` waits, for at most ``timeout`` seconds. When the
    daemon restarts, refuses for a while, or the network fails, what is not acknowledged is sent again, in
    order, and the numbers that batches carry keep the daemon from learning any twice. Leaving the ``with``
    block flushes, waits for the acknowledgements and closes.

    A stream that can't go on raises ``StreamLost`` from then on. Threads may share one; their samples then
    interleave. ``producer`` names it to the daemon; a later stream of the same name fences it off.
    """

    def __init__(
        self, plan: StreamPlan, endpoint: str, *, batch: int, interval: float, window: int, timeout: float
    ) -> None:
        if window < 1 or not interval >= 0 or not timeout > 0:
            raise BadValue(
                "a stream needs window >= 1, interval >= 0 and timeout > 0, not "
                f"window={window}, interval={interval}, timeout={timeout}"
            )
        self.model = plan.model
        self.producer = plan.producer
        self.epoch = plan.epoch
        self._endpoint = endpoint
        self._interval = interval
        self._timeout = timeout
        self._window = Window(plan.model, plan.producer, plan.epoch, plan.ack, window)
        self._plan = plan
        self._gathering = Gathering(batch)
        self._since = 0.0  # when the first row came that is being gathered
        self._flushing = False
        self._stopping = False
        self._changed = threading.Condition()
        # A byte through this pair tells the thread that there is something to send or a time to keep.
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._rung = False
        self._thread = threading.Thread(target=self._run, name=f"stream to {plan.model}", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------- counters

    @property
    def acknowledged(self) -> int:
        """Samples that the daemon has acknowledged at this stream's level."""
        return self._window.acknowledged

    @property
    def pending(self) -> int:
        """Samples that were pushed and are not acknowledged yet."""
        with self._changed:
            return self._window.pending + self._gathering.rows

    @property
    def resent(self) -> int:
        """Batches that were sent more than once, counted each time."""
        return self._window.resent

    @property
    def last_ack(self) -> Ack | None:
        return self._window.last_ack

    # -------------------------------------------------------------------------------------------- pushing

    def push(
        self, sample: ArrayLike, y: ArrayLike | None = None, *, keys: Any = None, ids: Any = None
    ) -> None:
        """Add one sample (dim,), with its targets, its key and its id if the model takes any.

        Raises ``BadShape``, ``BadDtype``, ``BadValue`` for what the model can't take, ``StreamLost``, and
        ``NoAnswer`` if there was no room within the timeout (the sample was not taken: push it again).
        """
        self._put(self._one(sample, y, keys, ids))

    def push_many(
        self, batch: ArrayLike, ys: ArrayLike | None = None, *, keys: Any = None, ids: Any = None
    ) -> None:
        """Add samples (n, dim) with targets (n, targets), keys (n,) or one for all, and ids (n,), in order;
        they are copied at once.

        Raises what `push` raises; after ``NoAnswer``, ``error.detail["taken"]`` of them were taken.
        """
        rows = as_float32(batch, "samples")
        if rows.ndim != 2:
            raise BadShape(f"push_many takes samples (n, dim), not {rows.shape}; for one there is push")
        if len(rows):
            self._put(as_batch(self.model, rows, ys, keys, ids))

    def push_targets(self, ids: Any, y: ArrayLike, *, keys: Any = None) -> None:
        """Add targets (n, targets) of samples that were pushed before, by these samples' ids (n,): the model
        learns them after everything that was pushed before them. One id may come with its targets (targets,).

        Raises what `push_many` raises.
        """
        self._put(as_batch(self.model, None, y, keys, ids))

    def _one(self, sample: ArrayLike, y: ArrayLike | None, keys: Any, ids: Any) -> Learn:
        row = sample if type(sample) is np.ndarray and sample.dtype == F4 else as_float32(sample, "a sample")
        if row.ndim != 1:
            raise BadShape(f"push takes one sample (dim,), not {row.shape}; for many there is push_many")
        if y is None and keys is None and ids is None:
            return Learn(self.model, row.reshape(1, -1))
        return as_batch(self.model, row, y, keys, ids)

    def _put(self, batch: Learn) -> None:
        if batch.x is not None:
            _refuse_infinities(batch.x, "a sample")
        if batch.y is not None:
            _refuse_infinities(batch.y, "a target")
        self._plan.check(batch)
        deadline = time.monotonic() + self._timeout
        taken, total = 0, batch.rows
        with self._changed:
            while taken < total:
                try:
                    self._wait_until(lambda: self._takes(batch), deadline)
                except NoAnswer as error:
                    error.detail["taken"] = taken
                    raise
                taken += self._fill(batch, taken)

    def _would_wait(self, batch: Learn) -> bool:
        """Whether to put ``batch``, of one row, would have to wait for room."""
        with self._changed:
            return self._window.full and not self._gathering.takes(batch)

    def _takes(self, batch: Learn) -> bool:
        """Whether a row can be gathered now, in a new batch if need be."""
        return self._gathering.takes(batch) or self._seal()

    def _fill(self, batch: Learn, start: int) -> int:
        """Take as many rows from ``start`` on as the batch that is being filled has room for."""
        first = not self._gathering.rows
        if first:
            self._since = time.monotonic()
        more = self._gathering.fill(batch, start)
        sealed = self._gathering.full and self._seal()
        if sealed or first:
            self._ring()
        return more

    def _seal(self) -> bool:
        """Put the batch that is being filled into the window, if that has room."""
        if self._window.full or not self._gathering.rows:
            return False
        self._window.add(self._gathering.take())
        return True

    # ------------------------------------------------------------------------------------ waiting, closing

    def flush(self, timeout: float | None = None) -> Ack | None:
        """Send what is buffered and wait until everything is acknowledged; returns the last acknowledgement.

        Raises ``NoAnswer`` after ``timeout`` seconds (by default the stream's), ``StreamLost``.
        """
        with self._changed:
            self._flushing = True
            self._ring()
            try:
                self._wait_until(
                    lambda: not self._gathering.rows and not len(self._window),
                    time.monotonic() + (self._timeout if timeout is None else timeout),
                )
            finally:
                self._flushing = False
            return self._window.last_ack

    def close(self) -> None:
        """Stop at once, whatever is not acknowledged (`flush` first to wait for it)."""
        with self._changed:
            self._ring()
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        self._bell.close()
        self._ear.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush(None if error is None else min(LAST_CHANCE, self._timeout))
        except NoAnswer as late:
            if error is None:
                raise StreamLost(late.message, unacknowledged=self.pending, **late.detail) from late
        except StreamLost:
            if error is None:
                raise
        finally:
            self.close()

    def _wait_until(self, met: Callable[[], bool], deadline: float) -> None:
        """Wait, holding the lock but for the waiting. Raises what ended the stream, and ``NoAnswer``."""
        while True:
            if self._window.failure is not None:
                raise self._window.failure.with_traceback(None)
            if self._stopping:
                raise StreamLost("this stream is closed", unacknowledged=self._window.pending)
            if met():
                return
            left = deadline - time.monotonic()
            if left <= 0:
                pending = self._window.pending + self._gathering.rows
                raise NoAnswer(
                    f"the daemon at {self._endpoint} does not acknowledge (or is not there): "
                    f"{pending} samples wait",
                    endpoint=self._endpoint,
                    pending=pending,
                )
            self._changed.wait(left)

    # ----------------------------------------------------------------------------------------- the thread

    def _ring(self) -> None:
        if not self._rung and not self._stopping:
            self._rung = True
            self._bell.send(b"!")

    def _run(self) -> None:
        """The only thread that touches the ZeroMQ socket."""
        link = Link(blocking(), zmq.DEALER, self._endpoint)
        try:
            poller = zmq.Poller()
            poller.register(link.monitor, zmq.POLLIN)
            poller.register(self._ear, zmq.POLLIN)
            while True:
                wait, blocked = self._send(link)
                if self._stopping:
                    return
                poller.register(link.socket, zmq.POLLIN | (zmq.POLLOUT if blocked else 0))
                ready = dict(poller.poll(None if wait == math.inf else math.ceil(max(wait, 0.0) * 1000)))
                if self._ear.fileno() in ready:
                    self._ear.recv(16)
                broke = link.monitor in ready and link.heard_all()
                self._receive(drain(link.socket), broke)
        finally:
            link.close()
            with self._changed:
                if not self._stopping and self._window.failure is None:
                    self._window.failure = StreamLost(
                        "the stream's own thread failed; its traceback says how"
                    )
                self._changed.notify_all()

    def _send(self, link: Link[zmq.Socket[bytes]]) -> tuple[float, bool]:
        """Send what is due. Returns how long nothing will be, and whether the socket would take no more."""
        with self._changed:
            self._rung = False
            now = time.monotonic()
            overdue = self._gathering.rows and now >= self._since + self._interval
            if (self._flushing or overdue or self._gathering.full) and self._seal():
                self._changed.notify_all()
            batches = self._window.to_send(now) if link.stands else []
        sent = 0
        while sent < len(batches) and send(link.socket, batches[sent].frames):
            sent += 1
        with self._changed:
            self._window.sent(sent, now)
            until = self._window.wakeup() if link.stands and sent == len(batches) else math.inf
            if self._gathering.rows and not self._window.full:
                until = min(until, self._since + self._interval)
            return until - now, sent < len(batches)

    def _receive(self, messages: list[list[bytes]], broke: bool) -> None:
        if not messages and not broke:
            return
        now = time.monotonic()
        with self._changed:
            try:
                for frames in messages:
                    self._window.receive(decode_reply(frames), now)
            except StreamlearnError as error:
                self._window.fail(error, "the daemon's answer can't be read")
            if broke:
                self._window.disconnected()
            self._changed.notify_all()


def _refuse_infinities(rows: NDArray[np.float32], what: str) -> None:
    if np.isinf(rows).any():
        row, channel = (int(i) for i in np.argwhere(np.isinf(rows))[0])
        raise BadValue(
            f"{what} has {rows[row, channel]} in column {channel} (row {row}); a missing value is NaN",
            row=row,
            channel=channel,
        )
