"""The whole demo: every promise is kept, with any seed and any number of kills."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import httpx
import pytest

from tools.waiting import wait_for

pytestmark = pytest.mark.e2e


DEMO = (sys.executable, "-m", "streamlearn", "demo")


def demo(*arguments):
    return subprocess.run([*DEMO, *map(str, arguments)], capture_output=True, text=True, timeout=280)


def test_every_promise_is_kept(tmp_path):
    png, keep = tmp_path / "u-matrix.png", tmp_path / "kept"
    done = demo("--seconds", 2, "--kills", 2, "--seed", 11, "--png", png, "--keep", keep, "--json")
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert all(check["passed"] for check in facts["checks"])
    assert [kill["exit_code"] for kill in facts["kills"]] == [-9, -9]
    streams = {"shuttle-map": 49_097, "shuttle-net": 49_097, "water-lstm": 1_378, "full-speed": 49_097}
    assert {name: model["learned"] for name, model in facts["models"].items()} == streams
    for model in facts["models"].values():
        assert model["acknowledged"] == model["sent"] == model["learned"]
        assert model["state_hash"] == model["uninterrupted_state_hash"]
    assert facts["queries"]["answered"] > 0
    assert facts["forecast"]["model"] < facts["forecast"]["persistence"]
    assert png.read_bytes().startswith(b"\x89PNG")
    assert (keep / "daemon.log").is_file()

    again = demo("--keep", keep, "--png", png)
    assert again.returncode == 2
    assert "not empty" in again.stderr


def test_the_summary_for_a_person(tmp_path):
    done = demo("--seconds", 1, "--kills", 0, "--png", tmp_path / "u-matrix.png")
    assert done.returncode == 0, done.stderr
    for shown in ("shuttle-map", "ROC AUC", "persistence", "U-matrix", "promises kept", "learned twice"):
        assert shown in done.stdout
    assert "\x1b[" not in done.stdout  # no colours into a pipe
    assert "✘" not in done.stdout


def samples(http):
    return http.get("/v1/models/shuttle-map").json()["samples"]


def test_the_page_stays_until_it_is_interrupted(tmp_path):
    arguments = ["--seconds", "0", "--kills", "0", "--png", str(tmp_path / "u.png"), "--stay"]
    with subprocess.Popen([*DEMO, *arguments], stdout=subprocess.PIPE, text=True) as process:
        line = next(line for line in process.stdout if "the page with these models" in line)
        url = re.search(r"http://\S+", line).group()
        with httpx.Client(base_url=url, timeout=60) as http:
            assert "streamlearn" in http.get("/").text
            names = {each["name"] for each in http.get("/v1/models").json()}
            learned = http.get("/v1/models/shuttle-map").json()["samples"]
            wait_for(
                lambda: http.get("/v1/models/shuttle-map").json()["samples"] > learned, "the stream goes on"
            )
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)
    assert {"shuttle-map", "shuttle-net", "water-lstm"} <= names


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_daemon(tmp_path, number):
    keep = tmp_path / "kept"
    png = tmp_path / "u-matrix.png"
    with subprocess.Popen(
        [*DEMO, "--seconds", "60", "--keep", keep, "--png", png],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        pid = None
        for line in running.stdout:
            found = re.search(r"a daemon, process (\d+)", line)
            if found:
                pid = int(found[1])
                break
        running.send_signal(number)
        _, stderr = running.communicate(timeout=120)
    assert running.returncode == 130
    assert "Traceback" not in stderr
    assert not png.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
