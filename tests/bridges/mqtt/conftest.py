"""A broker for the tests of a module, and bridges that end after their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bridges.mqtt.processes import Bridge, Broker, Peer
from tests.e2e.daemon_process import DaemonProcess


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    yield broker
    broker.kill()


@pytest.fixture
def bridge(tmp_path: Path, daemon: DaemonProcess, broker: Broker) -> Iterator[Callable[..., Bridge]]:
    """Start bridges; each test has a session of its own."""
    started: list[Bridge] = []

    def begin(configuration: str, wait: bool = True, **variables: str) -> Bridge:
        head = f'prefix = "{tmp_path.name}"\n[broker]\nport = {broker.port}\nclient_id = "{tmp_path.name}"\n'
        place = tmp_path / f"bridge-{len(started)}"
        started.append(Bridge(place, daemon.requests, head + configuration, **variables))
        return started[-1].ready() if wait else started[-1]

    yield begin
    for each in started:
        each.kill()


@pytest.fixture
def peer(broker: Broker) -> Iterator[Callable[..., Peer]]:
    """Connect other clients of the broker."""
    peers: list[Peer] = []

    def connect(*topics: str) -> Peer:
        peers.append(Peer(broker.port, *topics, name=f"peer-{len(peers)}"))
        return peers[-1]

    yield connect
    for each in peers:
        each.close()
