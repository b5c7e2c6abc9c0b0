"""The loop: the one thread that owns the models (R6).

One turn reads requests for one read quantum (and answers queries while it reads), reads the firehose for one
read quantum, journals the batches in one write, learns for about one slice, and sends what may be sent. A
request that arrives meanwhile ends the slice after the current sample, see `interrupts.py`, and is read and
answered in the middle of the turn. A long query runs on a worker, from a copy. Models need no lock: other
threads and signal handlers only pass something to the loop and wake it.

CONTRIBUTING.md, "The path of a sample", shows one turn as pseudo-code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import zmq
from numpy.typing import NDArray

from streamlearn.access.identity import Identity
from streamlearn.daemon.context import Context
from streamlearn.daemon.durability.checkpointer import Checkpointer
from streamlearn.daemon.durability.group_commit import GroupCommit
from streamlearn.daemon.intake.drain import SYNC_WAIT_NS, WAIT_NS, Drain
from streamlearn.daemon.intake.lane import Lane
from streamlearn.daemon.intake.reader import Reader
from streamlearn.daemon.kernels import KernelLoader
from streamlearn.daemon.network.replies import ReplyAddress, as_typed
from streamlearn.daemon.operations.queries import Queries
from streamlearn.daemon.sdnotify import Watchdog
from streamlearn.daemon.stop_report import StopReport
from streamlearn.errors import BadMessage, FatalError, ShuttingDown, StreamlearnError, UnknownOp
from streamlearn.shard import Applied
from streamlearn.shard.origin import select
from streamlearn.store.record import RecordKind
from streamlearn_client.alarms import AlarmEvent, alarm_arrays
from streamlearn_client.outputs import NamedArrays
from streamlearn_client.protocol import EventMessage, Frame, Learn, Request, decode_request, split_envelope

READ_QUANTUM = 0.25  # of a slice: how long one socket is read per turn
BURST_MESSAGES = 4  # with so many waiting messages of the firehose, the loop waits for the next ones
BURST_WAIT_MS = 1  # at most
BREAK_QUANTUM_NS = 250_000  # how long requests are read in the middle of a turn, and the firehose before them
TICK_SECONDS = 0.1  # between two runs of the work that depends on the clock

Handler = Callable[[ReplyAddress, Request], None]


class Background(Protocol):
    """Operations that wait for a worker of their own."""

    @property
    def idle(self) -> bool:
        """Whether every request is answered."""

    def collect(self) -> None:
        """Continue with the results of the worker."""

    def shut_down(self) -> None:
        """The daemon stops: refuse what has changed nothing yet."""


class Loop:
    """Serve until `stop`. `handlers` are the operations other than `learn`, by name."""

    def __init__(
        self,
        context: Context,
        group_commit: GroupCommit,
        checkpointer: Checkpointer,
        queries: Queries,
        kernels: KernelLoader,
        background: Sequence[Background],
        handlers: Mapping[str, Handler],
    ) -> None:
        self._context = context
        self._runtime = context.runtime
        self._access = context.sockets.access
        self._group_commit = group_commit
        self._checkpointer = checkpointer
        self._queries = queries
        self._kernels = kernels
        self._background = [kernels, *background]
        self._handlers = handlers
        self._slice_ns = int(context.settings.learning.slice_milliseconds * 1e6)
        self._read_ns = int(READ_QUANTUM * self._slice_ns)
        self._interrupts = self._runtime.interrupts(context.sockets.requests, self._runtime.steady_ns)
        context.shard.interrupts = self._interrupts
        self._operations = 0  # requests handled other than learn
        self._stopping = False
        self._final_checkpoints_taken = False
        self._stop_report = StopReport()
        self._failure: FatalError | None = None
        self._next_tick = 0.0
        self._watchdog = Watchdog()
        limits = context.limits
        self._firehose_limits = replace(limits, frame_bytes=limits.firehose_frame_bytes)
        self._poller = context.runtime.poller()
        self._poller_without_firehose = context.runtime.poller()
        for source in (context.sockets.requests, context.sockets.events, context.self_pipe):
            self._poller.register(source, zmq.POLLIN)
            self._poller_without_firehose.register(source, zmq.POLLIN)
        self._poller.register(context.sockets.firehose, zmq.POLLIN)
        self._lane, sockets = Lane(context, group_commit), context.sockets
        drains = [
            Drain.of(socket, context.self_pipe) if sockets.access.server_key is None else None
            for socket in (sockets.requests, sockets.firehose)
        ]
        self._waits_in_bursts = drains[1] is not None  # otherwise reading is slower than ZeroMQ
        self._requests = Reader(context, sockets.requests, True, self._lane, self._handle_request, drains[0])
        self._firehose = Reader(
            context, sockets.firehose, False, self._lane, self._handle_firehose, drains[1]
        )

    def reload(self) -> None:
        """Read the keys and rights of clients again. For any thread or signal handler."""
        self._access.reload_requested = True
        self._context.self_pipe.wake()

    def stop(self) -> None:
        """Refuse new work, finish accepted work, then let `run` return. For any thread or signal handler."""
        self._lane.accepts = False  # first: nothing joins a run after the final checkpoints
        self._stopping = True
        self._context.self_pipe.wake()

    def fail(self, error: FatalError) -> None:
        """Make `run` raise `error`. For any thread."""
        self._failure = error
        self._context.self_pipe.wake()

    def run(self) -> None:
        """Serve until `stop`. Raises `JournalFailed`, and the error passed to `fail`."""
        while not self.finished():
            self.turn()

    def turn(self) -> None:
        """Wait for something to do, and do one turn of it. Raises as `run` does."""
        context = self._context
        if not context.shard.has_backlog:
            self._poll()
        if self._failure is not None:
            raise self._failure
        if self._access.reload_requested:
            self._access.reload()
            context.publisher.rights_changed()
        context.publisher.update_subscriptions()
        wait_ns = self._wait_ns()
        if wait_ns > WAIT_NS:  # acks that are due come before
            context.watermarks.advance_durable(context.journal.durable_lsn)
        self._read_requests(self._read_ns, wait_ns=wait_ns)
        if not self._stopping and self._group_commit.reads_firehose:
            self._read_firehose()
        self._lane.close()
        self._group_commit.commit()
        self._learn()
        self._group_commit.count_queued()
        context.watermarks.advance_durable(context.journal.durable_lsn)
        context.file_worker.collect()
        self._queries.collect()
        for background in self._background:
            background.collect()
        now = self._runtime.steady()
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._watchdog.feed(now)
            context.watermarks.expire(now)
            self._group_commit.tick()
            self._checkpointer.tick(now)
            self._queries.tick(now)
            self._access.refusals.report(now)
            context.publisher.tick(now)
            context.silences.tick(now)
            context.replies.tick()
            if self._stopping:
                self._stop_report.tick(now, context.shard.backlog_rows, self._checkpointer.remaining)

    def _poll(self) -> None:
        """Sleep until a socket is readable, another thread wakes the loop, or the next tick."""
        firehose = not self._stopping and self._group_commit.reads_firehose
        poller = self._poller if firehose else self._poller_without_firehose
        poller.poll(max(0, int((self._next_tick - self._runtime.steady()) * 1000) + 1))
        self._context.self_pipe.drain()

    def _wait_ns(self) -> int:
        """How long to wait for the next batches of a burst of requests."""
        if self._context.shard.has_backlog:
            return 0
        return SYNC_WAIT_NS if self._context.flusher.busy and self._firehose.is_idle else WAIT_NS

    def _read_requests(self, nanoseconds: int, *, wait_ns: int = 0) -> None:
        """Handle requests for at most so long. Wait for up to `wait_ns` for the next batches of a burst."""
        began = self._runtime.steady_ns()
        operations, messages = self._operations, self._context.metrics.messages
        drained = self._requests.read(nanoseconds, wait_ns=wait_ns)
        operations, messages = self._operations - operations, self._context.metrics.messages - messages
        now = self._runtime.steady_ns()
        self._interrupts.have_read(now, 0 if drained else now - began, batches=messages > operations)

    def _read_firehose(self) -> None:
        """Handle the firehose for one read quantum, and requests that arrive meanwhile.

        A connection has few messages waiting, and ZeroMQ needs some microseconds for the next ones. Waiting
        for them costs less than a turn of the loop.
        """
        metrics = self._context.metrics
        until = self._runtime.steady_ns() + self._read_ns
        while True:
            messages = metrics.messages
            drained = self._firehose.read(BREAK_QUANTUM_NS)
            now = self._runtime.steady_ns()
            if self._interrupts.waiting(now):
                self._read_requests(BREAK_QUANTUM_NS)
            if now > until:
                return
            if drained:
                burst = self._waits_in_bursts and metrics.messages - messages >= BURST_MESSAGES
                if not burst or self._context.shard.has_backlog:
                    return
                self._poller.poll(BURST_WAIT_MS)

    def _take_break(self) -> None:
        """Answer the requests that arrived since the turn began to read. Journal the batches among them."""
        self._read_requests(BREAK_QUANTUM_NS)
        self._lane.close()
        self._group_commit.commit()

    def _handle_request(self, identity: Identity, frames: list[Frame]) -> Learn | None:
        envelope, message = split_envelope(frames)
        reply_to = ReplyAddress(envelope, None, identity)
        try:
            request = decode_request(message, self._context.limits)
            reply_to = ReplyAddress(envelope, request.id, identity)
            self._access.check(identity, request, "requests")
            self._context.replies.check_unread(reply_to)
            if self._kernels.must_wait(request):
                self._kernels.wait(request, len(message[0]), partial(self._resume, request, reply_to))
                return None
            self._execute(request, reply_to)
            return request if isinstance(request, Learn) else None
        except Exception as error:  # noqa: BLE001 - the client gets it as an error reply
            if reply_to.id is None and isinstance(error, StreamlearnError):
                reply_to = ReplyAddress(envelope, error.request_id, identity)
            self._context.replies.exception(reply_to, error)
        return None

    def _execute(self, request: Request | Learn, reply_to: ReplyAddress) -> None:
        if self._stopping:
            raise ShuttingDown("the daemon is shutting down; send this again after its restart")
        if isinstance(request, Learn):
            self._group_commit.learn(request, reply_to)
            return
        self._operations += 1
        self._handler(request.op)(reply_to, request)

    def _resume(self, request: Request | Learn, reply_to: ReplyAddress) -> None:
        """Execute a request that waited for kernels."""
        try:
            self._execute(request, reply_to)
        except Exception as error:  # noqa: BLE001 - the client gets it as an error reply
            self._context.replies.exception(reply_to, error)

    def _handler(self, op: str) -> Handler:
        handler = self._handlers.get(op)
        if handler is None:
            raise UnknownOp(f"unknown op {op!r}; the ops are {', '.join(self._handlers)}, learn")
        return handler

    def _handle_firehose(self, identity: Identity, frames: list[Frame]) -> Learn | None:
        try:
            request = decode_request(frames, self._firehose_limits)
            if not isinstance(request, Learn):
                raise BadMessage("the firehose accepts learn only")
            self._access.check(identity, request, "pushes")
            self._group_commit.learn(request, None)
        except Exception as error:  # noqa: BLE001 - the firehose has no replies
            self._group_commit.count_lost(as_typed(error))
            return None
        return request

    def _learn(self) -> None:
        """Learn for about one slice: one long slice of one model, or shorter ones of several in turn."""
        steady_ns, waiting, step = self._runtime.steady_ns, self._interrupts.waiting, self._context.shard.step
        publishes, watermarks = self._context.publisher.has_subscribers, self._context.watermarks
        began = now = steady_ns()
        while True:
            if waiting(now):
                self._take_break()
                now = steady_ns()
            if (applied := step()) is None:
                return
            before, now = now, steady_ns()
            hosted = applied.hosted
            if applied.rows:
                hosted.adapt_slice(
                    applied.rows, now - before, self._slice_ns, interrupted=applied.interrupted
                )
            if publishes and applied.outputs is not None:
                self._publish_outputs(applied, applied.outputs)
            watermarks.advance_applied(hosted)
            self._checkpointer.between_slices(hosted)
            if now - began > self._slice_ns // 2:
                return

    def _publish_outputs(self, applied: Applied, outputs: NamedArrays) -> None:
        if outputs.events and self._context.publisher.has_subscriber(applied.hosted.name, "alarm"):
            self._publish_alarms(applied, outputs.events)
        rows, arrays = len(outputs), outputs.arrays
        if not rows:
            return
        kind = "targets" if applied.kind is RecordKind.TARGETS else "output"
        self._publish(applied, kind, rows, arrays)
        drift = arrays.get("drift")  # (rows,) bool
        if drift is not None and drift.any():
            drifted = np.flatnonzero(drift)
            numbers = arrays.get("sample")  # (rows,) i64: sample numbers, if not consecutive
            numbers = applied.first + drifted if numbers is None else numbers[drifted]
            self._publish(applied, "drift", rows, {"sample": numbers}, drifted)

    def _publish_alarms(self, applied: Applied, alarms: list[AlarmEvent]) -> None:
        """Publish alarms, with the key, the id and the time of those that belong to a row of the outputs."""
        rows = [alarm for alarm in alarms if alarm.row >= 0]
        if rows:
            selected = np.array([alarm.row for alarm in rows])
            self._publish(applied, "alarm", len(rows), alarm_arrays(rows), selected)
        others = [alarm for alarm in alarms if alarm.row < 0]
        if others:
            name, arrays = applied.hosted.name, alarm_arrays(others)
            event = EventMessage("alarm", name, applied.lsn, applied.first, len(others), applied.time, arrays)
            self._context.publisher.publish(event)

    def _publish(
        self,
        applied: Applied,
        kind: str,
        rows: int,
        arrays: dict[str, NDArray[Any]],
        selected: NDArray[np.int64] | None = None,
    ) -> None:
        """Publish arrays, with the key, the id and the time of each row. `selected`: their output rows."""
        name = applied.hosted.name
        if self._context.publisher.has_subscriber(name, kind):
            columns = applied.columns()
            if kind == "output":
                arrays = arrays | applied.samples()
            arrays = arrays | (columns if selected is None else select(columns, selected))
            names = applied.hosted.key_texts.of(arrays.get("key"))
            event = EventMessage(kind, name, applied.lsn, applied.first, rows, applied.time, arrays, names)
            self._context.publisher.publish(event)

    def finished(self) -> bool:
        """Whether a stop is complete: all accepted work is learned, durable, answered and checkpointed."""
        if not self._stopping:
            return False
        self._queries.shut_down(self._runtime.steady())
        for background in self._background:
            background.shut_down()
        if self._context.shard.has_backlog or not self._group_commit.idle:
            return False
        if not all(background.idle for background in self._background):
            return False
        if not self._final_checkpoints_taken:
            self._final_checkpoints_taken = True
            self._checkpointer.take_all()
        return self._checkpointer.idle and self._queries.idle
