"""ZeroMQ sockets with the client's options, and connections: sockets with a monitor.

Sending sockets have ``ZMQ_IMMEDIATE``: a socket accepts a message only while it is connected. So no messages
queue up for a stopped daemon, and none arrive hours later. When a connection is lost, all messages in transit
are lost in both directions. The sender must send them again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from itertools import count
from socket import AF_INET, getaddrinfo
from struct import Struct
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import zmq
import zmq.backend

from streamlearn_client.errors import BadValue
from streamlearn_client.handshakes import EVENTS, Handshakes
from streamlearn_client.keys import ClientKeys
from streamlearn_client.protocol import Frame
from streamlearn_client.replies import protocol_error

__all__ = [
    "SEND",
    "SEND_MORE",
    "Connection",
    "blocking_context",
    "monitor_event",
    "receive",
    "receive_all",
    "try_send",
]

RECONNECT_MS: Final = (50, 1000)
HEARTBEAT_MS: Final = (2000, 10000)
SEND: Final = int(zmq.NOBLOCK)  # an enumeration's `|` costs as much as sending
"""Flags for the last frame of a message, without waiting."""
SEND_MORE: Final = int(zmq.NOBLOCK | zmq.SNDMORE)
"""Flags for the frames before it."""

_EVENT: Final = Struct("=hi")
_monitors: Final = count()


class BlockingSocket(zmq.Socket[bytes]):
    """A socket whose ``send`` lacks pyzmq's layer in Python, which takes as long as sending a small frame."""

    send = zmq.backend.Socket.send  # type: ignore[assignment]


S = TypeVar("S", bound="zmq.Socket[Any]")
"""A blocking socket or an asyncio socket."""


def blocking_context() -> zmq.Context[zmq.Socket[bytes]]:
    """Return the process's ZeroMQ context for blocking sockets."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    return context


class Connection(Generic[S]):
    """A socket that connects to ``endpoint`` and reconnects, and its monitor.

    The endpoint need not exist yet. For an endpoint that ZeroMQ can't read, the constructor raises
    ``BadValue``; ``ProtocolError`` if the daemon at ``announced_by`` announced it.

    Send only while ``connected`` is true. Then the message arrives, or `process_event` reports the loss
    later. ZeroMQ reports a lost connection shortly before it drops it, and silently loses the messages that
    it accepts in between. So ``connected`` stays false until the next handshake.
    """

    def __init__(
        self,
        context: zmq.Context[S],
        kind: int,
        endpoint: str,
        keys: ClientKeys | None = None,
        *,
        linger: int = 0,
        announced_by: str | None = None,
    ) -> None:
        self.handshakes = Handshakes(endpoint, keys)
        self.socket = _new_socket(context, kind)
        self.monitor = _open_monitor(context, self.socket)
        self._blocking_monitor: zmq.Socket[bytes] = zmq.Socket.shadow(self.monitor)
        self._linger = linger
        try:
            if keys is not None:
                keys.set_on(self.socket)
            _connect(self.socket, endpoint)
        except BadValue as error:
            self.close()
            if announced_by is None:
                raise
            raise protocol_error(announced_by, f"it announces an endpoint that {error.message}") from None
        except BaseException:
            self.close()
            raise

    @property
    def connected(self) -> bool:
        """Whether the last handshake succeeded and its connection is not lost."""
        return self.handshakes.connected

    def process_event(self, event: list[bytes]) -> bool:
        """Process a message of the monitor. Return whether the connection was lost."""
        kind, value = monitor_event(event)
        self.handshakes.process(kind, value)
        if self.connected:
            self.socket.get(zmq.EVENTS)  # makes the socket drop the old connection and use the new one
        return kind == zmq.EVENT_DISCONNECTED

    def process_events(self) -> bool:
        """Process all waiting messages of the monitor. Return whether a connection was lost."""
        lost = False
        while (event := receive(self._blocking_monitor)) is not None:
            lost |= self.process_event(event)
        return lost

    def check(self) -> None:
        """Process all waiting messages of the monitor. Raise the error of a refused connection."""
        self.process_events()
        refusal = self.handshakes.refusal()
        if refusal is not None:
            raise refusal

    def close(self) -> None:
        """Close the socket and its monitor. Messages in transit have ``linger`` milliseconds to leave."""
        if not self.socket.closed:
            self.socket.monitor(None, 0)
            self.monitor.close(0)
            self.socket.close(self._linger)


def monitor_event(message: Sequence[bytes]) -> tuple[int, int]:
    """Return the kind and the value of an event of a socket's monitor.

    The parser of pyzmq is in a module that imports asyncio, which takes 0.05 s.
    """
    kind, value = _EVENT.unpack(message[0])
    return kind, value


def _open_monitor(context: zmq.Context[S], socket: S) -> S:
    """Return a socket that receives the events of ``socket``.

    Its queue has no limit. ZeroMQ's I/O thread, which serves all sockets of the process, would wait for space
    in a full queue, and nobody reads the events of an idle client.
    """
    address = f"inproc://streamlearn-monitor-{next(_monitors)}"
    socket.monitor(address, EVENTS)
    monitor: S = context.socket(zmq.PAIR)
    monitor.linger = 0
    monitor.rcvhwm = 0
    monitor.connect(address)
    return monitor


def _new_socket(context: zmq.Context[S], kind: int) -> S:
    kind_of_socket: Any = BlockingSocket if type(context) is zmq.Context else None
    socket: S = context.socket(kind, kind_of_socket)
    socket.linger = 0
    socket.immediate = (
        kind != zmq.SUB
    )  # on a SUB socket it would delay the subscriptions until the first read
    socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MS
    # Heartbeats detect a daemon machine that disappeared without closing the connection.
    socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS
    return socket


def _connect(socket: zmq.Socket[Any], endpoint: str) -> None:
    try:
        socket.ipv6 = _needs_ipv6(endpoint)
        socket.connect(endpoint)
    except (zmq.ZMQError, TypeError) as error:
        raise BadValue(
            f"{endpoint!r} is not a valid endpoint ({error}); use tcp://HOST:PORT or ipc://PATH",
            endpoint=endpoint,
        ) from None


def _needs_ipv6(endpoint: str) -> bool:
    """Whether the host of a TCP endpoint is an IPv6 address, or a name without an IPv4 address.

    A socket with IPv6 connects to the IPv6 address of a name that has both. A daemon that listens on
    127.0.0.1 would then be unreachable as ``localhost``.
    """
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname if parts.scheme == "tcp" else None
    except ValueError:  # ZeroMQ reports the error
        return False
    if host is None:
        return False
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        pass
    try:
        return not getaddrinfo(host, None, AF_INET)
    except OSError:
        return True


def try_send(socket: zmq.Socket[Any], frames: Sequence[Frame]) -> bool:
    """Send a message without waiting. Return whether the blocking socket accepted all frames.

    If the connection is lost in the middle of a message, ZeroMQ refuses a frame and then drops all frames up
    to the next last frame. An empty last frame ends the message, so that ZeroMQ does not drop the next
    message.
    """
    accepted = 0
    try:
        for frame in frames[:-1]:
            socket.send(frame, SEND_MORE)
            accepted += 1
        socket.send(frames[-1], SEND)
    except zmq.Again:
        if 0 < accepted < len(frames) - 1:
            socket.send(b"", SEND)
        return False
    return True


def receive(socket: zmq.Socket[Any]) -> list[bytes] | None:
    """Return a message that has arrived, without waiting; ``None`` if there is none.

    If an exception interrupted an earlier call in the middle of a message, the rest of that message is
    dropped.
    """
    try:
        while socket.rcvmore:
            socket.recv(zmq.NOBLOCK)
        return socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None


def receive_all(socket: zmq.Socket[Any]) -> list[list[bytes]]:
    """Return all messages that have arrived, without waiting."""
    messages = []
    try:
        while True:
            messages.append(socket.recv_multipart(zmq.NOBLOCK))
    except zmq.Again:
        return messages
