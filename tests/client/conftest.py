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
    """Return a function that waits for a condition, for at most a minute."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "the condition was not met within 60 s"
            time.sleep(0.002)

    return wait
