"""The blocking client's transport: it executes the calls of operations on one socket."""

from __future__ import annotations

import math
import threading
import time
from typing import TypeVar

import zmq

from streamlearn_client.errors import StreamlearnError
from streamlearn_client.protocol import Reply, decode_reply
from streamlearn_client.retry import Call, Exchange
from streamlearn_client.session import Operation
from streamlearn_client.sockets import Connection, blocking_context, receive_all, try_send

__all__ = ["Transport"]

T = TypeVar("T")


class Transport:
    """A connection to the requests endpoint. Threads take turns."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.connection = Connection(blocking_context(), zmq.DEALER, endpoint)
        self._lock = threading.Lock()
        self._next_id = 0
        self._closed = False
        self._poller = zmq.Poller()
        self._poller.register(self.connection.monitor, zmq.POLLIN)

    def run(self, operation: Operation[T], timeout: float) -> T:
        """Execute all calls of an operation within ``timeout`` seconds. Return the operation's result."""
        with self._lock:
            self._check_open()
            deadline = time.monotonic() + timeout
            try:
                call = next(operation)
                while True:
                    try:
                        reply = self._exchange(call, deadline, timeout)
                    except StreamlearnError as error:
                        call = operation.throw(error)
                    else:
                        call = operation.send(reply)
            except StopIteration as end:
                result: T = end.value
                return result

    def check_open(self) -> None:
        """Raise ``ValueError`` if the transport is closed."""
        with self._lock:
            self._check_open()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self.connection.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("this client is closed; create a new one")

    def _exchange(self, call: Call, deadline: float, timeout: float) -> Reply:
        """Send one request, again if necessary, and return its answer."""
        self._next_id += 1
        exchange = Exchange(call, self._next_id, self.endpoint, deadline, timeout)
        socket = self.connection.socket
        while True:
            lost = self.connection.process_events()
            for frames in receive_all(socket):
                reply = exchange.receive(decode_reply(frames), time.monotonic())
                if reply is not None:
                    return reply
            if lost:
                exchange.connection_lost()
            now = time.monotonic()
            wait = exchange.time_left(now)
            events = zmq.POLLIN
            if exchange.due and self.connection.connected:
                if try_send(socket, exchange.frames):
                    exchange.sent(now)
                    continue
                events |= zmq.POLLOUT  # the socket's queue is full
            self._poller.register(socket, events)
            self._poller.poll(math.ceil(wait * 1000))
