"""Sparkplug B: births name the metrics, data becomes samples with numbers, and deaths are silence.

A node numbers its messages 0 to 255 and again, from each birth on. The numbers are extended to ones that
grow. While the bridge runs, the extended number is the nearest one to that of the message before. After a
start, the reference is the daemon's position: a message with QoS 1 is the next one or comes again, a message
with QoS 0 is a new one. A session of a node (``bdSeq`` and the time of its birth) is a run of its numbers.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Final, NoReturn, Protocol

from streamlearn.bridges.counters import Counters
from streamlearn.bridges.delivery import Delivery
from streamlearn.bridges.inputs import Input
from streamlearn.bridges.lane import Parcel
from streamlearn.bridges.models import Models
from streamlearn.bridges.mqtt.acknowledgements import Receipt
from streamlearn.bridges.mqtt.connection import subscription_of
from streamlearn.bridges.mqtt.messages import Message
from streamlearn.bridges.mqtt.sparkplug_births import SEQUENCE, Birth, Node, read_node
from streamlearn.bridges.mqtt.sparkplug_messages import (
    Address,
    SparkplugMessage,
    number_of,
    read_address,
    read_message,
    rebirth_command,
)
from streamlearn.bridges.numbering import producer_of
from streamlearn.bridges.readings import BadPayload, Reading
from streamlearn.bridges.topics import fill, model_name

NODES: Final = 10_000
"""Most nodes whose births are remembered."""
REBIRTH_SECONDS: Final = 10.0
"""Least time between two requests to one node for its birth."""
_MS: Final = 1_000_000

Silence = Callable[[str, str | None, str, str, int | None], None]


class Publish(Protocol):
    """Publishes a message."""

    def __call__(self, topic: str, payload: str | bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish."""


class Nodes:
    """The nodes that all inputs share.

    Parameters
    ----------
    own_topic
        Begin of the bridge's topics.
    publish
        Publishes a message.
    clock
        Seconds.
    """

    def __init__(self, own_topic: str, publish: Publish, clock: Callable[[], float] = time.monotonic) -> None:
        self._topic = f"{own_topic}/births/"
        self._publish, self._clock = publish, clock
        self._nodes: dict[tuple[str, str], Node] = {}
        self._asked: dict[tuple[str, str], float] = {}

    @property
    def filter(self) -> str:
        """The filter of the retained births."""
        return f"{self._topic}+/+"

    def restore(self, documents: dict[str, bytes]) -> None:
        """Take the births that an earlier run of the bridge published."""
        for topic, document in documents.items():
            if topic.startswith(self._topic):
                group, node = topic.removeprefix(self._topic).split("/")
                self._nodes[group, node] = read_node(document)

    def get(self, address: Address) -> Node:
        """Return a node."""
        name = (address.group, address.node)
        node = self._nodes.get(name)
        if node is None:
            if len(self._nodes) >= NODES:
                raise BadPayload(f"there are {NODES} Sparkplug nodes, the most that are remembered")
            node = self._nodes[name] = Node()
        return node

    def keep(self, address: Address, node: Node) -> None:
        """Publish the births of a node."""
        self._publish(f"{self._topic}{address.group}/{address.node}", node.to_json(), 1, True)

    def ask(self, address: Address) -> None:
        """Ask a node for its birth, unless it was asked a moment ago."""
        name, now = (address.group, address.node), self._clock()
        if now - self._asked.get(name, -REBIRTH_SECONDS) >= REBIRTH_SECONDS:
            self._asked[name] = now
            self._publish(f"spBv1.0/{address.group}/NCMD/{address.node}", rebirth_command(), 0)


class SparkplugIntake:
    """One input of Sparkplug messages.

    Parameters
    ----------
    given
        The input.
    where
        Its name in the log.
    models, delivery, counters, nodes
        Those of the bridge.
    silence
        Publishes that a source is silent, or sends again.
    """

    def __init__(
        self,
        given: Input,
        where: str,
        models: Models,
        delivery: Delivery,
        counters: Counters,
        nodes: Nodes,
        silence: Silence,
    ) -> None:
        levels = given.pattern.filter.split("/")
        self.filter = "/".join([*levels[:4], "#"])  # births of nodes too, also for an input of devices
        self.subscriptions = {subscription_of(self.filter)}
        self.wants_retained = False
        self._given, self._where, self._pattern = given, where, given.pattern
        self._models, self._delivery, self._counters = models, delivery, counters
        self._nodes, self._silence = nodes, silence
        self._held: dict[tuple[str, str, str], dict[str, float]] = {}
        self._silent: set[Address] = set()

    @property
    def restored(self) -> list[str]:
        """Filters of the retained messages that the input needs before its session begins."""
        return [self._nodes.filter]

    def restore(self, retained: dict[str, bytes]) -> None:
        """Take the births that an earlier run of the bridge published."""
        self._nodes.restore(retained)

    def takes_retained(self, topic: str) -> bool:
        """Whether a retained message of a topic is for this input."""
        return False

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named parts of a topic; none for one that concerns the whole node."""
        address = read_address(topic)
        if address is None:
            return None
        return self._pattern.match(topic) or {}

    def due(self, now: float) -> float:
        """Return when the input has more to do: never."""
        return float("inf")

    def receive(self, message: Message, parts: dict[str, str], receipt: Receipt) -> None:
        """Process a message."""
        address = read_address(message.topic)
        assert address is not None
        matched = self._pattern.match(message.topic) is not None
        named = parts if matched else None
        try:
            match address.type:
                case "NBIRTH" | "DBIRTH":
                    self._birth(address, read_message(message.payload), message.qos, named)
                case "NDATA" | "DDATA":
                    self._data(address, read_message(message.payload), message.qos, named, receipt)
                case "NDEATH" | "DDEATH":
                    self._death(address, read_message(message.payload))
        except BadPayload as problem:
            self._counters.bad(self._where, str(problem), message.topic, message.payload)

    # ------------------------------------------------------------------------------------- births and deaths

    def _birth(
        self, address: Address, message: SparkplugMessage, qos: int, parts: dict[str, str] | None
    ) -> None:
        node = self._nodes.get(address)
        if address.type == "NBIRTH":
            session = next((str(each.value) for each in message.metrics if each.name == "bdSeq"), "")
            birth = node.begin(Birth(session, message.time))
            birth.last = max(birth.last or 0, message.seq or 0)
        else:
            found = node.at(message.time)
            if found is None:
                self._miss(address)
            birth = found
            self._number(address, birth, message, qos)
        birth.learn(address.device, message)
        self._nodes.keep(address, node)
        for metric in message.metrics:
            if metric.name is not None and metric.name in self._given.paths.values():
                held = self._held.setdefault((address.group, address.node, address.device), {})
                held[metric.name] = number_of(metric, metric.datatype, metric.name)
        self._end_silence(address, parts, message)

    def _death(self, address: Address, message: SparkplugMessage) -> None:
        for group, node, device in list(self._held):
            if (group, node) == (address.group, address.node) and address.device in ("", device):
                level = f"/{device}" if device else ""
                kind = "DDATA" if device else "NDATA"
                parts = self._pattern.match(f"spBv1.0/{group}/{kind}/{node}{level}")
                silent = Address(group, "", node, device)
                if parts is not None and silent not in self._silent:
                    self._silent.add(silent)
                    self._say(parts, "begin", message.time)

    def _end_silence(self, address: Address, parts: dict[str, str] | None, message: SparkplugMessage) -> None:
        silent = address._replace(type="")
        if parts is not None and silent in self._silent:
            self._silent.discard(silent)
            self._say(parts, "end", message.time)

    def _say(self, parts: dict[str, str], state: str, moment: int | None) -> None:
        key = None if self._given.key is None else fill(self._given.key, parts)
        at = None if moment is None else moment * _MS
        self._silence(model_name(self._given.model, parts), key, state, "death", at)

    # -------------------------------------------------------------------------------------------------- data

    def _data(
        self,
        address: Address,
        message: SparkplugMessage,
        qos: int,
        parts: dict[str, str] | None,
        receipt: Receipt,
    ) -> None:
        node = self._nodes.get(address)
        birth = node.at(message.time)
        if birth is None and parts is not None:
            self._miss(address)
        if birth is None:
            return
        number = self._number(address, birth, message, qos)
        if parts is None:
            return
        rows = self._rows(address, birth, message)
        self._end_silence(address, parts, message)
        if not rows:
            return
        model = self._models.get(model_name(self._given.model, parts), self._given)
        key = None if self._given.key is None else fill(self._given.key, parts)
        if model.name not in birth.models:
            birth.models.append(model.name)
            self._nodes.keep(address, node)
        producer = None if number is None else self._producer(address, birth)
        batch = model.batch(rows, key)
        self._delivery.add(model.name, producer, Parcel(batch, number, [receipt.begin()]))

    def _rows(self, address: Address, birth: Birth, message: SparkplugMessage) -> list[Reading]:
        """Return the readings of the channels: one for each time in the message."""
        channels = {metric: channel for channel, metric in self._given.paths.items()}
        changes: defaultdict[int | None, dict[str, float]] = defaultdict(dict)
        for metric in message.metrics:
            device, name = address.device, metric.name
            if name is None:
                if str(metric.alias) not in birth.aliases:
                    self._miss(address)
                device, name = birth.aliases[str(metric.alias)]
            if device == address.device and name in channels:
                datatype = birth.names.get(device, {}).get(name)
                moment = message.time if metric.time is None else metric.time
                changes[moment][name] = number_of(metric, datatype, name)
        held = self._held.setdefault((address.group, address.node, address.device), {})
        rows = []
        for moment, values in sorted(changes.items(), key=lambda each: each[0] or 0):
            held |= values
            shown = held if self._given.hold else values
            found = {channels[name]: shown.get(name, float("nan")) for name in channels}
            rows.append(Reading(found, None if moment is None else moment * _MS))
        return rows

    def _number(self, address: Address, birth: Birth, message: SparkplugMessage, qos: int) -> int | None:
        """Return the extended number of a message."""
        if message.seq is None:
            return None
        if birth.last is None:  # after a start
            producer = self._producer(address, birth)
            following = max((self._models.position(each, producer).next for each in birth.models), default=0)
            ahead = (message.seq - following) % SEQUENCE
            number = following + (ahead if qos == 0 or not ahead else ahead - SEQUENCE)
            if number < 0:
                number += SEQUENCE
            if self._given.rebirth:
                self._nodes.ask(address)
        else:
            number = birth.extended(message.seq, birth.last)
            if number > birth.last + 1 and self._given.rebirth:
                self._nodes.ask(address)
        birth.last = max(number, -1 if birth.last is None else birth.last)
        return max(number, 0)

    def _producer(self, address: Address, birth: Birth) -> str:
        return producer_of(f"{address.group}/{address.node}", birth.run)

    def _miss(self, address: Address) -> NoReturn:
        """Refuse a message whose birth is missing, and ask for it."""
        if self._given.rebirth:
            self._nodes.ask(address)
        raise BadPayload("the birth with the names of its metrics is missing")
