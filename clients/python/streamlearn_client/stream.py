"""A stream of samples to a model. The model learns each sample exactly once."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import numpy as np
import zmq
from numpy.typing import NDArray

from streamlearn_client.batch_buffer import BatchBuffer
from streamlearn_client.errors import BadShape, BadValue, NoAnswer, StreamlearnError, StreamLost
from streamlearn_client.protocol import (
    IdentifiersLike,
    Learn,
    PrecisionMonitor,
    SamplesLike,
    as_batch,
    as_float32,
    decode_reply,
)
from streamlearn_client.results import Ack
from streamlearn_client.session import StreamConfig
from streamlearn_client.sockets import Connection, blocking_context, receive_all, try_send
from streamlearn_client.window import Window

__all__ = ["Stream"]

F4: Final = np.dtype("<f4")
EXIT_FLUSH_TIMEOUT: Final = 2.0
"""Seconds for the flush when an exception leaves the ``with`` block."""


class Stream:
    """A buffered stream of samples to one model, created by `Client.stream`.

    The stream collects samples into batches, sends them, and keeps each batch until the daemon acknowledges
    it. A batch is sent when it has ``batch`` samples, or when its first sample is ``interval`` seconds old.
    Up to ``window`` batches may be unacknowledged; then `push` waits for at most ``timeout`` seconds.

    After a restart of the daemon, a retryable refusal or a network failure, the stream sends all
    unacknowledged batches again, in order. Batches are numbered, so the daemon learns each one once. Leaving
    the ``with`` block flushes the stream, waits for the acknowledgements and closes it.

    After a failure that a resend can't repair, every method raises ``StreamLost``. Threads may share a
    stream; their samples are then interleaved. A newer stream with the same producer name ends this one.

    Examples
    --------
    >>> with client.stream("pump", batch=64) as stream:  # doctest: +SKIP
    ...     for sample in samples:
    ...         stream.push(sample)
    """

    def __init__(
        self, config: StreamConfig, endpoint: str, *, batch: int, interval: float, window: int, timeout: float
    ) -> None:
        if window < 1 or not interval >= 0 or not timeout > 0:
            raise BadValue(
                "a stream needs window >= 1, interval >= 0 and timeout > 0, not "
                f"window={window}, interval={interval}, timeout={timeout}"
            )
        self.model = config.model
        self.producer = config.producer
        self.epoch = config.epoch
        self._endpoint = endpoint
        self._interval = interval
        self._timeout = timeout
        self._window = Window(config.model, config.producer, config.epoch, config.ack, window)
        self._config = config
        self._buffer = BatchBuffer(batch)
        self._first_row_time = 0.0  # when the first row entered the buffer
        self._flushing = False
        self._closing = False
        self._precision = PrecisionMonitor(f"{config.model!r}")
        self._changed = threading.Condition()
        # A byte through this socket pair wakes the thread from its poll.
        self._wakeup_writer, self._wakeup_reader = socket.socketpair()
        self._wakeup_writer.setblocking(False)
        self._wakeup_reader.setblocking(False)
        self._wakeup_sent = False
        self._thread = threading.Thread(target=self._run, name=f"stream to {config.model}", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------------------- counters

    @property
    def acknowledged(self) -> int:
        """Number of samples that the daemon has acknowledged at this stream's ack level."""
        return self._window.acknowledged

    @property
    def pending(self) -> int:
        """Number of samples that were pushed and are not acknowledged yet."""
        with self._changed:
            return self._window.pending + self._buffer.rows

    @property
    def resent(self) -> int:
        """Number of batches that were sent again, counted once per resend."""
        return self._window.resent

    @property
    def matched(self) -> int:
        """Number of acknowledged late targets that had a waiting sample, as far as the acks report it."""
        return self._window.matched

    @property
    def unmatched(self) -> int:
        """Number of acknowledged late targets without a waiting sample, as far as the acks report it."""
        return self._window.unmatched

    @property
    def last_ack(self) -> Ack | None:
        """The newest acknowledgement; ``None`` before the first."""
        return self._window.last_ack

    # -------------------------------------------------------------------------------------------- pushing

    def push(
        self,
        sample: SamplesLike,
        y: SamplesLike | None = None,
        *,
        keys: IdentifiersLike | None = None,
        ids: IdentifiersLike | None = None,
    ) -> None:
        """Add one sample to the stream.

        Parameters
        ----------
        sample : array_like, (dim,)
            The sample. NaN and ``None`` are missing values.
        y : array_like, (targets,), optional
            The targets of the sample.
        keys : int or str, optional
            The key of the sample, for models that need keys.
        ids : int or str, optional
            The id of the sample, for targets that come later.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the model does not accept the sample.
        NoAnswer
            If the window stayed full for the stream's timeout. The sample was not added; push it again.
        StreamLost
            If the stream has failed or is closed.
        """
        batch = self._single_sample(sample, y, keys, ids)
        if batch.x is not None:
            self._precision.observe(sample, batch.x)
        self._enqueue(batch)

    def push_many(
        self,
        batch: SamplesLike,
        ys: SamplesLike | None = None,
        *,
        keys: IdentifiersLike | None = None,
        ids: IdentifiersLike | None = None,
    ) -> None:
        """Add samples to the stream, in order. The arrays are copied.

        Parameters
        ----------
        batch : array_like, (n, dim)
            The samples. NaN and ``None`` are missing values.
        ys : array_like, (n, targets) or (n,), optional
            The targets of the samples.
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.
        ids : int, str or array_like, (n,), optional
            The ids of the samples, for targets that come later.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the model does not accept the samples. No sample was added.
        NoAnswer
            If the window stayed full for the stream's timeout. The first ``error.detail["taken"]`` samples
            were added.
        StreamLost
            If the stream has failed or is closed.
        """
        rows = as_float32(batch, "samples")
        if rows.ndim != 2:
            raise BadShape(f"push_many takes samples (n, dim), not {rows.shape}; for one sample use push")
        if len(rows):
            self._precision.observe(batch, rows)
            self._enqueue(as_batch(self.model, rows, ys, keys, ids))

    def push_targets(
        self, ids: IdentifiersLike, y: SamplesLike, *, keys: IdentifiersLike | None = None
    ) -> None:
        """Add targets of earlier samples. The model learns them after all samples that were pushed before.

        Parameters
        ----------
        ids : int, str or array_like, (n,)
            The ids of the samples. A sample without an id has its number as its id, counted from 0.
        y : array_like, (n, targets) or (n,)
            The targets; for a single id also (targets,).
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the model does not accept the targets. No target was added.
        NoAnswer
            If the window stayed full for the stream's timeout. The first ``error.detail["taken"]`` targets
            were added.
        StreamLost
            If the stream has failed or is closed.
        """
        self._enqueue(as_batch(self.model, None, y, keys, ids))

    def _single_sample(
        self,
        sample: SamplesLike,
        y: SamplesLike | None,
        keys: IdentifiersLike | None,
        ids: IdentifiersLike | None,
    ) -> Learn:
        row = sample if type(sample) is np.ndarray and sample.dtype == F4 else as_float32(sample, "a sample")
        if row.ndim != 1:
            raise BadShape(
                f"push takes one sample (dim,), not {row.shape}; for several samples use push_many"
            )
        if y is None and keys is None and ids is None:
            return Learn(self.model, row.reshape(1, -1))
        return as_batch(self.model, row, y, keys, ids)

    def _enqueue(self, batch: Learn) -> None:
        """Check ``batch`` and copy it into the buffer. Wait while the window is full."""
        if batch.x is not None:
            _refuse_infinities(batch.x, "a sample")
        if batch.y is not None:
            _refuse_infinities(batch.y, "a target")
        self._config.check(batch)
        deadline = time.monotonic() + self._timeout
        taken, total = 0, batch.rows
        with self._changed:
            while taken < total:
                try:
                    self._wait_until(lambda: self._has_space(batch), deadline)
                except NoAnswer as error:
                    error.detail["taken"] = taken
                    raise
                taken += self._append(batch, taken)

    def _would_block(self, batch: Learn) -> bool:
        """Return whether `_enqueue` of ``batch``, one row, would wait."""
        with self._changed:
            return self._window.full and not self._buffer.accepts(batch)

    def _has_space(self, batch: Learn) -> bool:
        """Return whether the buffer accepts a row of ``batch``, after emptying a full buffer."""
        return self._buffer.accepts(batch) or self._queue_buffer()

    def _append(self, batch: Learn, start: int) -> int:
        """Copy rows from ``start`` on into the buffer, as many as fit. Return how many."""
        first = not self._buffer.rows
        if first:
            self._first_row_time = time.monotonic()
        count = self._buffer.append(batch, start)
        queued = self._buffer.full and self._queue_buffer()
        if queued or first:
            self._wake_thread()
        return count

    def _queue_buffer(self) -> bool:
        """Move the buffered batch into the window. Return whether a batch was moved."""
        if self._window.full or not self._buffer.rows:
            return False
        self._window.add(self._buffer.pop())
        return True

    # ------------------------------------------------------------------------------------ flush and close

    def flush(self, timeout: float | None = None) -> Ack | None:
        """Send all buffered samples and wait until the daemon has acknowledged them.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait. By default the stream's timeout.

        Returns
        -------
        Ack or None
            The newest acknowledgement; ``None`` if no sample was pushed.

        Raises
        ------
        NoAnswer
            If the acknowledgements did not arrive in time.
        StreamLost
            If the stream has failed or is closed.
        """
        with self._changed:
            self._flushing = True
            self._wake_thread()
            try:
                self._wait_until(
                    lambda: not self._buffer.rows and not len(self._window),
                    time.monotonic() + (self._timeout if timeout is None else timeout),
                )
            finally:
                self._flushing = False
            return self._window.last_ack

    def close(self) -> None:
        """Close the stream at once. Unacknowledged samples may be lost: call `flush` first to keep them."""
        with self._changed:
            self._wake_thread()
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        self._wakeup_writer.close()
        self._wakeup_reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush(None if error is None else min(EXIT_FLUSH_TIMEOUT, self._timeout))
        except NoAnswer as late:
            if error is None:
                raise StreamLost(late.message, unacknowledged=self.pending, **late.detail) from late
        except StreamLost:
            if error is None:
                raise
        finally:
            self.close()

    def _wait_until(self, condition: Callable[[], bool], deadline: float) -> None:
        """Wait for ``condition``; the caller holds the lock. Raise the stream's failure, or ``NoAnswer``."""
        while True:
            if self._window.failure is not None:
                raise self._window.failure.with_traceback(None)
            if self._closing:
                raise StreamLost("this stream is closed", unacknowledged=self._window.pending)
            if condition():
                return
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                pending = self._window.pending + self._buffer.rows
                raise NoAnswer(
                    f"the daemon at {self._endpoint} does not acknowledge or is not running: "
                    f"{pending} samples wait for an acknowledgement",
                    endpoint=self._endpoint,
                    pending=pending,
                )
            self._changed.wait(remaining)

    # ----------------------------------------------------------------------------------------- the thread

    def _wake_thread(self) -> None:
        if not self._wakeup_sent and not self._closing:
            self._wakeup_sent = True
            self._wakeup_writer.send(b"!")

    def _run(self) -> None:
        """Send batches and receive answers. Only this thread uses the ZeroMQ socket."""
        connection = Connection(blocking_context(), zmq.DEALER, self._endpoint)
        try:
            poller = zmq.Poller()
            poller.register(connection.monitor, zmq.POLLIN)
            poller.register(self._wakeup_reader, zmq.POLLIN)
            while True:
                wait, blocked = self._send(connection)
                if self._closing:
                    return
                poller.register(connection.socket, zmq.POLLIN | (zmq.POLLOUT if blocked else 0))
                ready = dict(poller.poll(None if wait == math.inf else math.ceil(max(wait, 0.0) * 1000)))
                if self._wakeup_reader.fileno() in ready:
                    self._wakeup_reader.recv(16)
                lost = connection.monitor in ready and connection.process_events()
                self._receive(receive_all(connection.socket), lost)
        finally:
            connection.close()
            with self._changed:
                if not self._closing and self._window.failure is None:
                    self._window.failure = StreamLost(
                        "the stream's thread ended with an exception; see its traceback on stderr"
                    )
                self._changed.notify_all()

    def _send(self, connection: Connection[zmq.Socket[bytes]]) -> tuple[float, bool]:
        """Send due batches. Return the seconds until the next one, and whether the socket's queue is full."""
        with self._changed:
            self._wakeup_sent = False
            now = time.monotonic()
            overdue = self._buffer.rows and now >= self._first_row_time + self._interval
            if (self._flushing or overdue or self._buffer.full) and self._queue_buffer():
                self._changed.notify_all()
            batches = self._window.to_send(now) if connection.connected else []
        sent = 0
        while sent < len(batches) and try_send(connection.socket, batches[sent].frames):
            sent += 1
        with self._changed:
            self._window.sent(sent, now)
            idle = connection.connected and sent == len(batches)
            until = self._window.next_send_time() if idle else math.inf
            if self._buffer.rows and not self._window.full:
                until = min(until, self._first_row_time + self._interval)
            return until - now, sent < len(batches)

    def _receive(self, messages: list[list[bytes]], lost: bool) -> None:
        if not messages and not lost:
            return
        now = time.monotonic()
        with self._changed:
            try:
                for frames in messages:
                    self._window.receive(decode_reply(frames), now)
            except StreamlearnError as error:
                self._window.fail(error, "the daemon's answer can't be read")
            if lost:
                self._window.disconnected()
            self._changed.notify_all()


def _refuse_infinities(rows: NDArray[np.float32], name: str) -> None:
    if np.isinf(rows).any():
        row, channel = (int(i) for i in np.argwhere(np.isinf(rows))[0])
        raise BadValue(
            f"{name} has {rows[row, channel]} in column {channel} (row {row}); "
            "values must be finite, and NaN for a missing value",
            row=row,
            channel=channel,
        )
