"""A daemon for the tests of a module, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamlearn_client import Client
from tests.e2e.daemon_process import DaemonProcess, ForkedDaemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with ForkedDaemon(tmp_path_factory.mktemp("daemon")) as daemon:
        daemon.ready()
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    """A client of the daemon; all models are deleted afterwards."""
    with Client(daemon.requests, timeout=60) as client:
        yield client
        for each in client.models():
            client.delete(each["name"])
