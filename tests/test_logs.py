"""The lines of the log, as text and as JSON."""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO

import pytest

from streamlearn import logs

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """The root logger without handlers; afterwards with those of before."""
    root = logging.getLogger()
    before, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    root.handlers[:] = []
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.raiseExceptions = raises


def test_a_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "text")
    log = logs.get_logger("a.module")
    log.debug("nobody reads this")
    log.warning("%d records of %s", 3, "pump", name="pump", reason="no disk", file="", lsn=7, tab="a\tb")
    line = capsys.readouterr().err
    assert re.fullmatch(
        rf"{TIME} WARNING 3 records of pump name=pump reason='no disk' lsn=7 tab='a\\tb'\n", line
    )
    age = datetime.now(UTC) - datetime.fromisoformat(line.split()[0])
    assert abs(age.total_seconds()) < 600


def test_an_exception_follows_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "text")
    log = logs.get_logger("a.module")
    try:
        raise OSError("torn") from None  # without the exceptions that a test before may have left as handled
    except OSError as caught:
        log.exception("it failed", model="pump")
        error = caught
    log.error("it failed too", exc_info=error)
    log.debug("it failed quietly", exc_info=True)
    text = capsys.readouterr().err
    assert text.count("Traceback (most recent call last)") == 2
    assert "ERROR it failed model=pump\nTraceback" in text
    assert "ERROR it failed too\nTraceback" in text
    assert text.endswith("OSError: torn\n")


def test_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("debug", "json")
    logs.get_logger("a.module").debug(
        "50 % done", name="pump", where=datetime(2026, 1, 2, tzinfo=UTC), file=""
    )
    event = json.loads(capsys.readouterr().err)
    assert re.fullmatch(TIME, event.pop("time"))
    assert event == {
        "level": "debug",
        "event": "50 % done",
        "name": "pump",
        "where": "2026-01-02 00:00:00+00:00",
        "file": "",
    }


@pytest.mark.parametrize("form", ["text", "json"])
def test_records_of_other_libraries(capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs.configure("info", form)  # type: ignore[arg-type]
    logging.getLogger("library").error("broken: %s", "pipe", extra={"colour": "red"})
    line = capsys.readouterr().err
    if form == "json":
        event = json.loads(line)
        assert (event["level"], event["event"]) == ("error", "broken: pipe")
    else:
        assert line.endswith("Z ERROR broken: pipe\n")


def test_a_closed_standard_error_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = StringIO()
    monkeypatch.setattr(sys, "stderr", closed)
    logs.configure("info", "text")
    closed.close()
    logs.get_logger("a.module").info("nobody reads this")
