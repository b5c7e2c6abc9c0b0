"""Bodies and connections beyond the limits are refused, and the gateway serves on."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import SECONDS, GatewayProcess
from tools.waiting import wait_for


@pytest.fixture
def small(daemon: DaemonProcess, start: Callable[..., GatewayProcess]) -> GatewayProcess:
    return start(daemon.requests, "--body-bytes", "1000", "--connections", "5").ready()


def test_a_large_body_is_refused(small: GatewayProcess) -> None:
    with small.client() as client:
        answer = client.post("/v1/models/pump/learn", json={"x": [[0.0]] * 1000})
        assert (answer.status_code, answer.json()["code"]) == (413, "TOO_LARGE")
        assert answer.json()["facts"]["most"] == 1000

        def endless() -> Iterator[bytes]:
            for _ in range(10_000):
                yield b"1,2\n" * 1000

        headers = {"Content-Type": "text/csv"}
        with pytest.raises(httpx.HTTPError):  # the connection ends while the body is sent, or with the answer
            client.post("/v1/models/pump/learn", content=endless(), headers=headers).raise_for_status()
        large = {"name": "m", "kind": "som", "spec": {"note": "x" * 2000}}
        assert client.post("/v1/models", json=large).status_code == 413
        assert client.get("/healthz").status_code == 200


def test_too_many_connections_are_refused(small: GatewayProcess) -> None:
    held = [socket.create_connection(("127.0.0.1", small.port)) for _ in range(8)]
    for each in held:
        each.sendall(b"GET /healthz HTTP/1.1\r\n")  # an unfinished request
    with small.client() as client:
        wait_for(lambda: client.get("/healthz").status_code == 503, "refused")
        for each in held:
            each.close()
        wait_for(lambda: client.get("/healthz").status_code == 200, "served again")


def test_a_garbled_request_harms_nobody(small: GatewayProcess) -> None:
    for text in (
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", small.port), timeout=SECONDS) as raw:
            raw.sendall(text)
            assert raw.recv(100).startswith(b"HTTP/1.1 4")
    with small.client() as client:
        assert client.get("/healthz").status_code == 200
