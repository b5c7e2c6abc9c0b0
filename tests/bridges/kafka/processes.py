"""The mock of a Kafka cluster that librdkafka has, and a real bridge, started as a user would.

No package registry has a Kafka broker. The mock speaks Kafka's protocol over TCP: topics, consumer groups
with rebalances, and committed offsets.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

SECONDS = 60.0
PARTITIONS = 4  # of a topic of the mock


class Cluster:
    """One broker in memory. It ends with this object."""

    def __init__(self) -> None:
        self._cluster = Producer({"test.mock.num.brokers": "1", "log_level": 0})
        (broker,) = self._cluster.list_topics(timeout=SECONDS).brokers.values()
        self.servers = f"{broker.host}:{broker.port}"
        self._producer = Producer({"bootstrap.servers": self.servers, "log_level": 0})

    def produce(
        self, topic: str, values: list[str | None], partition: int = 0, key: str | None = None, start: int = 0
    ) -> None:
        """Write messages. Their times are seconds since 1970, from ``start`` on."""
        for number, value in enumerate(values, start):
            self._producer.produce(topic, value, key, partition, timestamp=1000 * (number + 1))
        assert self._producer.flush(SECONDS) == 0

    def committed(self, group: str, topic: str) -> list[int]:
        """Return the committed offset of each partition; a negative number without one."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": group, "log_level": 0})
        found = consumer.committed([TopicPartition(topic, n) for n in range(PARTITIONS)], timeout=SECONDS)
        consumer.close()
        return [each.offset for each in found]


class Bridge:
    """``streamlearn kafka`` with a configuration."""

    def __init__(self, directory: Path, endpoint: str, configuration: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "bridge.log"
        self.configuration = directory / "kafka.toml"
        self.configuration.write_text(configuration)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlearn", "kafka", "-c", str(self.configuration), "-e", endpoint],
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | {"PYTHONFAULTHANDLER": "1"},
            )

    def ready(self) -> Bridge:
        out = self.process.stdout
        assert out is not None
        assert select.select([out], [], [], SECONDS)[0], self.log.read_text()
        line = out.readline().decode()
        assert "streamlearn kafka ready" in line, f"{line!r}\n{self.log.read_text()}"
        return self

    def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code
