"""What the births of an edge node say: names and types of metrics by alias, and the run of its numbers.

The bridge publishes the last two births of each node as a retained message, before it acknowledges them. So
it knows the aliases also after it was killed, and needs no files.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from streamlearn.bridges.mqtt.sparkplug_messages import SparkplugMessage

KEPT: Final = 2
"""Births of a node that are kept: messages of the one before may come again."""
SEQUENCE: Final = 256
"""Sequence numbers wrap at this number."""


@dataclass(slots=True)
class Birth:
    """One session of a node, and its devices: ``(name, datatype)`` of each alias."""

    session: str  # bdSeq
    time: int | None  # ms
    names: dict[str, dict[str, int | None]] = field(default_factory=dict)  # device → name → datatype
    aliases: dict[str, list[Any]] = field(default_factory=dict)  # alias → [device, name]
    models: list[str] = field(default_factory=list)  # that learned from it
    last: int | None = field(default=None, repr=False)  # number of its last message; None: unknown

    @property
    def run(self) -> str:
        """The run of the numbers."""
        return f"{self.session}.{self.time or 0}"

    def learn(self, device: str, message: SparkplugMessage) -> None:
        """Note the metrics of a birth of the node or of a device."""
        names = self.names[device] = {}
        for metric in message.metrics:
            if metric.name is not None:
                names[metric.name] = metric.datatype
                if metric.alias is not None:
                    self.aliases[str(metric.alias)] = [device, metric.name]

    def extended(self, seq: int, reference: int) -> int:
        """Return the number of a message whose sequence number wraps: the one nearest to ``reference``."""
        return reference + (seq - reference + SEQUENCE // 2) % SEQUENCE - SEQUENCE // 2


@dataclass(slots=True)
class Node:
    """The last births of a node, the newest last."""

    births: list[Birth] = field(default_factory=list)

    def begin(self, birth: Birth) -> Birth:
        """Begin a session and return it. A birth that is sent again does not begin another one."""
        for each in self.births:
            if each.run == birth.run:
                return each
        self.births = [*self.births, birth][-KEPT:]
        return birth

    def at(self, time: int | None) -> Birth | None:
        """Return the session to which a message of this time belongs."""
        if not self.births:
            return None
        if time is not None:
            for birth in reversed(self.births):
                if birth.time is not None and birth.time <= time:
                    return birth
        return self.births[-1] if time is None else self.births[0]

    def to_json(self) -> str:
        """Return the births as a document."""
        return json.dumps([{k: v for k, v in asdict(each).items() if k != "last"} for each in self.births])


def read_node(document: bytes) -> Node:
    """Return the births in a document of `to_json`; none if it is not one."""
    try:
        return Node([Birth(**each) for each in json.loads(document)])
    except (ValueError, TypeError):
        return Node()
