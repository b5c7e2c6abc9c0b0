"""Drift events name the samples that a model in this process marks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import streamlearn as sl
from streamlearn_client import Client
from tests.e2e.daemon_process import SECONDS, DaemonProcess

SPEC = {"dim": 3, "grid": [6, 6], "scale": "standard", "on_drift": "adapt", "seed": 1}


def test_drift_is_an_event(serve: Callable[..., DaemonProcess]) -> None:
    random = np.random.default_rng(5)
    stream = np.concatenate([random.normal(0, 1, (6000, 3)), random.normal(0, 3, (3000, 3))])
    expected = np.flatnonzero(sl.SOM(**SPEC).learn(stream).drift).tolist()
    assert expected
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("pump", kind="som", **SPEC)
        with client.subscribe("pump", "drift", timeout=SECONDS) as events:
            client.learn("pump", stream)
            marked: list[int] = []
            while len(marked) < len(expected):
                event = events.next_event()
                assert event is not None
                assert event.kind == "drift"
                marked += event.outputs.sample.tolist()
        assert marked == expected
        quality = client.describe("pump")["quality"]
        assert (quality["drift_alarms"], quality["last_drift"]) == (len(expected), expected[-1])
