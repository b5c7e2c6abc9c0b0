"""The suite's side of a driver: a process that executes commands with a client."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

SECONDS = 120.0
"""Longest wait for an answer. A command waits less: it has a timeout of its own."""


OPENS = {"stream_open": "stream_abort", "subscribe": "unsubscribe"}
CLOSES = {"stream_close": "stream_abort", "stream_abort": "stream_abort", "unsubscribe": "unsubscribe"}


class Refused(Exception):
    """A command ended with an error. ``facts`` is the map of the answer's ``error``."""

    def __init__(self, command: str, facts: Mapping[str, Any]) -> None:
        assert facts["code"], "an error without a code"
        assert facts["message"], "an error without a message"
        super().__init__(f"{command}: {facts['code']}: {facts['message']}")
        self.facts = facts

    @property
    def code(self) -> str:
        return str(self.facts["code"])

    @property
    def in_doubt(self) -> bool:
        return bool(self.facts.get("in_doubt"))


class Driver:
    """`do` executes one command. `start` only sends it, and `answer` waits for its end."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        self._waiting = ""
        self._received = b""
        self._open: set[str] = set()  # the commands that close what is open
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **environment},
            )

    def do(self, command: str, **fields: Any) -> dict[str, Any]:
        """Return the ``ok`` of the answer. Raise `Refused` for an error."""
        self.start(command, **fields)
        return self.answer()

    def refusal(self, command: str, **fields: Any) -> Refused:
        """Return the error that a command ends with."""
        try:
            ok = self.do(command, **fields)
        except Refused as error:
            return error
        raise AssertionError(f"{command} ended with {ok}, an error was expected")

    def start(self, command: str, **fields: Any) -> None:
        assert not self._waiting, f"{self._waiting} has not ended"
        self._waiting = command
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": command, **fields}, allow_nan=False).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise AssertionError(self._ended()) from None

    def answer(self) -> dict[str, Any]:
        assert self.answered(SECONDS), f"{self._waiting} has no answer after {SECONDS} s\n{self._errors()}"
        line, self._received = self._received.split(b"\n", 1)
        command, self._waiting = self._waiting, ""
        answer = json.loads(line)
        if "error" in answer:
            refused = Refused(command, answer["error"])
            assert refused.code != "DRIVER", f"{refused}\n{self._errors()}"
            raise refused
        if command in OPENS:
            self._open.add(OPENS[command])
        self._open.discard(CLOSES.get(command, ""))
        ok: dict[str, Any] = answer["ok"]
        return ok

    def answered(self, seconds: float = 0.0) -> bool:
        """Wait at most ``seconds``. Return whether the command that was started has ended."""
        assert self._process.stdout is not None
        out = self._process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._received:
            if not select.select([out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return False
            part = os.read(out, 1 << 20)
            if not part:
                raise AssertionError(self._ended())
            self._received += part
        return True

    def reset(self) -> bool:
        """Close what is open. Return whether the driver may be used again."""
        if self._waiting:
            return False
        for command in (*sorted(self._open), "close"):
            self.do(command)
        self._open.clear()
        return True

    def close(self) -> None:
        """End the driver: at the end of its input, or else by SIGKILL."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(0 if self._waiting else 5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ended(self) -> str:
        return f"the driver ended with {self._process.wait()} during {self._waiting}\n{self._errors()}"

    def _errors(self) -> str:
        return self._log.read_text(errors="replace")[-4000:]
