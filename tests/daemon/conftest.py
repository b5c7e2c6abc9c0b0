from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.daemon.harness import Running
from tests.shard.fakes import SlowSum


@pytest.fixture
def let_go() -> Iterator[Event]:
    """Until the test sets it, models of kind ``slow`` take a millisecond per sample."""
    SlowSum.let_go.clear()
    yield SlowSum.let_go
    SlowSum.let_go.set()


@pytest.fixture
def serve(tmp_path: Path, let_go: Event) -> Iterator[Callable[..., Running]]:
    """Start a daemon with some settings, on the directory that this test always gets."""
    started: list[Running] = []

    def start(**settings: Any) -> Running:
        started.append(Running(tmp_path / "data", **settings))
        return started[-1]

    yield start
    let_go.set()
    for each in started:
        each.stop()


@pytest.fixture
def running(serve: Callable[..., Running]) -> Running:
    """A daemon with default settings and a model m."""
    daemon = serve()
    daemon.wire.create()
    return daemon
