"""What comes from the broker, in order."""

from __future__ import annotations

from typing import NamedTuple


class Message(NamedTuple):
    """A message of the broker. ``qos`` 0 has no acknowledgement."""

    generation: int
    topic: str
    payload: bytes
    qos: int
    mid: int
    dup: bool
    retain: bool
    subscriptions: tuple[int, ...] = ()  # identifiers of those that it was sent for; none in MQTT 3.1.1


class Connected(NamedTuple):
    """A new connection. Without the same session, the broker has forgotten its packet identifiers."""

    same_session: bool
