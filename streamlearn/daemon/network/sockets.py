"""The daemon's three sockets: requests (ROUTER), firehose (PULL) and events (XPUB)."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import suppress
from dataclasses import dataclass, field

import zmq

from streamlearn.access import hosts
from streamlearn.daemon.config import Endpoints
from streamlearn.daemon.network.subscriptions import RECEIVE_HWM as SUBSCRIPTIONS_HWM
from streamlearn.daemon.security.access import Access
from streamlearn.daemon.security.zap import ZapHandler
from streamlearn.errors import InsecureBind, PortTaken, StartupError
from streamlearn_client.keys import KeyPair
from streamlearn_client.protocol import DEFAULT_LIMITS, Limits
from streamlearn_client.protocol.messages import LEAST_FIREHOSE_BYTES
from streamlearn_client.sockets import BlockingSocket

HANDSHAKE_MS = 5_000  # a peer that connects and sends nothing is disconnected
# A peer that vanished is disconnected 20 s later. The daemon sends no heartbeats of ZeroMQ: libzmq 4.3.5 ends
# the process ("Assertion failed: !_io_error") if a heartbeat is due on a connection whose peer has left and
# whose messages nobody reads, for example those of the firehose while a model is behind.
KEEPALIVE_SECONDS, KEEPALIVE_PROBES = 5, 3
LINGER_MS = 1_000  # how long a stop waits for the last replies to be sent
# Messages of one connection that ZeroMQ queues before the loop reads them. It counts messages, not bytes.
# More cost memory: ten connections with frames of 2 MiB took 602 MiB with 32, and 320 MiB with 8. So a frame
# has at most a 256th of the memory, and the queue of a connection a 16th: with smaller frames it has up to 64
# messages (`limits/budget.py`). Fewer cost CPU time: ZeroMQ's thread and the loop wake each other after each
# half of the queue. On a busy machine a single sample took 0.7 times the CPU time of the daemon with 16
# instead of 8 (quartiles of 30 pairs: 0.55, 0.79), and 0.85 times with 64 instead of 16 (0.57, 1.03). A turn
# of the loop finds no more than the queue has, so the drain waits for the next ones of a burst
# (`intake/drain.py`). The limit is never changed while connections are open: libzmq 4.3.5 then does not wake
# a sender that waits for the old limit.
RECEIVE_HWM, MOST_RECEIVE_HWM = 16, 64
# The same for the firehose, whose frames are smaller. The compiled loop empties a queue of 8 faster than
# ZeroMQ's thread fills it: with 8 instead of 64, a sample took 4 times the CPU time of the loop.
FIREHOSE_HWM = 64
PRIVATE = 0o600  # mode of the file of an ipc endpoint, unless endpoints.ipc_mode is another
KINDS = {"requests": zmq.ROUTER, "firehose": zmq.PULL, "events": zmq.XPUB}
# Affinity masks of ZeroMQ's two I/O threads, so that requests do not wait behind the firehose.
FIRST_THREAD, SECOND_THREAD = 1, 2
LONGEST_SUBSCRIPTION = 1024  # bytes; the frames of the handshake are shorter too
OLDEST_ZMQ = (4, 3, 5)  # older ones may use a closed connection in the manual mode of XPUB
OVERSIZE_FACTOR = 2  # frames up to this many times the limit are read, so that the sender gets an error


@dataclass(frozen=True, slots=True)
class Sockets:
    """The bound sockets and their ZeroMQ context."""

    context: zmq.Context[zmq.Socket[bytes]]
    requests: zmq.Socket[bytes]
    firehose: zmq.Socket[bytes]
    events: zmq.Socket[bytes]
    access: Access = field(default_factory=Access)
    zap: ZapHandler | None = None

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
        """Close all sockets, and remove the files of ipc endpoints.

        Unsent messages have `linger_ms` milliseconds to leave.
        """
        # Before the sockets are closed, so that the file of a daemon that starts meanwhile stays.
        for each in (self.requests, self.firehose, self.events):
            _remove_file(each)
        self.context.destroy(linger=linger_ms)
        if self.zap is not None:
            self.zap.join()


def check_exposure(endpoints: Endpoints, keys: bool = False) -> list[str]:
    """Return the endpoints that hosts of the network can reach without a key.

    Raises `InsecureBind` if there are any, unless `endpoints.insecure` allows them.
    """
    exposed = [] if keys else [name for name in KINDS if not is_local(getattr(endpoints, name))]
    if exposed and not endpoints.insecure:
        name = exposed[0]
        raise InsecureBind(
            f"{name} at {getattr(endpoints, name)} would accept any client on the network without "
            "authentication; give clients keys (docs/operate/security.md), bind to 127.0.0.1 or ipc://, or "
            "use --insecure (endpoints.insecure) on a trusted network",
            endpoint=getattr(endpoints, name),
        )
    return [f"{name} at {getattr(endpoints, name)}" for name in exposed]


def receive_hwm(queue_bytes: int, frame_bytes: int) -> int:
    """Return how many requests of a connection ZeroMQ queues: those that fit, within fixed limits."""
    return min(max(queue_bytes // frame_bytes, RECEIVE_HWM), MOST_RECEIVE_HWM)


def bind(endpoints: Endpoints, frame_bytes: int, queue_bytes: int, access: Access | None = None) -> Sockets:
    """Bind the three sockets. Raises `PortTaken` if an endpoint is in use, else `StartupError`.

    If `access` has a server key, clients of all three need a key that it admits, over tcp and over ipc.
    `queue_bytes`: what ZeroMQ may queue of a connection to the requests socket; see `receive_hwm`.
    """
    access = access or Access()
    if zmq.zmq_version_info() < OLDEST_ZMQ:
        raise StartupError(
            f"libzmq {zmq.zmq_version()} is too old; install a pyzmq with libzmq 4.3.5 or newer"
        )
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=2)
    hwm = receive_hwm(queue_bytes, frame_bytes)
    sockets = {name: _new_socket(context, kind, frame_bytes, hwm) for name, kind in KINDS.items()}
    try:
        zap = None
        if access.server_key is not None:
            for name, socket in sockets.items():
                _require_key(socket, name, access.server_key)
            zap = ZapHandler(context, access.admit, access.refusals)
            zap.watch(sockets)
            zap.start()
        for name, socket in sockets.items():
            _bind_one(socket, name, getattr(endpoints, name), int(endpoints.ipc_mode, 8))
    except BaseException:
        for socket in sockets.values():
            _remove_file(socket)
        context.destroy(linger=0)
        raise
    return Sockets(context, **sockets, access=access, zap=zap)


def _new_socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, frame_bytes: int, requests_hwm: int
) -> zmq.Socket[bytes]:
    bound = context.socket(kind, BlockingSocket)
    bound.affinity = FIRST_THREAD if kind == zmq.ROUTER else SECOND_THREAD
    bound.handshake_ivl = HANDSHAKE_MS
    bound.tcp_keepalive = 1
    bound.tcp_keepalive_idle = bound.tcp_keepalive_intvl = KEEPALIVE_SECONDS
    bound.tcp_keepalive_cnt = KEEPALIVE_PROBES
    if kind == zmq.XPUB:
        bound.maxmsgsize = LONGEST_SUBSCRIPTION
        bound.rcvhwm = SUBSCRIPTIONS_HWM
        bound.setsockopt(zmq.XPUB_MANUAL, 1)
    else:
        is_firehose = kind == zmq.PULL
        bound.rcvhwm = FIREHOSE_HWM if is_firehose else requests_hwm
        least = LEAST_FIREHOSE_BYTES if is_firehose else DEFAULT_LIMITS.control_header_bytes
        most = Limits(frame_bytes=frame_bytes).firehose_frame_bytes if is_firehose else frame_bytes
        bound.maxmsgsize = OVERSIZE_FACTOR * max(most, least)
    if kind == zmq.ROUTER:
        bound.sndhwm = 0  # `Replies` limits the bytes of unread replies
        bound.router_mandatory = True  # a reply to a peer that has left raises an error, which is counted
    return bound


def _require_key(socket: zmq.Socket[bytes], name: str, server_key: KeyPair) -> None:
    """Encrypt the socket, and have ZeroMQ ask the ZAP handler about each peer."""
    socket.curve_server = True
    socket.curve_secretkey = server_key.secret.encode()
    socket.zap_domain = name.encode()
    socket.set(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without the handler nobody is admitted


def _bind_one(socket: zmq.Socket[bytes], name: str, endpoint: str, ipc_mode: int) -> None:
    try:
        _check_unused(endpoint)
        if endpoint.startswith("ipc://"):
            _bind_file(socket, endpoint, ipc_mode)
        else:
            _bind_tcp(socket, endpoint)
    except (OSError, zmq.ZMQError) as error:
        reason = os.strerror(error.errno or 0)
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"{name}: another process listens at {endpoint}; stop it, or choose another endpoint "
                "(port * chooses a free one)",
                endpoint=endpoint,
            ) from None
        raise StartupError(f"{name}: can't bind {endpoint}: {reason}", endpoint=endpoint) from None


def _bind_tcp(socket: zmq.Socket[bytes], endpoint: str) -> None:
    """Bind a TCP endpoint. The host `*` stands for all addresses, of IPv6 too where the system has it."""
    host = endpoint.removeprefix("tcp://").rpartition(":")[0]
    socket.ipv6 = host.startswith("[") or host == "*"
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        if host != "*" or error.errno == errno.EADDRINUSE:
            raise
        socket.ipv6 = False
        socket.bind(endpoint)


def _bind_file(socket: zmq.Socket[bytes], endpoint: str, mode: int) -> None:
    """Bind an ipc endpoint. Its file has no wider mode at any time."""
    umask = os.umask(0o777 & ~PRIVATE)
    try:
        socket.bind(endpoint)
    finally:
        os.umask(umask)
    path = _file(socket)
    if path:
        os.chmod(path, mode)


def _file(socket: zmq.Socket[bytes]) -> str:
    """Return the path of a bound ipc endpoint; empty if it has none: an abstract socket, or TCP."""
    scheme, _, path = _text(socket.get(zmq.LAST_ENDPOINT)).partition("://")
    return path if scheme == "ipc" and not path.startswith("@") else ""


def _remove_file(socket: zmq.Socket[bytes]) -> None:
    path = _file(socket)
    if path:
        with suppress(OSError):
            os.unlink(path)


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


def is_local(endpoint: str) -> bool:
    """Whether only this host can reach the endpoint."""
    if endpoint.startswith("ipc://"):
        return True
    return hosts.is_local(endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]"))
