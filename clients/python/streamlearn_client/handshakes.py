"""The handshakes of a connection, as the monitor of its socket reports them: why there is no connection."""

from __future__ import annotations

from typing import Final

import zmq

from streamlearn_client.errors import Forbidden, StreamlearnError
from streamlearn_client.keys import KEY_FILE, SERVER_KEY, ClientKeys
from streamlearn_client.replies import protocol_error

__all__ = ["EVENTS", "Handshakes"]

EVENTS: Final = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_DISCONNECTED
)
"""The events that `Handshakes.process` expects."""


class Handshakes:
    """The outcomes of the handshakes of one connection.

    ZeroMQ does not try again after it was refused, so a refused connection must be replaced. After a
    handshake that the peer ended without a reason, it tries again: the daemon may be restarting.
    """

    def __init__(self, endpoint: str, keys: ClientKeys | None) -> None:
        self.connected = False
        self._endpoint = endpoint
        self._keys = keys
        self._ended = 0  # handshakes without an outcome since the last success
        self._failure: tuple[int, int] | None = None  # event and value of a refusal

    def process(self, event: int, value: int) -> None:
        """Process an event of the monitor."""
        if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
            self.connected, self._ended = True, 0
        elif event == zmq.EVENT_DISCONNECTED:
            self._ended += not self.connected
            self.connected = False
        else:
            self._failure = event, value

    @property
    def refused(self) -> bool:
        """Whether the daemon refused the connection."""
        return self._failure is not None

    def refusal(self) -> StreamlearnError | None:
        """Return a new error if the connection was refused, else ``None``."""
        if self._failure is None:
            return None
        event, value = self._failure
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH and self._keys is not None:
            return Forbidden(
                f"the daemon at {self._endpoint} does not admit the public key {self._keys.public}: it is "
                "unknown or revoked, or has no right that this connection needs; see the daemon's log, its "
                "client_keys and its rights",
                key=self._keys.public,
                right="connect",
                endpoint=self._endpoint,
            )
        if value != zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            return protocol_error(self._endpoint, "the ZeroMQ handshake failed")
        problem = (
            f"requires a key: pass server_key and key_file, or set {SERVER_KEY} and {KEY_FILE}"
            if self._keys is None
            else "takes no keys: leave out server_key and the key of this client, also in the environment "
            f"({SERVER_KEY}, {KEY_FILE}); or give the daemon a server_key"
        )
        return Forbidden(
            f"the daemon at {self._endpoint} {problem}", key="", right="connect", endpoint=self._endpoint
        )

    def hint(self) -> str:
        """Return a likely reason why there is no connection yet; empty if nothing is known."""
        if not self._ended:
            return ""
        count = "A connection" if self._ended == 1 else f"{self._ended} connections"
        reason = "the daemon requires a key" if self._keys is None else "server_key is not this daemon's key"
        return (
            f". {count} ended during the handshake: possibly {reason}, or a tunnel or proxy at this endpoint "
            "has no daemon behind it"
        )
