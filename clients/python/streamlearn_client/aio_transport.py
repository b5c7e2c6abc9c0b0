"""The asyncio client's transport: it executes the calls of concurrent operations on one socket."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

import zmq
import zmq.asyncio

from streamlearn_client.errors import StreamlearnError
from streamlearn_client.protocol import Reply, decode_reply
from streamlearn_client.retry import Call, Exchange
from streamlearn_client.session import Operation
from streamlearn_client.sockets import Connection, try_send

__all__ = ["AsyncTransport"]

T = TypeVar("T")


class AsyncTransport:
    """A connection to the requests endpoint. Concurrent calls are matched to their answers by id."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.connection = Connection(zmq.asyncio.Context.instance(), zmq.DEALER, endpoint)
        self._blocking_socket: zmq.Socket[bytes] = zmq.Socket.shadow(self.connection.socket)
        self._pending: dict[int, _PendingCall] = {}
        self._next_id = 0
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self, operation: Operation[T], timeout: float) -> T:
        """Execute all calls of an operation within ``timeout`` seconds. Return the operation's result."""
        if self._closed:
            raise ValueError("this client is closed; create a new one")
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(self._read_replies()),
                asyncio.create_task(self._monitor_connection()),
            ]
        deadline = time.monotonic() + timeout
        try:
            call = next(operation)
            while True:
                try:
                    reply = await self._exchange(call, deadline, timeout)
                except StreamlearnError as error:
                    call = operation.throw(error)
                else:
                    call = operation.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    async def close(self) -> None:
        """Stop the tasks and close the connection."""
        if self._closed:
            return
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.connection.close()

    async def _exchange(self, call: Call, deadline: float, timeout: float) -> Reply:
        """Send one request, again if necessary, and return its answer."""
        self._next_id += 1
        id = self._next_id
        exchange = Exchange(call, id, self.endpoint, deadline, timeout)
        pending = self._pending[id] = _PendingCall(exchange)
        socket = self.connection.socket
        try:
            while not pending.answer.done():
                now = time.monotonic()
                wait = exchange.time_left(now)
                if exchange.due and self.connection.connected:
                    sent = try_send(self._blocking_socket, exchange.frames)
                    socket.get(zmq.EVENTS)  # otherwise asyncio misses messages that arrived during the send
                    if sent:
                        exchange.sent(now)
                    else:  # the socket's queue is full
                        await socket.poll(int(wait * 1000) + 1, zmq.POLLOUT)  # type: ignore[call-arg]
                    continue
                pending.changed.clear()
                try:
                    await asyncio.wait_for(pending.changed.wait(), wait)
                except TimeoutError:
                    continue
            return pending.answer.result()
        finally:
            del self._pending[id]

    async def _read_replies(self) -> None:
        while True:
            frames = await self.connection.socket.recv_multipart()
            try:
                reply = decode_reply(frames)
            except StreamlearnError as error:
                self._fail_all(error)
                continue
            pending = self._pending.get(reply.id) if isinstance(reply.id, int) else None
            if pending is not None:
                try:
                    pending.set_answer(pending.exchange.receive(reply, time.monotonic()))
                except StreamlearnError as error:
                    pending.set_error(error)

    async def _monitor_connection(self) -> None:
        while True:
            lost = self.connection.process_event(await self.connection.monitor.recv_multipart())
            for pending in list(self._pending.values()):
                try:
                    if lost:
                        pending.exchange.connection_lost()
                    pending.changed.set()
                except StreamlearnError as error:
                    pending.set_error(error)

    def _fail_all(self, error: StreamlearnError) -> None:
        for pending in list(self._pending.values()):
            pending.set_error(error)


class _PendingCall:
    """A call in progress, and the future of its answer."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.changed = asyncio.Event()
        self.answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def set_answer(self, reply: Reply | None) -> None:
        if reply is not None and not self.answer.done():
            self.answer.set_result(reply)
        self.changed.set()

    def set_error(self, error: StreamlearnError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)
            self.changed.set()
