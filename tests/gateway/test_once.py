"""Idempotency keys of create, restore, feedback and the others: executed once, and the same answer again."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

import httpx
import msgpack
import numpy as np
import pytest
from starlette.responses import Response

from streamlearn.errors import BadValue, Conflict
from streamlearn.gateway.once import MOST, Once
from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import SECONDS, GatewayProcess
from tools.waiting import wait_for

X = np.random.default_rng(7).normal(size=(300, 2)).astype(np.float32)
NEW = {"name": "pump", "kind": "som", "spec": {"dim": 2, "grid": [4, 4], "alarm": {}, "labels": 3}}
SAMPLE = [1.0, 2.0]
CHANGES: dict[str, Any] = {
    "feedback": {"sample": SAMPLE, "verdict": "fault", "name": "worn"},
    "label": {"x": SAMPLE, "label": "worn"},
    "clone": {"new": "second"},
    "reheat": {"heat": 0.5},
    "checkpoints": {"name": "good"},
}


def body_of(http: httpx.Client, change: str) -> Any:
    """The body of a request; a restore goes to the creation of the model."""
    if change == "restore":
        return {"lsn": http.get("/v1/models/pump").json()["create_lsn"]}
    return CHANGES.get(change)


def keyed(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


@pytest.mark.parametrize("change", ["restore", *CHANGES])
def test_a_repeated_change_is_executed_once(http: httpx.Client, change: str) -> None:
    assert http.post("/v1/models", json=NEW).status_code == 201
    http.post("/v1/models/pump/learn", json={"x": X.tolist()})
    path, body = f"/v1/models/pump/{change}", body_of(http, change)
    first = http.post(path, json=body, headers=keyed(change))
    assert first.status_code in (200, 201), first.text
    assert "idempotent-replayed" not in first.headers
    lsn = http.get("/v1/models/pump").json()["applied_lsn"]
    again = http.post(path, json=body, headers=keyed(change))
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    assert http.get("/v1/models/pump").json()["applied_lsn"] == lsn
    other = http.post("/v1/models/pump/pause", headers=keyed(change))
    assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")


def test_create(http: httpx.Client, daemon: DaemonProcess, start: Callable[..., GatewayProcess]) -> None:
    first = http.post("/v1/models", json=NEW, headers=keyed("new"))
    again = http.post("/v1/models", json=NEW, headers=keyed("new"))
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert first.status_code == 201
    changed = NEW | {"spec": {"dim": 3, "grid": [4, 4]}}
    other = http.post("/v1/models", json=changed, headers=keyed("new"))
    assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")
    second = start(daemon.requests).ready()  # does not know the key
    with second.client() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
        found = client.post("/v1/models", json=NEW, headers=keyed("new"))
        assert (found.status_code, found.json()["create_lsn"]) == (201, first.json()["create_lsn"])
        for answer in (
            client.post("/v1/models", json=changed, headers=keyed("other")),
            client.post("/v1/models", json=NEW),
        ):
            assert (answer.status_code, answer.json()["code"]) == (409, "MODEL_EXISTS")


def test_an_error_is_not_kept(http: httpx.Client) -> None:
    path = "/v1/models/pump/pause"
    assert http.post(path, headers=keyed("p")).status_code == 404
    http.post("/v1/models", json=NEW)
    assert http.post(path, headers=keyed("p")).status_code == 200
    assert http.post(path, headers=keyed("x" * 257)).status_code == 400


def test_requests_at_the_same_time_are_executed_once() -> None:
    async def run() -> None:
        once, executed, gate = Once(), 0, asyncio.Event()

        async def execute() -> Response:
            nonlocal executed
            executed += 1
            await gate.wait()
            if executed == 1:
                raise BadValue("fails")
            return Response(b"answer")

        tasks = [asyncio.create_task(once.answer("k", b"1", execute)) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(Conflict):
            await once.answer("k", b"2", execute)
        gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert executed == 2
        assert [isinstance(each, BadValue) for each in results] == [True, False, False, False, False]
        for n in range(2 * MOST):
            await once.answer(f"{n}", b"", execute)
        assert len(once._requests) == MOST

    asyncio.run(run())


class SilentLink:
    """A connection to a daemon that loses everything the daemon sends after a request with ``marker``."""

    def __init__(self, endpoint: str, marker: bytes) -> None:
        self._daemon, self._marker = endpoint.removeprefix("ipc://"), marker
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._silent = threading.Event()
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def _start(self, run: Callable[..., None], *arguments: Any) -> None:
        def quietly() -> None:
            with contextlib.suppress(OSError):
                run(*arguments)

        threading.Thread(target=quietly, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, far = self._listener.accept()[0], socket.socket(socket.AF_UNIX)
            far.connect(self._daemon)
            self._open += [near, far]
            self._start(self._to_daemon, near, far)
            self._start(self._from_daemon, far, near)

    def _to_daemon(self, near: socket.socket, far: socket.socket) -> None:
        while data := near.recv(1 << 16):
            if self._marker in data:
                self._silent.set()
            far.sendall(data)

    def _from_daemon(self, far: socket.socket, near: socket.socket) -> None:
        while data := far.recv(1 << 16):
            if not self._silent.is_set():
                near.sendall(data)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            each.close()


@pytest.mark.parametrize("change", ["restore", "feedback", "label", "reheat", "pause"])
def test_a_gateway_is_killed_between_the_daemons_answer_and_its_own(
    daemon: DaemonProcess, http: httpx.Client, start: Callable[..., GatewayProcess], change: str
) -> None:
    """The daemon has executed the change, and the sender gets no answer. The next gateway recognises it."""
    http.post("/v1/models", json=NEW)
    http.post("/v1/models/pump/learn", json={"x": X.tolist()})
    before = http.get("/v1/models/pump").json()
    body, path, key = body_of(http, change), f"/v1/models/pump/{change}", keyed(f"kill {change}")
    link = SilentLink(daemon.requests, msgpack.packb("op") + msgpack.packb(change))
    answers: list[str] = []

    def send() -> None:
        with first.client() as client:
            try:
                answers.append(client.post(path, json=body, headers=key).text)
            except httpx.HTTPError as error:
                answers.append(type(error).__name__)

    first = start(link.endpoint).ready()
    sender = threading.Thread(target=send)
    try:
        with first.client() as client:
            wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
        sender.start()
        executed = lambda: http.get("/v1/models/pump").json()["applied_lsn"] > before["applied_lsn"]  # noqa: E731
        wait_for(executed, "the change is in effect")
        first.end(signal.SIGKILL)
        sender.join(SECONDS)
    finally:
        link.close()
    assert answers == ["RemoteProtocolError"]
    after = http.get("/v1/models/pump").json()
    second = start(daemon.requests).ready()
    with second.client() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
        again = client.post(path, json=body, headers=key)
        assert (again.status_code, again.headers["idempotent-replayed"]) == (200, "true"), again.text
        assert again.json()["duplicate"] is True
        assert again.json()["lsn"] == after["applied_lsn"] == before["applied_lsn"] + 1
        other = client.post("/v1/models/pump/label", json={"unit": 1, "label": "no"}, headers=key)
        assert (other.status_code, other.json()["code"]) == (409, "CONFLICT")
    found = http.get("/v1/models/pump").json()
    assert (found["applied_lsn"], found["state_hash"]) == (after["applied_lsn"], after["state_hash"])
