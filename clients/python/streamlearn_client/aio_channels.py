"""Firehoses and subscriptions for asyncio. Their docstrings are copies of the blocking classes'."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import zmq
import zmq.asyncio

from streamlearn_client.firehose import POLL_MS, Firehose, Message
from streamlearn_client.keys import ClientKeys
from streamlearn_client.ownership import Owner
from streamlearn_client.protocol import IdentifiersLike, SamplesLike, TimesLike
from streamlearn_client.results import Event, read_event
from streamlearn_client.sockets import Connection, receive
from streamlearn_client.subscription import Selection, confirmation_topic, is_confirmed, no_publisher
from streamlearn_client.timeouts import Deadline, check_timeout

__all__ = ["AsyncFirehose", "AsyncSubscription"]


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
        for message in self.firehose._messages(x, y, keys, ids, times):
            await self._send(message)

    async def push_targets(
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
        for message in self.firehose._messages(None, y, keys, ids):
            await self._send(message)

    async def _send(self, message: Message) -> None:
        """Send a message on the event loop, in one step: a cancelled call has sent nothing."""
        firehose = self.firehose
        deadline = Deadline(firehose._timeout)
        while True:
            with firehose._lock:
                if firehose._try_send(message):
                    return
            if not deadline.remaining():
                raise firehose._no_answer()
            poller = zmq.asyncio.Poller()
            poller.register(firehose._connection.socket, zmq.POLLOUT)
            await poller.poll(min(deadline.wait_ms(), POLL_MS))

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

    ``keep`` may be set to a function of the topic of a message. Messages for which it returns ``False`` are
    dropped before they are decoded. ``pause`` may be set to a number of seconds: messages that arrive in this
    time are taken together, which costs less where many are dropped.

    Examples
    --------
    >>> async with client.subscribe("pump", "output") as events:  # doctest: +SKIP
    ...     async for event in events:
    ...         print(event.first, event.outputs.score.max())
    """

    def __init__(
        self,
        find_endpoint: Callable[[], Awaitable[tuple[str, str | None]]],
        selection: Selection,
        timeout: float | None,
        connect_timeout: float,
        connection_keys: ClientKeys | None = None,
    ) -> None:
        self.keep: Callable[[bytes], bool] | None = None
        self.pause = 0.0
        self.timeout = timeout
        check_timeout(timeout, zero=True)
        self._find_endpoint = find_endpoint
        self._selection = selection
        self._connect_timeout = connect_timeout
        self._owner = Owner("subscription")
        self._endpoint = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keys = connection_keys
        self._prefix = b"" if connection_keys is None else connection_keys.topic_prefix
        self._connection: Connection[zmq.asyncio.Socket] | None = None
        self._blocking_socket: zmq.Socket[bytes]
        self._poller: zmq.asyncio.Poller
        self._polls: set[asyncio.Future[Any]] = set()

    async def next_event(self, timeout: float | None = None) -> Event | None:
        """Return the next event.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; 0: do not wait. By default wait without a limit.

        Returns
        -------
        Event or None
            The event; ``None`` if no event arrived in time or the subscription is closed.

        Raises
        ------
        ProtocolError
            If the message is not an event of this protocol.
        Forbidden
            If the connection was lost, and the daemon refuses the key of this client when it connects again.
        BadValue
            If ``timeout`` is not a valid timeout.
        """
        deadline = Deadline(check_timeout(timeout, zero=True))
        self._owner.check()
        while (frames := await self._receive(deadline)) is not None:
            event = read_event(frames, self._endpoint, self._prefix)
            if self._selection.has(event):
                return event
        return None

    async def _receive(self, deadline: Deadline) -> list[bytes] | None:
        """Return the next message; ``None`` after the deadline or after `close`."""
        while self._connection is not None:
            frames = receive(self._blocking_socket)
            if frames is not None:
                if self.keep is None or self.keep(frames[0]):
                    return frames
                continue
            self._connection.check()
            if not deadline.remaining():
                return None
            poll: asyncio.Future[Any] = asyncio.ensure_future(self._poller.poll(deadline.wait_ms()))
            self._polls.add(poll)
            try:
                await poll
            finally:
                self._polls.discard(poll)
            if self.pause:
                await asyncio.sleep(min(self.pause, deadline.remaining()))
        return None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self.next_event(self.timeout)
        if event is None:
            raise StopAsyncIteration
        return event

    async def close(self) -> None:
        """Close the subscription. An iteration in another thread ends."""
        if self._owner.inherited or self._loop is None:
            return
        if self._loop is asyncio.get_running_loop() or self._loop.is_closed():
            self._close()
        else:  # called in another thread
            self._loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        for poll in self._polls:
            if not poll.done():
                poll.set_result(0)  # ends the iterations that wait for an event
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def __aenter__(self) -> Self:
        self._owner.check()
        self._endpoint, announced_by = await self._find_endpoint()
        self._loop = asyncio.get_running_loop()
        connection = self._connection = Connection(
            zmq.asyncio.Context.instance(), zmq.SUB, self._endpoint, self._keys, announced_by=announced_by
        )
        self._blocking_socket = zmq.Socket.shadow(connection.socket)
        self._poller = zmq.asyncio.Poller()
        self._poller.register(connection.socket, zmq.POLLIN)
        self._poller.register(connection.monitor, zmq.POLLIN)
        try:
            await self._subscribe(connection)
        except BaseException:
            self._close()
            raise
        return self

    async def _subscribe(self, connection: Connection[zmq.asyncio.Socket]) -> None:
        """Subscribe, and wait until the subscriptions are in effect."""
        confirmation = confirmation_topic()
        for prefix in (*(self._prefix + name for name in self._selection.topics), confirmation):
            connection.socket.subscribe(prefix)
        deadline = Deadline(self._connect_timeout)
        while not is_confirmed(await self._receive(deadline), confirmation, self._endpoint):
            if not deadline.remaining():
                raise no_publisher(self._endpoint, self._connect_timeout, connection.handshakes.hint())
        connection.socket.unsubscribe(confirmation)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
