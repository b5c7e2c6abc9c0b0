"""The blocking client's transport: it executes the calls of operations on one socket."""

from __future__ import annotations

import math
import threading
import time
from typing import TypeVar

import zmq

from streamlearn_client.errors import StreamlearnError
from streamlearn_client.keys import ClientKeys
from streamlearn_client.ownership import Owner
from streamlearn_client.protocol import Reply
from streamlearn_client.replies import read_reply
from streamlearn_client.retry import Call, Exchange
from streamlearn_client.session import Operation
from streamlearn_client.sockets import Connection, blocking_context, receive_all, try_send
from streamlearn_client.timeouts import LONGEST_WAIT, check_timeout

__all__ = ["Transport"]

T = TypeVar("T")


class Transport:
    """A connection to the requests endpoint. Threads take turns.

    An exception from a signal handler (Ctrl-C) may end a call at any point. If it interrupts a socket
    operation, half a message may be sent or received. Then the next call replaces the connection, as after a
    refused handshake.
    """

    def __init__(self, endpoint: str, keys: ClientKeys | None = None) -> None:
        self.endpoint = endpoint
        self._keys = keys
        self._owner = Owner("client")
        self._lock = threading.Lock()
        self._next_id = 0
        self._closed = False
        self._connect()

    def run(self, operation: Operation[T], timeout: float | None) -> T:
        """Execute all calls of an operation within ``timeout`` seconds. Return the operation's result."""
        limit = check_timeout(timeout)
        self._owner.check()
        with self._lock:
            self._check_open()
            deadline = time.monotonic() + limit
            try:
                call = next(operation)
                while True:
                    if call.own_timeout:
                        deadline = time.monotonic() + limit
                    try:
                        reply = self._exchange(call, deadline, limit)
                    except StreamlearnError as error:
                        call = operation.throw(error)
                    else:
                        call = operation.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                operation.close()

    def check_open(self) -> None:
        """Raise ``ValueError`` if the transport is closed, ``WrongProcess`` in a forked process."""
        self._owner.check()
        with self._lock:
            self._check_open()

    def close(self) -> None:
        """Close the connection, after a call that runs in another thread."""
        if self._owner.inherited:
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                self.connection.close()

    def _connect(self) -> None:
        self.connection = Connection(blocking_context(), zmq.DEALER, self.endpoint, self._keys)
        self._poller = zmq.Poller()
        self._poller.register(self.connection.monitor, zmq.POLLIN)
        self._socket_busy = False  # true during a socket operation, and after an interrupted one

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this client is closed; create a new one")

    def _exchange(self, call: Call, deadline: float, timeout: float) -> Reply:
        """Send one request, again if necessary, and return its answer."""
        if self._socket_busy or self.connection.handshakes.refused:
            unusable = self.connection
            self._connect()
            unusable.close()
        self._next_id += 1
        exchange = Exchange(call, self._next_id, self.endpoint, deadline, timeout)
        socket = self.connection.socket
        while True:
            self._socket_busy = True
            lost = self.connection.process_events()
            messages = receive_all(socket)
            self._socket_busy = False
            for frames in messages:
                reply = exchange.receive(read_reply(frames, self.endpoint), time.monotonic())
                if reply is not None:
                    return reply
            if lost:
                exchange.connection_lost()
            refusal = self.connection.handshakes.refusal()
            if refusal is not None:
                raise exchange.refused(refusal)
            exchange.hint = self.connection.handshakes.hint()
            now = time.monotonic()
            wait = exchange.time_left(now)
            events = zmq.POLLIN
            if exchange.due and self.connection.connected:
                self._socket_busy = True
                sent = try_send(socket, exchange.frames)
                self._socket_busy = False
                if sent:
                    exchange.sent(now)
                    continue
                events |= zmq.POLLOUT  # the socket's queue is full
            self._poller.register(socket, events)
            self._poller.poll(math.ceil(min(wait, LONGEST_WAIT) * 1000))
