from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from streamlearn_client import Client
from tests.client.fake import FakeDaemon


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    daemon = FakeDaemon()
    yield daemon
    daemon.close()


@pytest.fixture
def client(daemon: FakeDaemon) -> Iterator[Client]:
    with Client(daemon.endpoint, timeout=60) as client:
        yield client


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Wait for a condition; fail after a minute without it."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come about"
            time.sleep(0.002)

    return wait
