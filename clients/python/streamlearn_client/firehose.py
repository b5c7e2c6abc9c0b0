"""Sending samples without acknowledgement."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Self, TypeAlias

import numpy as np
import zmq

from streamlearn_client.errors import NoAnswer
from streamlearn_client.keys import ClientKeys
from streamlearn_client.ownership import Owner
from streamlearn_client.protocol import (
    Frame,
    IdentifiersLike,
    Learn,
    SamplesLike,
    TimesLike,
    as_batch,
    producer_name,
)
from streamlearn_client.protocol.learn_header import LearnHeader, array_frames
from streamlearn_client.protocol.samples import F4
from streamlearn_client.protocol.times import TIME, is_nanoseconds
from streamlearn_client.sockets import SEND, SEND_MORE, Connection, blocking_context, try_send
from streamlearn_client.timeouts import Deadline, check_timeout

__all__ = ["Firehose", "Message"]

LINGER_MS: Final = 1000
PART_BYTES: Final = 1 << 20
"""Largest array frame. A larger batch is sent in parts, which the daemon joins."""
POLL_MS: Final = 100
"""Longest single wait for the socket, so that `Firehose.close` in another thread does not wait long."""


Message: TypeAlias = tuple[LearnHeader, tuple[Frame, ...]]
"""A batch to send: its header without the sequence number, and its array frames."""


class Firehose:
    """A sender without acknowledgements, created by `Client.firehose`.

    Use it if lost samples do not matter. Batches that the daemon refuses, and batches in transit when a
    connection is lost, are not learned. The daemon's ``stats`` count both: batches are numbered, so the
    daemon detects lost ones. Threads may share a firehose.

    Attributes
    ----------
    sent : int
        Number of batches that the socket accepted.
    """

    def __init__(
        self,
        model: str,
        endpoint: str,
        producer: str | None,
        timeout: float | None,
        announced_by: str | None = None,
        connection_keys: ClientKeys | None = None,
        frame_bytes: int = PART_BYTES,
    ) -> None:
        self.model = model
        self.endpoint = endpoint
        self.producer = producer_name(producer)
        self.sent = 0
        self._timeout = check_timeout(timeout)
        self._announced_by = announced_by
        self._keys = connection_keys
        self._frame_bytes = min(frame_bytes, PART_BYTES)
        self._owner = Owner("firehose")
        self._lock = threading.Lock()
        self._closed = False
        self._epoch = time.time_ns()
        self._next_seq = 0
        # Shape and header of single samples, without a time (True) and with one
        self._last: dict[bool, tuple[tuple[int, ...], LearnHeader]] = {}
        self._sending = False  # true while a message is sent, and after an interrupted send
        self._connection = self._connect()

    def push(
        self,
        x: SamplesLike,
        y: SamplesLike | None = None,
        *,
        keys: IdentifiersLike | None = None,
        ids: IdentifiersLike | None = None,
        times: TimesLike | None = None,
    ) -> None:
        """Send samples. Wait while the socket is not connected or its queue is full.

        More than 1 MiB is sent in several batches.

        Parameters
        ----------
        x : array_like, (n, dim) or (dim,), data frame, Arrow table, or dict of columns
            The samples. NaN and ``None`` are missing values. The daemon compares names of columns with the
            model's ``channels``.
        y : array_like, (n, targets) or (n,), optional
            The targets of the samples.
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.
        ids : int, str or array_like, (n,), optional
            The ids of the samples, for targets that come later.
        times : array_like, (n,), or str, optional
            The times of the samples, or one for all: ``datetime64``, datetimes with a time zone, nanoseconds
            (int) or seconds (float) since 1970. Text is the name of their column in a data frame, table or
            dict. By default an index of dates, else the time of arrival at the daemon.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the arrays are not valid samples. The daemon checks the number of columns and does not report
            it.
        NoAnswer
            If the socket accepted no message within the client's timeout. The batch was not sent; of several
            batches, the first ones may have been.
        """
        if type(x) is np.ndarray and x.dtype is F4 and y is keys is ids is times is None:
            last = self._last.get(True)
            if last is not None and x.shape == last[0]:
                self._owner.check()
                with self._lock:
                    if self._try_send_sample(last[1], x.tobytes()):
                        return  # the usual case
        for message in self._messages(x, y, keys, ids, times):
            self._send(message)

    def push_targets(
        self, ids: IdentifiersLike, y: SamplesLike, *, keys: IdentifiersLike | None = None
    ) -> None:
        """Send targets of earlier samples. More than 1 MiB is sent in several batches.

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
            If the arrays are not valid targets.
        NoAnswer
            If the socket accepted no message within the client's timeout. The batch was not sent; of several
            batches, the first ones may have been.
        """
        for message in self._messages(None, y, keys, ids):
            self._send(message)

    def close(self) -> None:
        """Close the firehose. Wait for at most 1 s until queued messages are sent."""
        if self._owner.inherited:
            return
        self._closed = True
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _connect(self) -> Connection[zmq.Socket[bytes]]:
        return Connection(
            blocking_context(),
            zmq.PUSH,
            self.endpoint,
            self._keys,
            linger=LINGER_MS,
            announced_by=self._announced_by,
        )

    def _messages(
        self,
        x: SamplesLike | None,
        y: SamplesLike | None,
        keys: IdentifiersLike | None,
        ids: IdentifiersLike | None,
        times: TimesLike | None = None,
    ) -> list[Message]:
        self._owner.check()
        if (
            type(x) is np.ndarray
            and x.dtype is F4
            and x.ndim == 1
            and y is keys is ids is None
            and (times is None or is_nanoseconds(times))
        ):
            # A sample of the same length needs no check. The header of the last one fits again.
            last = self._last.get(times is None)
            if last is None or x.shape != last[0]:
                header = self._header(as_batch(self.model, x, times=times))
                last = self._last[times is None] = x.shape, header
            return [(last[1], (x.tobytes(),) if times is None else (x.tobytes(), TIME.pack(times)))]
        batch = as_batch(self.model, x, y, keys, ids, times)
        step = max(1, self._frame_bytes // max(array[:1].nbytes for array in batch.arrays.values()))
        parts = [batch.part(start, start + step) for start in range(0, batch.rows, step)]
        return [(self._header(part), tuple(array_frames(part))) for part in parts]

    def _header(self, batch: Learn) -> LearnHeader:
        return LearnHeader(batch._replace(producer=self.producer, epoch=self._epoch, ack="none"))

    def _send(self, message: Message) -> None:
        deadline = None
        while True:
            with self._lock:
                if self._try_send(message):
                    return
                deadline = deadline or Deadline(self._timeout)
                # The poll may succeed and the next send may fail: the connection can be lost in between.
                if not deadline.remaining():
                    raise self._no_answer()
                self._connection.socket.poll(min(deadline.wait_ms(), POLL_MS), zmq.POLLOUT)

    def _try_send_sample(self, header: LearnHeader, values: bytes) -> bool:
        """Send a sample as `_try_send` would, in half the time. It may return false for any reason."""
        if self._closed or self._sending or self._connection.handshakes.refused:
            return False
        send = self._connection.socket.send
        self._sending = True
        try:
            send(header.encode(None, self._next_seq), SEND_MORE)
            send(values, SEND)
        except zmq.Again:  # of the second frame if the connection was lost; ZeroMQ has dropped the first then
            self._sending = False
            return False
        self._next_seq += 1
        self.sent += 1
        self._sending = False
        return True

    def _try_send(self, message: Message) -> bool:
        """Send a message without waiting. Return whether the socket accepted it.

        Raise an error if the daemon refuses the connection.
        """
        header, arrays = message
        if self._closed:
            raise ValueError("this firehose is closed; create a new one")
        if self._connection.handshakes.refused:
            refused, self._connection = self._connection, self._connect()
            refused.close()
        if self._sending:  # an exception interrupted a send: its number may be in use
            # An empty last frame ends the message. The daemon refuses it if it is not complete.
            if not try_send(self._connection.socket, [b""]):
                return False
            self._next_seq += 1
            self._sending = False
        frames = (header.encode(None, self._next_seq), *arrays)
        self._sending = True
        accepted = try_send(self._connection.socket, frames)
        if accepted:
            self._next_seq += 1
            self.sent += 1
        self._sending = False
        if not accepted:
            self._connection.check()
        return accepted

    def _no_answer(self) -> NoAnswer:
        return NoAnswer(
            f"no daemon accepts messages at {self.endpoint} (tried for {self._timeout:g} s): "
            "check that `streamlearn serve` is running and that this is its firehose endpoint"
            f"{self._connection.handshakes.hint()}",
            endpoint=self.endpoint,
        )
