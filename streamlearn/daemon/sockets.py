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

HANDSHAKE_MS = 5_000  # a peer that connects and then says nothing is let go
HEARTBEAT_MS = 5_000  # a peer that vanished without a word is noticed after three of these
LINGER_MS = 1_000  # last replies get this long to leave when the daemon stops
COPIED_BYTES = 1024  # up to here, copying a frame costs less than holding on to where it was received
# ZeroMQ's threads, as a bit each: queries must not wait behind the firehose before they are even here.
FIRST_THREAD, SECOND_THREAD = 1, 2
SLACK = 2  # a frame up to this many times too large is read, so that its sender can be told


@dataclass(frozen=True, slots=True)
class Sockets:
    context: zmq.Context[zmq.Socket[bytes]]
    requests: zmq.Socket[bytes]
    firehose: zmq.Socket[bytes]
    events: zmq.Socket[bytes]

    def endpoints(self) -> dict[str, str]:
        """Where each is bound in fact: wildcard ports are resolved."""
        return {
            name: _text(each.get(zmq.LAST_ENDPOINT))
            for name, each in (
                ("requests", self.requests),
                ("firehose", self.firehose),
                ("events", self.events),
            )
        }

    def close(self, linger_ms: int = LINGER_MS) -> None:
        self.context.destroy(linger=linger_ms)


def check_exposure(endpoints: Endpoints) -> None:
    """Nothing authenticates a peer yet, so only this host may reach the daemon. Raises `InsecureBind`."""
    for name in ("requests", "firehose", "events"):
        endpoint: str = getattr(endpoints, name)
        if not endpoints.insecure and not _is_local(endpoint):
            raise InsecureBind(
                f"{name} at {endpoint} would let anyone on the network in, unauthenticated; "
                "bind to 127.0.0.1 or ipc://, or say --insecure (endpoints.insecure) if it is trusted",
                endpoint=endpoint,
            )


def bind(endpoints: Endpoints, frame_bytes: int) -> Sockets:
    """Bind all three. Raises `PortTaken` when somebody listens at one already, else `StartupError`."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=2)
    try:
        requests = _bound(context, zmq.ROUTER, "requests", endpoints.requests, frame_bytes)
        firehose = _bound(context, zmq.PULL, "firehose", endpoints.firehose, frame_bytes)
        events = _bound(context, zmq.XPUB, "events", endpoints.events, frame_bytes)
    except BaseException:
        context.destroy(linger=0)
        raise
    return Sockets(context, requests, firehose, events)


def receive(socket: zmq.Socket[bytes]) -> list[Frame] | None:
    """The frames of one message that waits, or `None`. Large frames are not copied out of ZeroMQ's memory."""
    try:
        frame = socket.recv(zmq.NOBLOCK, False)
    except zmq.Again:
        return None
    frames: list[Frame] = [frame.bytes]
    while frame.more:
        frame = socket.recv(zmq.NOBLOCK, False)
        frames.append(frame.buffer if len(frame) > COPIED_BYTES else frame.bytes)
    return frames


def _bound(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, name: str, endpoint: str, frame_bytes: int
) -> zmq.Socket[bytes]:
    made = context.socket(kind)
    made.affinity = FIRST_THREAD if kind == zmq.ROUTER else SECOND_THREAD
    made.handshake_ivl = HANDSHAKE_MS
    made.heartbeat_ivl = HEARTBEAT_MS
    made.heartbeat_timeout = 3 * HEARTBEAT_MS
    made.maxmsgsize = SLACK * max(frame_bytes, DEFAULT_LIMITS.control_header_bytes)
    if kind == zmq.ROUTER:
        made.router_mandatory = (
            True  # a reply to a peer that is gone is an error to count, not lost in silence
        )
    try:
        _refuse_to_steal(endpoint)
        made.bind(endpoint)
    except (OSError, zmq.ZMQError) as error:
        reason = os.strerror(error.errno or 0)
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"{name}: somebody listens at {endpoint} already; stop it, or choose another endpoint "
                "(port * takes a free one)",
                endpoint=endpoint,
            ) from None
        raise StartupError(f"{name}: can't bind {endpoint}: {reason}", endpoint=endpoint) from None
    return made


def _refuse_to_steal(endpoint: str) -> None:
    """ZeroMQ takes over an ipc path that another process still serves, so see whether somebody is there."""
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
    except ValueError:  # an interface's name, or *
        return host == "lo"
