"""Explanations through a daemon: of a sample and of an alarm, equal to those of this process; the command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamlearn import models
from streamlearn_client import Client
from tests.conformance.examples import outputs_hash
from tests.e2e.daemon_process import SECONDS, DaemonProcess

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "som": ("som", {"grid": [8, 8], "scale": "standard"}),
    "hard": ("competitive", {"units": 10, "scale": "standard"}),
    "gas": ("competitive", {"units": 10, "mode": "gas", "scale": "standard"}),
    "gng": ("gng", {"scale": "standard"}),
    "default": ("rnn", {}),
    "lstm": ("rnn", {"readout": "adam", "cell": "lstm", "scale": "standard"}),
    "gru": ("rnn", {"readout": "adam", "cell": "gru", "scale": "standard"}),
}
CHANNELS = ["flow", "pressure", "current", "speed"]
BEGIN, SAMPLES, FAULTY = 3000, 40, 2  # of the fault: its first sample, its length, its channel


def stream() -> np.ndarray:
    """Four channels with a common load. In the fault one of them has an offset."""
    random = np.random.default_rng(4)
    load = np.zeros(BEGIN + SAMPLES)
    for t in range(1, len(load)):
        load[t] = 0.95 * load[t - 1] + random.normal(0, 0.3)
    x = (
        np.outer(load, [1, 30, -0.5, 4])
        + [5, 100, 2, 40]
        + random.normal(size=(len(load), 4)) * [0.1, 3, 0.05, 0.4]
    )
    x[BEGIN:, FAULTY] += 3
    return x.astype(np.float32)


@pytest.fixture
def daemon(serve: Callable[..., DaemonProcess]) -> DaemonProcess:
    started = serve()
    started.ready()
    return started


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[Client]:
    with Client(daemon.requests, timeout=SECONDS) as client:
        yield client


def test_a_fault_that_was_learned_over_the_wire(client: Client) -> None:
    x = stream()
    for name, (kind, spec) in KINDS.items():
        full = {"dim": 4, "seed": 1, "alarm": True, "channels": CHANNELS, **spec}
        twin = models.create(kind, full)
        client.create(name, kind=kind, **full)
        with client.subscribe(name, "alarm", timeout=SECONDS) as events:
            for start in range(0, len(x), 500):
                client.learn(name, x[start : start + 500])
            expected = twin.learn(x).events
            begun = [alarm for alarm in expected if alarm.state == "begin" and alarm.first >= BEGIN]
            assert [alarm.channel for alarm in begun] == [FAULTY] * len(begun) != [], name
            seen: list[Any] = []
            while len(seen) < len(expected):
                event = events.next_event(timeout=SECONDS)
                assert event is not None, f"{name}: {len(seen)} of {len(expected)} alarms came"
                seen += event.alarms
        for alarm, own in zip(seen, expected, strict=True):
            assert (alarm.sample, alarm.channel, alarm.peak) == (own.sample, own.channel, own.peak), name
            assert alarm.contribution.tobytes() == own.contribution.tobytes(), name
        # By sample: the fault once more, and the sample at which the alarm began
        at = begun[0].first
        for rows in (x[BEGIN:], x[at : at + 1]):
            answer, reference = client.explain(name, rows), twin.explain(rows)
            assert outputs_hash(answer) == outputs_hash(reference), name
            assert np.allclose(answer.contribution.sum(axis=1), 1, atol=1e-6), name
        assert client.describe(name)["state_hash"] == twin.state_hash()


def test_the_command(daemon: DaemonProcess, client: Client, tmp_path: Path) -> None:
    x = stream()
    client.create(
        "pump", kind="rnn", dim=4, channels=CHANNELS, channel_units=["l/s", "hPa", "A", "Hz"], seed=1
    )
    client.learn("pump", x[:BEGIN])
    expected = models.create("rnn", {"dim": 4, "seed": 1})
    expected.learn(x[:BEGIN])
    file = tmp_path / "fault.csv"
    rows = [",".join(repr(float(value)) for value in row) for row in x[BEGIN:]]
    file.write_text("\n".join([",".join(CHANNELS), *rows]) + "\n")

    def run(*options: str) -> str:
        command = [sys.executable, "-m", "streamlearn", "explain", str(file), "--model", "pump", *options]
        done = subprocess.run(
            [*command, "--endpoint", daemon.requests], capture_output=True, text=True, timeout=SECONDS
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    answer, reference = json.loads(run("--json")), expected.explain(x[BEGIN:])
    assert len(answer["samples"]) == SAMPLES
    assert answer["channels"][0]["channel"] == "current"
    for n, sample in enumerate(answer["samples"]):
        assert sample["line"] == n + 2
        assert sample["score"] == pytest.approx(float(reference.score[n]))
        for channel in sample["channels"]:
            c = CHANNELS.index(channel["channel"])
            assert channel["unit"] == ["l/s", "hPa", "A", "Hz"][c]
            assert channel["value"] == pytest.approx(float(x[BEGIN + n, c]))
            assert channel["expected"] == pytest.approx(float(reference.expected[n, c]))
            assert channel["contribution"] == pytest.approx(float(reference.contribution[n, c]))
    text = run("--above", "0.9", "--top", "2")
    assert "current" in text
    assert "contribution" in text
