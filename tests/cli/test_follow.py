"""``push --follow``: growing and rotated files, each row once, whenever a process is killed.

A fake daemon has the protocol. The command is a process of its own, which the tests kill.
"""

from __future__ import annotations

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.client.fake import FakeModel
from tools.waiting import wait_for


@pytest.fixture
def pump(daemon) -> FakeModel:
    return daemon.add("pump", dim=2)


@pytest.fixture
def log(tmp_path) -> Path:
    return tmp_path / "app.csv"


@pytest.fixture
def follow(daemon, log, tmp_path):
    """Start the command. It is killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str) -> subprocess.Popen[str]:
        command = ["push", str(log), "-m", "pump", "-e", daemon.endpoint, "--follow"]
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlearn", *command, *options],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def kill(process: subprocess.Popen[str]) -> str:
    process.kill()
    return process.communicate(timeout=60)[1]


def append(path: Path, start: int, stop: int, header: bool = False) -> None:
    """Append rows (n, −n). The last one has no end of line yet for a moment."""
    with path.open("ab", buffering=0) as file:
        file.write(b"flow,level\n" * header)
        for value in range(start, stop):
            file.write(f"{value},".encode())
            file.write(f"{-value}\n".encode())


def learned(model: FakeModel, count: int) -> Callable[[], bool]:
    """Whether rows 0 to ``count`` − 1 are learned, in order, each once."""

    def check() -> bool:
        rows = model.rows
        assert rows[:, 0].tolist() == list(range(len(rows)))
        assert (rows[:, 1] == -rows[:, 0]).all()
        return len(rows) == count

    return check


def test_a_growing_file_and_kills_at_any_time(pump, log, follow, tmp_path):
    process = follow()
    append(log, 0, 3, header=True)
    wait_for(learned(pump, 3))
    append(log, 3, 2500)
    wait_for(learned(pump, 2500))
    kill(process)
    append(log, 2500, 2600)
    process = follow()
    append(log, 2600, 6000)
    kill(process)  # wherever it is
    process = follow()
    wait_for(learned(pump, 6000))
    states = tmp_path / "state/streamlearn/follow"
    wait_for(lambda: any('"rows": 6000' in each.read_text() for each in states.glob("*.json")))
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "6,000 rows are acknowledged; the same command goes on after them" in stderr
    assert "Traceback" not in stderr


def test_a_killed_daemon(daemon, pump, log, follow):
    append(log, 0, 100, header=True)
    follow()
    wait_for(learned(pump, 100))
    daemon.kill()
    append(log, 100, 200)
    daemon.start()
    wait_for(learned(pump, 200))


def test_a_renamed_file(pump, log, follow):
    append(log, 0, 10, header=True)
    follow()
    wait_for(learned(pump, 10))
    with log.open("ab", buffering=0) as writer:
        log.rename(log.with_name("app.csv.1"))
        writer.write(b"10,-10\n11,-11")  # the writer still has the old file; its last row has no end of line
        writer.close()
        append(log, 12, 20, header=True)
    wait_for(learned(pump, 20))


def test_a_copied_and_truncated_file(pump, log, follow):
    append(log, 0, 10, header=True)
    process = follow()
    wait_for(learned(pump, 10))
    process.send_signal(signal.SIGSTOP)  # so that rows come that it did not read before the truncation
    append(log, 10, 15)
    shutil.copyfile(log, log.with_name("app.csv.1"))
    os.truncate(log, 0)
    append(log, 15, 18, header=True)
    process.send_signal(signal.SIGCONT)
    wait_for(learned(pump, 18))


@pytest.mark.parametrize("compressed", [False, True])
def test_rotations_while_it_is_not_running(pump, log, follow, compressed):
    append(log, 0, 10, header=True)
    process = follow()
    wait_for(learned(pump, 10))
    kill(process)
    append(log, 10, 20)
    first, second = log.with_name("app.csv.2"), log.with_name("app.csv.1")
    log.rename(first)
    append(log, 20, 30, header=True)
    log.rename(second)
    append(log, 30, 40, header=True)
    now = time.time()
    if compressed:
        first.with_name("app.csv.2.gz").write_bytes(gzip.compress(first.read_bytes()))
        first.unlink()
        first = first.with_name("app.csv.2.gz")
    os.utime(first, (now - 20, now - 20))
    os.utime(second, (now - 10, now - 10))
    follow()
    wait_for(learned(pump, 40))


def test_rows_that_are_lost_are_reported(pump, log, follow):
    append(log, 0, 10, header=True)
    process = follow()
    wait_for(learned(pump, 10))
    kill(process)
    log.unlink()
    append(log, 10, 20, header=True)
    process = follow()
    wait_for(learned(pump, 20))
    assert "no file beside it (app.csv.1, …) begins as it did" in kill(process)


def test_a_lost_position_is_found_again_or_refused(pump, log, follow, tmp_path):
    append(log, 0, 3000, header=True)
    process = follow()
    wait_for(learned(pump, 3000))
    kill(process)
    append(log, 3000, 3100)
    shutil.rmtree(tmp_path / "state")
    process = follow()
    wait_for(learned(pump, 3100))
    kill(process)
    shutil.rmtree(tmp_path / "state")
    log.unlink()
    append(log, 3100, 3110, header=True)
    process = follow()
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 11
    assert "where they end is not known, because the state file is missing" in stderr


@pytest.mark.parametrize("first", [0, 700])
def test_a_bad_row_stops_it_until_it_is_corrected(pump, log, follow, first):
    """Also far from the beginning of the file, where it was read before in another part."""
    append(log, 0, first + 10, header=True)
    with log.open("a") as file:
        file.write(f"{first + 10},oops\n")
    append(log, first + 11, first + 20)
    process = follow()
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 11
    assert f"line {first + 12}: 'oops' in column 2 (level) is not a number" in stderr
    assert learned(pump, first + 10)()
    corrected = log.with_name("corrected")
    corrected.write_text(log.read_text().replace("oops", str(-first - 10)))
    corrected.rename(log)  # as editors write a file
    follow()
    wait_for(learned(pump, first + 20))


def test_a_second_follower_and_other_files_are_refused(pump, log, follow):
    append(log, 0, 1, header=True)
    follow()
    wait_for(learned(pump, 1))
    second = follow()
    assert "another push --follow uses" in second.communicate(timeout=60)[1]
    assert second.returncode == 2
    log.with_name("other.gz").write_bytes(gzip.compress(b"1,2\n"))
    shutil.copyfile(log.with_name("other.gz"), log)
    third = follow("--state", str(log.with_name("state.json")), "--source", "another")
    assert "is another file or compressed" in third.communicate(timeout=60)[1]
