"""Events, published to subscribers by topic."""

from __future__ import annotations

import zmq

from streamlearn.daemon.subscriptions import Subscriptions
from streamlearn.store.record import Record
from streamlearn_client.protocol import EventMessage, encode_event, topic

CACHED = 10_000  # entries of the cache of `has_subscriber`


class Publisher:
    """Publish events on the XPUB socket. An event without a subscriber is not even encoded."""

    def __init__(self, socket: zmq.Socket[bytes], subscriptions: Subscriptions) -> None:
        self._socket = socket
        self.subscriptions = subscriptions
        self._subscribed: dict[tuple[str, str], bool] = {}  # cache of `has_subscriber`
        self.published = 0

    def update_subscriptions(self) -> None:
        """Read new and cancelled subscriptions from the socket."""
        if self.subscriptions.read():
            self._subscribed.clear()

    def tick(self, now: float) -> None:
        """Forget the subscribers that have left. `now`: seconds of a steady clock."""
        if self.subscriptions.sweep(now):
            self._subscribed.clear()

    def has_subscriber(self, model: str, kind: str) -> bool:
        """Whether any client subscribed to this kind of event of this model."""
        found = self._subscribed.get((model, kind))
        if found is None:
            if len(self._subscribed) >= CACHED:
                self._subscribed.clear()
            found = self.subscriptions.match(topic(model, kind).encode())
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
