"""Home Assistant discovery: retained messages by which it finds each model as a device.

Each model is a device with the entities of its outputs: alarms and silence as problems, score and winner as
sensors. An entity is available while the bridge is.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from streamlearn import __version__
from streamlearn.bridges.mqtt.settings import Discovery, Settings
from streamlearn.bridges.topics import fill

_ON: Final = "{{ 'ON' if value_json.active > 0 else 'OFF' }}"
_ENTITIES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "alarm": ("binary_sensor", {"name": "Alarm", "device_class": "problem", "value_template": _ON}),
    "silence": ("binary_sensor", {"name": "Silent", "device_class": "problem", "value_template": _ON}),
    "score": (
        "sensor",
        {
            "name": "Score",
            "state_class": "measurement",
            "suggested_display_precision": 4,
            "value_template": "{{ value_json.score }}",
        },
    ),
    "winner": (
        "sensor",
        {
            "name": "Winner",
            "value_template": "{{ value_json.label if value_json.label is defined and value_json.label is not"
            " none else value_json.winner }}",
        },
    ),
}


class Discoveries:
    """The messages of all models.

    Parameters
    ----------
    settings, discovery
        The configuration.
    publish
        Publishes a message: topic, payload, QoS, whether it is retained.
    """

    def __init__(
        self, settings: Settings, discovery: Discovery, publish: Callable[[str, str, int, bool], None]
    ) -> None:
        self._settings, self._discovery, self._publish = settings, discovery, publish

    def add(self, described: Mapping[str, Any]) -> None:
        """Publish the entities of a model, given an entry of ``models``."""
        for topic, document in self._messages(described["name"], described.get("kind", "")):
            self._publish(topic, json.dumps(document), 1, True)

    def remove(self, model: str) -> None:
        """Remove the entities of a deleted model."""
        for topic, _ in self._messages(model, ""):
            self._publish(topic, "", 1, True)

    def _messages(self, model: str, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        if not any(fnmatch.fnmatchcase(model, each) for each in self._discovery.models):
            return
        node = _identifier(f"{self._settings.prefix}_{self._settings.broker.client_id}")
        for output in self._settings.output:
            if not output.has(model) or "{key}" in self._settings.topic_of(output):
                continue
            component, entity = _ENTITIES[output.what]
            unique = _identifier(f"{node}_{model}_{output.what}")
            topic = fill(self._settings.topic_of(output), {"model": model})
            document = entity | {
                "unique_id": unique,
                "state_topic": topic,
                "json_attributes_topic": topic,
                "availability_topic": self._settings.status_topic,
                "payload_available": "online",
                "payload_not_available": "offline",
                "device": {
                    "identifiers": [_identifier(f"{node}_{model}")],
                    "name": model,
                    "manufacturer": "streamlearn",
                    "model": kind,
                },
                "origin": {"name": "streamlearn", "sw_version": __version__},
            }
            yield f"{self._discovery.prefix}/{component}/{node}/{unique}/config", document


def _identifier(text: str) -> str:
    """Return a text of letters, digits, ``_`` and ``-``, as Home Assistant needs it in topics."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)
