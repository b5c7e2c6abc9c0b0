"""Sensors that Home Assistant discovery announces.

A retained message ``homeassistant/sensor/…/config`` says where a sensor publishes its state, and which part
of it is the value. The input subscribes to these topics. Sensors of one device are the channels of one model.

References
----------
The documentation of Home Assistant: MQTT discovery.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from streamlearn.bridges.mqtt.acknowledgements import Receipt
from streamlearn.bridges.mqtt.connection import subscription_of
from streamlearn.bridges.mqtt.intake import Intake
from streamlearn.bridges.mqtt.messages import Message
from streamlearn.bridges.paths import MISSING, Path
from streamlearn.bridges.readings import BadPayload, Reading, Readings, as_value

SENSORS: Final = 10_000
"""Most sensors of one input."""
_SHORT: Final = {
    "stat_t": "state_topic",
    "val_tpl": "value_template",
    "dev": "device",
    "dev_cla": "device_class",
    "uniq_id": "unique_id",
    "obj_id": "object_id",
    "ids": "identifiers",
    "cmps": "components",
    "p": "platform",
}
_TEMPLATE: Final = re.compile(
    r"\{\{-?\s*value_json((?:\.\w+|\[['\"][^'\"\]]+['\"]\]|\[\d+\])+)\s*(?:\|[^{}]*)?-?\}\}"
)
_STEP: Final = re.compile(r"\.(\w+)|\[['\"]([^'\"\]]+)['\"]\]|(\[\d+\])")


class Sensor(NamedTuple):
    """A sensor. Without a path, its state is a plain value."""

    topic: str
    path: Path | None
    device: str
    channel: str


class HomeAssistantIntake(Intake):
    """One input of discovered sensors. Its topic is that of the configurations."""

    def __init__(self, *parts: Any) -> None:
        *bridge, subscribe = parts
        super().__init__(*bridge)
        self._subscribe: Callable[[str], None] = subscribe
        self._channels = {text: channel for channel, text in self._given.paths.items()}
        self._sensors: dict[str, list[Sensor]] = {}  # by the topic of their configuration
        self._topics: defaultdict[str, list[Sensor]] = defaultdict(list)  # by the topic of their state
        self.wants_retained = True

    @property
    def restored(self) -> list[str]:
        """Filters of the retained messages that the input needs before its session begins."""
        return [self.filter]

    def restore(self, retained: dict[str, bytes]) -> None:
        """Take the configurations of sensors."""
        for topic, payload in retained.items():
            if self._pattern.match(topic) is not None:
                try:
                    self._configure(topic, payload)
                except BadPayload as problem:
                    self._counters.bad(self._where, str(problem), topic, payload)

    def takes_retained(self, topic: str) -> bool:
        """Whether a retained message of a topic is for this input: configurations are."""
        return topic not in self._topics

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named parts of a topic; ``None`` if it is not for this input."""
        return {} if topic in self._topics else self._pattern.match(topic)

    def _process(self, message: Message, parts: dict[str, str], receipt: Receipt) -> None:
        if message.topic not in self._topics:
            self._configure(message.topic, message.payload)
            return
        devices: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for sensor in self._topics[message.topic]:
            devices[sensor.device][sensor.channel] = _value(sensor, message.payload)
        for device, values in devices.items():
            self._deliver(message.topic, {"device": device}, Readings([Reading(values)]), receipt)

    def _configure(self, topic: str, payload: bytes) -> None:
        """Take the configuration of a sensor, or of a device with components; an empty one removes it."""
        if not topic.endswith("/config"):
            return
        for sensor in self._sensors.pop(topic, ()):
            self._topics[sensor.topic].remove(sensor)
            if not self._topics[sensor.topic]:
                del self._topics[sensor.topic]
        if not payload:
            return
        try:
            found = _named(json.loads(payload))
        except (ValueError, RecursionError):
            raise BadPayload("the configuration of the sensor is not JSON") from None
        sensors = list(self._sensors_of(found))
        if sum(map(len, self._sensors.values())) + len(sensors) > SENSORS:
            raise BadPayload(f"there are {SENSORS} sensors, the most of an input")
        self._sensors[topic] = sensors
        for sensor in sensors:
            self._topics[sensor.topic].append(sensor)
            self.subscriptions.add(subscription_of(sensor.topic))
            self._subscribe(sensor.topic)

    def _sensors_of(self, found: dict[str, Any]) -> Iterator[Sensor]:
        components = found.get("components")
        entries = (
            [found]
            if not isinstance(components, dict)
            else [found | _named(each) for each in components.values()]
        )
        for entry in entries:
            names = [entry.get(name) for name in ("unique_id", "object_id", "name", "device_class")]
            channel = next((self._channels[str(name)] for name in names if str(name) in self._channels), None)
            topic = entry.get("state_topic")
            if channel is None or not isinstance(topic, str):
                continue
            base = entry.get("~", "")
            topic = topic.replace("~", base, 1) if topic.startswith("~") else topic
            topic = topic.removesuffix("~") + base if topic.endswith("~") else topic
            yield Sensor(topic, _path(entry.get("value_template")), _device(entry), channel)


def _named(entry: Any) -> dict[str, Any]:
    """Return an entry with full names instead of short ones."""
    if not isinstance(entry, dict):
        raise BadPayload("the configuration of the sensor is no object")
    return {_SHORT.get(str(name), str(name)): value for name, value in entry.items()}


def _device(entry: dict[str, Any]) -> str:
    """Return the name of the device of a sensor."""
    device = entry.get("device")
    if isinstance(device, dict):
        device = _named(device)
        identifiers = device.get("identifiers")
        first = identifiers[0] if isinstance(identifiers, list) and identifiers else identifiers
        if name := device.get("name") or first:
            return str(name)
    return str(entry.get("unique_id") or entry.get("name") or "sensor")


def _path(template: Any) -> Path | None:
    """Return the path of a value template; ``None`` for the whole payload. Filters are ignored."""
    if template is None or re.fullmatch(r"\{\{-?\s*value\s*(\|[^{}]*)?-?\}\}", str(template)):
        return None
    found = _TEMPLATE.fullmatch(str(template))
    if found is None:
        raise BadPayload(
            f"the template {template!r:.80} is not supported; expected {{{{ value_json.name }}}}"
        )
    steps = [name or quoted or index for name, quoted, index in _STEP.findall(found[1])]
    return Path(".".join(steps).replace(".[", "["))


def _value(sensor: Sensor, payload: bytes) -> float:
    """Return the value of a sensor in a state message; NaN if the message does not have it."""
    try:
        text = payload.decode()
        if sensor.path is None:
            return as_value(None if text in ("unknown", "unavailable", "") else text.strip(), sensor.channel)
        value = sensor.path.find(json.loads(text))
    except (ValueError, RecursionError) as problem:
        if isinstance(problem, BadPayload):
            raise
        raise BadPayload("the state is not JSON") from None
    return as_value(None if value is MISSING else value, sensor.channel)
