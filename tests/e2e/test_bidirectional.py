"""Bidirectional nets in the daemon: events follow the right context; a crash in a chunk changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import streamlearn as sl
from streamlearn_client import Client
from tests.e2e.daemon_process import SECONDS, DaemonProcess

pytestmark = pytest.mark.e2e

SPEC = {"dim": 3, "hidden": 6, "layers": 2, "chunk": [8, 3], "scale": "standard", "keys": 2, "seed": 1}
RANDOM = np.random.default_rng(6)
X = RANDOM.normal(size=(300, 3)).astype(np.float32)
Y = np.roll(X[:, :1], -2)
KEYS = np.array(["east", "west"])[RANDOM.integers(0, 2, 300)]


def test_outputs_carry_the_number_of_their_sample(serve: Callable[..., DaemonProcess]) -> None:
    expected = sl.BidirectionalRNN(**SPEC)
    out = expected.learn(X, Y, keys=KEYS)
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "birnn", **SPEC)
        with client.subscribe("m", "output", timeout=SECONDS) as events:
            for start in range(0, 300, 7):
                now = slice(start, start + 7)
                client.learn("m", X[now], Y[now], keys=KEYS[now])
            received: list[tuple[int, float]] = []
            while len(received) < len(out):
                event = events.next_event()
                assert event is not None
                outputs = event.outputs
                received += zip(outputs.sample.tolist(), outputs.prediction[:, 0].tolist(), strict=True)
        assert received == list(zip(out.sample.tolist(), out.prediction[:, 0].tolist(), strict=True))
        answer = client.predict("m", X[:50], keys=KEYS[:50])
        same = expected.predict(X[:50], keys=KEYS[:50])
        assert answer.sample.tolist() == same.sample.tolist()
        assert answer.prediction.tobytes() == same.prediction.tobytes()


def test_a_crash_within_a_chunk_changes_nothing(serve: Callable[..., DaemonProcess]) -> None:
    expected = sl.BidirectionalRNN(**SPEC)
    expected.learn(X, Y, keys=KEYS)
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "birnn", **SPEC)
        client.learn("m", X[:100], Y[:100], keys=KEYS[:100])
        client.checkpoint("m")
        client.learn("m", X[100:205], Y[100:205], keys=KEYS[100:205])
        assert client.describe("m")["quality"]["waiting"] > 0
        daemon.kill()
        serve().ready()
        client.learn("m", X[205:], Y[205:], keys=KEYS[205:])
        assert client.describe("m")["state_hash"] == expected.state_hash()
