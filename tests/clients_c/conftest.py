"""Builds of the C client, and a daemon to talk to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.suite.c_build import SANITIZED, c_build
from clients.suite.trial import Daemon, Suite


@pytest.fixture(scope="session")
def plain() -> Path:
    """The client as users build it, installed under ``prefix``."""
    return c_build("plain", "Release", "-g", "all", "install")


@pytest.fixture(scope="session")
def sanitized() -> Path:
    """The client's programs with the checks of memory and undefined behaviour."""
    return c_build("sanitized", *SANITIZED, "driver", "vectors")


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    """What the behaviours of the shared suite share. Drivers of several programs must not be mixed."""
    suite = Suite(tmp_path_factory.mktemp("c-suite") / "shared")
    yield suite
    suite.close()


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("c") / "daemon", {})
    yield daemon
    daemon.kill()
