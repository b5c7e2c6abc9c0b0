"""The end of a delivery: it waits for a daemon that is connected, and not for one that is gone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np
import pytest

from streamlearn.bridges import delivery
from streamlearn.bridges.delivery import Delivery
from streamlearn.bridges.lane import Parcel
from streamlearn_client import Client
from streamlearn_client.protocol import Learn
from tests.bridges.mqtt.processes import free_port
from tests.e2e.daemon_process import DaemonProcess


def delivered_to(endpoint: str) -> Iterator[Delivery]:
    found = Delivery(endpoint, None, lambda *_: pytest.fail("no numbers"), lambda *_: pytest.fail("refused"))
    found.add("pump", None, Parcel(Learn("pump", np.zeros((1, 2), np.float32)), None))
    yield found
    found.close()


@pytest.fixture
def to_daemon(daemon: DaemonProcess, client: Client) -> Iterator[Delivery]:
    client.create("pump", "som", dim=2, grid=[2, 2])
    yield from delivered_to(daemon.requests)


@pytest.fixture
def to_nobody() -> Iterator[Delivery]:
    yield from delivered_to(f"tcp://127.0.0.1:{free_port()}")


def test_a_stop_waits_for_a_daemon_that_is_connected(
    to_daemon: Delivery, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadline = time.monotonic() + 60
    while not to_daemon._connection.connected and time.monotonic() < deadline:
        to_daemon.step(time.monotonic() + 0.05)
    monkeypatch.setattr(delivery, "DRAIN_SECONDS", math.inf)
    to_daemon.drain()
    assert (to_daemon.pending, to_daemon.counts.learned) == (0, 1)
    assert client.describe("pump")["samples"] == 1


def test_a_stop_does_not_wait_without_a_daemon(to_nobody: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "DRAIN_SECONDS", math.inf)  # a wait for it would not end
    to_nobody.drain()
    assert to_nobody.pending == 1
