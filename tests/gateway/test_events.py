"""Events over HTTP: what comes, what is thinned, who is slow, and a daemon that is killed."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import httpx
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from streamlearn.access.identity import LOCAL
from streamlearn.gateway.alarm_history import AlarmHistory
from streamlearn.gateway.events import BURST, EVERY, Hub, Wanted
from streamlearn.gateway.routes.events import EventStream
from streamlearn.gateway.settings import Limits
from streamlearn_client import AsyncClient
from streamlearn_client.outputs import Outputs
from streamlearn_client.results import Event
from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import SECONDS, GatewayProcess
from tools.waiting import wait_for

if TYPE_CHECKING:
    from streamlearn.gateway.state import Gateway

X = np.random.default_rng(11).normal(size=(2000, 2)).astype(np.float32)
SPEC: dict[str, Any] = {"dim": 2, "grid": [4, 4]}


class Listening:
    """The server-sent events of one request, received in a thread."""

    def __init__(self, client: httpx.Client, **parameters: Any) -> None:
        self.events: list[dict[str, Any]] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._receive, args=(client, parameters), daemon=True)
        self._thread.start()
        self.wait("daemon")

    def _receive(self, client: httpx.Client, parameters: Any) -> None:
        try:
            with client.stream("GET", "/v1/events", params=parameters) as answer:
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        self.events.append(json.loads(line.removeprefix("data: ")))
        except httpx.HTTPError:
            pass
        self.ended.set()

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.events if each["kind"] == kind]

    def wait(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        return list(wait_for(lambda: len(self.of(kind)) >= count and self.of(kind), f"{count} {kind} events"))


@contextmanager
def listening(gateway: GatewayProcess, **parameters: Any) -> Iterator[Listening]:
    with gateway.client() as client:
        yield Listening(client, **parameters)


def socket_url(gateway: GatewayProcess, query: str = "") -> str:
    return gateway.url.replace("http", "ws", 1) + "/v1/events/ws" + query


def test_events_of_the_chosen_models_and_kinds(http: httpx.Client, gateway: GatewayProcess) -> None:
    with listening(gateway, model="pump-*", kind=["created", "output"]) as got:
        for name in ("pump-1", "fan-1"):
            http.post("/v1/models", json={"name": name, "kind": "som", "spec": SPEC})
            http.post(f"/v1/models/{name}/learn", json={"x": X[:3].tolist()})
        http.post("/v1/models/pump-1/pause")
        http.post("/v1/models", json={"name": "pump-2", "kind": "som", "spec": SPEC})
        got.wait("created", 2)
    assert [each["model"] for each in got.of("created")] == ["pump-1", "pump-2"]
    (output,) = got.of("output")
    assert (output["first"], output["rows"], output["row"]) == (0, 3, [0, 1, 2])
    assert len(output["outputs"]["winner"]) == 3
    assert np.array_equal(np.float32(output["outputs"]["x"]), X[:3])
    assert {each["kind"] for each in got.events} == {"daemon", "created", "output"}


def test_brief_events_have_the_last_score(http: httpx.Client, gateway: GatewayProcess) -> None:
    for name in ("open", "other"):
        http.post("/v1/models", json={"name": name, "kind": "som", "spec": SPEC})
    with listening(gateway, full="open", kind="output") as got:
        for name in ("other", "other", "open"):
            http.post(f"/v1/models/{name}/learn", json={"x": X[:3].tolist()})
        got.wait("output", 2)
    other, full = got.of("output")
    assert (other["model"], other["row"], list(other["outputs"])) == ("other", [2], ["score"])
    assert full["model"] == "open"
    assert len(full["outputs"]["winner"]) == 3


def test_an_alarm_has_its_channels(http: httpx.Client, gateway: GatewayProcess) -> None:
    http.post("/v1/models", json={"name": "pump", "kind": "som", "spec": SPEC | {"alarm": {}}})
    with connect(socket_url(gateway, "?kind=alarm"), open_timeout=SECONDS) as events:
        assert json.loads(events.recv(SECONDS))["kind"] == "daemon"
        http.post("/v1/models/pump/learn", json={"x": X.tolist()})
        faulty = X[:20] + np.float32([0, 50])
        http.post("/v1/models/pump/learn", json={"x": faulty.tolist()})
        (alarm,) = json.loads(events.recv(SECONDS))["alarms"]
    assert (alarm["state"], alarm["cause"], alarm["channel"]) == ("begin", "score", 1)
    assert alarm["contribution"][1] > 0.9


def test_output_events_are_thinned(http: httpx.Client, gateway: GatewayProcess) -> None:
    """Two seconds of single samples give about 20 events, not thousands; of 2000 rows come 50."""
    http.post("/v1/models", json={"name": "pump", "kind": "som", "spec": SPEC})
    with listening(gateway, kind="output") as got:
        http.post("/v1/models/pump/learn", json={"x": X.tolist()})
        assert all(len(event["row"]) <= 50 for event in got.wait("output"))
        time.sleep(0.2)
        before = len(got.of("output"))
        began, sent = time.monotonic(), 0
        while time.monotonic() - began < 1.0:
            http.post("/v1/models/pump/learn?ack=received", json={"x": X[:1].tolist()})
            sent += 1
        spent = time.monotonic() - began
        assert len(got.of("output")) - before <= spent / EVERY + BURST + 1
    if sent > 100:
        assert len(got.of("output")) < sent


def test_a_slow_listener_loses_the_oldest_events_and_learns_how_many() -> None:
    async def run() -> None:
        hub = Hub(AsyncClient(), Limits(queued_events=3), AlarmHistory(10), lambda _: None)
        with hub.listen(Wanted(LOCAL)) as slow, hub.listen(Wanted(LOCAL)) as fast:
            for n in range(10):
                hub._publish(event(n))
                assert (await fast.get(1))["kind" if n == 0 else "lsn"] == ("daemon" if n == 0 else n - 1)
            assert await slow.get(1) == {"kind": "lost", "events": 8}
            assert [(await slow.get(1))["lsn"] for _ in range(3)] == [7, 8, 9]
            assert await slow.get(0.01) is None
        assert len(hub) == 0

    asyncio.run(run())


def test_a_stalled_listener_is_disconnected() -> None:
    """The answer ends when the client takes nothing, and when it leaves."""

    async def run(stall: bool) -> int:
        limits = Limits(stalled_seconds=0.05)
        hub = Hub(AsyncClient(), limits, AlarmHistory(10), lambda _: None)
        gateway = cast("Gateway", SimpleNamespace(hub=hub, settings=SimpleNamespace(limits=limits)))
        sent = []

        async def receive() -> Any:
            await asyncio.sleep(3600 if stall else 0.05)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if stall and len(sent) == 2:
                await asyncio.sleep(3600)

        answer = asyncio.create_task(EventStream(gateway, Wanted(LOCAL))({}, receive, send))
        await asyncio.sleep(0.1)
        hub._publish(event(1))
        await asyncio.wait_for(answer, SECONDS)
        assert len(hub) == 0
        return len(sent)

    assert asyncio.run(run(True)) == 2
    assert asyncio.run(run(False)) == 3


def event(lsn: int) -> Event:
    return Event("paused", "pump", lsn, 0, 0, 0, Outputs())


def test_too_many_listeners_are_refused(daemon: DaemonProcess, start: Callable[..., GatewayProcess]) -> None:
    gateway = start(daemon.requests, "--listeners", "2").ready()
    with listening(gateway) as first, listening(gateway):
        with gateway.client() as client:
            answer = client.get("/v1/events")
            assert (answer.status_code, answer.json()["code"]) == (503, "BUSY")
            assert answer.headers["retry-after"] == "1"
        with pytest.raises((ConnectionClosed, InvalidStatus)), connect(socket_url(gateway)) as events:
            events.recv(SECONDS)
        assert not first.ended.is_set()


def test_listeners_survive_a_killed_daemon(
    serve: Callable[..., DaemonProcess], start: Callable[..., GatewayProcess]
) -> None:
    daemon = serve()
    daemon.ready()
    gateway = start(daemon.requests).ready()
    with listening(gateway) as got, gateway.client() as client:
        client.post("/v1/models", json={"name": "pump", "kind": "som", "spec": SPEC})
        headers = {"Idempotency-Key": "first"}
        ack = client.post("/v1/models/pump/learn", json={"x": X.tolist()}, headers=headers)
        assert ack.status_code == 200
        daemon.kill()
        wait_for(lambda: client.get("/readyz").status_code == 503, "not ready")
        assert client.get("/healthz").status_code == 200
        assert "streamlearn_up 0.0" in client.get("/metrics").text
        serve().ready()
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready again")
        again = client.post("/v1/models/pump/learn", json={"x": X.tolist()}, headers=headers).json()
        assert again["duplicate"] is True
        assert client.get("/v1/models/pump").json()["samples"] == len(X)
        wait_for(lambda: [each["up"] for each in got.of("daemon")][-2:] == [False, True], "both states")
        client.post("/v1/models/pump/pause")
        got.wait("paused")


def test_a_killed_gateway_loses_nothing(
    daemon: DaemonProcess, http: httpx.Client, start: Callable[..., GatewayProcess]
) -> None:
    """A sender repeats its batch at another gateway after a kill -9, with the same key."""
    http.post("/v1/models", json={"name": "pump", "kind": "som", "spec": SPEC})
    sent = 0
    for n in range(3):
        gateway = start(daemon.requests).ready()
        with gateway.client() as client:
            for k in range(10_000):
                if k == 20:
                    threading.Timer(0.01, gateway.process.kill).start()
                batch, name = X[k % 100 : k % 100 + 3].tolist(), {"Idempotency-Key": f"{n}-{k}"}
                try:
                    client.post("/v1/models/pump/learn", json={"x": batch}, headers=name).raise_for_status()
                except httpx.HTTPError:
                    break
                sent += 3
        again = http.post("/v1/models/pump/learn", json={"x": batch}, headers=name)
        assert again.status_code == 200
        sent += 3
        assert http.get("/v1/models/pump").json()["samples"] == sent


def test_a_stop_ends_listeners(daemon: DaemonProcess, start: Callable[..., GatewayProcess]) -> None:
    gateway = start(daemon.requests).ready()
    with listening(gateway) as got, connect(socket_url(gateway), open_timeout=SECONDS) as events:
        events.recv(SECONDS)
        assert gateway.end() == 0
        assert got.ended.wait(SECONDS)
        with pytest.raises(ConnectionClosed):
            events.recv(SECONDS)
    assert "ERROR" not in gateway.log.read_text()
