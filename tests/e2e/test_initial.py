"""Initial weights in the daemon: given as nested lists, and from first samples interrupted by a crash."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec
from streamlearn_client import Client
from tests.e2e.daemon_process import SECONDS, DaemonProcess

pytestmark = pytest.mark.e2e

X = np.random.default_rng(4).normal(size=(300, 4)).astype(np.float32)


def test_given_weights_arrive_bit_for_bit(serve: Callable[..., DaemonProcess]) -> None:
    weights = np.random.default_rng(3).normal(size=(20, 30, 4)).astype(np.float32)
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", dim=4, grid=[20, 30], init=weights)
        client.learn("m", X)
        expected = sl.SOM(dim=4, grid=(20, 30), init=weights)
        expected.learn(X)
        assert client.describe("m")["state_hash"] == expected.state_hash()
        with pytest.raises(BadSpec, match=r"\(2, 2, 4\)"):
            client.create("wrong", "som", dim=4, grid=[2, 2], init=weights)


def test_a_crash_among_the_first_samples_changes_nothing(serve: Callable[..., DaemonProcess]) -> None:
    spec = {"dim": 4, "grid": [6, 6], "init": "pca", "init_samples": 200, "scale": "standard"}
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", **spec)
        client.learn("m", X[:70])
        client.checkpoint("m")
        client.learn("m", X[70:120])
        assert set(client.predict("m", X[:5]).winner) == {-1}
        daemon.kill()
        serve().ready()
        client.learn("m", X[120:])
        expected = sl.SOM(**spec)
        expected.learn(X)
        assert client.describe("m")["state_hash"] == expected.state_hash()
        assert client.predict("m", X[:5]).winner.min() >= 0
