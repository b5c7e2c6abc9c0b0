"""Streams, firehoses and subscriptions for asyncio. Their docstrings are copies of the blocking classes'."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Self

import zmq
import zmq.asyncio

from streamlearn_client.firehose import Firehose
from streamlearn_client.protocol import IdentifiersLike, SamplesLike
from streamlearn_client.results import Ack, Event, read_event
from streamlearn_client.sockets import connect
from streamlearn_client.stream import Stream
from streamlearn_client.subscription import confirmation_topic, is_confirmed, no_publisher

__all__ = ["AsyncFirehose", "AsyncStream", "AsyncSubscription"]


class AsyncStream:
    """`Stream` for asyncio, created by `AsyncClient.stream`. Calls that would block run in a thread.

    Examples
    --------
    >>> async with client.stream("pump") as stream:  # doctest: +SKIP
    ...     await stream.push(sample)
    """

    def __init__(self, start: Callable[[], Awaitable[Stream]]) -> None:
        self._start = start
        self._stream: Stream | None = None
        self._push_lock = asyncio.Lock()

    @property
    def stream(self) -> Stream:
        """The blocking stream."""
        if self._stream is None:
            raise ValueError("this stream is not open; use `async with client.stream(model) as stream:`")
        return self._stream

    @property
    def acknowledged(self) -> int:
        """Number of samples that the daemon has acknowledged at this stream's ack level."""
        return self.stream.acknowledged

    @property
    def pending(self) -> int:
        """Number of samples that were pushed and are not acknowledged yet."""
        return self.stream.pending

    @property
    def resent(self) -> int:
        """Number of batches that were sent again, counted once per resend."""
        return self.stream.resent

    @property
    def matched(self) -> int:
        """Number of acknowledged late targets that had a waiting sample, as far as the acks report it."""
        return self.stream.matched

    @property
    def unmatched(self) -> int:
        """Number of acknowledged late targets without a waiting sample, as far as the acks report it."""
        return self.stream.unmatched

    @property
    def last_ack(self) -> Ack | None:
        """The newest acknowledgement; ``None`` before the first."""
        return self.stream.last_ack

    async def push(
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
        async with self._push_lock:
            stream = self.stream
            row = stream._single_sample(sample, y, keys, ids)
            if stream._would_block(row):
                await asyncio.to_thread(stream._enqueue, row)
            else:
                stream._enqueue(row)

    async def push_many(
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
        async with self._push_lock:
            await asyncio.to_thread(self.stream.push_many, batch, ys, keys=keys, ids=ids)

    async def push_targets(
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
        async with self._push_lock:
            await asyncio.to_thread(self.stream.push_targets, ids, y, keys=keys)

    async def flush(self, timeout: float | None = None) -> Ack | None:
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
        return await asyncio.to_thread(self.stream.flush, timeout)

    async def close(self) -> None:
        """Close the stream at once. Unacknowledged samples may be lost: call `flush` first to keep them."""
        await asyncio.to_thread(self.stream.close)

    async def __aenter__(self) -> Self:
        self._stream = await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stream.__exit__, kind, error, trace)


class AsyncFirehose:
    """`Firehose` for asyncio, created by `AsyncClient.firehose`."""

    def __init__(self, start: Callable[[], Awaitable[Firehose]]) -> None:
        self._start = start
        self._firehose: Firehose | None = None

    @property
    def firehose(self) -> Firehose:
        """The blocking firehose."""
        if self._firehose is None:
            raise ValueError(
                "this firehose is not open; use `async with client.firehose(model) as firehose:`"
            )
        return self._firehose

    @property
    def sent(self) -> int:
        """Number of batches that the socket accepted."""
        return self.firehose.sent

    async def push(
        self,
        x: SamplesLike,
        y: SamplesLike | None = None,
        *,
        keys: IdentifiersLike | None = None,
        ids: IdentifiersLike | None = None,
    ) -> None:
        """Send samples in one message. Wait while the socket is not connected or its queue is full.

        Parameters
        ----------
        x : array_like, (n, dim) or (dim,)
            The samples. NaN and ``None`` are missing values.
        y : array_like, (n, targets) or (n,), optional
            The targets of the samples.
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.
        ids : int, str or array_like, (n,), optional
            The ids of the samples, for targets that come later.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If the arrays are not valid samples. The daemon checks the number of columns and does not report
            it.
        NoAnswer
            If the socket accepted no message within the client's timeout. The batch was not sent.
        """
        await asyncio.to_thread(self.firehose.push, x, y, keys=keys, ids=ids)

    async def push_targets(
        self, ids: IdentifiersLike, y: SamplesLike, *, keys: IdentifiersLike | None = None
    ) -> None:
        """Send targets of earlier samples in one message.

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
            If the socket accepted no message within the client's timeout. The batch was not sent.
        """
        await asyncio.to_thread(self.firehose.push_targets, ids, y, keys=keys)

    async def close(self) -> None:
        """Close the firehose. Wait for at most 1 s until queued messages are sent."""
        self.firehose.close()

    async def __aenter__(self) -> Self:
        self._firehose = await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class AsyncSubscription:
    """`Subscription` for asyncio, created by `AsyncClient.subscribe`.

    Examples
    --------
    >>> async with client.subscribe("pump", "output") as events:  # doctest: +SKIP
    ...     async for event in events:
    ...         print(event.first, event.outputs.score.max())
    """

    def __init__(
        self,
        find_endpoint: Callable[[], Awaitable[str]],
        topics: tuple[bytes, ...],
        timeout: float | None,
        connect_timeout: float,
    ) -> None:
        self.timeout = timeout
        self._find_endpoint = find_endpoint
        self._topics = topics
        self._connect_timeout = connect_timeout
        self._socket: zmq.asyncio.Socket | None = None

    async def next_event(self, timeout: float | None = None) -> Event | None:
        """Return the next event.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait. By default wait without a limit.

        Returns
        -------
        Event or None
            The event; ``None`` if no event arrived in time or the subscription is closed.

        Raises
        ------
        BadMessage
            If the message is not an event of this protocol.
        """
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
        """Close the subscription."""
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None

    async def __aenter__(self) -> Self:
        endpoint = await self._find_endpoint()
        socket = connect(zmq.asyncio.Context.instance(), zmq.SUB, endpoint)
        try:
            await self._subscribe(socket, endpoint)
        except BaseException:
            socket.close(0)
            raise
        self._socket = socket
        return self

    async def _subscribe(self, socket: zmq.asyncio.Socket, endpoint: str) -> None:
        """Subscribe, and wait until the subscriptions are in effect."""
        confirmation = confirmation_topic()
        for prefix in (*self._topics, confirmation):
            socket.subscribe(prefix)
        deadline = time.monotonic() + self._connect_timeout
        received: list[bytes] = []
        while not is_confirmed(received, confirmation):
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not await socket.poll(int(remaining * 1000) + 1):
                raise no_publisher(endpoint, self._connect_timeout)
            received = await socket.recv_multipart()
        socket.unsubscribe(confirmation)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
