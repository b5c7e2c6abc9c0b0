"""A mock of a cluster for the tests of a module, and bridges that end after their test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bridges.kafka.processes import Bridge, Cluster

HEAD = '[kafka]\n"bootstrap.servers" = "{servers}"\n"group.id" = "{group}"\n"session.timeout.ms" = 6000\n'


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    return Cluster()


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
