"""Messages of Kafka to models: a real bridge and a real daemon, and librdkafka's mock of a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamlearn.bridges.kafka.intake import producer_of
from streamlearn.bridges.kafka.offsets import Offsets
from streamlearn.bridges.kafka.settings import load
from streamlearn.errors import BadConfig
from streamlearn_client import Client
from tests.bridges.kafka.processes import PARTITIONS, Bridge, Cluster, Tansu
from tests.documents import blocks
from tests.e2e.daemon_process import DaemonProcess, ForkedDaemon
from tools.waiting import wait_for

SPEC = {"dim": 2, "grid": [4, 4], "channels": ["flow", "pressure"], "scale": "standard", "seed": 1}
Start = Callable[..., Bridge]


def samples(seed: int, count: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)


def as_json(x: np.ndarray[Any, Any]) -> list[str | None]:
    return [json.dumps({"flow": flow, "pressure": pressure}) for flow, pressure in x.tolist()]


def learned(client: Client, names: Sequence[str], count: int) -> Callable[[], bool]:
    return lambda: sum(client.describe(name)["samples"] for name in names) >= count


def same_as(client: Client, model: str, x: np.ndarray[Any, Any]) -> bool:
    """Whether a model is the one that learned these samples, with the times of `Cluster.produce`."""
    twin = f"twin-{model}"
    client.create(twin, "som", **SPEC)
    client.learn(twin, x, times=(np.arange(len(x)) + 1) * 10**9)
    return bool(client.describe(model)["state_hash"] == client.describe(twin)["state_hash"])


def test_json_in_order_and_bad_messages_are_passed_by(
    client: Client, daemon: DaemonProcess, cluster: Cluster, bridge: Start
) -> None:
    client.create("pump", "som", **SPEC)
    x = samples(1, 300)
    values = as_json(x)
    bad = ["no json", None, '{"flow": "x"}', '{"other": 1}', "[1, 2]"]

    def produce(kafka: Cluster) -> None:
        kafka.produce("pumps", values[:100])
        kafka.produce("pumps", bad)
        kafka.produce("pumps", values[100:], start=100)

    produce(cluster)
    configuration = '[[topic]]\ntopic = "pumps"\nmodel = "pump"\nchannels = ["flow", "pressure"]\n'
    running = bridge(daemon.requests, cluster.servers, configuration).ready()
    wait_for(learned(client, ["pump"], len(x)), "samples")
    assert same_as(client, "pump", x)
    wait_for(lambda: cluster.committed("g", "pumps")[0] == len(x) + len(bad), "offsets")
    assert running.end() == 0
    log = running.log.read_text()
    assert f"messages={len(x) + len(bad)} bad={len(bad)} refused=0 learned={len(x)} known=0" in log
    assert "the payload is not JSON" in log
    # The same messages without the committed offsets, as when Kafka forgets them: nothing is learned twice.
    forgetful = Cluster()
    produce(forgetful)
    again = bridge(daemon.requests, forgetful.servers, configuration).ready()
    forgetful.produce("pumps", as_json(samples(2, 1)))
    wait_for(learned(client, ["pump"], len(x) + 1), "one more")
    assert again.end() == 0
    assert f"known={len(x)}" in again.log.read_text()
    assert client.describe("pump")["samples"] == len(x) + 1


def test_topics_keys_parts_rows_and_csv(
    client: Client, daemon: DaemonProcess, cluster: Cluster, bridge: Start
) -> None:
    client.create("fleet", "rnn", dim=1, readout="adam", hidden=4, keys=8, channels=["rpm"], seed=1)
    configuration = """
        [[topic]]
        topic = "^plant[.](?P<line>[a-z]+)$"
        model = "{line}-{machine}"
        parts = { machine = "meta.machine" }
        rows = "rows"
        channels = { flow = "f", pressure = "p" }
        time = "at"
        template = "new"

        [[topic]]
        topic = "speeds"
        model = "fleet"
        key = "{key}"
        payload = "csv"
        columns = ["time", "rpm"]
        channels = ["rpm"]
        time = "time"

        [template.new]
        kind = "som"
        spec = { grid = [4, 4], channels = ["flow", "pressure"], scale = "standard", seed = 1 }
    """
    at = "2026-03-01T10:00:0"
    rows = [{"f": 1.5, "p": 2, "at": f"{at}1Z"}, {"f": None, "p": True, "at": f"{at}2Z"}]
    for name in ("a", "b"):
        cluster.produce("plant.north", [json.dumps({"meta": {"machine": name}, "rows": rows[:1]})] * 2)
    cluster.produce("plant.south", [json.dumps({"meta": {"machine": "a"}, "rows": rows})], partition=2)
    cluster.produce("speeds", [f"{at}1Z,10\n{at}2Z,20\n"], key="x")
    cluster.produce("speeds", [f"{at}1Z,30"], key="y")
    cluster.produce("speeds", [f"{at}1Z,30"])  # without a key
    bridge(daemon.requests, cluster.servers, configuration, "parts").ready()
    wait_for(
        lambda: {each["name"] for each in client.models()} >= {"north-a", "north-b", "south-a"}, "models"
    )
    names = ["north-a", "north-b", "south-a", "fleet"]
    wait_for(learned(client, names, 9), "samples")
    assert [client.describe(name)["samples"] for name in names] == [2, 2, 2, 3]
    wait_for(lambda: cluster.committed("parts", "speeds")[0] == 3, "offsets")


@pytest.mark.faults
def test_kill_9_of_the_bridge_and_of_the_daemon(tmp_path: Path, bridge: Start) -> None:
    """Four partitions, four models: each is the one that learned its partition without an interruption."""
    cluster, count = Cluster(), 400
    x = {n: samples(10 + n, count) for n in range(PARTITIONS)}
    names = [f"pump-{n}" for n in range(PARTITIONS)]
    configuration = '[[topic]]\ntopic = "t"\nmodel = "pump-{partition}"\nchannels = ["flow", "pressure"]\n'

    def begin() -> DaemonProcess:
        started = ForkedDaemon(tmp_path / "daemon")
        started.ready()
        return started

    daemon = begin()
    try:
        with Client(daemon.requests, timeout=60) as client:
            for name in names:
                client.create(name, "som", **SPEC)
            running = None
            for part, victim in enumerate(("bridge", "daemon", "both", "none")):
                for n in range(PARTITIONS):
                    first = part * count // 4
                    cluster.produce("t", as_json(x[n][first : first + count // 4]), n, start=first)
                if running is None:
                    running = bridge(daemon.requests, cluster.servers, configuration).ready()
                wait_for(learned(client, names, part * count + 1), "samples of this part")
                if victim in ("daemon", "both"):
                    daemon.process.kill()
                if victim in ("bridge", "both"):
                    running.end(9)
                if victim in ("daemon", "both"):
                    daemon.kill()
                    daemon = begin()
                if victim in ("bridge", "both"):
                    running = bridge(daemon.requests, cluster.servers, configuration)
            wait_for(learned(client, names, PARTITIONS * count), "all samples")
            for n, name in enumerate(names):
                assert client.describe(name)["samples"] == count
                assert same_as(client, name, x[n])
            wait_for(lambda: cluster.committed("g", "t") == [count] * PARTITIONS, "offsets")
    finally:
        daemon.__exit__()


@pytest.fixture(params=["mock", "tansu"])
def brokers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """Each of the two brokers."""
    if request.param == "mock":
        yield Cluster()
        return
    tansu = Tansu(tmp_path, "moved")
    yield tansu
    tansu.end()


@pytest.mark.faults
def test_a_rebalance(client: Client, daemon: DaemonProcess, brokers: Cluster, bridge: Start) -> None:
    """A second bridge takes over partitions, and then the first one dies."""
    cluster = brokers
    count, names = 300, [f"pump-{n}" for n in range(PARTITIONS)]
    x = {n: samples(20 + n, count) for n in range(PARTITIONS)}
    configuration = (
        '[[topic]]\ntopic = "moved"\nmodel = "pump-{partition}"\nchannels = ["flow", "pressure"]\n'
    )
    for name in names:
        client.create(name, "som", **SPEC)

    def produce(first: int, last: int) -> None:
        for n in range(PARTITIONS):
            cluster.produce("moved", as_json(x[n][first:last]), n, start=first)

    produce(0, 100)
    first = bridge(daemon.requests, cluster.servers, configuration, "moving").ready()
    wait_for(learned(client, names, 10), "samples")
    second = bridge(daemon.requests, cluster.servers, configuration, "moving").ready()
    assert "partitions revoked" in first.log.read_text()
    produce(100, 200)
    wait_for(learned(client, names, 200 * PARTITIONS), "samples with two bridges")
    first.end(9)
    produce(200, 300)
    wait_for(learned(client, names, count * PARTITIONS), "samples of the second bridge")
    for n, name in enumerate(names):
        assert same_as(client, name, x[n])
    assert second.end() == 0


def test_what_ends_the_bridge(client: Client, daemon: DaemonProcess, bridge: Start) -> None:
    configuration = '[[topic]]\ntopic = "t"\nmodel = "pump"\nchannels = ["flow", "pressure"]\n'
    old, new = Cluster(), Cluster()
    absent = bridge(daemon.requests, old.servers, configuration)
    assert absent.process.wait(60) != 0
    assert "there is no model 'pump', which topic t names" in absent.log.read_text()
    client.create("pump", "som", **SPEC)
    old.produce("t", as_json(samples(1, 20)))
    first = bridge(daemon.requests, old.servers, configuration).ready()
    wait_for(learned(client, ["pump"], 20), "samples")
    assert first.end() == 0
    new.produce("t", as_json(samples(2, 5)))  # the topic was created again
    second = bridge(daemon.requests, new.servers, configuration)
    assert second.process.wait(60) != 0
    assert "t/0 ends at offset 5, and 'pump' has learned it up to offset 20" in second.log.read_text()
    assert client.describe("pump")["samples"] == 20
    assert new.committed("g", "t")[0] < 0
    third = bridge(daemon.requests, new.servers, configuration, "another").ready()
    wait_for(learned(client, ["pump"], 25), "samples of another group")
    client.delete("pump")
    new.produce("t", as_json(samples(3, 5)))
    assert third.process.wait(60) != 0
    assert "the model 'pump' was deleted" in third.log.read_text()
    assert new.committed("another", "t")[0] == 5


HEAD = '[kafka]\n"bootstrap.servers" = "localhost:9092"\n'
TOPIC = '[[topic]]\ntopic = "t"\nmodel = "m"\nchannels = ["a"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TOPIC, "kafka: Field required"),
        ("[kafka]\n" + TOPIC, "bootstrap.servers.* is missing"),
        (HEAD + '"enable.auto.commit" = true\n' + TOPIC, "the bridge commits offsets itself"),
        (HEAD, "topic: Field required"),
        (HEAD + TOPIC + "modell = 3", "topic.0.modell: there is no such setting"),
        (HEAD + TOPIC.replace('"t"', '"a b"'), "not the name of a topic"),
        (HEAD + TOPIC.replace('"t"', '"^("'), "not a regular expression"),
        (HEAD + TOPIC.replace('"m"', '"m-{line}"'), "{line}, which is no part"),
        (HEAD + TOPIC.replace('"m"', '"m n"'), "topic.0: .*name"),
        (HEAD + TOPIC + 'number = "n"', "the offset is the number of a message"),
        (HEAD + TOPIC + 'template = "x"', "topic.0.template is 'x'; the templates are: none"),
        (HEAD + TOPIC + 'payload = "csv"\n', "needs columns"),
        ("kafka = ", "is not TOML"),
    ],
)
def test_wrong_configurations(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "kafka.toml"
    path.write_text(text)
    with pytest.raises(BadConfig, match=message):
        load(path)


def test_the_configuration_of_the_guide(tmp_path: Path) -> None:
    found = [each.source for each in blocks("docs/guides/kafka.md") if each.language == "toml"]
    for source in found:
        (tmp_path / "kafka.toml").write_text(source)
        settings = load(tmp_path / "kafka.toml")
    assert settings.group == "streamlearn"
    assert [each.match("plant.north") for each in settings.topic] == [None, {"line": "north"}, None]
    with pytest.raises(BadConfig, match="No such file"):
        load(tmp_path / "absent.toml")


def test_offsets() -> None:
    offsets = Offsets()
    assert offsets.to_commit() is None
    for number in (5, 6, 9):
        offsets.receive(number)
    done = [offsets.begin(5), offsets.begin(6), offsets.begin(6), offsets.begin(9)]
    assert offsets.to_commit() is None
    for at, expected in ((1, None), (0, 6), (3, 6), (2, 10)):
        done[at]()
        assert offsets.to_commit() == expected
    offsets.committed(10)
    assert offsets.to_commit() is None
    assert len(offsets) == 0


def test_names_of_producers() -> None:
    assert producer_of("g", "t", 3) == "kafka g t/3"
    long = producer_of("g" * 100, "t", 3)
    assert len(long) <= 64
    assert long != producer_of("g" * 100, "t", 4)
