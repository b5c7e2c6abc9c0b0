"""A daemon process that can be killed and restarted."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from streamlearn.cli.errors import CommandError

START_SECONDS = 100.0
STOP_SECONDS = 30.0
CHECKPOINT_SECONDS = 2.0


class Daemon:
    """``streamlearn serve`` on ``data_dir``. Every start uses the same TCP ports."""

    def __init__(
        self,
        data_dir: Path,
        log: Path,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        options: Sequence[str] = (),
    ) -> None:
        self.data_dir = data_dir
        self.log = log
        self._checkpoint_seconds, self._options = checkpoint_seconds, options
        self.endpoint, self._firehose, self._events = (f"tcp://127.0.0.1:{port}" for port in free_ports(3))
        self._process: subprocess.Popen[str] | None = None

    @property
    def pid(self) -> int:
        """Process id; 0 before the first start."""
        return self._process.pid if self._process is not None else 0

    def start(self) -> float:
        """Start the process and wait until it is ready; return the seconds that took."""
        began = time.monotonic()
        endpoints = ("--requests", self.endpoint, "--firehose", self._firehose, "--events", self._events)
        options = ("--data-dir", str(self.data_dir), *endpoints, *self._options)
        # The user's own settings must not reach this daemon.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("STREAMLEARN_")}
        environment["STREAMLEARN_CHECKPOINTS__SECONDS"] = str(self._checkpoint_seconds)
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "streamlearn",
                    "serve",
                    "--data-dir",
                    str(self.data_dir),
                    *options,
                    *self._options,
                ],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
                text=True,
            )
        self._wait_until_ready(self._process, began + START_SECONDS)
        return time.monotonic() - began

    def kill(self) -> int:
        """Send SIGKILL; return the exit code."""
        assert self._process is not None
        self._process.kill()
        return self._process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(STOP_SECONDS)

    def _wait_until_ready(self, process: subprocess.Popen[str], deadline: float) -> None:
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while selector.select(max(0.0, deadline - time.monotonic())):
                line = process.stdout.readline()
                if "ready" in line:
                    return
                if not line:
                    break
        process.kill()
        code = process.wait(STOP_SECONDS)
        last = self.log.read_text(errors="replace").strip().splitlines()[-1:] or ["nothing"]
        raise CommandError(
            f"the demo's daemon failed to start (exit code {code}); the last line of its log: {last[0]}"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                self.kill()
            if self._process.stdout is not None:
                self._process.stdout.close()


def free_ports(count: int) -> list[int]:
    """Return ports without a listener."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [int(opened.getsockname()[1]) for opened in sockets]
