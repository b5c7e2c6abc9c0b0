"""Streams, firehoses and subscriptions for asyncio, each entered with ``async with``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio
from numpy.typing import ArrayLike

from streamlearn_client.firehose import Firehose
from streamlearn_client.results import Ack, Event, read_event
from streamlearn_client.sockets import connect
from streamlearn_client.stream import Stream
from streamlearn_client.subscription import no_events, own_topic

__all__ = ["AsyncFirehose", "AsyncStream", "AsyncSubscription"]


class AsyncStream:
    """`Stream` for asyncio. What would block waits in a thread, and the loop goes on."""

    def __init__(self, start: Callable[[], Awaitable[Stream]]) -> None:
        self._start = start
        self._stream: Stream | None = None
        self._turn = asyncio.Lock()

    @property
    def stream(self) -> Stream:
        """The blocking stream underneath, for its counters."""
        if self._stream is None:
            raise ValueError("a stream is used within `async with client.stream(model) as stream:`")
        return self._stream

    @property
    def acknowledged(self) -> int:
        return self.stream.acknowledged

    @property
    def pending(self) -> int:
        return self.stream.pending

    @property
    def resent(self) -> int:
        return self.stream.resent

    @property
    def last_ack(self) -> Ack | None:
        return self.stream.last_ack

    async def push(
        self, sample: ArrayLike, y: ArrayLike | None = None, *, keys: Any = None, ids: Any = None
    ) -> None:
        async with self._turn:
            stream = self.stream
            one = stream._one(sample, y, keys, ids)
            if stream._would_wait(one):
                await asyncio.to_thread(stream._put, one)
            else:
                stream._put(one)

    async def push_many(
        self, batch: ArrayLike, ys: ArrayLike | None = None, *, keys: Any = None, ids: Any = None
    ) -> None:
        async with self._turn:
            await asyncio.to_thread(self.stream.push_many, batch, ys, keys=keys, ids=ids)

    async def push_targets(self, ids: Any, y: ArrayLike, *, keys: Any = None) -> None:
        async with self._turn:
            await asyncio.to_thread(self.stream.push_targets, ids, y, keys=keys)

    async def flush(self, timeout: float | None = None) -> Ack | None:
        return await asyncio.to_thread(self.stream.flush, timeout)

    async def close(self) -> None:
        await asyncio.to_thread(self.stream.close)

    async def __aenter__(self) -> Self:
        self._stream = await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stream.__exit__, kind, error, trace)


class AsyncFirehose:
    """`Firehose` for asyncio."""

    def __init__(self, start: Callable[[], Awaitable[Firehose]]) -> None:
        self._start = start
        self._firehose: Firehose | None = None

    @property
    def firehose(self) -> Firehose:
        """The blocking one underneath."""
        if self._firehose is None:
            raise ValueError("a firehose is used within `async with client.firehose(model) as firehose:`")
        return self._firehose

    @property
    def sent(self) -> int:
        return self.firehose.sent

    async def push(
        self, x: ArrayLike, y: ArrayLike | None = None, *, keys: Any = None, ids: Any = None
    ) -> None:
        await asyncio.to_thread(self.firehose.push, x, y, keys=keys, ids=ids)

    async def push_targets(self, ids: Any, y: ArrayLike, *, keys: Any = None) -> None:
        await asyncio.to_thread(self.firehose.push_targets, ids, y, keys=keys)

    async def close(self) -> None:
        self.firehose.close()

    async def __aenter__(self) -> Self:
        self._firehose = await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncSubscription:
    """`Subscription` for asyncio: entered with ``async with``, then ``async for``."""

    def __init__(
        self,
        find: Callable[[], Awaitable[str]],
        topics: tuple[bytes, ...],
        timeout: float | None,
        patience: float,
    ) -> None:
        self.timeout = timeout
        self._find = find
        self._topics = topics
        self._patience = patience
        self._socket: zmq.asyncio.Socket | None = None

    async def next_event(self, timeout: float | None = None) -> Event | None:
        if self._socket is None:
            return None
        if not await self._socket.poll(None if timeout is None else int(timeout * 1000)):
            return None
        return read_event(await self._socket.recv_multipart())

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self.next_event(self.timeout)
        if event is None:
            raise StopAsyncIteration
        return event

    async def close(self) -> None:
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None

    async def __aenter__(self) -> Self:
        endpoint = await self._find()
        socket = connect(zmq.asyncio.Context.instance(), zmq.SUB, endpoint)
        try:
            await self._settle(socket, endpoint)
        except BaseException:
            socket.close(0)
            raise
        self._socket = socket
        return self

    async def _settle(self, socket: zmq.asyncio.Socket, endpoint: str) -> None:
        """Subscribe, and wait until the daemon has read it."""
        own = own_topic()
        for each in (*self._topics, own):
            socket.subscribe(each)
        deadline = time.monotonic() + self._patience
        heard = b""
        while heard != own:
            left = deadline - time.monotonic()
            if left <= 0 or not await socket.poll(int(left * 1000) + 1):
                raise no_events(endpoint, self._patience)
            heard = (await socket.recv_multipart())[0]
        socket.unsubscribe(own)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
