"""From a message to parcels for the daemon: which input, which model, which values, which number."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from streamlearn.bridges.counters import Counters
from streamlearn.bridges.delivery import Delivery
from streamlearn.bridges.inputs import Input
from streamlearn.bridges.lane import Parcel
from streamlearn.bridges.models import Known, Models
from streamlearn.bridges.mqtt.acknowledgements import Receipt
from streamlearn.bridges.mqtt.connection import subscription_of
from streamlearn.bridges.mqtt.joining import Joiner, Row
from streamlearn.bridges.mqtt.messages import Message
from streamlearn.bridges.numbering import producer_of
from streamlearn.bridges.payloads import READERS, reader_of
from streamlearn.bridges.readings import NUMBERS, BadPayload, Reading, Readings
from streamlearn.bridges.topics import fill, model_name

_MS = 1_000_000
STREAMS = 10_000
"""Most streams of one input whose messages are joined."""


@dataclass(slots=True)
class _Stream:
    """One stream whose messages are joined."""

    joiner: Joiner
    model: Known
    key: str | None
    numbered: bool


class Intake:
    """One input.

    Parameters
    ----------
    given
        The input.
    where
        Its name in the log.
    models, delivery, counters
        Those of the bridge.
    """

    def __init__(
        self, given: Input, where: str, models: Models, delivery: Delivery, counters: Counters
    ) -> None:
        self.filter = given.pattern.filter
        self.subscriptions = {subscription_of(self.filter)}
        """Identifiers of the subscriptions whose messages are for this input."""
        self.wants_retained = given.retained
        self._given, self._where, self._pattern = given, where, given.pattern
        self._models, self._delivery, self._counters = models, delivery, counters
        self._reader = reader_of(given) if given.payload in READERS else None
        self._streams: dict[tuple[str, str | None], _Stream] = {}

    def restore(self, retained: dict[str, bytes]) -> None:
        """Take retained messages of `restored`, before the session begins."""

    @property
    def restored(self) -> list[str]:
        """Filters of the retained messages that the input needs before its session begins."""
        return []

    def takes_retained(self, topic: str) -> bool:
        """Whether a retained message of a topic is for this input."""
        return self.wants_retained

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named parts of a topic; ``None`` if it is not for this input."""
        return self._pattern.match(topic)

    def receive(self, message: Message, parts: dict[str, str], receipt: Receipt) -> None:
        """Send what a message means to the daemon. A message without a meaning is counted and passed by."""
        try:
            self._process(message, parts, receipt)
        except BadPayload as problem:
            self._counters.bad(self._where, str(problem), message.topic, message.payload)

    def _process(self, message: Message, parts: dict[str, str], receipt: Receipt) -> None:
        """Send what a message means to the daemon. Raise `BadPayload` if it means nothing."""
        assert self._reader is not None
        self._deliver(message.topic, parts, self._reader.read(message.payload, parts), receipt)

    def _deliver(self, topic: str, parts: dict[str, str], readings: Readings, receipt: Receipt) -> None:
        model = self._models.get(model_name(self._given.model, parts), self._given)
        key = None if self._given.key is None else fill(self._given.key, parts)
        if self._given.join is not None:
            self._join(model, key, readings.rows[0], receipt)
        else:
            self._send(topic, parts, model, key, readings, receipt.begin)

    def due(self, now: float) -> float:
        """Send the joined samples that have waited long enough. Return when the next ones have."""
        for stream in self._streams.values():
            self._emit(stream, stream.joiner.due(now))
        return min((each.joiner.deadline for each in self._streams.values()), default=float("inf"))

    def _send(
        self,
        topic: str,
        parts: dict[str, str],
        model: Known,
        key: str | None,
        readings: Readings,
        begin: Callable[[], Callable[[], None]],
    ) -> None:
        batch = model.batch(readings.rows, key)
        producer = None
        if readings.number is not None:
            source = topic if self._given.source is None else fill(self._given.source, parts)
            producer = producer_of(source, readings.run)
        self._delivery.add(model.name, producer, Parcel(batch, readings.number, [begin()]))

    def _join(self, model: Known, key: str | None, reading: Reading, receipt: Receipt) -> None:
        if model.channels is None and len(reading.values) < model.dim:
            raise BadPayload(f"{model.name} has no names of channels, which joined samples need")
        model.batch([reading], key)  # refuses unknown channels
        stream = self._streams.get((model.name, key))
        if stream is None:
            stream = self._streams[model.name, key] = self._opened(model, key, reading.time is not None)
        if stream.numbered != (reading.time is not None):
            raise BadPayload("the payload has no time, and others of the stream have one")
        moment = time.time_ns() if reading.time is None else reading.time
        if not 0 <= moment < NUMBERS * _MS:
            raise BadPayload("the time is not within the years 1970 to 2039")
        self._emit(stream, stream.joiner.add(reading, moment, time.monotonic(), receipt.begin()))

    def _opened(self, model: Known, key: str | None, numbered: bool) -> _Stream:
        assert self._given.join is not None
        if len(self._streams) >= STREAMS:
            raise BadPayload(f"there are {STREAMS} streams of joined messages, the most of an input")
        after = None
        if numbered:  # the number of a sample is its time in milliseconds
            known = self._models.position(model.name, self._producer(key)).next
            after = known * _MS - 1 if known else None
        return _Stream(Joiner(self._given.join, model.dim, after), model, key, numbered)

    def _producer(self, key: str | None) -> str:
        return producer_of("joined" if key is None else f"joined {key}", "")

    def _emit(self, stream: _Stream, rows: list[Row]) -> None:
        for row in rows:
            moment = row.time if stream.numbered else None
            batch = stream.model.batch([Reading(row.values, moment)], stream.key)
            number = row.time // _MS if stream.numbered else None
            producer = self._producer(stream.key) if stream.numbered else None
            self._delivery.add(stream.model.name, producer, Parcel(batch, number, row.done))
