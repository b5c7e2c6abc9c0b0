"""Broker, bridge and daemon are killed with ``kill -9``, in turn and together, while a device sends."""

from __future__ import annotations

import json
import signal
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random

import numpy as np
import pytest
from paho.mqtt.client import MQTTMessageInfo

from streamlearn.shard.record_codec import decode_batch
from streamlearn.store import FS, RecordKind
from streamlearn.store.scan import JournalScan
from streamlearn_client import Client
from tests.bridges.mqtt.edge import messages, samples
from tests.bridges.mqtt.processes import Bridge, Broker, Peer
from tests.e2e.daemon_process import ForkedDaemon
from tools.waiting import wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.faults]

SEED = 20261130
ROUNDS = [("bridge",), ("daemon",), ("broker",), ("broker", "bridge", "daemon")]
MESSAGES = 60  # of a round
KEPT = 40  # confirmed samples that the device sends again after the broker was gone
START = 1_772_622_720_000  # ms
SPARKPLUG = messages()[1:303]  # births, and data whose sequence numbers wrap
SPEC = {"dim": 2, "grid": [4, 4], "scale": "standard", "channels": ["a", "b"], "seed": 1}
CONFIGURATION = """
[broker]
port = {port}
[[input]]
topic = "numbered/{{device}}"
model = "numbered"
channels = ["a", "b"]
time = "t"
number = "n"
[[input]]
topic = "plain/{{device}}"
model = "plain"
channels = ["a", "b"]
[[input]]
topic = "joined/{{channel}}"
model = "joined"
channels = {{ "{{channel}}" = "v" }}
time = "t"
join = {{ window = 0.5, wait = 30, open = 100 }}
[[input]]
topic = "spBv1.0/{{group}}/+/{{node}}/{{device}}"
model = "{{group}}-{{device}}"
payload = "sparkplug"
channels = {{ a = "Motor/Speed", b = "Motor/Heat" }}
"""


class Device:
    """Sends each sample numbered, without a number and channel by channel, and a Sparkplug message."""

    def __init__(self, broker: Broker) -> None:
        self.rows: list[tuple[float, float]] = []
        self._broker = broker
        self._peer: Peer | None = Peer(broker.port)
        self._unsent = 0
        self._unconfirmed: deque[tuple[int, MQTTMessageInfo]] = deque()
        self._random = np.random.default_rng(SEED)

    def send(self, count: int) -> None:
        for _ in range(count):
            a, b = self._random.normal(size=2).astype(np.float32).tolist()
            self.rows.append((a, b))
            if self._peer is not None:
                self._publish(self._peer, len(self.rows) - 1)
            else:
                self._unsent += 1

    def connect_again(self) -> None:
        """Send the last messages again, in order: the broker may have lost some that it confirmed."""
        while self._unconfirmed and self._unconfirmed[0][1].is_published():
            self._unconfirmed.popleft()
        first = self._unconfirmed[0][0] if self._unconfirmed else len(self.rows) - self._unsent
        self._unconfirmed.clear()
        self._unsent = 0
        self._peer = Peer(self._broker.port)
        for number in range(max(0, first - KEPT), len(self.rows)):
            self._publish(self._peer, number)

    def close(self) -> None:
        """Disconnect. Nothing is sent until `connect_again`, so the order stays that of the samples."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def _publish(self, peer: Peer, number: int) -> None:
        a, b = self.rows[number]
        t = START + 1000 * number
        peer.publish("numbered/x", json.dumps({"n": number, "a": a, "b": b, "t": t}))
        peer.publish("plain/x", json.dumps({"a": a, "b": b}))
        peer.publish("joined/a", json.dumps({"v": a, "t": t}))
        if number < len(SPARKPLUG):
            peer.publish(*SPARKPLUG[number])
        last = peer.publish("joined/b", json.dumps({"v": b, "t": t + 100}))
        self._unconfirmed.append((number, last))


def learned(data: Path, model: str) -> Iterator[tuple[float, float]]:
    """Yield the samples in the journal of a daemon that has ended."""
    for record in JournalScan(FS(), data / "journal").replay(1):
        if record.kind == RecordKind.LEARN and record.model == model:
            batch = decode_batch(record, uses_time=False)
            assert batch is not None
            assert batch.x is not None
            yield from map(tuple, batch.x.tolist())


@pytest.mark.timeout(600)
def test_numbered_messages_are_learned_once_and_no_other_is_lost(tmp_path):
    random = Random(SEED)
    print(f"seed {SEED}")
    broker = Broker(tmp_path / "broker")
    daemon = ForkedDaemon(tmp_path / "daemon")
    daemon.ready()
    client = Client(daemon.requests, timeout=60)
    for name in "numbered", "plain", "joined", "plant-pump":
        client.create(name, "som", **SPEC)
    bridge = Bridge(tmp_path / "bridge", daemon.requests, CONFIGURATION.format(port=broker.port)).ready()
    device = Device(broker)
    try:
        for victims in ROUNDS:
            device.send(MESSAGES)
            before = client.describe("plain")["samples"] if "daemon" not in victims else 0
            wait_for(lambda least=before: client.describe("plain")["samples"] > least, "progress")
            for victim in random.sample(victims, len(victims)):
                {"broker": broker, "bridge": bridge, "daemon": daemon}[victim].kill()
            if "broker" in victims:
                device.close()
            device.send(random.randrange(MESSAGES))
            for victim in random.sample(victims, len(victims)):
                if victim == "daemon":
                    daemon = ForkedDaemon(tmp_path / "daemon")
                    daemon.ready()
                else:
                    {"broker": broker, "bridge": bridge}[victim].start()
            if "bridge" in victims:
                bridge.ready()
            if "broker" in victims:
                device.connect_again()
        device.send(MESSAGES)
        total = len(device.rows)
        for name in "numbered", "joined":
            wait_for(lambda name=name: client.describe(name)["samples"] >= total, f"all samples of {name}")
        x = np.array(device.rows, np.float32)
        times = (START + 1000 * np.arange(total)) * 1_000_000
        client.create("twin", "som", **SPEC)
        client.learn("twin", x, times=times)
        twin = client.describe("twin")
        for name in "numbered", "joined":
            found = client.describe(name)
            assert (found["samples"], found["state_hash"]) == (total, twin["state_hash"]), name
        assert total > len(SPARKPLUG)
        count = sum("/DDATA/" in topic for topic, _ in SPARKPLUG)
        speeds, moments = (each[:count] for each in samples())
        wait_for(lambda: client.describe("plant-pump")["samples"] >= len(speeds), "all samples of Sparkplug")
        client.create("sparkplug-twin", "som", **SPEC)
        client.learn("sparkplug-twin", speeds, times=moments)
        found, twin = (client.describe(each) for each in ("plant-pump", "sparkplug-twin"))
        assert (found["samples"], found["state_hash"]) == (len(speeds), twin["state_hash"])
        figures = bridge.figures()
        assert figures["bad"] == figures["refused"] == figures["waiting"] == 0
    finally:
        device.close()
        client.close()
        bridge.kill()
        broker.kill()
        daemon.kill()
    plain = list(learned(tmp_path / "daemon/data", "plain"))
    assert set(plain) == {tuple(row) for row in x.tolist()}
    assert len(plain) >= total
    print(f"{total} samples; without numbers {len(plain) - total} were learned again")


def test_a_broker_that_comes_back_sends_nothing_that_is_learned_twice(tmp_path):
    """Without numbers too, as long as the bridge lives and the broker says that a message is repeated."""
    broker = Broker(tmp_path / "broker")
    daemon = ForkedDaemon(tmp_path / "daemon")
    daemon.ready()
    with Client(daemon.requests, timeout=60) as client:
        client.create("plain", "som", **SPEC)
        bridge = Bridge(tmp_path / "bridge", daemon.requests, CONFIGURATION.format(port=broker.port)).ready()
        device = Peer(broker.port)
        try:
            daemon.process.send_signal(signal.SIGSTOP)  # so that nothing is acknowledged
            for number in range(100):
                sent = device.publish("plain/x", json.dumps({"a": 1, "b": number}))
            sent.wait_for_publish(60)
            wait_for(lambda: len(device.received) == 0, "sent")
            device.close()
            broker.kill(signal.SIGTERM)
            broker.start()
            wait_for(lambda: bridge.log.read_text().count("same_session=True") >= 1, "the same session")
            daemon.process.send_signal(signal.SIGCONT)
            wait_for(lambda: client.describe("plain")["samples"] >= 100, "all samples")
            figures = bridge.figures()
            assert client.describe("plain")["samples"] == figures["learned"] == 100
            assert figures["repeated"] > 0
        finally:
            bridge.kill()
            broker.kill()
            daemon.kill()
