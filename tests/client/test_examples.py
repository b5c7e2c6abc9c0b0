"""The example programs against the fake daemon."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamlearn_client.protocol import EventMessage

EXAMPLES = Path(__file__).parents[2] / "clients" / "examples"
CLIENT = Path(__file__).parents[2] / "clients" / "python"


@pytest.fixture
def start(daemon):
    """Start an example program. Kill it after the test if it still runs."""
    running = []

    def start(name: str, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "STREAMLEARN_ENDPOINT": daemon.endpoint, "PYTHONPATH": str(CLIENT)}
        command = [sys.executable, EXAMPLES / name, *arguments]
        process = subprocess.Popen(
            command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_push_sensor(daemon, start, until):
    process = start("push_sensor.py")
    until(lambda: "pump" in daemon.models and len(daemon.models["pump"].rows) >= 10)
    process.send_signal(signal.SIGINT)
    output, problem = process.communicate(timeout=60)
    assert "stopped" in output, problem
    assert np.isfinite(daemon.models["pump"].rows).all()


def test_watch_events(daemon, start, until):
    daemon.add("pump", dim=4)
    process = start("watch_events.py", "pump")
    until(lambda: daemon.subscribers)
    scores = {"score": np.array([0.5, 0.9999], "<f4")}
    daemon.publish(EventMessage("checkpoint", "pump", 8, time=10**18))
    daemon.publish(EventMessage("output", "pump", 9, 512, 2, 10**18, scores))
    assert "checkpoint (lsn 8)" in process.stdout.readline()
    assert "sample 513: score 0.9999" in process.stdout.readline()


def test_ask(daemon, start):
    daemon.add("pump", dim=3)
    output, problem = start("ask.py", "pump", "1,2,3", "4,,6").communicate(timeout=60)
    assert "4,,6: winner 1" in output, problem
    _, problem = start("ask.py", "no-such", "1").communicate(timeout=60)
    assert "UNKNOWN_MODEL" in problem
