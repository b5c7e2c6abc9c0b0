"""The memory of the C client: no allocation while it learns, and no error or leak under valgrind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clients.suite.behaviours import BEHAVIOURS
from clients.suite.clients import CLIENTS
from clients.suite.registry import run
from clients.suite.trial import Daemon, Suite
from tests.clients_c.programs import output_of

VALGRIND = ["valgrind", "--quiet", "--leak-check=full", "--error-exitcode=1"]


def test_learning_allocates_nothing(plain: Path, daemon: Daemon):
    counts = json.loads(output_of(plain / "allocations", daemon.requests, "5000"))
    assert counts["opening"] > 0, "the program counts nothing"
    assert (counts["streaming"], counts["learning"]) == (0, 0)
    assert daemon.samples("counted") == 5000 + 5000 // 100


def passes(name: str, command: list[str], suite: Suite, directory: Path) -> None:
    """Run a behaviour of the suite. The driver must end without a report on standard error."""
    assert run(BEHAVIOURS[name], CLIENTS["c"], command, directory, suite)
    suite.end_drivers()
    assert (directory / "driver.log").read_text() == ""


@pytest.mark.parametrize("name", ["requests", "streamed_fields", "events_after_kill"])
def test_a_behaviour_under_valgrind(plain: Path, suite: Suite, tmp_path: Path, name: str):
    passes(name, [*VALGRIND, str(plain / "driver")], suite, tmp_path)


def test_the_programs_have_the_checks_of_the_sanitizers(sanitized: Path, plain: Path):
    for program in ("driver", "vectors"):
        symbols = output_of("nm", "-D", sanitized / program)
        assert "__asan_init" in symbols
        assert "__ubsan_handle" in symbols
    assert "__asan_init" not in output_of("nm", "-D", plain / "driver")


@pytest.mark.parametrize("name", ["lost_answers", "refused_samples", "files", "curve"])
def test_a_behaviour_without_leaks(sanitized: Path, suite: Suite, tmp_path: Path, name: str):
    passes(name, [str(sanitized / "driver")], suite, tmp_path)
