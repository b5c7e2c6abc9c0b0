"""Files and a real daemon: predictions in parts; rows that are learned once although both are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from streamlearn import models
from streamlearn.cli import predictions
from streamlearn.cli.demo.daemon import Daemon
from streamlearn.tabular.columns import ColumnOptions
from streamlearn.tabular.reader import TableReader
from streamlearn_client import Client
from tests.e2e.commands import against
from tests.e2e.daemon_process import SECONDS
from tools.waiting import wait_for

pytestmark = pytest.mark.e2e

SPECS = {
    "som": {"dim": 2, "grid": [4, 4], "scale": "standard", "seed": 1},
    "rnn": {"dim": 2, "hidden": 4, "seed": 1},
    "gng": {"dim": 2, "features": {"lags": [1, 2], "memory": [10]}, "seed": 1},
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    with Daemon(folder / "data", folder / "daemon.log") as running:
        running.start()
        yield running


@pytest.fixture
def x():
    steps = np.random.default_rng(7).normal(size=(900, 2))
    return np.cumsum(steps, axis=0).astype(np.float32)


def write(path, x, start=0):
    lines = [f"{start + n},{a!r},{b!r}\n" for n, (a, b) in enumerate(x.tolist())]
    path.write_text("id,flow,level\n" + "".join(lines))


@pytest.mark.parametrize("kind", SPECS)
def test_predictions_in_parts_are_those_of_one_query(daemon, x, kind, tmp_path, monkeypatch):
    monkeypatch.setattr(predictions, "ROWS", 250)
    monkeypatch.setattr(predictions, "SEQUENCE_ROWS", 250)
    path = tmp_path / "ask.csv"
    write(path, x[200:])
    with Client(daemon.endpoint, timeout=SECONDS) as client:
        client.create(kind, kind=kind, **SPECS[kind])
        client.learn(kind, x[:200])
        before = client.describe(kind)
        whole = client.predict(kind, x[200:])
        options = ColumnOptions(columns="flow,level", id="id")
        with TableReader(str(path), options) as rows:
            found = list(predictions.predictions(client, before, rows, lambda: None))
        assert len(found) == 3
        assert [each for part, _ in found for each in part.ids] == list(range(700))
        for name, expected in whole.arrays.items():
            joined = np.concatenate([out.arrays[name] for _, out in found])
            np.testing.assert_array_equal(joined, expected, err_msg=name)
        assert client.describe(kind)["state_hash"] == before["state_hash"]
        assert [model["name"] for model in client.models()] == [kind]
        client.delete(kind)


def test_the_columns_that_are_carried(daemon, x, tmp_path):
    command = against(daemon)
    command("create", "line", "-k", "som", "-s", "dim=2", "-s", "grid=4,4")
    path = tmp_path / "ask.csv"
    path.write_text("when,tag,a,b\n2024-02-29 12:00:00.5,a7,1,2\n2024-02-29T13:00+01:00,8,3,4\n")
    out = command("predict", path, "-m", "line", "--time", "when", "--id", "tag").stdout.splitlines()
    assert out[0].startswith("when,tag,winner,")
    assert out[1].startswith("2024-02-29T12:00:00.500Z,a7,")
    assert out[2].startswith("2024-02-29T12:00:00.000Z,8,")
    path.write_text("a,b\n1,2\nx,4\n")
    done = command("predict", path, "-m", "line", code=11)
    assert len(done.stdout.splitlines()) == 2  # the header, and the row before the bad one
    command("delete", "line", "--yes")


def test_follow_and_the_daemon_are_killed(tmp_path, x):
    """The model equals one that learned the rows without a disturbance."""
    log, parts = tmp_path / "app.csv", np.array_split(x, 6)
    with Daemon(tmp_path / "data", tmp_path / "daemon.log") as daemon:
        daemon.start()
        environment = {
            **os.environ,
            "STREAMLEARN_ENDPOINT": daemon.endpoint,
            "XDG_STATE_HOME": str(tmp_path / "state"),
        }
        command = [sys.executable, "-m", "streamlearn", "push", str(log), "-m", "line", "--follow"]
        command += ["--columns", "flow,level"]

        def follow():
            return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

        def samples():
            with Client(daemon.endpoint, timeout=SECONDS) as client:
                return client.describe("line")["samples"]

        with Client(daemon.endpoint, timeout=SECONDS) as client:
            client.create("line", kind="som", **SPECS["som"])
        process = follow()
        try:
            write(log, parts[0])
            wait_for(lambda: samples() == 150)
            for number, part in enumerate(parts[1:], 1):
                with log.open("a") as file:
                    file.writelines(f"{n},{a!r},{b!r}\n" for n, (a, b) in enumerate(part.tolist()))
                if number % 2:
                    process.kill()
                    process.wait()
                    process = follow()
                else:
                    daemon.kill()
                    daemon.start()
            wait_for(lambda: samples() == len(x))
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
            process.wait()
        with Client(daemon.endpoint, timeout=SECONDS) as client:
            found = client.describe("line")
    twin = models.create("som", SPECS["som"])
    twin.learn(x)
    assert (found["samples"], found["state_hash"]) == (len(x), twin.state_hash())
