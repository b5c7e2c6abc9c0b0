"""Sockets as the client wants them, and links: sockets that know whether their connection stands.

Sockets that send have IMMEDIATE: a message goes to a connection that stands or is not taken at all, so
none piles up for a daemon that is away, and none is delivered hours later. Whatever was in the pipe when
a connection broke is gone, in both directions; whoever sent it sends it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import zmq
from zmq.utils.monitor import parse_monitor_message

from streamlearn_client.errors import BadValue
from streamlearn_client.protocol import Frame

__all__ = ["Link", "blocking", "connect", "drain", "reachable", "send"]

RECONNECT_MS: Final = (50, 1000)
HEARTBEAT_MS: Final = (2000, 10000)


S = TypeVar("S", bound="zmq.Socket[Any]")
"""a blocking socket or one of asyncio"""


def blocking() -> zmq.Context[zmq.Socket[bytes]]:
    """The process's context for sockets that are not asyncio's."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    return context


def connect(context: zmq.Context[S], kind: int, endpoint: str, linger: int = 0) -> S:
    """A socket of ``kind`` that connects, and reconnects, to ``endpoint``, where nobody need be yet.

    Raises ``BadValue`` for an endpoint that ZeroMQ can't read.
    """
    socket = _made(context, kind)
    socket.linger = linger
    _connect(socket, endpoint)
    return socket


class Link(Generic[S]):
    """A socket, and a monitor that tells when its connection is made and broken, from the first on.

    Only what is sent while ``stands`` is true arrives, or has its break told afterwards. ZeroMQ tells of a
    break a moment before it takes the connection away, and what it is given in that moment is lost without
    a word; so one waits for the next handshake.
    """

    def __init__(self, context: zmq.Context[S], kind: int, endpoint: str) -> None:
        self.stands = False
        self.socket = _made(context, kind)
        self.monitor: S = self.socket.get_monitor_socket(
            zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED
        )
        try:
            _connect(self.socket, endpoint)
        except BaseException:
            self.monitor.close(0)
            raise

    def heard(self, told: list[bytes]) -> bool:
        """Take note of a message of the monitor. Whether it says that the connection broke."""
        self.stands = parse_monitor_message(told)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED
        if self.stands:
            self.socket.get(zmq.EVENTS)  # has the socket let go of the old connection and take the new one
        return not self.stands

    def heard_all(self) -> bool:
        """Take note of all that the monitor, of a blocking socket, has to tell. Whether anything broke."""
        broke = [self.heard(told) for told in drain(self.monitor)]
        return any(broke)

    def close(self) -> None:
        """Close both, without waiting for what is on its way."""
        self.socket.disable_monitor()
        self.monitor.close(0)
        self.socket.close(0)


def _made(context: zmq.Context[S], kind: int) -> S:
    socket = context.socket(kind)
    socket.linger = 0
    socket.immediate = kind != zmq.SUB  # there it would hold the subscriptions back until the first read
    socket.reconnect_ivl, socket.reconnect_ivl_max = RECONNECT_MS
    # A daemon whose machine vanished without closing the connection is noticed all the same.
    socket.heartbeat_ivl, socket.heartbeat_timeout = HEARTBEAT_MS
    return socket


def _connect(socket: zmq.Socket[Any], endpoint: str) -> None:
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close(0)
        raise BadValue(
            f"{endpoint!r} is no endpoint to connect to ({error}); it looks like tcp://HOST:PORT or ipc://PATH",
            endpoint=endpoint,
        ) from None


def send(socket: zmq.Socket[Any], frames: Sequence[Frame]) -> bool:
    """Send a message without waiting: whether the (blocking) socket took it, all of it or nothing.

    When a connection goes amid a message, ZeroMQ refuses a frame and then drops what comes up to a last
    one. It is given a last one here, or else it would drop the next message instead, without a word.
    """
    taken = 0
    try:
        for frame in frames[:-1]:
            socket.send(frame, zmq.NOBLOCK | zmq.SNDMORE)
            taken += 1
        socket.send(frames[-1], zmq.NOBLOCK)
    except zmq.Again:
        if 0 < taken < len(frames) - 1:
            socket.send(b"", zmq.NOBLOCK)
        return False
    return True


def drain(socket: zmq.Socket[Any]) -> list[list[bytes]]:
    """Every message that waits, without waiting for one."""
    messages = []
    try:
        while True:
            messages.append(socket.recv_multipart(zmq.NOBLOCK))
    except zmq.Again:
        return messages


def reachable(announced: str, requests: str) -> str:
    """An endpoint that ``hello`` announced, as it is reached from here.

    A daemon bound to all interfaces can't know by which name its clients reach it; the host of the
    requests endpoint, which was reached, stands in.
    """
    there = urlsplit(announced)
    if there.scheme == "tcp" and there.hostname in ("0.0.0.0", "::", "*"):
        host = urlsplit(requests).netloc.rpartition(":")[0]
        return f"tcp://{host}:{announced.rpartition(':')[2]}" if host else announced
    return announced
