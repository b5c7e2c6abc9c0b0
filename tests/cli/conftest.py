"""A daemon in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.fake import FakeDaemon


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    daemon = FakeDaemon()
    yield daemon
    daemon.close()
