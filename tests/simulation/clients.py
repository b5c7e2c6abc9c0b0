"""Clients: the real session, retry and window code, on simulated connections.

`Caller` does what `Transport` does, one step at a time: any step may be its last. A call ends in a result, in
an error, in a cancellation at any point, or with the death of its process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from streamlearn_client.errors import (
    BadValue,
    Conflict,
    Fenced,
    Gap,
    ModelExists,
    NoAnswer,
    StreamlearnError,
    StreamLost,
    UnknownModel,
)
from streamlearn_client.protocol import Learn, encode_request
from streamlearn_client.replies import read_reply
from streamlearn_client.results import Ack
from streamlearn_client.retry import Call, Exchange
from streamlearn_client.session import Operation, Session, StreamConfig
from streamlearn_client.window import Window
from tests.simulation.ledger import SentBatch, require
from tests.simulation.models import ModelPlan
from tests.simulation.network import Link

ENDPOINT = "tcp://127.0.0.1:1"
MAY_FAIL = ("restore", "reheat", "stream", "checkpoint", "unpin")  # for other reasons
INTERRUPTIONS = (asyncio.CancelledError, KeyboardInterrupt, RuntimeError, GeneratorExit)


class Caller:
    """A client that executes one operation after another."""

    def __init__(self, world: Any, name: str, producer: str | None) -> None:
        self.world = world
        self.name = name
        self.producer = producer
        self.session = Session(producer, ENDPOINT)
        self.link: Link = world.network.link(name)
        self.link.owner = self
        self.expected: dict[Any, tuple[str, str, SentBatch | None]] = {}  # by request id: op, model, batch
        self.operation: Operation[Any] | None = None
        self.what = ""
        self.since = 0  # scheduler step at which the operation began
        self.weak_acks = False  # a batch was acknowledged before it was durable
        self.models_changed = False
        self._batches: list[SentBatch] = []  # of this operation
        self._check: Callable[[Any], None] = lambda result: None
        self._exchange: Exchange | None = None
        self._next_id = 0
        self._timeout = 10.0
        self._deadline = 0.0

    # ------------------------------------------------------------------------------------------- running

    @property
    def eagerness(self) -> float:
        """The probability that it begins another operation."""
        return 0.5

    @property
    def busy(self) -> bool:
        return self.operation is not None

    def begin(
        self, what: str, operation: Operation[Any], timeout: float, check: Callable[[Any], None] | None = None
    ) -> None:
        """Start an operation."""
        self.operation, self.what, self.since = operation, what, self.world.steps
        self._check = check or (lambda result: None)
        self._batches = []
        self._timeout, self._deadline = timeout, self.world.clock.steady() + timeout
        self._advance(partial(next, operation))

    def step(self) -> None:
        """Do what the transport does when something has happened, or when time has passed."""
        link, exchange = self.link, self._exchange
        lost, link.lost = link.lost, False
        operation = self.operation
        if exchange is None or operation is None:
            link.inbox.clear()
            return
        now = self.world.clock.steady()
        try:
            while link.inbox:
                reply = exchange.receive(read_reply(link.inbox.popleft(), ENDPOINT), now)
                if reply is not None:
                    self._advance(partial(operation.send, reply))
                    return
            if lost:
                exchange.connection_lost()
            exchange.time_left(now)
            if exchange.due and link.connected:
                link.send(exchange.frames)
                exchange.sent(now)
        except StreamlearnError as error:
            self._advance(partial(operation.throw, error))

    def has_work(self) -> bool:
        """Whether `step` has something to do now."""
        link, exchange = self.link, self._exchange
        if link.inbox or link.lost:
            return True
        sendable = exchange is not None and exchange.due and link.connected
        return sendable or self.next_deadline() <= self.world.clock.steady()

    def next_deadline(self) -> float:
        """Seconds at which `step` has something to do."""
        if self._exchange is None:
            return float("inf")
        try:
            now = self.world.clock.steady()
            return now + self._exchange.time_left(now)
        except StreamlearnError:
            return 0.0

    def interrupt(self, kind: type[BaseException]) -> None:
        """The caller's task is cancelled, or a signal handler raises, wherever the operation waits."""
        assert self.operation is not None
        self.world.trace("interrupt", self.name, self.what, kind.__name__)
        operation, self.operation, self._exchange = self.operation, None, None
        if kind is GeneratorExit:
            operation.close()
            return
        try:
            operation.throw(kind())
        except (kind, StopIteration):
            return
        require(False, f"{self.what} of {self.name} goes on after {kind.__name__}")

    def die(self) -> None:
        """The client's process is killed."""
        self.link.close()
        self.operation = self._exchange = None

    def _advance(self, resume: Callable[[], Call]) -> None:
        try:
            call = resume()
        except StopIteration as end:
            self._finish(end.value)
        except StreamlearnError as error:
            self._fail(error)
        else:
            self._next_id += 1
            batch = None
            op = "learn"
            if isinstance(call.message, Learn):
                batch = self.world.ledger.register(call.message, self.name)
                self._batches.append(batch)
                self.weak_acks |= batch.level != "durable"
            else:
                op = call.message.op
            self.expected[self._next_id] = op, call.message.model, batch
            self._exchange = Exchange(call, self._next_id, ENDPOINT, self._deadline, self._timeout)

    def _finish(self, result: Any) -> None:
        self.operation = self._exchange = None
        self.world.trace("done", self.name, self.what)
        if isinstance(result, Ack):
            for batch in self._batches:
                if batch.level == "durable":
                    require(
                        batch.lsn is not None or batch.message.model in self.world.deleted,
                        f"{batch} was acknowledged as durable ({result}), but it is not in the journal",
                    )
        self._check(result)

    def _fail(self, error: StreamlearnError) -> None:
        what, self.operation, self._exchange = self.what, None, None
        self.world.trace("failed", self.name, what, error.code)
        self.world.count(f"{what.split()[0]} {error.code}")
        if self._batches and not error.in_doubt:
            self.world.ledger.refuse(self._batches[-1])
        allowed: tuple[type[StreamlearnError], ...] = (NoAnswer,)
        if isinstance(error, (UnknownModel, ModelExists)) or error.retryable:
            return
        if isinstance(error, BadValue) and error.in_doubt and error.detail.get("field") == "epoch":
            return  # the clock was set back since the client began
        if self.weak_acks or self.world.deleted:
            allowed += (Gap,)
        if isinstance(error, (Gap, Fenced, Conflict)):
            require(
                isinstance(error, allowed),
                f"{what} of {self.name} was refused with {error.code}, but nothing of it was lost: {error}",
            )
            return
        require(
            isinstance(error, allowed) or what.split()[0] in MAY_FAIL,
            f"{what} of {self.name} failed with {error.code}: {error}",
        )


class Streamer(Caller):
    """A client with a stream: it keeps several batches on their way."""

    window: Window | None = None
    config: StreamConfig | None = None

    def open(self, plan: ModelPlan, level: str, size: int) -> None:
        def opened(config: StreamConfig) -> None:
            self._reconnect()
            self.config = config
            self.window = Window(config.model, config.producer, config.epoch, config.ack, size, ENDPOINT)

        self.plan = plan
        self.sent: list[SentBatch] = []
        self._acknowledged = 0
        self.begin(
            f"stream {plan.name}",
            self.session.stream_config(plan.name, self.producer, 4, size, level),
            10.0,
            opened,
        )

    def push_several(self) -> None:
        """Add some batches to the window."""
        self.push()
        while self.can_push and self.world.random.random() < 0.6:
            self.push()

    def push(self) -> None:
        """Add a batch to the window."""
        assert self.window is not None
        assert self.config is not None
        message = self.plan.batch(self.world.random, 4)
        batch = self.world.ledger.register(message._replace(ack=self.config.ack), self.name)
        self.sent.append(batch)
        self.weak_acks |= batch.level != "durable"
        self.window.add(message)
        self.since = self.world.steps
        self.what = f"push {self.plan.name}"

    @property
    def eagerness(self) -> float:
        return 0.5 if self.window is None else 0.02

    @property
    def can_push(self) -> bool:
        return self.window is not None and not self.window.full

    @property
    def busy(self) -> bool:
        return super().busy or (self.window is not None and len(self.window) > 0)

    def step(self) -> None:
        window, link = self.window, self.link
        if window is None:
            super().step()
            return
        now = self.world.clock.steady()
        lost, link.lost = link.lost, False
        while link.inbox:
            window.receive(read_reply(link.inbox.popleft(), ENDPOINT), now)
        if lost:
            window.disconnected()
        self._check_acknowledged(window)
        if window.failure is not None:
            self._stream_failed(window.failure)
            return
        batches = window.to_send(now) if link.connected else []
        sent = 0
        while sent < len(batches) and self.world.random.random() < 0.9:
            batch = batches[sent]
            message = batch.message
            self.expected[message.id] = "learn", message.model, self.world.ledger.register(message, self.name)
            link.send(batch.frames)
            sent += 1
        window.sent(sent, now)

    def next_deadline(self) -> float:
        if self.window is None:
            return super().next_deadline()
        return self.window.next_send_time() if self.link.connected else float("inf")

    def _check_acknowledged(self, window: Window) -> None:
        count = len(self.sent) - len(window)
        for batch in self.sent[self._acknowledged : count]:
            require(
                batch.lsn is not None
                or batch.level != "durable"
                or batch.message.model in self.world.deleted,
                f"{batch} of a stream was acknowledged as durable, but it is not in the journal",
            )
        if count > self._acknowledged:
            self.since = self.world.steps
        self._acknowledged = count

    def _stream_failed(self, failure: StreamlearnError) -> None:
        self.world.trace("stream failed", self.name, failure.message[:60])
        assert isinstance(failure, StreamLost)
        cause = failure.__cause__
        assert isinstance(cause, StreamlearnError)
        self.world.count(f"stream {cause.code}")
        require(
            isinstance(cause, UnknownModel) or self.weak_acks or self.world.deleted,
            f"the stream of {self.name} failed, but nothing of it was lost: {failure}",
        )
        self.end_stream()

    def end_stream(self) -> None:
        """Close the stream, if there is one, without a flush."""
        if self.window is not None:
            self.window = self.config = None
            self._reconnect()

    def _reconnect(self) -> None:
        """A stream has its own connection."""
        self.link.close()
        self.link = self.world.network.link(self.name)
        self.link.owner = self
        self.expected = {}

    def die(self) -> None:
        super().die()
        self.window = None

    def interrupt(self, kind: type[BaseException]) -> None:
        if self.window is not None:
            self.end_stream()  # without a flush
        else:
            super().interrupt(kind)


class FirehoseSender:
    """A sender without acks: some batches get lost, and none is learned twice."""

    def __init__(self, world: Any, name: str, plan: ModelPlan) -> None:
        self.world, self.name, self.plan = world, name, plan
        self._epoch, self._seq = world.clock.wall_ns(), 0

    def send(self) -> None:
        message = self.plan.batch(self.world.random, 4)._replace(
            producer=self.name, epoch=self._epoch, seq=self._seq, ack="none"
        )
        self._seq += 1
        self.world.ledger.register(message, self.name)
        frames = [bytes(frame) for frame in encode_request(message)]
        self.world.network.firehose.append(frames)
        # A sender may repeat a message. If the clock was set back, the daemon learns it without its number.
        if not self.world.clock_jumps and self.world.random.random() < 0.1:
            self.world.network.firehose.append(frames)
