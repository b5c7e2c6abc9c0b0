"""The blocking client."""

from __future__ import annotations

import math
import threading
import time
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
import zmq
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.calls import Call, Exchange
from streamlearn_client.errors import BadValue, StreamlearnError
from streamlearn_client.firehose import Firehose
from streamlearn_client.outputs import Outputs
from streamlearn_client.protocol import Reply, check_model, decode_reply
from streamlearn_client.results import Ack, Position
from streamlearn_client.session import Flow, Session
from streamlearn_client.sockets import Link, blocking, drain, reachable, send
from streamlearn_client.stream import Stream
from streamlearn_client.subscription import Subscription, topics_of

__all__ = ["DEFAULT_ENDPOINT", "Client"]

T = TypeVar("T")
DEFAULT_ENDPOINT: Final = "tcp://127.0.0.1:7700"


class Client:
    """A connection to a streamlearn daemon.

    It may be made before the daemon is up and outlives its restarts: a call waits for the daemon, and is
    sent again when the connection breaks, until ``timeout`` seconds have passed; then it raises
    ``NoAnswer``. What the daemon refuses is raised as its typed error (see `streamlearn_client.errors`).
    Threads may share a client; their calls take turns.

    ``endpoint`` is the daemon's requests endpoint, and ``events`` its events endpoint, by default what it
    announces itself. ``producer`` names this client in the daemon's table of who sent what; it is random
    by default. Two clients with one name fence each other off: the later one wins.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        events: str | None = None,
        timeout: float = 10.0,
        producer: str | None = None,
    ) -> None:
        if not timeout > 0:
            raise BadValue(f"timeout must be a positive number of seconds, not {timeout!r}", field="timeout")
        self.endpoint = endpoint
        self.timeout = timeout
        self._events = events
        self._session = Session(producer)
        self._lock = threading.Lock()
        self._next_id = 0
        self._closed = False
        self._link = Link(blocking(), zmq.DEALER, endpoint)
        self._poller = zmq.Poller()
        self._poller.register(self._link.monitor, zmq.POLLIN)

    # ----------------------------------------------------------------------------------------- models

    def hello(self) -> dict[str, Any]:
        """Who answers: ``server``, ``version``, ``protocol``, ``limits``, ``endpoints``, ``instance``."""
        return self._run(self._session.hello())

    def create(self, name: str, kind: str, **spec: Any) -> dict[str, Any]:
        """Make a model; ``spec`` holds its parameters, as for ``sl.SOM`` and the others.

        Tuples, NumPy arrays and ``Decay`` are fine. Raises ``BadSpec`` with every mistake at once,
        ``ModelExists``, and ``TooLarge`` for more initial weights than a header may hold.
        """
        return self._run(self._session.create(name, kind, spec))

    def delete(self, model: str) -> None:
        """Remove a model, its state and its checkpoints. Raises ``UnknownModel``."""
        self._run(self._session.delete(model))

    def models(self) -> list[dict[str, Any]]:
        """The models there are, each with its ``name``, ``kind`` and how much it has learned."""
        return self._run(self._session.listed("models"))

    def describe(self, model: str) -> dict[str, Any]:
        """Everything about a model: ``kind``, ``spec``, ``samples``, ``applied_lsn``, ``durable_lsn``,
        ``create_lsn``, ``state_hash`` and its live quality."""
        return self._run(self._session.ask("describe", model))

    def stats(self, model: str | None = None) -> dict[str, Any]:
        """The daemon's counters, or those of one model."""
        return self._run(self._session.ask("stats", model or ""))

    # -------------------------------------------------------------------------------- learning and asking

    def learn(
        self,
        model: str,
        x: ArrayLike,
        y: ArrayLike | None = None,
        *,
        keys: Any = None,
        ids: Any = None,
        ack: str = "durable",
    ) -> Ack:
        """Have samples learned, in order; returns when the daemon has them as safe as ``ack`` says.

        ``x`` is (n, dim), or (dim,) for one sample; NaN is a missing value. ``y`` is (n, targets), or (n,)
        for one target each. Integers, float64 and lists are converted to float32. ``keys`` (which of many
        streams each sample belongs to) and ``ids`` (by which its targets may come later) are integers of 64
        bits or names, (n,) or one for all, for models that take them.

        ``ack`` is ``received`` (in memory), ``written`` (survives kill -9) or ``durable`` (survives a power
        cut). What is more than one message may carry is sent in parts. Each batch is numbered, so that one
        sent twice is learned once; for many batches at full speed use `stream`.

        Raises ``BadShape``, ``BadDtype``, ``BadValue``, ``UnknownModel``, and ``NoAnswer`` when it can't be
        known whether the batch was learned (``error.detail`` has its number).
        """
        return self._run(self._session.learn(model, x, y, keys, ids, ack))

    def learn_targets(
        self, model: str, ids: Any, y: ArrayLike, *, keys: Any = None, ack: str = "durable"
    ) -> Ack:
        """Have targets learned that came later than their samples, by the ``ids`` (n,) of these; a sample
        that was sent without has its number for an id, counted from 0. ``y`` is (n, targets), or (n,) for one
        target each; for a single id it is (targets,). ``keys`` as the samples had them.

        Otherwise as `learn`. An id that no sample waits under is no error: `subscribe` to ``targets``
        shows what became of each.
        """
        return self._run(self._session.learn(model, None, y, keys, ids, ack))

    def predict(self, model: str, x: ArrayLike, keys: Any = None) -> Outputs:
        """What the model says to samples (n, dim), without learning them, as of ``applied_lsn``; ``keys`` as
        for `learn`."""
        return self._run(self._session.predict(model, x, keys))

    def forecast(self, model: str, steps: int, key: int | str | None = None) -> NDArray[np.float32]:
        """The next ``steps`` samples, (steps, dim) float32, as a recurrent net goes on from its live state
        with its own forecasts (symbols: their probabilities); of a keyed model, those of the stream ``key``.

        Raises ``BadValue`` for a model that does not forecast, or has not learned anything yet, and
        ``TooLarge``.
        """
        return self._run(self._session.forecast(model, steps, key))

    def sample(
        self, model: str, n: int, temperature: float = 1.0, seed: int = 0, key: int | str | None = None
    ) -> NDArray[np.int32]:
        """``n`` symbols (n,) int32, drawn as a recurrent net that forecasts symbols goes on from its live
        state. ``temperature``: below 1 prefers the probable, 0 takes the most probable, above 1 evens out.
        The same ``seed`` and state draw the same. Raises as `forecast` does.
        """
        return self._run(self._session.sample(model, n, temperature, seed, key))

    def reheat(self, model: str, heat: float = 1.0) -> dict[str, Any]:
        """Set the model's schedules back, all the way for ``heat`` 1 and less for less, so that it learns as
        fast again as it did earlier: after everything that was sent before. Returns the reheat's ``lsn``.

        Raises ``BadValue`` unless 0 < heat ≤ 1. If the connection breaks before the answer this raises
        ``NoAnswer`` and is not repeated; a ``reheated`` event would tell that it happened.
        """
        return self._run(self._session.reheat(model, heat))

    def stream(
        self,
        model: str,
        *,
        batch: int = 256,
        interval: float = 0.05,
        window: int = 64,
        ack: str = "durable",
        producer: str | None = None,
        timeout: float = 60.0,
    ) -> Stream:
        """A stream of samples to a model, learned exactly once whatever happens on the way: see `Stream`."""
        with self._lock:
            self._check_open()
        plan = self._run(self._session.plan_stream(model, producer, batch, ack))
        return Stream(plan, self.endpoint, batch=batch, interval=interval, window=window, timeout=timeout)

    def firehose(self, model: str, *, endpoint: str | None = None, producer: str | None = None) -> Firehose:
        """A sender that nobody answers: see `Firehose`. By default ``endpoint`` is asked for."""
        check_model(model)
        announced = endpoint or self._run(self._session.endpoint("firehose"))
        return Firehose(model, reachable(announced, self.endpoint), producer, self.timeout)

    def subscribe(self, model: str | None, *kinds: str, timeout: float | None = None) -> Subscription:
        """Follow a model's events (all models' for ``None``), of some kinds or all: see `Subscription`."""
        topics = topics_of(model, kinds)
        announced = self._events or self._run(self._session.endpoint("events"))
        return Subscription(reachable(announced, self.endpoint), topics, timeout, self.timeout)

    # ---------------------------------------------------------------------------------------- checkpoints

    def checkpoint(self, model: str) -> dict[str, Any]:
        """Write the model's state to disk now; returns the checkpoint's ``lsn`` and size."""
        return self._run(self._session.ask("checkpoint", model))

    def checkpoints(self, model: str) -> list[dict[str, Any]]:
        """The checkpoints that `restore` can go back to."""
        return self._run(self._session.listed("checkpoints", model))

    def restore(self, model: str, lsn: int | None = None) -> dict[str, Any]:
        """Set the model back to a checkpoint, by default the newest. Raises ``NoCheckpoint``.

        If the connection breaks before the answer this raises ``NoAnswer`` and is not repeated, since a
        second time might undo what was learned in between; `describe` tells whether it happened.
        """
        return self._run(self._session.ask("restore", model, repeat=False, lsn=lsn))

    def position(self, model: str, producer: str | None = None) -> Position:
        """Where the daemon stands with a producer, by default this client: its epoch and next number."""
        return self._run(self._session.position(model, producer or self._session.producer))

    # --------------------------------------------------------------------------------------------- closing

    def close(self) -> None:
        """Close the connection. Streams, subscriptions and firehoses have their own, and go on."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------ carrying calls

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this client is closed")

    def _run(self, flow: Flow[T]) -> T:
        """Carry the calls of an operation, all of them within one timeout."""
        with self._lock:
            self._check_open()
            deadline = time.monotonic() + self.timeout
            try:
                call = next(flow)
                while True:
                    try:
                        reply = self._carry(call, deadline)
                    except StreamlearnError as error:
                        call = flow.throw(error)
                    else:
                        call = flow.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result

    def _carry(self, call: Call, deadline: float) -> Reply:
        self._next_id += 1
        exchange = Exchange(call, self._next_id, self.endpoint, deadline, self.timeout)
        socket = self._link.socket
        while True:
            broke = self._link.heard_all()
            for frames in drain(socket):
                reply = exchange.receive(decode_reply(frames), time.monotonic())
                if reply is not None:
                    return reply
            if broke:
                exchange.lost()
            now = time.monotonic()
            wait = exchange.wait(now)
            events = zmq.POLLIN
            if exchange.due and self._link.stands:
                if send(socket, exchange.frames):
                    exchange.sent(now)
                    continue
                events |= zmq.POLLOUT  # its queue is full
            self._poller.register(socket, events)
            self._poller.poll(math.ceil(wait * 1000))
