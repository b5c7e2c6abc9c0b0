"""A daemon and a mock of a cluster for the tests of a module, and bridges that end after their test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamlearn_client import Client
from tests.bridges.kafka.processes import Bridge, Cluster
from tests.e2e.daemon_process import DaemonProcess

HEAD = '[kafka]\n"bootstrap.servers" = "{servers}"\n"group.id" = "{group}"\n"session.timeout.ms" = 6000\n'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as daemon:
        daemon.ready()
        yield daemon


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    """A client of the daemon; all models are deleted afterwards."""
    with Client(daemon.requests, timeout=60) as client:
        yield client
        for each in client.models():
            client.delete(each["name"])


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Callable[..., Bridge]]:
    """Start bridges."""
    started: list[Bridge] = []
    numbers = itertools.count()

    def begin(endpoint: str, servers: str, configuration: str, group: str = "g") -> Bridge:
        text = HEAD.format(servers=servers, group=group) + configuration
        started.append(Bridge(tmp_path / f"bridge-{next(numbers)}", endpoint, text))
        return started[-1]

    yield begin
    for each in started:
        each.end(9)
