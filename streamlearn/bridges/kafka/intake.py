"""From a message of Kafka to parcels for the daemon: which model, which values, which number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Final, NamedTuple

from streamlearn.bridges.counters import Counters
from streamlearn.bridges.delivery import Delivery
from streamlearn.bridges.kafka.settings import Topic
from streamlearn.bridges.lane import Parcel
from streamlearn.bridges.models import Models
from streamlearn.bridges.paths import MISSING, Path
from streamlearn.bridges.payloads import reader_of
from streamlearn.bridges.readings import BadPayload
from streamlearn.bridges.topics import fill, model_name

_MS: Final = 1_000_000
_LONGEST: Final = 64  # bytes of the name of a producer


class Message(NamedTuple):
    """One message. ``time``: that of its producer or its broker, nanoseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    time: int | None


def producer_of(group: str, topic: str, partition: int) -> str:
    """Return the name of a partition in the daemon's producer table, for one consumer group."""
    name = f"kafka {group} {topic}/{partition}"
    if len(name.encode()) <= _LONGEST and name.isprintable():
        return name
    return f"kafka {hashlib.sha256(name.encode()).hexdigest()[:40]}"


class Intake:
    """One ``[[topic]]`` of the configuration.

    Parameters
    ----------
    given
        The settings.
    group
        The name of the consumer group.
    models, delivery, counters
        Those of the bridge.
    """

    def __init__(
        self, given: Topic, group: str, models: Models, delivery: Delivery, counters: Counters
    ) -> None:
        self._given, self._group = given, group
        self._models, self._delivery, self._counters = models, delivery, counters
        self._reader = reader_of(given)
        self._parts = {name: Path(path) for name, path in given.parts.items()}

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named parts of a topic; ``None`` if it is not one of this intake."""
        return self._given.match(topic)

    def receive(
        self, message: Message, parts: dict[str, str], begin: Callable[[int], Callable[[], None]]
    ) -> None:
        """Send what a message means to the daemon. A message without a meaning is counted and passed by."""
        value = message.value or b""
        try:
            if message.value is None:
                raise BadPayload("the message has no value")
            parts = self._all_parts(message, parts, value)
            rows = self._reader.read(value, parts).rows
            rows = [row if row.time is not None else row._replace(time=message.time) for row in rows]
            model = self._models.get(model_name(self._given.model, parts), self._given)
            batch = model.batch(rows, None if self._given.key is None else fill(self._given.key, parts))
        except BadPayload as problem:
            where = f"{message.topic}/{message.partition}"
            self._counters.bad(where, f"{problem} (offset {message.offset})", message.topic, value)
            return
        producer = producer_of(self._group, message.topic, message.partition)
        self._delivery.add(model.name, producer, Parcel(batch, message.offset, [begin(message.offset)]))

    def _all_parts(self, message: Message, parts: dict[str, str], value: bytes) -> dict[str, str]:
        found = {**parts, "topic": message.topic, "partition": str(message.partition)}
        needed = f"{self._given.model} {self._given.key} {' '.join(self._given.paths)}"
        if "{key}" in needed:
            if message.key is None:
                raise BadPayload("the message has no key, which the configuration names")
            found["key"] = message.key.decode("utf-8", "replace")
        if self._parts:
            try:
                document = json.loads(value)
            except (ValueError, RecursionError) as problem:
                raise BadPayload(f"the payload is not JSON: {str(problem)[:80]}") from None
            for name, path in self._parts.items():
                part = path.find(document)
                if part is MISSING or isinstance(part, (dict, list)) or part is None:
                    raise BadPayload(f"the payload has no text at {path.text}")
                found[name] = str(part)
        return found
