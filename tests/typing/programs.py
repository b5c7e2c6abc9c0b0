"""Programs for ``mypy --strict``, with the expected messages as comments on their lines."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]

Messages = dict[int, str]
"""The messages of mypy by line of a program."""


def run_mypy(directory: Path, programs: Mapping[str, str], mypy_path: str) -> dict[str, Messages]:
    """Return the messages of one run of mypy by program. It reads our packages as a user's mypy does."""
    for name, program in programs.items():
        (directory / name).write_text(program)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file="]
    command += ["--cache-dir", str(directory / "cache"), *programs]
    result = subprocess.run(
        command, cwd=directory, env={"MYPYPATH": mypy_path}, capture_output=True, text=True
    )
    assert result.returncode == 1, result.stdout + result.stderr
    messages: dict[str, Messages] = {name: {} for name in programs}
    output = result.stdout.replace("numpy._typing._nbit_base.", "")
    for name, line, kind, text in re.findall(r"^([\w./]+):(\d+): (error|note): (.*)$", output, re.M):
        earlier = messages[name].get(int(line), "")
        messages[name][int(line)] = f"{earlier}{kind}: {text}\n"
    return messages


def expected(program: str) -> Messages:
    """Return the comments of a program by line."""
    lines = enumerate(program.splitlines(), start=1)
    return {number: line.split("  # ")[1] for number, line in lines if "  # " in line}


def assert_refused(program: str, messages: Messages) -> None:
    """Check that mypy reports an error on every line with a comment, and on no other line."""
    expectations = expected(program)
    errors = {line: text for line, text in messages.items() if "error: " in text}
    assert errors.keys() == expectations.keys(), errors
    for line, text in expectations.items():
        assert text.removeprefix("error: ") in errors[line]


def assert_inferred(program: str, messages: Messages) -> None:
    """Check that mypy reports no error, and reveals the type in the comment of every such line."""
    expectations = expected(program)
    assert not [text for text in messages.values() if "error: " in text]
    assert messages.keys() == expectations.keys()
    for line, text in expectations.items():
        assert text in messages[line]
