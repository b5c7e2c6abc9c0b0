"""The Homie convention: ``homie/DEVICE/NODE/PROPERTY`` is a plain value, ``homie/DEVICE/$state`` the state.

References
----------
The Homie convention, versions 4 and 5 (``homie/5/DEVICE/NODE/PROPERTY``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from streamlearn.bridges.mqtt.acknowledgements import Receipt
from streamlearn.bridges.mqtt.connection import subscription_of
from streamlearn.bridges.mqtt.intake import Intake
from streamlearn.bridges.mqtt.messages import Message
from streamlearn.bridges.readings import BadPayload, Reading, Readings, as_value
from streamlearn.bridges.topics import fill, model_name

_AWAY: Final = frozenset({b"lost", b"disconnected", b"sleeping"})
_BOOLEANS: Final = {"true": 1.0, "false": 0.0}


class HomieIntake(Intake):
    """One input of Homie devices. Its topic is that of a device, its channels are ``NODE/PROPERTY``."""

    def __init__(self, *parts: Any) -> None:
        *bridge, silence = parts
        super().__init__(*bridge)
        self._silence: Callable[[str, str | None, str, str, int | None], None] = silence
        self._levels = len(self._given.topic.split("/"))
        self._channels = {path: channel for channel, path in self._given.paths.items()}
        self._away: set[str] = set()
        self.filter += "/#"
        self.subscriptions = {subscription_of(self.filter)}

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named parts of a topic; ``None`` if it is not for this input."""
        return self._pattern.match("/".join(topic.split("/")[: self._levels]))

    def _process(self, message: Message, parts: dict[str, str], receipt: Receipt) -> None:
        name = "/".join(message.topic.split("/")[self._levels :])
        if name == "$state":
            self._state(message.payload in _AWAY, parts)
        channel = self._channels.get(name)
        if channel is None:
            return  # an attribute, or a property that is no channel
        try:
            text = message.payload.decode()
        except UnicodeDecodeError:
            raise BadPayload("the payload is not UTF-8") from None
        value = _BOOLEANS.get(text, text)
        self._deliver(message.topic, parts, Readings([Reading({channel: as_value(value, name)})]), receipt)

    def _state(self, away: bool, parts: dict[str, str]) -> None:
        """Publish a change of the device's state as silence."""
        model = model_name(self._given.model, parts)
        key = None if self._given.key is None else fill(self._given.key, parts)
        device = fill(self._given.topic, parts)
        if away == (device in self._away):
            return
        (self._away.add if away else self._away.discard)(device)
        self._silence(model, key, "begin" if away else "end", "state", None)
