"""kill -9 while the checkpoints of many models are written together, then a start, verify and a backup."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from streamlearn import models
from streamlearn.models import Model
from streamlearn.store.fs import FS
from streamlearn.verification import verify
from streamlearn_client import Client
from tests.e2e.daemon_process import SECONDS, DaemonProcess, ForkedDaemon

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(600)]

MODELS = 40
SPEC = {"dim": 2, "units": 3}


def files(data: Path) -> int:
    """The files in all directories of checkpoints, unfinished ones included."""
    return sum(len(os.listdir(folder)) for folder in (data / "checkpoints").glob("*@*"))


def stop_and_kill(daemon: DaemonProcess, data: Path, seen: int) -> None:
    """Begin a clean stop, and kill the process once it has written `seen` more files, or has ended."""
    wanted = files(data) + seen
    daemon.process.terminate()
    deadline = time.monotonic() + SECONDS
    while files(data) < wanted and daemon.process.poll() is None:
        assert time.monotonic() < deadline, "no checkpoints"
    daemon.kill()


def test_a_kill_among_many_checkpoints_loses_nothing(tmp_path: Path) -> None:
    references: dict[str, Model] = {f"m{n}": models.create("competitive", SPEC) for n in range(MODELS)}
    data, random = tmp_path / "data", np.random.default_rng(20261129)
    daemon: DaemonProcess = ForkedDaemon(tmp_path)
    daemon.ready()
    with Client(daemon.requests) as client:
        for name in references:
            client.create(name, kind="competitive", **SPEC)
    for seen in (1, MODELS // 2, MODELS):
        with Client(daemon.requests) as client:
            for name, reference in references.items():
                x = random.normal(size=(3, 2)).astype(np.float32)
                client.learn(name, x, ack="written")
                reference.learn(x)
        stop_and_kill(daemon, data, seen)
        report = verify(FS(), data, models)
        assert report.refusal is None
        assert not report.damaged
        daemon = ForkedDaemon(tmp_path)
        daemon.ready()
        with Client(daemon.requests) as client:
            hashes = {name: client.describe(name)["state_hash"] for name in references}
        assert hashes == {name: reference.state_hash() for name, reference in references.items()}
    with Client(daemon.requests) as client:
        client.backup(str(tmp_path / "copy"))
    assert daemon.terminate() == 0
    for directory in (data, tmp_path / "copy"):
        report = verify(FS(), directory, models)
        assert (report.refusal, report.damaged) == (None, False)
        assert not list(directory.rglob("*.tmp"))
    names = {info.rpartition("@")[0] for info in os.listdir(data / "checkpoints")}
    assert names == set(references)
