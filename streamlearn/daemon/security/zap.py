"""The ZAP handler (ZeroMQ RFC 27): it decides which CURVE keys may connect to a socket.

ZeroMQ asks it during each handshake, over an inproc socket. It runs on its own thread, since handshakes must
not wait for the loop. A check that fails is a denial and does not end the thread. If the handler is absent,
ZeroMQ denies everybody (`ZAP_ENFORCE_DOMAIN`).

Peers that fail before ZeroMQ asks the handler (no key, or a wrong server key) are counted by monitors of the
daemon's sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any, Final

import zmq
from zmq.utils import z85

from streamlearn import logs
from streamlearn.daemon.security.refusals import Refusals
from streamlearn_client.sockets import monitor_event

log = logs.get_logger(__name__)

ENDPOINT: Final = "inproc://zeromq.zap.01"
VERSION: Final = b"1.0"
OK, DENIED, FAILED = b"200", b"400", b"500"
# How many events of a monitor may wait. ZeroMQ's I/O thread would wait for the reader of a full queue.
MONITOR_HWM: Final = 100_000
# Failures of a handshake that the log reports. Others are peers that left, such as a scan of ports.
FAILURES: Final[Mapping[int, str]] = {
    int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH): "a peer at {} without a key",
    int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC): "a peer at {} that expects another daemon's key",
}


class ZapHandler:
    """Answer the handshakes of all sockets of a ZeroMQ context until the context ends.

    Parameters
    ----------
    context
        The context. The handler must exist before a socket of it is bound.
    admit
        Given the name of a socket and a public key, returns why the key is refused, or an empty text.
    refusals
        Counts refused peers.
    """

    def __init__(
        self, context: zmq.Context[Any], admit: Callable[[str, str], str], refusals: Refusals
    ) -> None:
        # Sockets of a shadow belong to the thread: the end of the original context does not close them.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.shadow(context.underlying)
        self._admit = admit
        self._refusals = refusals
        self._ready = Event()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(ENDPOINT)
        self._monitors: dict[zmq.Socket[bytes], str] = {}
        self._thread = Thread(target=self._run, name="zap", daemon=True)

    def watch(self, sockets: Mapping[str, zmq.Socket[bytes]]) -> None:
        """Count the peers of these sockets that fail before the handler is asked. Call it before `start`."""
        for name, socket in sockets.items():
            address = f"inproc://monitor-{name}"
            socket.monitor(
                address, zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
            )
            monitor = self._context.socket(zmq.PAIR)
            monitor.linger = 0
            monitor.rcvhwm = MONITOR_HWM
            monitor.connect(address)
            self._monitors[monitor] = name

    def start(self) -> None:
        """Start to answer."""
        self._thread.start()

    def join(self) -> None:
        """Wait until the thread has ended, after the end of the context."""
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in (self._socket, *self._monitors):
            poller.register(socket, zmq.POLLIN)
        try:
            while True:
                for socket, _ in poller.poll():
                    if socket is self._socket:
                        self._answer(socket.recv_multipart())
                    else:
                        self._count_failure(self._monitors[socket], socket.recv_multipart())
        except zmq.ContextTerminated:
            pass
        finally:
            for socket in (self._socket, *self._monitors):
                socket.close(0)

    def _answer(self, frames: list[bytes]) -> None:
        """Answer one request: version, request id, domain, address, routing id, mechanism, credentials."""
        request_id = frames[1] if len(frames) > 1 else b""
        status, user, reason = FAILED, "", "the check failed"
        try:
            status, user, reason = self._decide(frames)
        except Exception as error:
            reason = f"the check of a key failed with {type(error).__name__}"
            log.debug("a check of a key failed", exc_info=True)
        if status != OK:
            self._refusals.count("peers", reason)
        text = b"OK" if status == OK else b"refused"
        self._socket.send_multipart([VERSION, request_id, status, text, user.encode(), b""])

    def _decide(self, frames: list[bytes]) -> tuple[bytes, str, str]:
        """Return status, user id and reason."""
        version, _, domain, address, _, mechanism, *credentials = frames
        name, host = domain.decode(), address.decode(errors="replace") or "a local process"
        if version != VERSION or mechanism != b"CURVE" or len(credentials) != 1:
            return DENIED, "", f"{host} at {name}: not a CURVE client"
        public = z85.encode(credentials[0]).decode()
        reason = self._admit(name, public)
        if reason:
            return DENIED, "", f"{host} at {name}: {reason}"
        return OK, public, ""

    def _count_failure(self, name: str, message: list[bytes]) -> None:
        _, value = monitor_event(message)
        self._refusals.count("peers", FAILURES.get(value, "").format(name))
