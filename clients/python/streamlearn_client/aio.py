"""The asyncio client: the same names as `client.Client`, awaited."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np
import zmq
import zmq.asyncio
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.aio_channels import AsyncFirehose, AsyncStream, AsyncSubscription
from streamlearn_client.calls import Call, Exchange
from streamlearn_client.client import DEFAULT_ENDPOINT
from streamlearn_client.errors import BadValue, StreamlearnError
from streamlearn_client.firehose import Firehose
from streamlearn_client.outputs import Outputs
from streamlearn_client.protocol import Reply, check_model, decode_reply
from streamlearn_client.results import Ack, Position
from streamlearn_client.session import Flow, Session
from streamlearn_client.sockets import Link, reachable, send
from streamlearn_client.stream import Stream
from streamlearn_client.subscription import topics_of

__all__ = ["AsyncClient"]

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: the same parameters, methods and errors.

    Calls may run concurrently (those of `learn` for one model take turns, as its batches are numbered).
    `stream`, `subscribe` and `firehose` are entered with ``async with``. One client belongs to one loop.
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
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: dict[int, _Waiting] = {}
        self._next_id = 0
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._link = Link(zmq.asyncio.Context.instance(), zmq.DEALER, endpoint)
        self._plain: zmq.Socket[bytes] = zmq.Socket.shadow(self._link.socket)

    async def hello(self) -> dict[str, Any]:
        return await self._run(self._session.hello())

    async def create(self, name: str, kind: str, **spec: Any) -> dict[str, Any]:
        return await self._run(self._session.create(name, kind, spec))

    async def delete(self, model: str) -> None:
        await self._run(self._session.delete(model))

    async def models(self) -> list[dict[str, Any]]:
        return await self._run(self._session.listed("models"))

    async def describe(self, model: str) -> dict[str, Any]:
        return await self._run(self._session.ask("describe", model))

    async def stats(self, model: str | None = None) -> dict[str, Any]:
        return await self._run(self._session.ask("stats", model or ""))

    async def learn(
        self,
        model: str,
        x: ArrayLike,
        y: ArrayLike | None = None,
        *,
        keys: Any = None,
        ids: Any = None,
        ack: str = "durable",
    ) -> Ack:
        async with self._turns.setdefault(check_model(model), asyncio.Lock()):
            return await self._run(self._session.learn(model, x, y, keys, ids, ack))

    async def learn_targets(
        self, model: str, ids: Any, y: ArrayLike, *, keys: Any = None, ack: str = "durable"
    ) -> Ack:
        async with self._turns.setdefault(check_model(model), asyncio.Lock()):
            return await self._run(self._session.learn(model, None, y, keys, ids, ack))

    async def predict(self, model: str, x: ArrayLike, keys: Any = None) -> Outputs:
        return await self._run(self._session.predict(model, x, keys))

    async def forecast(self, model: str, steps: int, key: int | str | None = None) -> NDArray[np.float32]:
        return await self._run(self._session.forecast(model, steps, key))

    async def sample(
        self, model: str, n: int, temperature: float = 1.0, seed: int = 0, key: int | str | None = None
    ) -> NDArray[np.int32]:
        return await self._run(self._session.sample(model, n, temperature, seed, key))

    async def reheat(self, model: str, heat: float = 1.0) -> dict[str, Any]:
        return await self._run(self._session.reheat(model, heat))

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
    ) -> AsyncStream:
        async def start() -> Stream:
            plan = await self._run(self._session.plan_stream(model, producer, batch, ack))
            return Stream(plan, self.endpoint, batch=batch, interval=interval, window=window, timeout=timeout)

        return AsyncStream(start)

    def firehose(
        self, model: str, *, endpoint: str | None = None, producer: str | None = None
    ) -> AsyncFirehose:
        async def start() -> Firehose:
            check_model(model)
            found = await self._run(self._session.endpoint("firehose")) if endpoint is None else endpoint
            return Firehose(model, reachable(found, self.endpoint), producer, self.timeout)

        return AsyncFirehose(start)

    def subscribe(self, model: str | None, *kinds: str, timeout: float | None = None) -> AsyncSubscription:
        topics = topics_of(model, kinds)

        async def find() -> str:
            given = self._events
            found = await self._run(self._session.endpoint("events")) if given is None else given
            return reachable(found, self.endpoint)

        return AsyncSubscription(find, topics, timeout, self.timeout)

    async def checkpoint(self, model: str) -> dict[str, Any]:
        return await self._run(self._session.ask("checkpoint", model))

    async def checkpoints(self, model: str) -> list[dict[str, Any]]:
        return await self._run(self._session.listed("checkpoints", model))

    async def restore(self, model: str, lsn: int | None = None) -> dict[str, Any]:
        return await self._run(self._session.ask("restore", model, repeat=False, lsn=lsn))

    async def position(self, model: str, producer: str | None = None) -> Position:
        return await self._run(self._session.position(model, producer or self._session.producer))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._link.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ------------------------------------------------------------------------------------ carrying calls

    async def _run(self, flow: Flow[T]) -> T:
        """Carry the calls of an operation, all of them within one timeout."""
        if self._closed:
            raise ValueError("this client is closed")
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._hear_replies()),
                asyncio.create_task(self._watch_connection()),
            ]
        deadline = time.monotonic() + self.timeout
        try:
            call = next(flow)
            while True:
                try:
                    reply = await self._carry(call, deadline)
                except StreamlearnError as error:
                    call = flow.throw(error)
                else:
                    call = flow.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _carry(self, call: Call, deadline: float) -> Reply:
        self._next_id += 1
        id = self._next_id
        exchange = Exchange(call, id, self.endpoint, deadline, self.timeout)
        waiting = self._waiting[id] = _Waiting(exchange)
        try:
            while not waiting.answer.done():
                now = time.monotonic()
                wait = exchange.wait(now)
                if exchange.due and self._link.stands:
                    sent = send(self._plain, exchange.frames)
                    self._link.socket.get(zmq.EVENTS)  # or asyncio would not hear of what came in meanwhile
                    if sent:
                        exchange.sent(now)
                    else:  # its queue is full
                        await self._link.socket.poll(int(wait * 1000) + 1, zmq.POLLOUT)  # type: ignore[call-arg]
                    continue
                waiting.changed.clear()
                try:
                    await asyncio.wait_for(waiting.changed.wait(), wait)
                except TimeoutError:
                    continue
            return waiting.answer.result()
        finally:
            del self._waiting[id]

    async def _hear_replies(self) -> None:
        while True:
            frames = await self._link.socket.recv_multipart()
            try:
                reply = decode_reply(frames)
            except StreamlearnError as error:
                self._tell_all(error)
                continue
            waiting = self._waiting.get(reply.id) if isinstance(reply.id, int) else None
            if waiting is not None:
                try:
                    waiting.answered(waiting.exchange.receive(reply, time.monotonic()))
                except StreamlearnError as error:
                    waiting.failed(error)

    async def _watch_connection(self) -> None:
        while True:
            broke = self._link.heard(await self._link.monitor.recv_multipart())
            for waiting in list(self._waiting.values()):
                try:
                    if broke:
                        waiting.exchange.lost()
                    waiting.changed.set()
                except StreamlearnError as error:
                    waiting.failed(error)

    def _tell_all(self, error: StreamlearnError) -> None:
        for waiting in list(self._waiting.values()):
            waiting.failed(error)


class _Waiting:
    """A call that is under way, and the coroutine that waits for its answer."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.changed = asyncio.Event()
        self.answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def answered(self, reply: Reply | None) -> None:
        if reply is not None and not self.answer.done():
            self.answer.set_result(reply)
        self.changed.set()

    def failed(self, error: StreamlearnError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.changed.set()
