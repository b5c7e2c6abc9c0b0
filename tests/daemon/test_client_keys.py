"""The real clients and a daemon with keys: what each mistake raises, within the timeout."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamlearn.errors import Forbidden, NoAnswer, ProtocolError, StreamLost
from streamlearn_client import Client, sockets
from streamlearn_client.aio import AsyncClient
from streamlearn_client.keys import generate
from tests.daemon.harness import SECONDS, Running, X
from tests.daemon.keyrings import RIGHTS, KeyRing
from tools.waiting import wait_for


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


@pytest.fixture
def guarded(serve: Callable[..., Running], ring: KeyRing) -> Running:
    running = serve(keys=ring.keys("operator"), security=ring.security)
    for name in ("pump-1", "secret"):
        running.wire.create(name)
    return running


class Closing:
    """A server that closes every connection at once, like a tunnel without a daemon behind it."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        self.accepted = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._server.accept()[0].close()
                self.accepted += 1

    def __enter__(self) -> Closing:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()


@pytest.fixture
def connect(guarded: Running, ring: KeyRing) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def connect(name: str, timeout: float = SECONDS, **keys: Any) -> Client:
        given = {"server_key": ring.pairs["server"].public, "key": ring.keys(name).secret} | keys
        clients.append(Client(guarded.endpoints["requests"], timeout=timeout, **given))
        return clients[-1]

    yield connect
    for each in clients:
        each.close()


def reload(running: Running) -> None:
    running.daemon.loop.reload()
    wait_for(lambda: not running.access.reload_requested)
    running.wire.call("hello")


def test_clients_with_keys_do_what_their_rights_permit(guarded: Running, connect: Any) -> None:
    sensor, dashboard = connect("sensor"), connect("dashboard")
    with dashboard.subscribe("pump-1") as one, dashboard.subscribe(None) as every:
        sensor.learn("pump-1", X[:3])
        with sensor.stream("pump-1") as stream:
            stream.push_many(X[3:10])
        with sensor.firehose("pump-1") as firehose:
            firehose.push(X[10:15])
        guarded.wire.learn(X[:3], "secret")
        wait_for(lambda: dashboard.describe("pump-1")["samples"] == 15)
        for events in (one, every):
            rows = 0
            while rows < 15:
                event = events.next_event(SECONDS)
                assert (event.model, event.kind) == ("pump-1", "output")
                rows += event.rows
        assert one.next_event(0) is None
        assert every.next_event(0) is None
    assert [each["name"] for each in dashboard.models()] == ["pump-1"]
    with pytest.raises(Forbidden) as error:
        sensor.predict("pump-1", X[:1])
    assert error.value.detail == {"key": "sensor", "right": "query"}


def test_a_key_from_files(guarded: Running, ring: KeyRing, tmp_path: Path, monkeypatch: Any) -> None:
    from streamlearn_client.keys import write_key_pair

    write_key_pair(ring.pairs["dashboard"], tmp_path)
    endpoint = guarded.endpoints["requests"]
    files = {"server_key": ring.directory / "server.pub", "key_file": tmp_path / "dashboard.key"}
    with Client(endpoint, timeout=SECONDS, **files) as client:
        assert client.hello()["server"] == "streamlearn"
    monkeypatch.setenv("STREAMLEARN_SERVER_KEY", str(files["server_key"]))
    monkeypatch.setenv("STREAMLEARN_KEY_FILE", str(files["key_file"]))
    with Client(endpoint, timeout=SECONDS) as client:
        assert client.hello()["server"] == "streamlearn"


def test_an_unknown_key_is_refused_at_once(guarded: Running, ring: KeyRing, connect: Any) -> None:
    client = connect("stranger", timeout=None)
    for _ in range(2):  # every call connects again
        with pytest.raises(Forbidden, match="does not admit the public key"):
            client.hello()
    public = client._keys.public
    (ring.clients / "stranger.pub").write_text(f'public = "{public}"\n')
    ring.rights.write_text(RIGHTS + '[stranger]\nquery = ["*"]\n')
    reload(guarded)
    assert client.hello()["server"] == "streamlearn"


def test_no_key_is_refused_within_the_timeout(guarded: Running, ring: KeyRing) -> None:
    endpoint = guarded.endpoints["requests"]
    with Client(endpoint, timeout=None) as client, pytest.raises(Forbidden, match="requires a key: pass"):
        client.hello()


def test_a_key_for_a_daemon_that_takes_none(ring: KeyRing, tmp_path: Path) -> None:
    running = Running(tmp_path / "open")
    try:
        keys = {"server_key": ring.pairs["server"].public, "key": ring.pairs["sensor"].secret}
        with (
            Client(running.endpoints["requests"], timeout=None, **keys) as client,
            pytest.raises(Forbidden, match="takes no keys: leave out server_key"),
        ):
            client.hello()
    finally:
        running.stop()


def test_another_server_key_is_named_after_the_timeout(guarded: Running, connect: Any) -> None:
    client = connect("operator", timeout=1.0, server_key=generate("other").public)
    with pytest.raises(NoAnswer, match="ended during the handshake: possibly server_key is not") as error:
        client.hello()
    assert not error.value.in_doubt


def test_a_peer_that_closes_every_connection_is_named_after_the_timeout() -> None:
    with Closing() as server:
        endpoint = server.endpoint
        with Client(endpoint, timeout=0.5) as client:
            with pytest.raises(NoAnswer, match="possibly the daemon requires a key, or a tunnel"):
                client.hello()
            with client.firehose("m", endpoint=endpoint) as firehose, pytest.raises(NoAnswer, match="tunnel"):
                firehose.push(X[:1])
            events = Client(endpoint, endpoint, timeout=0.5)
            with pytest.raises(NoAnswer, match="tunnel"), events.subscribe("m"):
                pass
            events.close()


def test_an_idle_client_does_not_stop_the_other_sockets(
    guarded: Running, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ZeroMQ's I/O thread waits for space in the full queue of a monitor, which nobody reads."""
    monkeypatch.setattr(sockets, "RECONNECT_MS", (1, 1))
    with Closing() as server, Client(server.endpoint):
        wait_for(lambda: server.accepted >= 2500)
    assert connect("operator").hello()


def test_firehose_and_subscription_without_the_right_are_refused(guarded: Running, connect: Any) -> None:
    dashboard, sensor = connect("dashboard"), connect("sensor")
    with dashboard.firehose("pump-1") as firehose:
        for _ in range(2):
            with pytest.raises(Forbidden, match="does not admit"):
                firehose.push(X[:1])
    with pytest.raises(Forbidden, match="does not admit"), sensor.subscribe("pump-1"):
        pass
    with pytest.raises(Forbidden) as error, dashboard.subscribe("secret"):
        pass
    assert error.value.detail == {"key": "dashboard", "right": "subscribe"}


def test_a_stream_whose_key_is_revoked_fails(guarded: Running, ring: KeyRing, connect: Any) -> None:
    sensor = connect("sensor")
    stream = sensor.stream("pump-1")
    stream.push_many(X[:5])
    stream.flush()
    ring.revoke("sensor")
    reload(guarded)
    stream.push_many(X[5:10])
    with pytest.raises(StreamLost, match="FORBIDDEN"):
        stream.flush()
    stream.close()
    with pytest.raises(Forbidden):
        sensor.learn("pump-1", X[:1])
    fresh = connect("sensor")
    with pytest.raises(Forbidden, match="does not admit"):
        fresh.learn("pump-1", X[:1])
    assert guarded.wire.call("describe", "pump-1")["samples"] == 5


def test_a_subscription_whose_key_is_revoked_raises(guarded: Running, ring: KeyRing, connect: Any) -> None:
    with connect("dashboard").subscribe("pump-1") as events:
        ring.revoke("dashboard")
        reload(guarded)
        with pytest.raises(Forbidden, match="does not admit"):
            events.next_event()


def test_the_asyncio_client(guarded: Running, ring: KeyRing) -> None:
    endpoint = guarded.endpoints["requests"]
    server = ring.pairs["server"].public

    def client(name: str, **changed: Any) -> AsyncClient:
        keys = {"server_key": server, "key": ring.keys(name).secret} | changed
        return AsyncClient(endpoint, timeout=SECONDS, **keys)

    async def allowed_and_forbidden(sensor: AsyncClient, dashboard: AsyncClient) -> None:
        async with dashboard.subscribe("pump-1") as events:
            await sensor.learn("pump-1", X[:3])
            event = await events.next_event(SECONDS)
            assert event is not None
            assert (event.model, event.rows) == ("pump-1", 3)
            async with sensor.stream("pump-1") as stream:
                await stream.push_many(X[:3])
            async with sensor.firehose("pump-1") as firehose:
                await firehose.push(X[:3])
            with pytest.raises(Forbidden):
                await sensor.predict("pump-1", X[:1])
            async with dashboard.firehose("pump-1") as firehose:
                with pytest.raises(Forbidden):
                    await firehose.push(X[:3])
            with pytest.raises(Forbidden):
                await sensor.subscribe("pump-1").__aenter__()
            ring.revoke("dashboard")
            await asyncio.to_thread(reload, guarded)
            with pytest.raises(Forbidden, match="does not admit"):
                _ = [event async for event in events]

    async def run() -> None:
        async with client("sensor") as sensor, client("dashboard") as dashboard:
            await allowed_and_forbidden(sensor, dashboard)
        async with client("stranger") as stranger:
            for _ in range(2):
                with pytest.raises(Forbidden, match="does not admit"):
                    await asyncio.gather(stranger.hello(), stranger.models())
        async with client("operator", server_key=generate("o").public) as wrong:
            wrong.timeout = 1.0
            with pytest.raises(NoAnswer, match="server_key is not"):
                await wrong.hello()

    asyncio.run(run())


def test_the_endpoint_of_another_socket(guarded: Running) -> None:
    with (
        Client(guarded.endpoints["firehose"], timeout=1.0) as client,
        pytest.raises((Forbidden, NoAnswer, ProtocolError)),
    ):
        client.hello()
