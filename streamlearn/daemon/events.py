"""Events go out only to topics that somebody subscribed to, and are not even encoded for the others."""

from __future__ import annotations

import zmq

from streamlearn_client.protocol import SUBSCRIBED, EventMessage, encode_event, topic


class Publisher:
    """The XPUB socket, with the subscriptions that it was told of."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._prefixes: set[bytes] = set()
        self._wanted: dict[tuple[str, str], bool] = {}
        self.published = 0

    def update(self) -> None:
        """Take note of subscriptions that came and went."""
        while True:
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            subscribed, prefix = message[:1] == b"\x01", message[1:]
            if prefix.startswith(SUBSCRIBED.encode()):
                if subscribed:
                    self._socket.send(prefix, zmq.NOBLOCK)  # whatever its subscriber wanted before is known
                continue
            if subscribed:
                self._prefixes.add(prefix)
            elif message[:1] == b"\x00":
                self._prefixes.discard(prefix)
            self._wanted.clear()

    def wants(self, model: str, kind: str) -> bool:
        """Whether anybody subscribed to such events."""
        if not self._prefixes:
            return False
        found = self._wanted.get((model, kind))
        if found is None:
            name = topic(model, kind).encode()
            found = self._wanted[model, kind] = any(name.startswith(prefix) for prefix in self._prefixes)
        return found

    def publish(self, event: EventMessage) -> None:
        """Send if wanted. A subscriber that does not keep up misses events; nobody waits for it."""
        if self.wants(event.model, event.kind):
            self._socket.send_multipart(encode_event(event), zmq.NOBLOCK)
            self.published += 1
