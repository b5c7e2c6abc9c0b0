"""Least squares of given targets, and bands of nets, over the wire and through kill -9."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from streamlearn import models
from streamlearn_client import Client
from tests.e2e.daemon_process import SECONDS, DaemonProcess

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(900, 3)).astype(np.float32)
Y = (X @ [[2.0], [1.0], [-0.5]] + RANDOM.normal(0, 0.1, (900, 1))).astype(np.float32)
SPECS: dict[str, dict[str, Any]] = {
    "given": {"dim": 3, "target": "given", "hidden": 2, "learn_for": 800},
    "steps": {"dim": 3, "target": "given", "hidden": 0, "horizon": 2, "learn_below": 0.9},
    "next": {"dim": 3, "hidden": 2},
    "net": {"readout": "adam", "dim": 3, "hidden": 4, "learning_rate": 0.01, "coverage": 0.9},
}
MIXED = {
    "given": (1, ["last target", "mean target", "read-out"]),
    "steps": (2, ["last target", "mean target", "read-out"]),
    "next": (1, ["last value", "last value with drift", "read-out"]),
}


def targets(name: str, rows: slice) -> dict[str, np.ndarray]:
    return {"y": Y[rows]} if SPECS[name].get("target") == "given" else {}


def test_forecasts_are_those_of_this_process_after_every_kill(serve: Callable[..., DaemonProcess]) -> None:
    twins = {name: models.create("rnn", spec) for name, spec in SPECS.items()}
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        for name, spec in SPECS.items():
            client.create(name, "rnn", **spec)
        for rows in (slice(0, 300), slice(300, 600), slice(600, 900)):
            for name, twin in twins.items():
                client.learn(name, X[rows], **targets(name, rows))
                twin.learn(X[rows], **targets(name, rows))
                out, expected = client.predict(name, X[:300]), twin.predict(X[:300])
                for field in ("prediction", "lower", "upper"):
                    assert out.arrays[field].tobytes() == expected.arrays[field].tobytes(), (name, field)
            daemon.kill()
            daemon = serve()
            daemon.ready()
        for name, twin in twins.items():
            described = client.describe(name)
            assert described["state_hash"] == twin.state_hash(), name
            quality, expected_quality = described["quality"], twin.quality()
            assert quality["mae"] == expected_quality["mae"]
            if name in MIXED:
                columns, forecasts = MIXED[name]
                assert quality["mix_of"] == forecasts
                assert quality["mix"] == expected_quality["mix"]
                assert np.shape(quality["mix"])[-1] == len(forecasts)
                assert name == "next" or np.shape(quality["mix"])[0] == columns
                np.testing.assert_allclose(np.sum(quality["mix"], axis=-1), 1, rtol=1e-6)
            ahead = 0 if "target" in SPECS[name] else 3
            if ahead:
                found, here = client.forecast_in_full(name, ahead), twin.forecast_in_full(ahead)
                assert found.samples == twin.samples
                assert found.mix_of == here.mix_of == tuple(MIXED.get(name, (0, ()))[1])
                assert found.arrays.keys() == here.arrays.keys()
                for field, array in here.arrays.items():
                    np.testing.assert_array_equal(found.arrays[field], array)
                np.testing.assert_array_equal(client.forecast(name, ahead), here.forecast)
            if name in MIXED:
                reading = client.read(name, "mix")
                np.testing.assert_array_equal(reading["mix"], twin.read_parts(["mix"])[0]["mix"])
                assert reading["mix_of"] == MIXED[name][1]
        for name, (columns, _) in {**MIXED, "net": (3, [])}.items():
            bands = client.predict(name, X[:300])
            width = (bands.upper - bands.lower).reshape(300, -1)
            assert width.shape[1] == (3 if name == "next" else columns)
            assert (width > 0).all()
        assert client.describe("given")["quality"]["watched_samples"] == 100
