"""The one thread that owns the models (R6).

A turn: take a bite of requests (answering queries as they come) and a bite of the firehose, journal
what they brought in one write, learn for about one slice, send what may be sent. So a query waits for a
bite and a slice, not for a stream, nor for a long query, which is answered from a copy by a thread of its
own; and nothing is locked, since everything else that runs (the flusher, the helpers, signal handlers) only
hands something in and rings.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq
from numpy.typing import NDArray

from streamlearn.daemon.checkpointer import Checkpointer
from streamlearn.daemon.config import Learning
from streamlearn.daemon.events import Publisher
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.operations import Operations
from streamlearn.daemon.queries import Queries
from streamlearn.daemon.replies import Asker, Replies
from streamlearn.daemon.sockets import Sockets, receive
from streamlearn.daemon.wakeup import Helper, Wakeup
from streamlearn.daemon.writer import NOBODY, Writer
from streamlearn.errors import BadMessage, FatalError, ShuttingDown, StreamlearnError
from streamlearn.shard import Applied, Shard
from streamlearn.store.record import RecordKind
from streamlearn_client.protocol import EventMessage, Frame, Learn, Limits, decode_request, split_envelope

BITE = 0.5  # of a slice: how long a socket is read before it is another's turn
UNASKED = 4  # slices are so many times as long while nobody asks anything: fewer turns, more learning
ASKED_SECONDS = 0.1  # how long after a query somebody counts as asking
TICK_SECONDS = 0.1  # how often things that depend on the clock are looked at


class Loop:
    def __init__(
        self,
        shard: Shard,
        sockets: Sockets,
        wakeup: Wakeup,
        helper: Helper,
        writer: Writer,
        checkpointer: Checkpointer,
        queries: Queries,
        operations: Operations,
        replies: Replies,
        publisher: Publisher,
        metrics: Metrics,
        limits: Limits,
        learning: Learning,
    ) -> None:
        self._shard = shard
        self._sockets = sockets
        self._wakeup = wakeup
        self._helper = helper
        self._writer = writer
        self._checkpointer = checkpointer
        self._queries = queries
        self._operations = operations
        self._replies = replies
        self._publisher = publisher
        self._metrics = metrics
        self._limits = limits
        self._short_ns = int(learning.slice_milliseconds * 1e6)
        self._slice_ns = UNASKED * self._short_ns
        self._asked_at = -math.inf  # when the last query came
        self._stopping = False
        self._checkpointed = False
        self._failure: FatalError | None = None
        self._next_tick = 0.0
        self._everything = zmq.Poller()
        self._no_firehose = zmq.Poller()
        for each in (sockets.requests, sockets.events, wakeup):
            self._everything.register(each, zmq.POLLIN)
            self._no_firehose.register(each, zmq.POLLIN)
        self._everything.register(sockets.firehose, zmq.POLLIN)

    def stop(self) -> None:
        """Stop taking anything new, finish, and let `run` return. For any thread, and signal handlers."""
        self._stopping = True
        self._wakeup.ring()

    def fail(self, error: FatalError) -> None:
        """Nothing can be promised any more: make `run` raise `error`. For any thread."""
        self._failure = error
        self._wakeup.ring()

    def run(self) -> None:
        """Serve until `stop`. Raises what `fail` was told, and `JournalFailed`."""
        while not self._finished():
            self._turn()

    def _turn(self) -> None:
        if not self._shard.waiting:
            self._poll()
        if self._failure is not None:
            raise self._failure
        self._publisher.update()
        self._take(self._sockets.requests, self._request)
        if not self._stopping and self._writer.takes_firehose:
            self._take(self._sockets.firehose, self._firehose)
        self._writer.commit()
        self._learn()
        self._writer.acknowledge()
        self._helper.collect()
        self._queries.collect()
        self._checkpointer.advance()
        now = time.monotonic()
        asked = now < self._asked_at + ASKED_SECONDS
        self._slice_ns = self._short_ns if asked else UNASKED * self._short_ns
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._writer.tick(now)
            self._checkpointer.tick(now)
            self._queries.tick(now)

    def _poll(self) -> None:
        """Sleep until there is something to do."""
        firehose = not self._stopping and self._writer.takes_firehose
        poller = self._everything if firehose else self._no_firehose
        poller.poll(max(0, int((self._next_tick - time.monotonic()) * 1000) + 1))
        self._wakeup.quiet()

    def _take(self, socket: zmq.Socket[bytes], handle: Callable[[list[Frame]], None]) -> None:
        """Handle what waits at a socket, for as long as a bite."""
        until = time.perf_counter_ns() + int(BITE * self._slice_ns)
        while (frames := receive(socket)) is not None:
            self._metrics.messages += 1
            handle(frames)
            if time.perf_counter_ns() > until:
                return

    def _request(self, frames: list[Frame]) -> None:
        envelope, message = split_envelope(frames)
        asker = Asker(envelope, None)
        try:
            request = decode_request(message, self._limits)
            asker = Asker(envelope, request.id)
            if self._stopping:
                raise ShuttingDown("the daemon is shutting down; send this again when it is back")
            if isinstance(request, Learn):
                self._writer.learn(request, asker)
            else:
                self._asked_at = time.monotonic()
                self._operations.run(asker, request)
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            if asker.id is None and isinstance(error, StreamlearnError):
                asker = Asker(envelope, error.request_id)
            self._replies.failed(asker, error)

    def _firehose(self, frames: list[Frame]) -> None:
        try:
            request = decode_request(frames, self._limits)
            if not isinstance(request, Learn):
                raise BadMessage("the firehose takes learn only")
            self._writer.learn(request, NOBODY)
        except FatalError:
            raise
        except StreamlearnError as error:
            self._writer.lose(error)

    def _learn(self) -> None:
        """Learn for about a slice: one long slice of one model, or short ones of several in turn."""
        began = now = time.perf_counter_ns()
        while (applied := self._shard.step()) is not None:
            before, now = now, time.perf_counter_ns()
            entry = applied.entry
            if applied.rows:
                entry.pace(applied.rows, now - before, self._slice_ns)
            self._publish(applied)
            self._writer.learned(entry)
            self._operations.between_slices(entry)
            if now - began > self._slice_ns // 2:
                return

    def _publish(self, applied: Applied) -> None:
        if applied.outputs is None or not len(applied.outputs):
            return
        arrays = applied.outputs.arrays
        self._tell(applied, "targets" if applied.kind is RecordKind.TARGETS else "output", arrays)
        drift = arrays.get("drift")
        if drift is not None and drift.any():
            at = np.flatnonzero(drift)
            numbers = arrays.get("sample")
            self._tell(applied, "drift", {"sample": applied.first + at if numbers is None else numbers[at]})

    def _tell(self, applied: Applied, kind: str, arrays: dict[str, NDArray[Any]]) -> None:
        name = applied.entry.name
        if applied.outputs is not None and self._publisher.wants(name, kind):
            rows = len(applied.outputs)
            self._publisher.publish(
                EventMessage(kind, name, applied.lsn, applied.first, rows, applied.time, arrays)
            )

    def _finished(self) -> bool:
        """Whether a stop is complete: all that was taken is learned, durable, answered and checkpointed."""
        if not self._stopping:
            return False
        self._queries.finish(time.monotonic())
        if self._shard.waiting or not self._writer.settled:
            return False
        if not self._checkpointed:
            self._checkpointed = True
            self._checkpointer.take_all()
        return self._checkpointer.idle and self._queries.idle
