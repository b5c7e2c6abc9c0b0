"""The daemon process: start, refused starts, requests of the real client, and stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zmq

import streamlearn.models as models
from streamlearn.errors import BadSpec, NoAnswer, ShuttingDown
from streamlearn_client import Client
from tests.e2e.daemon_process import SECONDS, DaemonProcess, endpoints

pytestmark = pytest.mark.e2e

X = np.random.default_rng(2).normal(size=(5000, 4)).astype(np.float32)
SPEC = {"dim": 4, "grid": [4, 4], "scale": "standard"}


def in_process(x: np.ndarray) -> str:
    model = models.create("som", SPEC)
    model.learn(x)
    return model.state_hash()


def test_the_ready_line_appears_once_with_the_endpoints(serve: Callable[..., DaemonProcess]) -> None:
    free = "tcp://127.0.0.1:*"
    daemon = serve("--requests", free, "--firehose", free, "--events", "tcp://127.0.0.1:0")
    bound = endpoints(daemon.ready())
    assert set(bound) == {"requests", "firehose", "events", "data"}
    assert "*" not in bound["requests"]
    with Client(bound["requests"], timeout=SECONDS) as client:
        assert client.hello()["endpoints"] == {
            name: bound[name] for name in ("requests", "firehose", "events")
        }
    assert daemon.terminate() == 0
    assert daemon.output() == ""


@pytest.fixture
def daemon_type() -> type[DaemonProcess]:
    """Each start is one in a new interpreter, as a user starts it."""
    return DaemonProcess


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_clean_stop_checkpoints_so_that_a_start_replays_nothing(
    serve: Callable[..., DaemonProcess], number: int
) -> None:
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", **SPEC)
        with client.stream("m") as stream:
            stream.push_many(X)
        description = client.describe("m")
        assert description["samples"] == len(X)
        assert description["state_hash"] == in_process(X)
        assert daemon.terminate(number) == 0
        again = serve()
        again.ready()
        assert "replayed 0 records (0 samples)" in again.stderr.splitlines()[-1]
        assert (
            client.describe("m")["state_hash"] == description["state_hash"]
        )  # the same client, across the restart


def test_a_stream_survives_kill_9_in_its_middle(serve: Callable[..., DaemonProcess]) -> None:
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", **SPEC)
        with client.stream("m", batch=16, window=8) as stream:
            for start in range(0, len(X), 100):
                stream.push_many(X[start : start + 100])
                if start in (1000, 3000):
                    daemon.kill()
                    daemon = serve()
                    daemon.ready()
        description = client.describe("m")
    assert description["samples"] == len(X)
    assert description["state_hash"] == in_process(X)


def test_declared_models_are_created_at_the_start(
    serve: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    config = tmp_path / "streamlearn.toml"
    declaration = (
        '[[models]]\nname = "m"\nkind = "som"\n[models.spec]\ndim = 4\ngrid = [4, 4]\nscale = "standard"\n'
    )
    config.write_text(declaration)
    for _ in range(2):  # at the second start the model exists
        daemon = serve("--config", str(config))
        daemon.ready()
        with Client(daemon.requests, timeout=SECONDS) as client:
            assert [each["name"] for each in client.models()] == ["m"]
            client.learn("m", X[:100])
        assert daemon.terminate() == 0
    config.write_text(declaration.replace("[4, 4]", "[5, 4]"))
    assert_refused(serve("--config", str(config)), 2, "models.m.spec.grid", "[5, 4]", "[4, 4]")


def test_rows_that_may_cost_too_much(serve: Callable[..., DaemonProcess], tmp_path: Path) -> None:
    """New models are refused. One that exists goes on, with a warning, if the limit was lowered."""
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        with pytest.raises(BadSpec, match=r"multiply-adds.*lower max_iterations or units"):
            client.create("slow", kind="hamming", dim=16, units=100, max_iterations=2**31 - 1)
        client.create("m", kind="som", **SPEC)
        client.learn("m", X[:100])
    daemon.kill()
    daemon = serve(limits__row_cost=1000)
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        assert client.learn("m", X[100:200]).applied_lsn > 0
        with pytest.raises(BadSpec, match=r"limits\.row_cost allows 1,000"):
            client.create("another", kind="som", **SPEC)
    assert daemon.terminate() == 0
    assert "a row of model 'm' may cost" in daemon.stderr
    config = tmp_path / "streamlearn.toml"
    config.write_text('[[models]]\nname = "n"\nkind = "som"\nspec = {dim = 4, grid = [4, 4]}\n')
    refused = serve("--config", str(config), limits__row_cost=1000)
    assert_refused(refused, 2, "models.n", "limits.row_cost allows 1,000", "grid")


def assert_refused(daemon: DaemonProcess, code: int, *parts: str) -> None:
    """The daemon exits with `code` and one line with the reason, and was never ready."""
    assert daemon.ended() == code
    assert daemon.output() == ""
    lines = daemon.stderr.splitlines()[-1:]
    assert "Traceback" not in daemon.stderr
    for part in parts:
        assert part in lines[0]


def test_an_endpoint_that_is_taken(serve: Callable[..., DaemonProcess]) -> None:
    first = serve(directory="first")
    first.ready()
    second = serve("--events", first.requests, directory="second")
    assert_refused(second, 3, "events", first.requests)


def test_a_tcp_port_that_is_taken(serve: Callable[..., DaemonProcess]) -> None:
    context = zmq.Context()
    holder = context.socket(zmq.PULL)
    try:
        holder.bind("tcp://127.0.0.1:*")
        taken = holder.last_endpoint.rstrip(b"\0").decode()
        daemon = serve("--requests", taken)
        assert_refused(daemon, 3, "requests", taken)
        assert len(daemon.stderr.splitlines()) == 1
    finally:
        context.destroy(0)


def test_a_directory_in_use(serve: Callable[..., DaemonProcess], tmp_path: Path) -> None:
    first = serve(directory="first")
    first.ready()
    second = serve("--data-dir", str(tmp_path / "first" / "data"), directory="second")
    assert_refused(second, 4, "first/data", str(first.process.pid))
    assert len(second.stderr.splitlines()) == 1
    with Client(first.requests, timeout=SECONDS) as client:
        assert client.models() == []


def test_a_configuration_with_three_mistakes(serve: Callable[..., DaemonProcess], tmp_path: Path) -> None:
    config = tmp_path / "streamlearn.toml"
    config.write_text('[checkpoints]\nkeep = 0\n[lerning]\n[log]\nlevel = "loud"\n')
    daemon = serve("--config", str(config))
    assert daemon.ended() == 2
    assert "Traceback" not in daemon.stderr
    for each in ("3 mistakes", "checkpoints.keep", "lerning", "learning?", "log.level", "streamlearn.toml"):
        assert each in daemon.stderr


def test_an_open_network_without_authentication(serve: Callable[..., DaemonProcess]) -> None:
    assert_refused(serve("--requests", "tcp://0.0.0.0:*"), 7, "--insecure", "tcp://0.0.0.0:*")
    daemon = serve("--requests", "tcp://0.0.0.0:*", "--insecure")
    assert "tcp://0.0.0.0:" in daemon.ready()


def test_a_damaged_journal_and_its_repair(serve: Callable[..., DaemonProcess], tmp_path: Path) -> None:
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", **SPEC)
        for start in range(0, 1000, 100):
            client.learn("m", X[start : start + 100])
    daemon.kill()
    shutil.rmtree(tmp_path / "daemon/data/checkpoints", ignore_errors=True)  # if a checkpoint exists
    segment = next((tmp_path / "daemon/data/journal").iterdir())
    data = bytearray(segment.read_bytes())
    hole = data.index(X[500].tobytes())
    data[hole] ^= 0xFF
    segment.write_bytes(data)
    assert_refused(serve(), 5, "damaged", segment.name, "record 7", "--repair")
    repaired = serve("--repair")
    repaired.ready()
    with Client(repaired.requests, timeout=SECONDS) as client:
        description = client.describe("m")
    assert description["samples"] == 500
    assert description["state_hash"] == in_process(X[:500])
    assert list(segment.parent.glob("*.damaged*"))


def test_damaged_checkpoints_and_no_journal_to_make_up_for_them(
    serve: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    settings = {"journal__segment_bytes": 65536}
    daemon = serve(**settings)
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", **SPEC)
        for start in (0, 1000):
            for _ in range(8):
                client.learn("m", X[start : start + 1000])
            client.checkpoint("m")
    assert daemon.terminate() == 0
    for file in (tmp_path / "daemon/data/checkpoints/m@1").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert_refused(serve(**settings), 6, "'m'", "no good checkpoint")


def test_a_data_directory_that_cannot_be_used(serve: Callable[..., DaemonProcess], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    daemon = serve("--data-dir", str(tmp_path / "file" / "data"))
    assert_refused(daemon, 2, "file/data")


def test_a_long_query_is_answered_while_the_learning_goes_on(serve: Callable[..., DaemonProcess]) -> None:
    """The answer equals that of a model in this process that has learned up to the answer's lsn."""
    daemon = serve()
    daemon.ready()
    asked = np.tile(X, (30, 1))
    with Client(daemon.requests) as client, Client(daemon.requests, timeout=SECONDS) as asking:
        client.create("net", "rnn", readout="adam", dim=4, hidden=32)
        client.learn("net", X[:1])
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(asking.predict, "net", asked)
            learned = 1
            while not answer.done() and learned < len(X):
                client.learn("net", X[learned])
                learned += 1
        outputs = answer.result()
    net = models.create("rnn", {"readout": "adam", "dim": 4, "hidden": 32})
    assert outputs.applied_lsn is not None
    net.learn(X[: outputs.applied_lsn - 1])  # record 1 creates the model; each later record is a sample
    for name, array in net.predict(asked).arrays.items():
        assert array.tobytes() == outputs.arrays[name].tobytes()


def learn_until_stopped(client: Client) -> None:
    while True:
        client.learn("m", X)


def test_a_request_during_shutdown_gets_shutting_down(serve: Callable[..., DaemonProcess]) -> None:
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("m", "som", **SPEC)
        client.timeout = 5
        daemon.process.send_signal(signal.SIGTERM)
        with pytest.raises((ShuttingDown, NoAnswer)):
            learn_until_stopped(client)
    assert daemon.ended() == 0


def test_systemd_is_notified(
    serve: Callable[..., DaemonProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.bind(str(tmp_path / "notify"))
        inbox.settimeout(SECONDS)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        daemon = serve()
        daemon.ready()
        assert inbox.recv(100) == b"READY=1"
        assert daemon.terminate() == 0
        assert inbox.recv(100) == b"STOPPING=1"


def test_an_interrupted_start_is_not_a_crash(tmp_path: Path) -> None:
    """Ctrl-C before the daemon serves: no traceback, and the next start works."""
    with DaemonProcess(tmp_path) as daemon:
        lock = tmp_path / "data" / "lock"
        while not lock.exists():
            assert daemon.process.poll() is None
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.ended() in (0, 130)  # 0: it was serving already
        assert "Traceback" not in daemon.stderr
    with DaemonProcess(tmp_path) as daemon:
        daemon.ready()


def test_the_module_runs_from_any_directory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamlearn", "serve", "--config", "missing.toml"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert "missing.toml" in done.stderr
