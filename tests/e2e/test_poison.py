"""A record at which the daemon dies twice is set aside with its model; the other models go on."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn_client import Client
from streamlearn_client.errors import NoAnswer, Quarantined
from tests.e2e import poisoned
from tests.e2e.daemon_process import SECONDS, DaemonProcess

pytestmark = [pytest.mark.e2e, pytest.mark.faults]

X = np.random.default_rng(12).normal(size=(900, 2)).astype(np.float32)
SPEC: dict[str, Any] = {"dim": 2, "units": 4, "seed": 3}


def bad(value: float, rows: int) -> np.ndarray:
    """`rows` samples, of which the last but one has `value`."""
    x = X[500 : 500 + rows].copy()
    x[max(rows - 2, 0), 1] = value
    return x


def in_process(*parts: np.ndarray) -> str:
    model = sl.Competitive(**SPEC)
    for part in parts:
        model.learn(part)
    return model.state_hash()


@pytest.fixture
def start(tmp_path: Path) -> Any:
    started = []

    def start() -> DaemonProcess:
        started.append(DaemonProcess(tmp_path, module="tests.e2e.poisoned"))
        return started[-1]

    yield start
    for each in started:
        each.__exit__()


def command(*arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "streamlearn", *arguments],
        capture_output=True, text=True, timeout=SECONDS, env=os.environ, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def client_of(daemon: DaemonProcess, timeout: float = SECONDS) -> Client:
    return Client(daemon.requests, timeout=timeout)


def create_and_learn(daemon: DaemonProcess) -> None:
    """Create two models that have learned X[:500], in 11 records each."""
    daemon.ready()
    with client_of(daemon) as client:
        for name in ("good", "bad"):
            client.create(name, "competitive", **SPEC)
            for begin in range(0, 500, 50):
                client.learn(name, X[begin : begin + 50])


REQUESTS: dict[str, Callable[[Client], object]] = {
    "learn": lambda client: client.learn("bad", X[:1]),
    "predict": lambda client: client.predict("bad", X[:1]),
    "describe": lambda client: client.describe("bad"),
    "checkpoint": lambda client: client.checkpoint("bad"),
    "checkpoints": lambda client: client.checkpoints("bad"),
    "restore": lambda client: client.restore("bad"),
    "reheat": lambda client: client.reheat("bad"),
    "forecast": lambda client: client.forecast("bad", 3),
    "sample": lambda client: client.sample("bad", 3),
    "unpin": lambda client: client.unpin("bad", "name"),
    "delete": lambda client: client.delete("bad"),
}


def test_a_record_that_kills_twice(start: Callable[[], DaemonProcess], tmp_path: Path) -> None:
    data = tmp_path / "data"
    daemon = start()
    create_and_learn(daemon)
    with client_of(daemon, 1.0) as client, pytest.raises(NoAnswer):
        client.learn("bad", bad(poisoned.CRASH, 40))
    assert daemon.ended() == -signal.SIGSEGV
    assert start().ended() == -signal.SIGSEGV
    for number in range(2):
        daemon = start()
        daemon.ready()
        with client_of(daemon) as client:
            client.learn("good", X[600 + number : 601 + number])
            for name, request in REQUESTS.items():
                with pytest.raises(Quarantined, match="died 2 times while it applied record 23") as error:
                    request(client)
                assert error.value.detail["lsn"] == 23, name
                assert "UTC" in error.value.detail["reason"]
            entry = {model["name"]: model["quarantined"] for model in client.models()}
            assert entry["good"] is None
            assert entry["bad"]["lsn"] == client.stats("bad")["models"]["bad"]["quarantined"]["lsn"] == 23
        assert "bad is set aside: the daemon died 2 times" in command("-e", daemon.requests, "status")
        assert "ERROR a model is set aside" in daemon.stderr
        assert "model=bad lsn=23" in daemon.stderr
        assert daemon.terminate() == 0
    assert re.search(r"bad +23 +2 ", command("repair", str(data)))
    assert "at record 22; set aside: bad" in command("repair", str(data), "--drop-record", "22", "-y", code=1)
    assert "record 23 of bad is dropped" in command("repair", str(data), "--drop-record", "23", "-y")
    assert json.loads(command("repair", str(data), "--json"))["set_aside"] == []
    daemon = start()
    daemon.ready()
    with client_of(daemon) as client:
        client.learn("bad", X[700:])
        assert client.describe("bad")["state_hash"] == in_process(X[:500], X[700:])
        assert client.describe("good")["state_hash"] == in_process(X[:500], X[600:602])


def test_a_record_at_which_the_daemon_hangs(
    start: Callable[[], DaemonProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This test is systemd: it kills a daemon whose signs of life stop."""
    messages = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    messages.bind(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", "2000000")

    def watch(daemon: DaemonProcess) -> None:
        """Wait until the signs of life stop, then kill the daemon."""
        messages.settimeout(SECONDS)
        while b"WATCHDOG=1" not in messages.recv(4096):
            pass
        messages.settimeout(2.0)
        deadline = time.monotonic() + SECONDS
        try:
            while True:
                messages.recv(4096)
                assert time.monotonic() < deadline, "the daemon does not hang"
        except TimeoutError:
            assert daemon.process.poll() is None
            daemon.terminate(signal.SIGABRT)

    daemon = start()
    create_and_learn(daemon)
    with client_of(daemon, 4.0) as client, pytest.raises(NoAnswer):
        client.learn("bad", bad(poisoned.HANG, 40))
    watch(daemon)
    watch(start())
    monkeypatch.delenv("NOTIFY_SOCKET")  # nobody reads it now, and ten messages fill it
    daemon = start()
    daemon.ready()
    with client_of(daemon) as client:
        with pytest.raises(Quarantined, match="record 23"):
            client.describe("bad")
        assert client.describe("good")["state_hash"] == in_process(X[:500])
    assert daemon.terminate() == 0
    assert "bad is dropped" in command("repair", str(tmp_path / "data"), "--drop-model", "bad", "--yes")
    daemon = start()
    daemon.ready()
    with client_of(daemon) as client:
        assert [model["name"] for model in client.models()] == ["good"]
    messages.close()
