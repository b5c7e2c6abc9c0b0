"""Every client has every behaviour of the shared suite (`clients/suite/README.md`)."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from clients.suite.__main__ import END, HAS_NOT, PAGE, PASSES, START, table
from clients.suite.behaviours import BEHAVIOURS
from clients.suite.clients import CLIENTS
from clients.suite.registry import run
from clients.suite.trial import Suite

pytestmark = [pytest.mark.e2e, pytest.mark.faults]


@pytest.fixture(scope="session")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Suite]:
    suite = Suite(tmp_path_factory.mktemp("suite") / "shared")
    yield suite
    suite.close()


@functools.cache
def command(client: str) -> list[str]:
    return CLIENTS[client].build()


@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.parametrize("client", CLIENTS)
def test_behaviour(client: str, name: str, tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> None:
    directory = tmp_path_factory.mktemp(f"{client}-{name}")
    expected = name not in CLIENTS[client].without
    assert run(BEHAVIOURS[name], CLIENTS[client], command(client), directory, suite) == expected


def test_the_page_has_the_table_of_these_results() -> None:
    results = {
        name: {client: HAS_NOT if name in CLIENTS[client].without else PASSES for client in CLIENTS}
        for name in BEHAVIOURS
    }
    found = PAGE.read_text(encoding="utf-8").partition(START)[2].partition(END)[0]
    assert found == table(results, list(CLIENTS)), "run python -m clients.suite --write"
