"""The bridge: the loop that carries messages from Kafka to the daemon.

The number of a message is its offset, and its producer is the partition, within a consumer group. So the
daemon's table of producers has the position of each partition: a message that is delivered again is not
learned again, whatever Kafka knows of its offsets. An offset is committed when all messages before it are
durable. So no message is lost, whatever the daemon forgets.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Final

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streamlearn.bridges.counters import Counters
from streamlearn.bridges.delivery import Delivery
from streamlearn.bridges.kafka.intake import Intake, Message, producer_of
from streamlearn.bridges.kafka.offsets import Offsets
from streamlearn.bridges.kafka.settings import Settings
from streamlearn.bridges.models import Models, Stopped
from streamlearn.bridges.numbering import Numbers
from streamlearn.errors import StartupError, UnknownModel
from streamlearn.logs import get_logger
from streamlearn_client import Client
from streamlearn_client.errors import StreamlearnError
from streamlearn_client.keys import client_keys

BATCH: Final = 500
"""Messages that are read before samples are sent."""
MOST_PENDING: Final = 5000
"""Messages on their way to the daemon. Beyond it, partitions are paused until half of them are durable."""
TURN_SECONDS: Final = 0.05
COMMIT_SECONDS: Final = 1.0
BROKER_SECONDS: Final = 30.0
_MS: Final = 1_000_000

log = get_logger(__name__)

Partition = tuple[str, int]


class Bridge:
    """A consumer of Kafka that teaches the models of one daemon.

    Parameters
    ----------
    settings
        The configuration.
    endpoint, server_key, key_file
        The daemon, as of `Client`.
    """

    def __init__(
        self, settings: Settings, endpoint: str, server_key: Any = None, key_file: Any = None
    ) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self.counters = Counters()
        self.client = Client(endpoint, server_key=server_key, key_file=key_file)
        self.models = Models(self.client, settings.template, self._stopping)
        keys = client_keys(server_key, None, key_file)
        self.delivery = Delivery(endpoint, keys, self._position, self._refused)
        self.intakes = [
            Intake(each, settings.group, self.models, self.delivery, self.counters) for each in settings.topic
        ]
        self._offsets: dict[Partition, Offsets] = {}
        self._producers: dict[str, Partition] = {}
        self._paused = False
        self._assigned = False
        self._commit_at = 0.0
        self._error: StreamlearnError | None = None
        self._consumer = Consumer({**settings.options, "error_cb": self._on_error}, logger=None)

    def run(self) -> None:
        """Carry messages until `stop`. Raise the error that ends the bridge."""
        try:
            self._check_models()
            self._subscribe()
            while not self._stopping.is_set():
                self._turn()
        except Stopped:
            pass
        finally:
            self.delivery.drain()
            self._commit(wait=True)
            self._consumer.close()
            self.delivery.close()
            self.client.close()
            log.info("stopped", **self.figures())

    def _subscribe(self) -> None:
        topics = [each.subscription for each in self._settings.topic]
        try:
            self._consumer.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        except KafkaException as error:
            raise StartupError(
                f"Kafka refuses the topics {', '.join(topics)}: {error}; a pattern is an extended regular"
                " expression of POSIX, with [a-z] and + but without \\w and lookahead"
            ) from None

    def stop(self) -> None:
        """End `run`. What is not committed is delivered again after the next start."""
        self._stopping.set()
        self.delivery.wake()

    def figures(self) -> dict[str, int]:
        """Return the counters."""
        counts = self.delivery.counts
        ours = {name: self.counters.counts[name] for name in ("messages", "bad", "refused")}
        return {**ours, "learned": counts.learned, "known": counts.known, "waiting": self.delivery.pending}

    # ----------------------------------------------------------------------------------------- the loop

    def _turn(self) -> None:
        pending = self.delivery.pending
        if pending > MOST_PENDING and not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
        elif self._paused and pending <= MOST_PENDING // 2:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False
        messages = self._consumer.consume(BATCH, 0 if pending else TURN_SECONDS)
        for each in messages:
            self._receive(each)
        self.delivery.step(time.monotonic() + (0 if messages else TURN_SECONDS if pending else 0))
        if self._error is not None:
            raise self._error
        if time.monotonic() >= self._commit_at:
            self._commit(wait=False)
            self._commit_at = time.monotonic() + COMMIT_SECONDS

    def _receive(self, found: confluent_kafka.Message) -> None:
        error = found.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                log.warning("the broker reports an error", reason=error.str())
            return
        topic, partition, offset = found.topic(), found.partition(), found.offset()
        assert topic is not None
        assert partition is not None
        assert offset is not None
        offsets = self._offsets.get((topic, partition))
        if offsets is None:  # of a partition that was revoked
            return
        self.counters.counts["messages"] += 1
        kind, milliseconds = found.timestamp()
        arrival = time.time_ns() if kind == confluent_kafka.TIMESTAMP_NOT_AVAILABLE else milliseconds * _MS
        message = Message(topic, partition, offset, _bytes(found.key()), _bytes(found.value()), arrival)
        offsets.receive(offset)
        for intake in self.intakes:
            parts = intake.match(topic)
            if parts is not None:
                intake.receive(message, parts, offsets.begin)

    # ------------------------------------------------------------------------------------- the partitions

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._offsets[each.topic, each.partition] = Offsets()
            name = producer_of(self._settings.group, each.topic, each.partition)
            self._producers[name] = (each.topic, each.partition)
        self._paused = True  # the next turn resumes them all, if not too much is pending
        log.info("partitions assigned", partitions=_listed(partitions))
        if not self._assigned:
            self._assigned = True
            sys.stdout.write(f"streamlearn kafka ready {self._settings.kafka['bootstrap.servers']}\n")
            sys.stdout.flush()

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self._commit(wait=True)
        self._forget(partitions)

    def _on_lost(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        """Another consumer has the partitions already: its offsets must not be overwritten."""
        self._forget(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        for each in partitions:
            self._offsets.pop((each.topic, each.partition), None)
        log.info("partitions revoked", partitions=_listed(partitions))

    def _commit(self, wait: bool) -> None:
        """Commit the offsets of what is durable."""
        due = []
        for (topic, partition), offsets in self._offsets.items():
            offset = offsets.to_commit()
            if offset is not None:
                due.append(TopicPartition(topic, partition, offset))
        if not due:
            return
        try:
            if wait:
                self._consumer.commit(offsets=due, asynchronous=False)
            else:
                self._consumer.commit(offsets=due, asynchronous=True)
        except KafkaException as error:  # the messages are delivered again, and are known then
            log.warning("the offsets are not committed", reason=str(error))
            return
        for each in due:
            self._offsets[each.topic, each.partition].committed(each.offset)

    def _on_error(self, error: KafkaError) -> None:
        log.warning("Kafka", reason=error.str())
        if error.fatal():
            self._error = StartupError(f"Kafka: {error.str()}")

    # ---------------------------------------------------------------------------------------- the daemon

    def _check_models(self) -> None:
        """Raise `StartupError` if a model with a fixed name does not exist and no template creates it."""
        for each in self._settings.topic:
            if "{" not in each.model and each.template is None:
                names = {found["name"] for found in self.client.models()}
                if each.model not in names:
                    raise StartupError(
                        f"there is no model {each.model!r}, which topic {each.topic} names; create it, or add"
                        " a template"
                    )

    def _position(self, model: str, producer: str) -> Numbers:
        """Return the position of a partition. Raise `StartupError` if the topic is another one by now."""
        numbers = self.models.position(model, producer)
        partition = self._producers.get(producer)
        if numbers.next and partition is not None:
            try:
                _, end = self._consumer.get_watermark_offsets(
                    TopicPartition(*partition), timeout=BROKER_SECONDS
                )
            except KafkaException as error:
                log.warning("the end of a partition is not known", partition=partition[1], reason=str(error))
                return numbers
            if numbers.next > end:
                raise StartupError(
                    f"{partition[0]}/{partition[1]} ends at offset {end}, and {model!r} has learned it up to"
                    f" offset {numbers.next}: the topic was deleted and created again, or the broker lost"
                    " messages. To learn it from the beginning, set another group.id"
                )
        return numbers

    def _refused(self, model: str, error: StreamlearnError) -> None:
        if isinstance(error, UnknownModel) and any(each.model == model for each in self._settings.topic):
            raise StartupError(f"the model {model!r} was deleted; its messages are kept in Kafka")
        self.models.forget(model)
        self.counters.refused(model, error.message)


def _bytes(value: Any) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _listed(partitions: list[TopicPartition]) -> str:
    return ", ".join(f"{each.topic}/{each.partition}" for each in partitions)


def run(settings: Settings, endpoint: str, server_key: Any = None, key_file: Any = None) -> None:
    """Run a bridge until SIGTERM or Ctrl-C. Raise the error that ends it."""
    bridge = Bridge(settings, endpoint, server_key, key_file)

    def leave(_: int, __: FrameType | None) -> None:
        bridge.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, leave)
    bridge.run()
