from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.harness import Running


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start a daemon with some settings, on the directory that this test always gets."""
    started: list[Running] = []

    def start(**settings: Any) -> Running:
        started.append(Running(tmp_path / "data", **settings))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def running(serve: Callable[..., Running]) -> Running:
    """A daemon as it is by default, with a model m."""
    daemon = serve()
    daemon.wire.create()
    return daemon
