"""Daemon processes, stopped at the end of their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon_process import DaemonProcess, ForkedDaemon


@pytest.fixture
def daemon_type() -> type[DaemonProcess]:
    """What `serve` starts. Modules that test the start replace it by `DaemonProcess`."""
    return ForkedDaemon


@pytest.fixture
def serve(tmp_path: Path, daemon_type: type[DaemonProcess]) -> Iterator[Callable[..., DaemonProcess]]:
    started: list[DaemonProcess] = []

    def start(*arguments: str, directory: str = "daemon", **settings: object) -> DaemonProcess:
        started.append(daemon_type(tmp_path / directory, *arguments, settings=settings))
        return started[-1]

    yield start
    for each in started:
        each.__exit__()
