"""The examples of the C client against a real daemon."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.suite.trial import Daemon, until


@pytest.fixture
def start(plain: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start an example against a daemon. Kill it after the test if it still runs."""
    running = []

    def start(daemon: Daemon, name: str, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [str(plain / name), *arguments],
            env={**os.environ, "STREAMLEARN_ENDPOINT": daemon.requests},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_push_sensor_across_a_kill_of_the_daemon_and_watch_events(tmp_path, start):
    daemon = Daemon(tmp_path / "d", {})
    try:
        sensor = start(daemon, "push_sensor")
        assert "acknowledged" in sensor.stdout.readline()
        watcher = start(daemon, "watch_events", "pump")
        daemon.restart()
        before = daemon.samples("pump")
        until(lambda: daemon.samples("pump") > before)
        with daemon.client() as client:
            client.checkpoint("pump")
        # Samples with a high score may come before it.
        assert any("checkpoint of pump (lsn " in line for line in iter(watcher.stdout.readline, ""))
        for process in (sensor, watcher):
            process.send_signal(signal.SIGINT)
        output, problem = sensor.communicate(timeout=60)
        assert (sensor.returncode, problem) == (0, "")
        assert output.endswith("stopped\n")
        assert watcher.communicate(timeout=60)[1] == ""
        assert watcher.returncode == 0
    finally:
        daemon.kill()


def test_ask(daemon, start):
    with daemon.client() as client:
        client.create("asked", "som", dim=3, grid=[2, 2])
        client.learn("asked", [[1, 2, 3], [4, 5, 6]])
    output, problem = start(daemon, "ask", "asked", "1,2,3", "4,,6").communicate(timeout=60)
    assert problem == ""
    lines = output.splitlines()
    assert lines[0] == 'asked: kind "som", 2 samples learned'
    assert lines[2].startswith("4,,6: winner ")
    assert "present 2" in lines[2]
    _, problem = start(daemon, "ask", "no-such", "1").communicate(timeout=60)
    assert problem.startswith("UNKNOWN_MODEL: ")


def test_ask_without_a_daemon(tmp_path, plain):
    environment = {**os.environ, "STREAMLEARN_ENDPOINT": f"ipc://{tmp_path}/nobody"}
    done = subprocess.run(
        [str(plain / "ask"), "pump", "1"], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 1
    assert done.stderr.startswith("NO_ANSWER: no daemon answers at ipc://")
