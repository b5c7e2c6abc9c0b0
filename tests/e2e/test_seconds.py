"""A schedule in seconds uses the times in the journal: replayed later, the model is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import streamlearn as sl
from streamlearn_client import Client
from tests.e2e.daemon_process import SECONDS, DaemonProcess

pytestmark = pytest.mark.e2e

X = np.random.default_rng(3).normal(size=(600, 3)).astype(np.float32)


def test_replay_uses_the_recorded_arrival_times(serve: Callable[..., DaemonProcess]) -> None:
    fast = sl.Decay(0.9, 0.0, half_life=0.01, unit="seconds")
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", dim=3, grid=(4, 4), learning_rate=fast, sigma=1.0)
        assert client.describe("m")["quality"]["schedules"] == pytest.approx(
            {"learning_rate": 0.9, "sigma": 1.0}
        )
        for start in range(0, len(X), 20):
            client.learn("m", X[start : start + 20])
        before = client.describe("m")
        assert before["spec"]["learning_rate"]["half_life"] == 0.01
        assert before["quality"]["schedules"]["learning_rate"] < 0.9
        daemon.kill()
        daemon = serve()
        daemon.ready()
        after = client.describe("m")
    assert after["samples"] == len(X)
    assert after["state_hash"] == before["state_hash"]
