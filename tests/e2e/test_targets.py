"""Recurrent nets with keys and late targets in a daemon that is killed: equal to the nets of this process."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import streamlearn as sl
from streamlearn_client import Client
from streamlearn_client.errors import BadValue
from tests.e2e.daemon_process import SECONDS, DaemonProcess

MACHINES = ["press 7", "press 8", 12]
N = 600
X = np.random.default_rng(6).normal(size=(N, 2)).astype(np.float32)
KEYS = [MACHINES[i % 7 % 3] for i in range(N)]
SPEC = {"dim": 2, "hidden": 8, "cell": "gru", "tbptt": [4, 8], "keys": 3, "seed": 5}


def test_late_targets_survive_kill_9(serve: Callable[..., DaemonProcess]) -> None:
    """Targets arrive 30 samples late; every fifth never arrives, and one has an unknown id."""
    spec = {**SPEC, "target": "later", "delay": 64}
    net = sl.RNN(readout="adam", **spec)
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("fleet", "rnn", readout="adam", **spec)
        described = client.describe("fleet")
        assert (described["needs_keys"], described["accepts_late_targets"], described["target_dim"]) == (
            True,
            True,
            1,
        )
        with client.stream("fleet", batch=16, window=8) as stream:
            for i in range(N):
                stream.push(X[i], keys=KEYS[i], ids=f"part {i}")
                net.learn(X[i], keys=KEYS[i], ids=f"part {i}")
                j = i - 30
                if j >= 0 and j % 5:
                    late = (f"part {j}", X[j, :1] - X[j, 1:]), KEYS[j]
                    stream.push_targets(*late[0], keys=late[1])
                    net.learn_targets(*late[0], late[1])
                if i == 400:
                    stream.push_targets("unknown", 1, keys=12)
                    net.learn_targets("unknown", [1], 12)
                if i in (150, 450):
                    daemon.kill()
                    daemon = serve()
                    daemon.ready()
        assert stream.acknowledged == N + (N - 30) * 4 // 5 + 1
        description = client.describe("fleet")
        assert (description["samples"], description["state_hash"]) == (N, net.state_hash())
        outputs = client.predict("fleet", X[:6], keys=KEYS[:6])
        assert np.array_equal(outputs.prediction, net.predict(X[:6], KEYS[:6]).prediction)
        with pytest.raises(BadValue, match="target='next'"):
            client.forecast("fleet", 3, 12)


def test_a_late_target_publishes_its_samples_outputs(serve: Callable[..., DaemonProcess]) -> None:
    spec = {**SPEC, "target": "later", "delay": 64}
    net = sl.RNN(readout="adam", **spec)
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("fleet", "rnn", readout="adam", **spec)
        client.learn("fleet", X[:40], keys=KEYS[:40])
        net.learn(X[:40], keys=KEYS[:40])
        expected = net.learn_targets([3, 999, 10], [[0.5], [1], [1.5]], [KEYS[3], 12, KEYS[10]])
        with client.subscribe("fleet", "targets", timeout=SECONDS) as events:
            client.learn_targets("fleet", [3, 999, 10], [0.5, 1, 1.5], keys=[KEYS[3], 12, KEYS[10]])
            pieces = [next(events)]  # one event per learning slice
            while sum(event.rows for event in pieces) < 3:
                pieces.append(next(events))
        assert {(event.kind, event.first) for event in pieces} == {("targets", 40)}
        assert [number for event in pieces for number in event.outputs.sample] == [3, -1, 10]
        for name, array in expected.arrays.items():
            published = np.concatenate([event.outputs.arrays[name] for event in pieces])
            assert np.array_equal(published, array, equal_nan=True), name


def test_forecasts_continue_each_keys_stream(serve: Callable[..., DaemonProcess]) -> None:
    spec = {**SPEC, "horizon": 3}
    symbols = {**SPEC, "dim": 1, "symbols": 5, "loss": "cross_entropy", "keys": None}
    net, text = sl.RNN(readout="adam", **spec), sl.RNN(readout="adam", **symbols)
    letters = (np.arange(200) % 5).reshape(-1, 1)
    net.learn(X, keys=KEYS)
    text.learn(letters)
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("fleet", "rnn", readout="adam", **spec)
        client.create("text", "rnn", readout="adam", **symbols)
        client.learn("fleet", X, keys=KEYS)
        client.learn("text", letters)
        for key in MACHINES:
            assert np.array_equal(client.forecast("fleet", 9, key), net.forecast(9, key))
        with pytest.raises(BadValue, match="steps is 0; at least 1 was expected"):
            client.forecast("fleet", 0, 12)
        assert client.sample("text", 30, 0.8, seed=4).tolist() == text.sample(30, 0.8, 4).tolist()
        assert client.forecast("text", 4).shape == (4, 5)
        description = client.describe("fleet")
        assert description["state_hash"] == net.state_hash()
        with pytest.raises(BadValue, match="at least one learned sample"):
            client.forecast("fleet", 9, "press 9")
