"""Real sockets with keys: a subscriber receives the events of models that its key may subscribe to, only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest
import zmq

from streamlearn.errors import Forbidden
from streamlearn_client.protocol import decode_reply
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


class Subscriber:
    """A subscriber's socket. `topics` are without the beginning that stands for the key."""

    def __init__(self, running: Running, ring: KeyRing, key: str) -> None:
        self.prefix = ring.keys(key).topic_prefix
        self.socket = running.connect(zmq.XSUB, "events", ring.keys(key)).socket

    def subscribe(self, *prefixes: bytes) -> Exception | None:
        """Subscribe to prefixes as they are. Return the refusal, if the confirmation has one."""
        for prefix in (*prefixes, b"subscribed/x"):
            self.socket.send(b"\x01" + prefix)
        frames = self.receive()
        while frames[0] != b"subscribed/x":
            frames = self.receive()
        return decode_reply(frames[1:]).error if frames[1:] else None

    def receive(self) -> list[bytes]:
        assert self.socket.poll(int(SECONDS * 1000)), "no message"
        return self.socket.recv_multipart()

    def topics(self) -> list[bytes]:
        """The topics of all events that were sent before this call. A batch may have several events."""
        self.socket.send(b"\x01subscribed/end")
        found = []
        while (name := self.receive()[0]) != b"subscribed/end":
            assert name.startswith(self.prefix)
            found.append(name.removeprefix(self.prefix))
        return [name for name, _ in groupby(found)]


def learn_all(running: Running) -> None:
    for name in ("pump-1", "secret"):
        running.wire.learn(X[:3], name)
    running.wire.call("describe", "secret")


@pytest.mark.parametrize("prefixes", [[b""], [b"o", b"c", b"d"], [b"output/", b"created/", b"deleted/"]])
def test_a_prefix_wider_than_the_rights_does_not_leak(
    guarded: Running, ring: KeyRing, prefixes: list[bytes]
) -> None:
    dashboard, operator = (Subscriber(guarded, ring, key) for key in ("dashboard", "operator"))
    for prefix in prefixes:
        assert dashboard.subscribe(dashboard.prefix + prefix) is None
    assert operator.subscribe(operator.prefix) is None
    learn_all(guarded)
    for name in ("pump-2", "secret-2"):  # models that are created later
        guarded.wire.create(name)
        guarded.wire.learn(X[:3], name)
    guarded.wire.call("delete", "secret")
    visible = [b"output/pump-1", b"created/pump-2", b"output/pump-2"]
    assert dashboard.topics() == visible
    secret = [b"output/secret", b"created/secret-2", b"output/secret-2"]
    assert sorted(operator.topics()) == sorted([*visible, *secret, b"deleted/secret"])


@pytest.mark.parametrize("prefix", [b"", b"output/", b"output/pump-1", b"output/secret", b"s", b"subscribed"])
def test_topics_without_the_own_key_are_refused(guarded: Running, ring: KeyRing, prefix: bytes) -> None:
    dashboard, operator = (Subscriber(guarded, ring, key) for key in ("dashboard", "operator"))
    assert operator.subscribe(operator.prefix) is None
    for text in (prefix, operator.prefix + prefix, operator.prefix[:5]):
        error = dashboard.subscribe(text)
        assert isinstance(error, Forbidden)
        assert error.detail == {"key": "dashboard", "right": "subscribe"}
    learn_all(guarded)
    assert dashboard.topics() == []
    assert operator.topics() == [b"output/pump-1", b"output/secret"]
    assert guarded.wire.call("stats")["refused"]["subscriptions"] == 3


def test_a_forbidden_model_is_refused_whether_it_exists_or_not(guarded: Running, ring: KeyRing) -> None:
    dashboard = Subscriber(guarded, ring, "dashboard")
    messages = []
    for name in (b"secret", b"absent"):
        error = dashboard.subscribe(dashboard.prefix + b"output/" + name)
        assert isinstance(error, Forbidden)
        messages.append(error.message.replace(name.decode(), "…"))
    assert messages[0] == messages[1]
    assert dashboard.subscribe(dashboard.prefix + b"output/pump-1") is None
    learn_all(guarded)
    assert dashboard.topics() == [b"output/pump-1"]


def test_rights_that_end_or_begin_take_effect_on_existing_subscriptions(
    guarded: Running, ring: KeyRing
) -> None:
    dashboard = Subscriber(guarded, ring, "dashboard")
    assert dashboard.subscribe(dashboard.prefix) is None
    for globs, expected in (
        ('["secret"]', [b"output/secret"]),
        ('["*"]', [b"output/pump-1", b"output/secret"]),
        ('["absent"]', []),
    ):
        ring.rights.write_text(RIGHTS.replace('subscribe = ["pump-*"]', f"subscribe = {globs}"))
        reload(guarded)
        learn_all(guarded)
        assert dashboard.topics() == expected


def reload(running: Running) -> None:
    running.daemon.loop.reload()
    wait_for(lambda: not running.access.reload_requested)
    running.wire.call("hello")


@pytest.mark.parametrize("revoke", [True, False])
def test_a_key_without_the_right_loses_its_connection(guarded: Running, ring: KeyRing, revoke: bool) -> None:
    dashboard = Subscriber(guarded, ring, "dashboard")
    assert dashboard.subscribe(dashboard.prefix) is None
    lost = dashboard.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    if revoke:
        ring.revoke("dashboard")
    else:
        ring.rights.write_text(RIGHTS.replace('subscribe = ["pump-*"]', "subscribe = []"))
    reload(guarded)
    assert lost.poll(int(SECONDS * 1000)), "the connection is still open"
    learn_all(guarded)
    assert not dashboard.socket.poll(0)
    wait_for(lambda: guarded.wire.call("stats")["subscriptions"]["subscribers"] == 0)
    dashboard.socket.disable_monitor()
