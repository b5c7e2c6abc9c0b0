"""The commands against a real daemon, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from streamlearn import models
from streamlearn.cli.demo.daemon import Daemon
from streamlearn_client import Client
from tests.e2e.commands import against
from tests.e2e.daemon_process import SECONDS

pytestmark = pytest.mark.e2e

SPEC = {"dim": 3, "grid": [4, 4], "scale": "standard", "seed": 7}
SPEC_WORDS = ("-s", "dim=3", "-s", "grid=4,4", "-s", "scale=standard", "-s", "seed=7")


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    # No automatic checkpoints: they would replace those that the tests request.
    with Daemon(folder / "data", folder / "daemon.log", checkpoint_seconds=1e9) as running:
        running.start()
        yield running


@pytest.fixture
def daemon(started):
    """A daemon without models."""
    yield started
    with Client(started.endpoint, timeout=SECONDS) as client:
        for model in client.models():
            client.delete(model["name"])


@pytest.fixture
def command(daemon):
    return against(daemon)


@pytest.fixture
def samples():
    x = np.random.default_rng(5).normal(size=(2000, 3)).astype(np.float32)
    x[::97, 1] = np.nan
    return x


def as_csv(x, header=None):
    lines = [] if header is None else [header]
    lines += [",".join("" if np.isnan(value) else repr(float(value)) for value in row) for row in x]
    return "\n".join(lines) + "\n"


def twin(x):
    som = models.create("som", SPEC)
    som.learn(x)
    return som


def test_the_commands_of_a_model(command, samples, tmp_path):
    assert "no models; create one" in command("models").stdout
    assert "no models; create one" in command("status").stdout
    made = json.loads(command("create", "pump", "--kind", "som", *SPEC_WORDS, "--json").stdout)
    assert made["spec"]["grid"] == [4, 4]

    path = tmp_path / "samples.csv"
    path.write_text(as_csv(samples, header="a,b,c"))
    pushed = json.loads(command("push", path, "--model", "pump", "--json").stdout)
    assert pushed["acknowledged"] == len(samples)

    som = twin(samples)
    found = json.loads(command("describe", "pump", "--json").stdout)
    assert (found["samples"], found["state_hash"]) == (len(samples), som.state_hash())
    assert som.state_hash() in command("describe", "pump").stdout
    assert [each["samples"] for each in json.loads(command("models", "--json").stdout)] == [len(samples)]
    assert "2,000" in command("models").stdout
    assert json.loads(command("status", "--json").stdout)["models"]["pump"]["learned"] == len(samples)
    assert "pump" in command("status").stdout

    kept = json.loads(command("checkpoint", "pump", "--json").stdout)
    command("push", path, "--model", "pump")
    listed = json.loads(command("checkpoints", "pump", "--json").stdout)
    assert kept["lsn"] in [each["lsn"] for each in listed]
    assert f"{kept['lsn']:,}" in command("checkpoints", "pump").stdout
    command("restore", "pump", "--lsn", kept["lsn"], code=2)  # standard input is not a terminal
    assert (
        "2,000 samples learned, 4,000 before" in command("restore", "pump", "--lsn", kept["lsn"], "-y").stdout
    )
    assert json.loads(command("describe", "pump", "--json").stdout)["state_hash"] == som.state_hash()

    command("delete", "pump", code=2)
    command("delete", "pump", "--yes")
    assert json.loads(command("models", "--json").stdout) == []
    assert "'pump'" in command("describe", "pump", code=1).stderr


def test_a_spec_from_a_file_and_an_invalid_spec(command, tmp_path):
    path = tmp_path / "spec.toml"
    path.write_text('kind = "som"\ndim = 3\ngrid = [4, 4]\nsigma = {start = 2.0, end = 1.0, tau = 500.0}\n')
    spec = json.loads(command("create", "a", "--file", path, "-s", "seed=3", "--json").stdout)["spec"]
    assert (spec["seed"], spec["sigma"]["start"]) == (3, 2.0)
    stderr = command("create", "b", "-k", "som", "-s", "dmi=3", "-s", "grid=0,4", code=1).stderr
    assert stderr.count("\n") == 1
    assert all(field in stderr for field in ("dim", "dmi", "grid"))
    assert "'a'" in command("create", "a", "-k", "som", *SPEC_WORDS, code=1).stderr


def test_printed_predictions_equal_the_models_to_the_last_digit(command, samples, tmp_path):
    command("create", "pump", "-k", "som", *SPEC_WORDS)
    command("push", "-", "-m", "pump", stdin=as_csv(samples))
    expected = twin(samples).predict(samples[:50])
    text = as_csv(samples[:50], header="a,b,c")

    rows = list(csv.DictReader(io.StringIO(command("predict", "-", "-m", "pump", stdin=text).stdout)))
    assert [int(row["winner"]) for row in rows] == expected.winner.tolist()
    for name in ("distance", "score"):
        printed = np.array([row[name] for row in rows], np.float32)
        np.testing.assert_array_equal(printed, expected.arrays[name])
    assert [int(row["coords_1"]) for row in rows] == expected.coords[:, 1].tolist()

    path = tmp_path / "out.jsonl"
    command("predict", "-", "-m", "pump", "--json", "-o", path, stdin=text)
    objects = [json.loads(line) for line in path.read_text().splitlines()]
    np.testing.assert_array_equal(np.array([each["score"] for each in objects], np.float32), expected.score)
    assert json.loads(command("describe", "pump", "--json").stdout)["samples"] == len(samples)


def test_rows_before_a_bad_row_are_learned(command, samples, tmp_path):
    command("create", "pump", "-k", "som", *SPEC_WORDS)
    lines = as_csv(samples, header="a,b,c").splitlines()
    good = lines[1501]
    lines[1501] = "1.0,oops,2.0"
    path = tmp_path / "samples.csv"
    path.write_text("\n".join(lines))
    stderr = command("push", path, "-m", "pump", code=11).stderr
    assert f"{path}, line 1502: 'oops' in column 2 (b) is not a number" in stderr
    assert "1,500 samples before it are acknowledged; continue with --from-line 1502" in stderr
    assert json.loads(command("describe", "pump", "--json").stdout)["samples"] == 1500

    path.write_text("\n".join([*lines[:1501], good, *lines[1502:]]))
    command("push", path, "-m", "pump", "--from-line", 1502)
    assert (
        json.loads(command("describe", "pump", "--json").stdout)["state_hash"] == twin(samples).state_hash()
    )


def test_columns_that_do_not_fit_are_refused_before_anything_is_learned(command, samples):
    command("create", "pump", "-k", "som", *SPEC_WORDS)
    text = as_csv(np.hstack([samples, np.ones((len(samples), 1), np.float32)]), header="a,b,c,label")
    stderr = command("push", "-", "-m", "pump", stdin=text, code=11).stderr
    assert "samples of 4 values (a, b, c, label), but pump takes 3: select them with --columns" in stderr
    assert json.loads(command("describe", "pump", "--json").stdout)["samples"] == 0
    command("push", "-", "-m", "pump", "--columns", "a,b,c", stdin=text)
    assert (
        json.loads(command("describe", "pump", "--json").stdout)["state_hash"] == twin(samples).state_hash()
    )


def test_an_interrupted_push_reports_its_position(command, daemon):
    command("create", "pump", "-k", "som", *SPEC_WORDS)
    pushing = subprocess.Popen(
        [sys.executable, "-m", "streamlearn", "-e", daemon.endpoint, "push", "-", "-m", "pump"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    pushing.stdin.write("1,2,3\n4,5,6\n")
    pushing.stdin.flush()
    with Client(daemon.endpoint, timeout=SECONDS) as client:
        deadline = time.monotonic() + 60
        while client.describe("pump")["samples"] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    pushing.send_signal(signal.SIGINT)
    _, stderr = pushing.communicate(timeout=60)
    assert pushing.returncode == 130
    assert "2 samples" in stderr
    assert "--from-line 3" in stderr
    assert "Traceback" not in stderr


def test_verify_finds_a_flipped_bit(tmp_path, samples):
    with Daemon(tmp_path / "data", tmp_path / "daemon.log") as daemon:
        daemon.start()
        command = against(daemon)
        command("create", "pump", "-k", "som", *SPEC_WORDS)
        command("push", "-", "-m", "pump", stdin=as_csv(samples))
        command("checkpoint", "pump")
        assert "no damage" in command("verify", daemon.data_dir).stdout  # the daemon is running
        assert daemon.stop() == 0
    seen = json.loads(command("verify", daemon.data_dir, "--json").stdout)
    assert seen["ok"]
    assert seen["segments"] >= 1
    assert seen["checkpoints"] >= 1

    checkpoint = max(daemon.data_dir.glob("checkpoints/*/*.safetensors"))
    data = bytearray(checkpoint.read_bytes())
    data[-5] ^= 1
    checkpoint.write_bytes(data)
    bad = command("verify", daemon.data_dir, "--json", code=12)
    assert str(checkpoint) in [finding["path"] for finding in json.loads(bad.stdout)["findings"]]
    assert "damaged in 1 place" in bad.stderr
    assert str(checkpoint.relative_to(daemon.data_dir)) in command("verify", daemon.data_dir, code=12).stdout


def test_a_second_daemon_is_refused_with_its_own_exit_code(command, daemon, tmp_path):
    ports = ("--firehose", "tcp://127.0.0.1:*", "--events", "tcp://127.0.0.1:*")
    taken = command("serve", "--data-dir", tmp_path / "other", "--requests", daemon.endpoint, *ports, code=3)
    assert daemon.endpoint in taken.stderr
    locked = command(
        "serve", "--data-dir", daemon.data_dir, "--requests", "tcp://127.0.0.1:*", *ports, code=4
    )
    assert str(daemon.data_dir) in locked.stderr


def test_warmup_reports_the_number_of_kernels(command):
    result = json.loads(command("warmup", "--json").stdout)
    assert result["kernels"] >= 4
    assert os.path.isdir(result["cache"])
