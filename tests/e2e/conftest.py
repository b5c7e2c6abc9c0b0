"""Daemon processes, stopped at the end of their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon_process import DaemonProcess


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    started: list[DaemonProcess] = []

    def start(*arguments: str, directory: str = "daemon", **settings: object) -> DaemonProcess:
        started.append(DaemonProcess(tmp_path / directory, *arguments, settings=settings))
        return started[-1]

    yield start
    for each in started:
        each.__exit__()
