"""One daemon and one gateway for the tests of a module; more for tests that end them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.daemon_process import DaemonProcess, ForkedDaemon
from tests.gateway.gateway_process import GatewayProcess
from tools.browser import Browser
from tools.waiting import wait_for


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with ForkedDaemon(tmp_path_factory.mktemp("daemon")) as daemon:
        daemon.ready()
        yield daemon


@pytest.fixture(scope="module")
def gateway(daemon: DaemonProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    gateway = GatewayProcess(daemon.requests, tmp_path_factory.mktemp("gateway") / "log")
    yield gateway.ready()
    gateway.end()


@pytest.fixture
def http(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    """A client of the gateway; all models are deleted afterwards."""
    with gateway.client() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
        yield client
        for each in client.get("/v1/models").json():
            client.delete(f"/v1/models/{each['name']}")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., GatewayProcess]]:
    """Start gateways, which are ended after the test."""
    started: list[GatewayProcess] = []

    def begin(endpoint: str, *arguments: str, http: str = "127.0.0.1:0") -> GatewayProcess:
        started.append(GatewayProcess(endpoint, tmp_path / "gateway.log", *arguments, http=http))
        return started[-1]

    yield begin
    for each in started:
        each.end()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    """Start daemons on the directory of the test, which end after it."""
    started: list[DaemonProcess] = []

    def begin() -> DaemonProcess:
        started.append(ForkedDaemon(tmp_path / "daemon"))
        return started[-1]

    yield begin
    for each in started:
        each.__exit__()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    browser = Browser(tmp_path / "chromium")
    yield browser
    errors = browser.errors
    browser.close()
    assert errors == []
