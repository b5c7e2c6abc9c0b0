"""A real gateway process in front of a real daemon process."""

from __future__ import annotations

import re
import select
import signal
from pathlib import Path
from typing import Any

import httpx

from tests.processes import Forked

SECONDS = 60.0


class GatewayProcess:
    """`ready` waits for the ready line and sets ``url``."""

    def __init__(self, endpoint: str, log: Path, *arguments: str, http: str = "127.0.0.1:0") -> None:
        self.log = log
        self.process = Forked("gateway", "--http", http, "-e", endpoint, *arguments, log=log)
        self.url = ""

    def ready(self) -> GatewayProcess:
        out = self.process.stdout
        assert out is not None
        assert select.select([out], [], [], SECONDS)[0], f"not ready:\n{self.log.read_text()}"
        line = out.readline().decode()
        found = re.search(r"ready (\S+)", line)
        assert found, f"{line!r}, it ended with {self.process.wait(SECONDS)}:\n{self.log.read_text()}"
        self.url = found.group(1)
        return self

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def client(self, token: str | None = None, **settings: Any) -> httpx.Client:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=SECONDS, **settings)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code
