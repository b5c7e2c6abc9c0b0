"""The thread of a stream: it forms batches, sends them and receives the acknowledgements."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import zmq

from streamlearn_client.backlog import Backlog
from streamlearn_client.errors import NoAnswer, StreamlearnError, StreamLost
from streamlearn_client.keys import ClientKeys
from streamlearn_client.ownership import Owner
from streamlearn_client.protocol import Learn, Request, encode_request
from streamlearn_client.replies import read_reply
from streamlearn_client.sockets import Connection, blocking_context, receive_all, try_send
from streamlearn_client.stream_config import StreamConfig
from streamlearn_client.timeouts import LONGEST_WAIT
from streamlearn_client.wakeup import Wakeup
from streamlearn_client.window import Window

__all__ = ["StreamSender"]

HELLO: Final = encode_request(Request("hello", "hello", fields={"cumulative_acks": True}))
"""Asks for one ack for several batches. To `Window`, an ack acknowledges all batches before it anyway."""


class StreamSender:
    """The samples of a stream from `try_add` to the acknowledgement.

    Users' threads call the methods, and wait for a change with `waiter`; asyncio tasks have ``listener``. An
    exception from a signal handler may end a method at any point. So every method changes the state by a
    single operation, and wakes the thread before that. Everything else is done by the thread, which runs no
    signal handlers. There is no ``threading.Condition``: a signal handler's exception in its Python code
    leaves it locked.
    """

    def __init__(
        self,
        config: StreamConfig,
        endpoint: str,
        *,
        batch: int,
        interval: float,
        window: int,
        connection_keys: ClientKeys | None = None,
    ) -> None:
        self.owner = Owner("stream")
        self.window = Window(config.model, config.producer, config.epoch, config.ack, window, endpoint)
        self.backlog = Backlog(config.model, config.dim)
        self.capacity = (window + 1) * batch
        """Number of unacknowledged rows from which on the stream is full."""
        self.closing = False
        self.failure_raised = False
        """Whether a caller received the exception that ended the stream."""
        self.listener: Callable[[], None] | None = None
        """Called after each change, with the lock held."""
        self._lock = threading.RLock()
        self._waiters: deque[threading.Lock] = deque()
        self._endpoint = endpoint
        self._keys = connection_keys
        self._hint = ""  # a likely reason why there is no connection
        self._batch = batch
        self._interval = interval
        self._greeted = False  # whether this connection has sent HELLO
        self._flush_end = 0  # the rows below this number are sent without waiting for a full batch
        self._wakeup = Wakeup()
        self._thread = threading.Thread(target=self._run, name=f"stream to {config.model}", daemon=True)
        self._thread.start()

    # ---------------------------------------------------------------------------------- called by the user

    @property
    def pending(self) -> int:
        """Number of rows that were added and are not acknowledged."""
        self.owner.check()
        with self._lock:
            return self.window.pending + self.backlog.rows

    @property
    def added(self) -> int:
        """Number of rows that were added."""
        self.owner.check()
        with self._lock:
            return self.backlog.added

    def parts(self, batch: Learn) -> list[Learn]:
        """Return a copy of ``batch``, in parts of at most ``capacity`` rows."""
        if batch.rows <= self.capacity:
            return [_copied(batch)]
        return [
            _copied(batch.part(start, start + self.capacity)) for start in range(0, batch.rows, self.capacity)
        ]

    def try_add(self, part: Learn) -> bool:
        """Add rows if the stream is not full. Return whether they were added."""
        with self._lock:
            if not self._room(part.rows):
                return False
            self.backlog.add(part, time.monotonic())
            return True

    def try_add_sample(self, sample: bytes, timed: bool) -> bool:
        """Add one valid sample if the stream is not full. Return whether it was added.

        Parameters
        ----------
        sample : bytes
            Its values, float32, and its time if it is ``timed``.
        timed : bool
            Whether it has a time.
        """
        with self._lock:
            run = self.backlog.run
            if run is not None and len(run.data) < run.limit and run.timed is timed:
                run.data += sample
                return True  # the usual case
            room = self._room(1)
            if not room:
                return False
            # The sample that completes a batch wakes the thread. A longer run would have no time of its own.
            waiting = self.backlog.rows + 1
            more = (self._batch - waiting if waiting < self._batch else self._batch) - 1
            self.backlog.add_sample(sample, timed, min(more, room - 1), time.monotonic())
            return True

    def _room(self, count: int) -> int:
        """Return how many rows the stream accepts. Wake the thread if ``count`` more rows concern it."""
        if self.closing or self.window.failure is not None:
            self.check_usable()
        waiting = self.backlog.rows
        room = self.capacity - self.window.pending - waiting
        if room > 0 and (not waiting or waiting < self._batch <= waiting + count):
            self._wakeup.wake()
        return max(room, 0)

    def start_flush(self) -> int:
        """Send all rows without waiting for full batches. Return the number of rows that were added."""
        self.owner.check()
        with self._lock:
            self._wakeup.wake()
            self._flush_end = end = self.backlog.added
        return end

    def is_acknowledged(self, end: int) -> bool:
        """Return whether the first ``end`` rows are acknowledged."""
        with self._lock:
            self.check_usable()
            return self.window.acknowledged >= end

    def check_usable(self) -> None:
        """Raise the failure of the stream, or ``StreamLost`` if it is closed."""
        if self.window.failure is not None:
            self.failure_raised = True
            raise self.window.failure.with_traceback(None)
        if self.closing:
            raise StreamLost("this stream is closed", unacknowledged=self.window.pending)

    def waiter(self) -> threading.Lock:
        """Return a held lock that the thread releases after the next change."""
        waiter = threading.Lock()
        waiter.acquire()
        self._waiters.append(waiter)
        return waiter

    def late(self) -> NoAnswer:
        """Return the error for acknowledgements that did not arrive in time."""
        pending = self.pending
        return NoAnswer(
            f"the daemon at {self._endpoint} does not acknowledge or is not running: "
            f"{pending} samples wait for an acknowledgement{self._hint}",
            endpoint=self._endpoint,
            pending=pending,
        )

    def stop(self) -> None:
        """Stop the thread. All waiting callers raise ``StreamLost``."""
        with self._lock:
            self.closing = True
            self._wakeup.wake()
            self._notify()
        self._thread.join()
        self._wakeup.close()

    # ------------------------------------------------------------------------------ called by the thread

    def _notify(self) -> None:
        self.backlog.run = None  # the next sample is checked
        while self._waiters:
            self._waiters.popleft().release()
        if self.listener is not None:
            self.listener()

    def _run(self) -> None:
        """Send batches and receive answers. Only this thread uses the ZeroMQ socket."""
        connection = Connection(blocking_context(), zmq.DEALER, self._endpoint, self._keys)
        try:
            poller = zmq.Poller()
            poller.register(connection.monitor, zmq.POLLIN)
            poller.register(self._wakeup.reader, zmq.POLLIN)
            while True:
                wait, blocked = self._send(connection)
                if self.closing:
                    return
                poller.register(connection.socket, zmq.POLLIN | (zmq.POLLOUT if blocked else 0))
                ready = dict(poller.poll(math.ceil(min(max(wait, 0.0), LONGEST_WAIT) * 1000)))
                lost = connection.monitor in ready and connection.process_events()
                self._hint = connection.handshakes.hint()
                self._receive(receive_all(connection.socket), lost)
                self._check_refused(connection)
        finally:
            connection.close()
            with self._lock:
                if not self.closing and self.window.failure is None:
                    self.window.failure = StreamLost(
                        "the stream's thread ended with an exception; see its traceback on stderr"
                    )
                self._notify()

    def _send(self, connection: Connection[zmq.Socket[bytes]]) -> tuple[float, bool]:
        """Send due batches. Return the seconds until the next one, and whether the socket's queue is full."""
        window, backlog = self.window, self.backlog
        with self._lock:
            self._wakeup.clear()
            now = time.monotonic()
            while self._batch_is_due(now) and not window.full:
                window.add(backlog.take(self._batch))
            batches = window.to_send(now) if connection.connected else []
        if connection.connected and not self._greeted:
            self._greeted = try_send(connection.socket, HELLO)
        sent = 0
        while sent < len(batches) and try_send(connection.socket, batches[sent].frames):
            sent += 1
        with self._lock:
            window.sent(sent, now)
            idle = connection.connected and sent == len(batches)
            until = window.next_send_time() if idle else math.inf
            if backlog.rows and not window.full:
                until = min(until, backlog.first_time + self._interval)
            return until - now, sent < len(batches)

    def _batch_is_due(self, now: float) -> bool:
        backlog = self.backlog
        return backlog.rows > 0 and (
            backlog.rows >= self._batch
            or backlog.taken < self._flush_end
            or now >= backlog.first_time + self._interval
        )

    def _check_refused(self, connection: Connection[zmq.Socket[bytes]]) -> None:
        """End the stream if the daemon refused the connection."""
        refusal = connection.handshakes.refusal()
        if refusal is not None and self.window.failure is None:
            with self._lock:
                self.window.fail(refusal, "the stream can't connect")
                self._notify()

    def _receive(self, messages: list[list[bytes]], lost: bool) -> None:
        if not messages and not lost:
            return
        now = time.monotonic()
        with self._lock:
            try:
                for frames in messages:
                    self.window.receive(read_reply(frames, self._endpoint), now)
            except StreamlearnError as error:
                self.window.fail(error, "the daemon's answer can't be read")
            if lost:
                self.window.disconnected()
                self._greeted = False
            self._notify()


def _copied(batch: Learn) -> Learn:
    if batch.x is not None and list(batch.arrays) == ["x"]:
        return Learn(batch.model, batch.x.copy())
    arrays: dict[str, Any] = {name: array.copy() for name, array in batch.arrays.items()}
    return batch._replace(**arrays)
