"""Models are reheated, paused and resumed; after kill -9 they still equal the models of this process."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from streamlearn import models
from streamlearn_client import Client
from streamlearn_client.errors import BadValue
from tests.e2e.daemon_process import SECONDS, DaemonProcess

X = np.random.default_rng(9).normal(size=(900, 3)).astype(np.float32)
SPECS = {
    "som": {"dim": 3, "grid": [5, 5], "learning_rate": {"start": 0.5, "end": 0.02, "tau": 100.0}},
    "rnn": {
        "readout": "adam",
        "dim": 3,
        "hidden": 4,
        "learning_rate": {"start": 0.02, "end": 0.001, "tau": 100.0},
    },
}


def test_reheated_in_the_middle_of_a_stream(serve: Callable[..., DaemonProcess]) -> None:
    twins = {kind: models.create(kind, spec) for kind, spec in SPECS.items()}
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        for kind, spec in SPECS.items():
            client.create(kind, kind, **spec)
        for part, heat in ((slice(0, 300), 1.0), (slice(300, 600), 0.25), (slice(600, 900), None)):
            for kind, twin in twins.items():
                client.learn(kind, X[part])
                twin.learn(X[part])
                if heat is not None:
                    reply = client.reheat(kind, heat)
                    twin.reheat(heat)
                    assert reply["samples"] == twin.samples
                    assert reply["lsn"] <= reply["durable_lsn"]
            daemon.kill()
            daemon = serve()
            daemon.ready()
        for kind, twin in twins.items():
            described = client.describe(kind)
            assert described["state_hash"] == twin.state_hash()
            assert described["quality"]["schedules"] == twin.quality()["schedules"]


def test_paused_and_resumed_in_the_middle_of_a_stream(serve: Callable[..., DaemonProcess]) -> None:
    twins = {kind: models.create(kind, spec) for kind, spec in SPECS.items()}
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        for kind, spec in SPECS.items():
            client.create(kind, kind, **spec)
        for part, change in ((slice(0, 300), "pause"), (slice(300, 600), "resume"), (slice(600, 900), None)):
            for kind, twin in twins.items():
                client.learn(kind, X[part])
                twin.learn(X[part])
                if change is not None:
                    reply = getattr(client, change)(kind)
                    getattr(twin, change)()
                    assert (reply["samples"], reply["paused"]) == (twin.samples, change == "pause")
                    assert reply["lsn"] <= reply["durable_lsn"]
            daemon.kill()
            daemon = serve()
            daemon.ready()
            assert [model["paused"] for model in client.models()] == [change == "pause"] * 2
        for kind, twin in twins.items():
            described = client.describe(kind)
            assert described["state_hash"] == twin.state_hash()
            assert described["quality"]["watched_samples"] == 300


WATCHING = {
    "som": {"dim": 3, "grid": [4, 4], "learning_rate": 0.1, "sigma": 1.0, "scale": "standard"},
    "competitive": {"dim": 3, "units": 9, "learning_rate": 0.1},
    "gng": {"dim": 3, "max_units": 9},
    "rnn": {"readout": "adam", "dim": 3, "hidden": 4, "learning_rate": 0.01},
    "least_squares": {"dim": 3, "hidden": 2},
}
RULES = {"below": {"learn_below": 0.7, "patience": 60}, "first": {"learn_for": 250}}


def test_what_is_watched_is_the_same_after_a_kill_and_a_restore(serve: Callable[..., DaemonProcess]) -> None:
    """A fault of 300 samples; checkpoint, kill and restore in its middle, and ``resume`` at its end."""
    x = X + np.where((np.arange(900) // 300 == 1)[:, None], np.float32(4), np.float32(0))
    kinds = {f"{kind}-{rule}": (kind, rule) for kind in WATCHING for rule in RULES}
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        twins = {}
        for name, (kind, rule) in kinds.items():
            spec = WATCHING[kind] | RULES[rule]
            kind = "rnn" if kind == "least_squares" else kind
            client.create(name, kind, **spec)
            twins[name] = models.create(kind, spec)
            client.learn(name, x[:450])
            client.checkpoint(name)
            lsn = client.learn(name, x[450:500]).lsn
            client.learn(name, x[500:600])
            client.restore(name, lsn=lsn)
        daemon.kill()
        daemon = serve()
        daemon.ready()
        for name in twins:
            client.learn(name, x[500:600])
            client.resume(name)
        daemon.kill()
        daemon = serve()
        daemon.ready()
        for name, twin in twins.items():
            client.learn(name, x[600:])
            twin.learn(x[:600])
            twin.resume()
            twin.learn(x[600:])
            described = client.describe(name)
            assert described["state_hash"] == twin.state_hash(), name
            watched = described["quality"]["watched_samples"]
            assert watched == twin.quality()["watched_samples"]
            assert watched == 650 if name.endswith("first") else watched > 50


def test_a_model_without_schedules_refuses_reheat(serve: Callable[..., DaemonProcess]) -> None:
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("map", "som", **SPECS["som"])
        client.create("steady", "som", dim=3, grid=[5, 5], learning_rate=0.1, sigma=1.5)
        written = client.stats()["written_lsn"]
        for heat in (0, -1, 1.5, float("nan")):
            with pytest.raises(BadValue, match="above 0 and at most 1"):
                client.reheat("map", heat)
        with pytest.raises(BadValue, match="nothing to reheat"):
            client.reheat("steady")
        assert client.stats()["written_lsn"] == written
