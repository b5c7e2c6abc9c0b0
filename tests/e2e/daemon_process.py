"""A real daemon process, started as a user would, on its own `ipc://` endpoints."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.processes import Forked

SECONDS = 60.0  # for the start and the stop; a start may compile the kernels of its models
COMPILE_SECONDS = 600.0


class DaemonProcess:
    """`ready` waits for the ready line. `kill` sends SIGKILL, `terminate` SIGTERM; both wait for the exit."""

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        settings: dict[str, object] | None = None,
        module: str = "streamlearn",
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.requests = f"ipc://{directory}/requests"
        variables = {
            "STREAMLEARN_DATA_DIR": directory / "data",
            "STREAMLEARN_ENDPOINTS__REQUESTS": self.requests,
            "STREAMLEARN_ENDPOINTS__FIREHOSE": f"ipc://{directory}/firehose",
            "STREAMLEARN_ENDPOINTS__EVENTS": f"ipc://{directory}/events",
        } | {f"STREAMLEARN_{name.upper()}": value for name, value in (settings or {}).items()}
        self.log = directory / "log"
        self.process = self._start(module, arguments, {name: str(value) for name, value in variables.items()})

    def _start(
        self, module: str, arguments: tuple[str, ...], variables: dict[str, str]
    ) -> subprocess.Popen[bytes] | Forked:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, "serve", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                env=os.environ | variables,
            )

    @property
    def stderr(self) -> str:
        return self.log.read_text()

    def ready(self, seconds: float = COMPILE_SECONDS) -> str:
        """Return the ready line."""
        out = self.process.stdout
        assert out is not None
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if select.select([out], [], [], 0.5)[0]:
                line = out.readline().decode()
                assert line, f"it ended with {self.process.wait()} before it was ready:\n{self.stderr}"
                if "ready" in line:
                    return line
        raise AssertionError(f"not ready after {seconds} s:\n{self.stderr}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        self._close()

    def terminate(self, number: int = signal.SIGTERM) -> int:
        """Return the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self, seconds: float = SECONDS) -> int:
        """Wait for the process to end by itself; return its exit code."""
        code = self.process.wait(seconds)
        self._close()
        return code

    def output(self) -> str:
        """Return the rest of standard output of an ended process."""
        assert self.process.stdout is not None
        return "" if self.process.stdout.closed else self.process.stdout.read().decode()

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()

    def __enter__(self) -> DaemonProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.kill()


class ForkedDaemon(DaemonProcess):
    """A daemon that starts in a moment, for tests of what it does once it is ready.

    A start after a kill reads the preallocated segment of the journal: a small one is read sooner.
    """

    def _start(self, module: str, arguments: tuple[str, ...], variables: dict[str, str]) -> Forked:
        assert module == "streamlearn"
        small = {"STREAMLEARN_JOURNAL__SEGMENT_BYTES": "4194304"}
        return Forked("serve", *arguments, log=self.log, variables=small | variables)


def endpoints(ready_line: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", ready_line))
