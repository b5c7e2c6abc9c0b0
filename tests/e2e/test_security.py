"""A daemon process with keys: reload by SIGHUP, modes of its files, and refused starts."""

from __future__ import annotations

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from streamlearn.errors import Forbidden
from streamlearn_client import Client
from tests.daemon.keyrings import RIGHTS, KeyRing
from tests.e2e.daemon_process import SECONDS, DaemonProcess, endpoints

pytestmark = pytest.mark.e2e

X = np.random.default_rng(2).normal(size=(50, 4)).astype(np.float32)
SPEC = {"dim": 4, "grid": [4, 4]}
FREE = "tcp://127.0.0.1:*"


@pytest.fixture
def daemon_type() -> type[DaemonProcess]:
    """The umask and the key files are those of a start."""
    return DaemonProcess


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def keys_of(ring: KeyRing) -> dict[str, object]:
    return {f"security__{name}": value for name, value in asdict(ring.security).items()}


def logged(daemon: DaemonProcess, text: str) -> None:
    deadline = time.monotonic() + SECONDS
    while text not in daemon.stderr:
        assert daemon.process.poll() is None, f"the daemon ended:\n{daemon.stderr}"
        assert time.monotonic() < deadline, f"{text!r} is not in the log:\n{daemon.stderr}"
        time.sleep(0.01)


def client(daemon: DaemonProcess, ring: KeyRing, name: str) -> Client:
    pair = ring.keys(name)
    return Client(daemon.requests, timeout=SECONDS, server_key=pair.server, key=pair.secret)


def test_keys_and_rights_change_while_the_daemon_runs(
    serve: Callable[..., DaemonProcess], ring: KeyRing
) -> None:
    daemon = serve(**keys_of(ring))
    logged(daemon, "clients need a key")
    daemon.process.send_signal(signal.SIGHUP)  # during the start
    daemon.ready()
    logged(daemon, "reloaded keys and rights: no change")
    with client(daemon, ring, "operator") as operator, client(daemon, ring, "dashboard") as dashboard:
        operator.create("pump-1", "som", **SPEC)
        assert [each["name"] for each in dashboard.models()] == ["pump-1"]
        ring.revoke("dashboard")
        for _ in range(100):
            daemon.process.send_signal(signal.SIGHUP)
        logged(daemon, "removed dashboard")
        with pytest.raises(Forbidden):
            dashboard.models()
        ring.rights.write_text("[operator")
        daemon.process.send_signal(signal.SIGHUP)
        logged(daemon, "keys and rights stay as they were")
        operator.learn("pump-1", X)
        ring.rights.write_text(RIGHTS.replace("[sensor]", "[renamed]"))
        daemon.process.send_signal(signal.SIGHUP)
        logged(daemon, "changed the rights of sensor")
        with pytest.raises(Forbidden), client(daemon, ring, "sensor") as sensor:
            sensor.learn("pump-1", X)
        assert operator.describe("pump-1")["samples"] == len(X)
    assert not [pair.secret for pair in ring.pairs.values() if pair.secret in daemon.stderr]
    assert daemon.terminate() == 0


def test_sighup_does_not_end_a_daemon_without_keys(serve: Callable[..., DaemonProcess]) -> None:
    daemon = serve()
    daemon.ready()
    daemon.process.send_signal(signal.SIGHUP)
    logged(daemon, "no keys are configured")
    with Client(daemon.requests, timeout=SECONDS) as anybody:
        assert anybody.hello()["server"] == "streamlearn"


def test_everything_that_the_daemon_creates_is_private(
    serve: Callable[..., DaemonProcess], open_umask: None, tmp_path: Path
) -> None:
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as anybody:
        anybody.create("m", "som", **SPEC)
        anybody.learn("m", X)
        anybody.checkpoint("m", name="pinned")
        anybody.backup(str(tmp_path / "copy"))
    for name in ("requests", "firehose", "events"):
        mode = stat.S_IMODE((tmp_path / "daemon" / name).stat().st_mode)
        assert mode == 0o600
    assert daemon.terminate() == 0
    for directory in (tmp_path / "daemon/data", tmp_path / "copy"):
        paths = [directory, *directory.rglob("*")]
        assert len(paths) > 5
        for path in paths:
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_a_network_endpoint_with_keys_and_without(serve: Callable[..., DaemonProcess], ring: KeyRing) -> None:
    network = ("--requests", "tcp://0.0.0.0:*", "--firehose", FREE, "--events", FREE)
    daemon = serve(*network, **keys_of(ring))
    bound = endpoints(daemon.ready())["requests"].replace("0.0.0.0", "127.0.0.1")
    pair = ring.keys("operator")
    with Client(bound, timeout=SECONDS, server_key=pair.server, key=pair.secret) as operator:
        assert operator.hello()["server"] == "streamlearn"
    assert "INSECURE" not in daemon.stderr
    daemon.kill()
    exposed = serve(*network, "--insecure")
    exposed.ready()
    logged(exposed, "INSECURE: requests at tcp://0.0.0.0:* accepts everybody on the network")


def test_a_start_with_wrong_keys_is_refused(serve: Callable[..., DaemonProcess], ring: KeyRing) -> None:
    (ring.directory / "server.key").chmod(0o644)
    daemon = serve(**keys_of(ring))
    assert daemon.ended() == 2
    assert "server.key has mode 0644" in daemon.stderr
    assert ring.pairs["server"].secret not in daemon.stderr
