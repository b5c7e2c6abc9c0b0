"""The asyncio client's transport: it executes the calls of concurrent operations on one socket."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TypeVar

import zmq
import zmq.asyncio

from streamlearn_client.errors import NoAnswer, StreamlearnError
from streamlearn_client.keys import ClientKeys
from streamlearn_client.ownership import Owner
from streamlearn_client.protocol import Reply
from streamlearn_client.replies import read_reply
from streamlearn_client.retry import Call, Exchange
from streamlearn_client.session import Operation
from streamlearn_client.sockets import Connection, try_send
from streamlearn_client.timeouts import LONGEST_WAIT, check_timeout

__all__ = ["AsyncTransport"]

T = TypeVar("T")


class AsyncTransport:
    """A connection to the requests endpoint. Concurrent calls are matched to their answers by id.

    Cancellation ends a call only while it waits. An exception from a signal handler may end it at any point.
    If it ends one of the tasks, or interrupts the sending of a message, the connection is replaced.
    """

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self.endpoint = endpoint
        self._keys = keys
        self._owner = Owner("client")
        self._pending: dict[int, _PendingCall] = {}
        self._next_id = 0
        self._closed = False
        self._tasks: list[asyncio.Task[None]] = []
        self._connect()

    async def run(self, operation: Operation[T], timeout: float | None) -> T:
        """Execute all calls of an operation within ``timeout`` seconds. Return the operation's result."""
        limit = check_timeout(timeout)
        self._owner.check()
        if self._closed:
            raise ValueError("this client is closed; create a new one")
        deadline = time.monotonic() + limit
        try:
            call = next(operation)
            while True:
                if call.own_timeout:
                    deadline = time.monotonic() + limit
                try:
                    reply = await self._exchange(call, deadline, limit)
                except StreamlearnError as error:
                    call = operation.throw(error)
                else:
                    call = operation.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            operation.close()

    async def close(self) -> None:
        """Stop the tasks and close the connection. Calls that wait for an answer raise ``NoAnswer``."""
        if self._closed or self._owner.inherited:
            return
        self._closed = True
        for pending in list(self._pending.values()):
            error = NoAnswer("the client was closed before the answer", endpoint=self.endpoint)
            error.in_doubt = True
            pending.set_error(error)
        try:
            await self._stop_tasks()
        finally:
            self.connection.close()

    def _connect(self) -> None:
        self.connection = Connection(zmq.asyncio.Context.instance(), zmq.DEALER, self.endpoint, self._keys)
        self._blocking_socket: zmq.Socket[bytes] = zmq.Socket.shadow(self.connection.socket)
        self._sending = False  # true while a message is sent, and after an interrupted send

    def _start(self) -> None:
        """Start the tasks. Replace a connection that was refused, or whose task or send was interrupted."""
        running = self._tasks and not any(task.done() for task in self._tasks)
        if running and not self._sending and not self.connection.handshakes.refused:
            return
        if self._tasks:
            unusable = self.connection
            for task in self._tasks:
                task.cancel()
            self._connect()
            unusable.close()
            self._connection_lost()
        self._tasks = [
            asyncio.create_task(self._read_replies()),
            asyncio.create_task(self._monitor_connection()),
        ]
        for task in self._tasks:
            task.add_done_callback(self._restart)

    def _restart(self, task: asyncio.Task[None]) -> None:
        """Start the tasks again after an exception, if a call waits for its answer."""
        if task.cancelled() or task.exception() is None:
            return
        message = "an exception ended a task of the client; the client connects again"
        task.get_loop().call_exception_handler({"message": message, "exception": task.exception()})
        if self._pending and not self._closed:
            self._start()

    async def _stop_tasks(self) -> None:
        tasks = [task for task in self._tasks if task.get_loop() is asyncio.get_running_loop()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _exchange(self, call: Call, deadline: float, timeout: float) -> Reply:
        """Send one request, again if necessary, and return its answer."""
        self._start()
        self._next_id += 1
        id = self._next_id
        exchange = Exchange(call, id, self.endpoint, deadline, timeout)
        pending = self._pending[id] = _PendingCall(exchange)
        try:
            while not pending.answer.done():
                now = time.monotonic()
                exchange.hint = self.connection.handshakes.hint()
                wait = min(exchange.time_left(now), LONGEST_WAIT)
                if exchange.due and self.connection.connected:
                    socket = self.connection.socket
                    self._sending = True
                    sent = try_send(self._blocking_socket, exchange.frames)
                    self._sending = False
                    socket.get(zmq.EVENTS)  # otherwise asyncio misses messages that arrived during the send
                    if sent:
                        exchange.sent(now)
                    else:  # the socket's queue is full
                        await socket.poll(math.ceil(wait * 1000), zmq.POLLOUT)  # type: ignore[call-arg]
                    continue
                pending.changed.clear()
                try:
                    async with asyncio.timeout(wait):
                        await pending.changed.wait()
                except TimeoutError:
                    continue
            return pending.answer.result()
        finally:
            del self._pending[id]

    async def _read_replies(self) -> None:
        socket = self.connection.socket
        while True:
            frames = await socket.recv_multipart()
            try:
                reply = read_reply(frames, self.endpoint)
            except StreamlearnError:
                self._fail_all(frames)
                continue
            pending = self._pending.get(reply.id) if isinstance(reply.id, int) else None
            if pending is not None:
                try:
                    pending.set_answer(pending.exchange.receive(reply, time.monotonic()))
                except StreamlearnError as error:
                    pending.set_error(error)

    async def _monitor_connection(self) -> None:
        connection = self.connection
        while True:
            lost = connection.process_event(await connection.monitor.recv_multipart())
            if lost:
                self._connection_lost()
            for pending in self._pending.values():
                refusal = connection.handshakes.refusal()
                if refusal is not None:
                    pending.set_error(pending.exchange.refused(refusal))
                pending.changed.set()

    def _connection_lost(self) -> None:
        for pending in list(self._pending.values()):
            try:
                pending.exchange.connection_lost()
                pending.changed.set()
            except StreamlearnError as error:
                pending.set_error(error)

    def _fail_all(self, frames: list[bytes]) -> None:
        """Fail all calls because of an unreadable answer. Each call raises an error of its own."""
        for pending in list(self._pending.values()):
            try:
                read_reply(frames, self.endpoint)
            except StreamlearnError as error:
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
