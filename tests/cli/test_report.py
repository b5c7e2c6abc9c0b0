"""Numbers as people and programs read them."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from streamlearn.cli import report
from tools.waiting import wait_for


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0000123, "12 µs"),
        (0.0123, "12.3 ms"),
        (1.26, "1.3 s"),
        (61, "1 min 1 s"),
        (3660, "1 h 1 min"),
        (90_000, "1 d 1 h"),
        (float("nan"), "–"),
    ],
)
def test_durations(seconds, expected):
    assert report.duration(seconds) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * 2**30, "3.0 GiB")]
)
def test_sizes(count, expected):
    assert report.size(count) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (49097, "49,097"),
        (0.4304, "0.4304"),
        (float("nan"), "–"),
        (None, "–"),
        ([10, 10], "[10, 10]"),
        ("som", "som"),
    ],
)
def test_values(value, expected):
    assert report.text(value) == expected


def test_counts():
    assert report.many(1, "sample") == "1 sample"
    assert report.many(1234, "sample") == "1,234 samples"


def test_json_has_no_nan_and_no_bytes(capsys):
    report.print_json({"error": float("nan"), "rates": (1.5, float("inf")), "id": b"\x01", 3: None})
    assert json.loads(capsys.readouterr().out) == {"error": None, "rates": [1.5, None], "id": "01", "3": None}


def test_square_brackets_are_only_text(capsys):
    report.show(None, False, "[red]not markup[/red]")
    assert capsys.readouterr().out == "[red]not markup[/red]\n"


@pytest.mark.parametrize("columns", [None, "80"])
def test_lines_are_not_wrapped_when_the_output_is_not_a_terminal(capsys, monkeypatch, columns):
    """A program that reads a table finds each path in one line, even if the shell exports its width."""
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    path, message = "/".join(["a-long-directory"] * 30), " ".join(["word"] * 100)
    rows = report.table("file", "what")
    rows.add_row(path, message)
    report.show({}, False, rows, report.pairs({"path": path}))
    shown = capsys.readouterr().out
    assert re.search(rf"{path} +{message}", shown)
    assert f"path  {path}\n" in shown
    assert max(map(len, shown.splitlines())) < len(path) + len(message) + 10  # no padding to a huge width


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_person_who_waits_gets_a_notice(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with report.notice("compiling", seconds=0.0):
        wait_for(lambda: terminal.getvalue() == "compiling\n", "the notice")


@pytest.mark.parametrize(("stream", "seconds"), [(Terminal, 3600.0), (io.StringIO, 0.0)])
def test_nobody_else_gets_one(monkeypatch, stream, seconds):
    monkeypatch.setattr(sys, "stderr", stream := stream())
    with report.notice("compiling", seconds):
        pass
    assert stream.getvalue() == ""
