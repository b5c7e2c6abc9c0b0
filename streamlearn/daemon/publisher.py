"""Events, published to subscribers by topic."""

from __future__ import annotations

import zmq

from streamlearn.store.record import Record
from streamlearn_client.protocol import SUBSCRIBED, EventMessage, encode_event, topic


class Publisher:
    """The XPUB socket and its subscriptions. An event without a subscriber is not even encoded."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._prefixes: set[bytes] = set()
        self._subscribed: dict[tuple[str, str], bool] = {}  # cache of `has_subscriber`
        self.published = 0

    def update_subscriptions(self) -> None:
        """Read new and cancelled subscriptions from the socket."""
        while True:
            try:
                message = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            subscribed, prefix = message[:1] == b"\x01", message[1:]
            if prefix.startswith(SUBSCRIBED.encode()):
                if subscribed:
                    # Confirms to this subscriber that all its earlier subscriptions are in effect.
                    self._socket.send(prefix, zmq.NOBLOCK)
                continue
            if subscribed:
                self._prefixes.add(prefix)
            elif message[:1] == b"\x00":
                self._prefixes.discard(prefix)
            self._subscribed.clear()

    def has_subscriber(self, model: str, kind: str) -> bool:
        """Whether any client subscribed to this kind of event of this model."""
        if not self._prefixes:
            return False
        found = self._subscribed.get((model, kind))
        if found is None:
            name = topic(model, kind).encode()
            found = any(name.startswith(prefix) for prefix in self._prefixes)
            self._subscribed[model, kind] = found
        return found

    def publish(self, event: EventMessage) -> None:
        """Send the event if it has a subscriber. A slow subscriber loses events; the loop never waits."""
        if self.has_subscriber(event.model, event.kind):
            self._socket.send_multipart(encode_event(event), zmq.NOBLOCK)
            self.published += 1

    def publish_change(self, kind: str, record: Record) -> None:
        """Publish that a change (`created`, `deleted`, `restored`, `reheated`) is durable and applied."""
        self.publish(EventMessage(kind, record.model, record.lsn, time=record.time))
