"""The daemon's three sockets: requests (ROUTER), firehose (PULL) and events (XPUB)."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from dataclasses import dataclass

import zmq

from streamlearn.daemon.config import Endpoints
from streamlearn.errors import InsecureBind, PortTaken, StartupError
from streamlearn_client.protocol import DEFAULT_LIMITS, Frame

HANDSHAKE_MS = 5_000  # a peer that connects and sends nothing is disconnected
HEARTBEAT_MS = 5_000  # a peer that vanished is disconnected after three of these
LINGER_MS = 1_000  # how long a stop waits for the last replies to be sent
COPIED_BYTES = 1024  # copying a frame up to this size costs less than keeping ZeroMQ's buffer
# Affinity masks of ZeroMQ's two I/O threads, so that requests do not wait behind the firehose.
FIRST_THREAD, SECOND_THREAD = 1, 2
OVERSIZE_FACTOR = 2  # frames up to this many times the limit are read, so that the sender gets an error


@dataclass(frozen=True, slots=True)
class Sockets:
    """The bound sockets and their ZeroMQ context."""

    context: zmq.Context[zmq.Socket[bytes]]
    requests: zmq.Socket[bytes]
    firehose: zmq.Socket[bytes]
    events: zmq.Socket[bytes]

    def endpoints(self) -> dict[str, str]:
        """Return the bound endpoints, with the real numbers of wildcard ports."""
        return {
            name: _text(each.get(zmq.LAST_ENDPOINT))
            for name, each in (
                ("requests", self.requests),
                ("firehose", self.firehose),
                ("events", self.events),
            )
        }

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Close all sockets. Unsent messages have `linger_ms` milliseconds to leave."""
        self.context.destroy(linger=linger_ms)


def check_exposure(endpoints: Endpoints) -> None:
    """Raise `InsecureBind` if an endpoint is reachable from other hosts: no peer is authenticated yet."""
    for name in ("requests", "firehose", "events"):
        endpoint: str = getattr(endpoints, name)
        if not endpoints.insecure and not _is_local(endpoint):
            raise InsecureBind(
                f"{name} at {endpoint} would accept any client on the network without authentication; "
                "bind to 127.0.0.1 or ipc://, or use --insecure (endpoints.insecure) on a trusted network",
                endpoint=endpoint,
            )


def bind(endpoints: Endpoints, frame_bytes: int) -> Sockets:
    """Bind the three sockets. Raises `PortTaken` if an endpoint is in use, else `StartupError`."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=2)
    try:
        requests = _bind_one(context, zmq.ROUTER, "requests", endpoints.requests, frame_bytes)
        firehose = _bind_one(context, zmq.PULL, "firehose", endpoints.firehose, frame_bytes)
        events = _bind_one(context, zmq.XPUB, "events", endpoints.events, frame_bytes)
    except BaseException:
        context.destroy(linger=0)
        raise
    return Sockets(context, requests, firehose, events)


def receive(socket: zmq.Socket[bytes]) -> list[Frame] | None:
    """Return the frames of the next message, or `None`. Large frames stay in ZeroMQ's memory, uncopied."""
    try:
        frame = socket.recv(zmq.NOBLOCK, False)
    except zmq.Again:
        return None
    frames: list[Frame] = [frame.bytes]
    while frame.more:
        frame = socket.recv(zmq.NOBLOCK, False)
        frames.append(frame.buffer if len(frame) > COPIED_BYTES else frame.bytes)
    return frames


def _bind_one(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, name: str, endpoint: str, frame_bytes: int
) -> zmq.Socket[bytes]:
    bound = context.socket(kind)
    bound.affinity = FIRST_THREAD if kind == zmq.ROUTER else SECOND_THREAD
    bound.handshake_ivl = HANDSHAKE_MS
    bound.heartbeat_ivl = HEARTBEAT_MS
    bound.heartbeat_timeout = 3 * HEARTBEAT_MS
    bound.maxmsgsize = OVERSIZE_FACTOR * max(frame_bytes, DEFAULT_LIMITS.control_header_bytes)
    if kind == zmq.ROUTER:
        bound.router_mandatory = True  # a reply to a peer that has left raises an error, which is counted
    try:
        _check_unused(endpoint)
        bound.bind(endpoint)
    except (OSError, zmq.ZMQError) as error:
        reason = os.strerror(error.errno or 0)
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"{name}: another process listens at {endpoint}; stop it, or choose another endpoint "
                "(port * chooses a free one)",
                endpoint=endpoint,
            ) from None
        raise StartupError(f"{name}: can't bind {endpoint}: {reason}", endpoint=endpoint) from None
    return bound


def _check_unused(endpoint: str) -> None:
    """Raise `EADDRINUSE` for an ipc path that another process serves: ZeroMQ would take it over."""
    if endpoint.startswith("ipc://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(endpoint.removeprefix("ipc://"))
            except OSError:
                return
            raise OSError(errno.EADDRINUSE, "in use")


def _text(value: int | bytes | str) -> str:
    return value.rstrip(b"\0").decode() if isinstance(value, bytes) else str(value)


def _is_local(endpoint: str) -> bool:
    if endpoint.startswith("ipc://"):
        return True
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # the name of an interface, or *
        return host == "lo"
