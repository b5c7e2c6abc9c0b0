"""Start and stop of a real daemon in a hostile environment: one line and the right exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from streamlearn_client import Client
from streamlearn_client.errors import NoAnswer
from tests.e2e.daemon_process import SECONDS, DaemonProcess

pytestmark = pytest.mark.e2e

SERVE = [sys.executable, "-m", "streamlearn", "serve"]
ENDPOINTS = [f"--{name}=tcp://127.0.0.1:*" for name in ("requests", "firehose", "events")]
X = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)


def start(*arguments: str, variables: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `serve` until it ends."""
    return subprocess.run(
        [*SERVE, *ENDPOINTS, *arguments],
        env=os.environ | (variables or {}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 4 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk: Path) -> Path:
    path = disk / "fill"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return path


# ------------------------------------------------------------------------------------- files and disks


def test_a_full_disk_at_the_first_start(small_disk: Path) -> None:
    fill(small_disk)
    assert_one_line(
        start("--data-dir", str(small_disk / "data")), 8, "is full", "free some space", "disk/data"
    )


@pytest.mark.parametrize("name", ["lock", "journal", "checkpoints"])
def test_a_file_of_the_wrong_type(tmp_path: Path, name: str) -> None:
    if name == "lock":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_text("")
    assert_one_line(start("--data-dir", str(tmp_path)), 2, str(tmp_path), name)


@pytest.mark.parametrize("place", ["config", "data"])
def test_a_path_of_the_wrong_type(tmp_path: Path, place: str) -> None:
    if place == "config":
        assert_one_line(start("--config", str(tmp_path)), 2, str(tmp_path), "directory")
    else:
        (tmp_path / "file").write_text("")
        assert_one_line(start("--data-dir", str(tmp_path / "file")), 2, str(tmp_path / "file"))


def test_sigterm_on_a_full_disk_is_no_clean_stop(small_disk: Path, tmp_path: Path) -> None:
    daemon = DaemonProcess(
        tmp_path, "--data-dir", str(small_disk / "data"), settings={"journal__segment_bytes": 1 << 16}
    )
    with daemon:
        daemon.ready()
        with Client(daemon.requests, timeout=SECONDS) as client:
            client.create("m", kind="som", dim=3, grid=[20, 20])
            client.learn("m", X)
            fill(small_disk)
            assert daemon.terminate() == 9
    last = daemon.stderr.splitlines()[-1]
    assert "the last checkpoint of m could not be written" in last
    assert "Traceback" not in daemon.stderr
    (small_disk / "fill").unlink()
    again = DaemonProcess(tmp_path, "--data-dir", str(small_disk / "data"))
    with again:
        again.ready()
        with Client(again.requests, timeout=SECONDS) as client:
            assert client.describe("m")["samples"] == len(X)
        assert again.terminate() == 0


# ----------------------------------------------------------------------------------------- environment


def test_no_home_and_no_passwd_entry() -> None:
    """A container may run with any number as its user. pytest's own directory is private to another user."""
    with tempfile.TemporaryDirectory() as directory:
        check_cache_without_home(Path(directory))


def check_cache_without_home(directory: Path) -> None:
    command = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", sys.executable, "-c", PROGRAM]
    directory.chmod(0o777)
    directories = ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
    variables = {name: value for name, value in os.environ.items() if name not in directories}
    done = subprocess.run(
        command, env=variables | {"TMPDIR": str(directory)}, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_relative_to(directory)


PROGRAM = "from streamlearn.kernels.compiler import cache; print(cache.installation_path())"


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("STREAMLEARN_LOG", "debug", ["[log] is a section", "STREAMLEARN_LOG__LEVEL"]),
        ("STREAMLEARN_ENDPOINTS", "tcp://127.0.0.1:1", ["section", "STREAMLEARN_ENDPOINTS__REQUESTS"]),
        ("STREAMLEARN_MODELS", "pump", ["expected a JSON list"]),
        (
            "STREAMLEARN_LOG__LEVLE",
            "debug",
            ["unknown environment variable", "did you mean STREAMLEARN_LOG__LEVEL?"],
        ),
        ("STREAMLEARN_ENDPONT", "x", ["did you mean STREAMLEARN_ENDPOINT?"]),
        ("STREAMLEARN_LOG__LEVEL", "loud", ["log.level", "'loud'"]),
        ("STREAMLEARN_LIMITS__ROWS", "many", ["limits.rows", "'many'"]),
        ("STREAMLEARN_DATA_DIR", "", ["data_dir"]),
    ],
)
def test_a_wrong_environment_variable(tmp_path: Path, name: str, value: str, parts: list[str]) -> None:
    arguments = [] if name == "STREAMLEARN_DATA_DIR" else ["--data-dir", str(tmp_path / "data")]
    assert_one_line(start(*arguments, variables={name: value}), 2, *parts)
    assert not (tmp_path / "data").exists()


def test_variables_of_kubernetes_services_are_ignored(tmp_path: Path) -> None:
    variables = {
        "STREAMLEARN_SERVICE_HOST": "10.0.0.1",
        "STREAMLEARN_SERVICE_PORT_REQUESTS": "7700",
        "STREAMLEARN_PORT": "tcp://10.0.0.1:7700",
        "STREAMLEARN_PORT_7700_TCP_ADDR": "10.0.0.1",
        "STREAMLEARN_LOG_PORT_80_TCP": "tcp://10.0.0.1:80",
    }
    (tmp_path / "lock").mkdir()
    assert_one_line(start("--data-dir", str(tmp_path), variables=variables), 2, "lock")


def test_a_command_refuses_an_unknown_variable() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streamlearn", "status"],
        env=os.environ | {"STREAMLEARN_ENDPIONT": "x"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert_one_line(done, 2, "STREAMLEARN_ENDPIONT", "STREAMLEARN_ENDPOINT")


# ------------------------------------------------------------------------------------- standard output


def wait_until_serving(endpoint: str) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            with Client(endpoint, timeout=1) as client:
                client.hello()
                return
        except NoAnswer:
            continue
    raise AssertionError(f"no daemon answers at {endpoint}")


@pytest.mark.parametrize("output", ["closed", "reader gone", "full"])
def test_the_ready_line_cannot_be_written(tmp_path: Path, output: str) -> None:
    endpoint = f"ipc://{tmp_path}/requests"
    paths = [f"--{name}=ipc://{tmp_path}/{name}" for name in ("requests", "firehose", "events")]
    command = [*SERVE, *paths, "--data-dir", str(tmp_path / "data")]
    log = (tmp_path / "log").open("wb")
    if output == "closed":
        process = subprocess.Popen(["sh", "-c", 'exec "$@" >&-', "sh", *command], stderr=log)
    elif output == "full":
        with open("/dev/full", "wb") as full:
            process = subprocess.Popen(command, stdout=full, stderr=log)
    else:
        reading, writing = os.pipe()
        process = subprocess.Popen(command, stdout=writing, stderr=log)
        os.close(reading)
        os.close(writing)
    with process:
        wait_until_serving(endpoint)
        with Client(endpoint, timeout=SECONDS) as client:
            client.create("m", kind="som", dim=3, grid=[2, 2])
            client.learn("m", X)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
    log.close()
    written = (tmp_path / "log").read_text()
    assert "Traceback" not in written
    assert (output == "closed") or "can't write the ready line" in written
    assert not list(tmp_path.glob("requests*"))


def test_standard_error_is_closed(tmp_path: Path) -> None:
    paths = [f"--{name}=ipc://{tmp_path}/{name}" for name in ("requests", "firehose", "events")]
    command = [*SERVE, *paths, "--data-dir", str(tmp_path / "data")]
    with subprocess.Popen(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", *command], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        with Client(f"ipc://{tmp_path}/requests", timeout=SECONDS) as client:
            client.create("m", kind="som", dim=3, grid=[2, 2])
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


# --------------------------------------------------------------------------------------------- signals


def test_sigterm_before_ready_as_the_first_process_of_a_namespace(tmp_path: Path) -> None:
    """The kernel drops a signal to process 1 that has no handler."""
    command = [
        "unshare",
        "--pid",
        "--fork",
        "--mount-proc",
        *SERVE,
        *ENDPOINTS,
        "--data-dir",
        str(tmp_path / "data"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as outer:
        deadline = time.monotonic() + SECONDS
        while not (tmp_path / "data" / "lock").exists():
            assert time.monotonic() < deadline
            time.sleep(0.005)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        out, errors = outer.communicate(timeout=SECONDS)
    assert outer.returncode == 0
    assert "Traceback" not in errors
    assert "ready" not in out or "stopped cleanly" in errors


def test_sighup_never_ends_the_daemon(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        while not (tmp_path / "data" / "lock").exists():
            assert daemon.process.poll() is None
            time.sleep(0.005)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.ready()
        daemon.process.send_signal(signal.SIGHUP)
        with Client(daemon.requests, timeout=SECONDS) as client:
            assert client.models() == []
        assert daemon.terminate() == 0


# ------------------------------------------------------------------------------------ endpoints and log


@pytest.mark.parametrize("host", ["[::1]", "127.0.0.1", "localhost"])
def test_every_channel_works_over_ipv6_and_ipv4(tmp_path: Path, host: str) -> None:
    endpoints = [f"--{name}=tcp://{host}:*" for name in ("requests", "firehose", "events")]
    with DaemonProcess(tmp_path, *endpoints) as daemon:
        line = daemon.ready()
        endpoint = line.split("requests=")[1].split()[0]
        with Client(endpoint, timeout=SECONDS) as client, client.subscribe("m", "output") as events:
            client.create("m", kind="som", dim=3, grid=[2, 2])
            with client.firehose("m") as firehose:
                firehose.push(X[:100])
            with client.stream("m") as stream:
                stream.push_many(X[100:200])
            assert sum(event.rows for event, _ in zip(events, range(1), strict=False)) > 0
        assert daemon.terminate() == 0


def test_a_wildcard_serves_both_families(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, "--requests=tcp://*:*", "--insecure") as daemon:
        port = daemon.ready().split("requests=")[1].split()[0].rpartition(":")[2]
        for host in ("127.0.0.1", "[::1]", "localhost"):
            with Client(f"tcp://{host}:{port}", timeout=SECONDS) as client:
                assert client.models() == []


def test_the_files_of_ipc_endpoints_are_removed(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        daemon.ready()
        names = ("requests", "firehose", "events")
        assert all((tmp_path / name).exists() for name in names)
        assert daemon.terminate() == 0
        assert not any((tmp_path / name).exists() for name in names)


def test_the_log_is_json_and_has_every_change(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, settings={"log__format": "json"}) as daemon:
        daemon.ready()
        with Client(daemon.requests, timeout=SECONDS) as client:
            client.create(
                "pump", kind="som", dim=3, grid=[2, 2], learning_rate={"start": 0.5, "end": 0.02, "tau": 9}
            )
            client.learn("pump", X)
            lsn = client.checkpoint("pump")["lsn"]
            client.restore("pump", lsn=lsn)
            client.reheat("pump")
            client.delete("pump")
        assert daemon.terminate() == 0
    events = [json.loads(line) for line in daemon.stderr.splitlines()]
    assert all(event.keys() >= {"time", "level", "event"} for event in events)
    changes = [(event["event"], event["model"]) for event in events if "model" in event]
    for change in (
        "created a model",
        "wrote a checkpoint",
        "restored a model",
        "reheated a model",
        "deleted a model",
    ):
        assert (change, "pump") in changes
