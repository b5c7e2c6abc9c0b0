"""Subscriptions are bounded per connection and in all, and a refusal reaches the subscriber."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import zmq

from benchmarks.zmtp import Peer
from streamlearn.daemon.config import LimitSettings
from streamlearn.daemon.limits.budget import Account
from streamlearn.daemon.network.subscriptions import FLOOD_FACTOR, LONGEST_TOPIC, Subscriptions
from streamlearn.daemon.security.access import Access
from streamlearn.errors import Busy, TooLarge
from streamlearn_client import Client
from streamlearn_client.protocol import decode_reply
from tests.daemon.harness import SECONDS, Running, X
from tools.waiting import wait_for

MOST = 20


@pytest.fixture
def limited(serve: Callable[..., Running]) -> Running:
    daemon = serve(limits=LimitSettings(subscriptions=MOST))
    daemon.wire.create()
    return daemon


def subscribe(running: Running, *prefixes: bytes) -> zmq.Socket[bytes]:
    socket = running.connect(zmq.XSUB, "events").socket
    for prefix in prefixes:
        socket.send(b"\x01" + prefix)
    return socket


def confirm(socket: zmq.Socket[bytes], name: bytes = b"subscribed/x") -> list[bytes]:
    """The frames that confirm all earlier subscriptions."""
    socket.send(b"\x01" + name)
    assert socket.poll(int(SECONDS * 1000)), "no confirmation"
    return socket.recv_multipart()


def counters(running: Running) -> dict[str, int]:
    return dict(running.wire.call("stats")["subscriptions"])


def used(running: Running) -> int:
    return int(running.wire.call("stats")["memory"]["accounts"]["subscriptions"]["used"])


def test_subscriptions_are_confirmed_to_their_connection_only(limited: Running) -> None:
    everything = subscribe(limited, b"")
    assert confirm(everything, b"subscribed/everything") == [b"subscribed/everything"]
    other = subscribe(limited, b"output/m")
    assert confirm(other) == [b"subscribed/x"]
    limited.wire.learn(X[:3])
    for socket in (everything, other):
        assert socket.poll(int(SECONDS * 1000))
        assert socket.recv_multipart()[0] == b"output/m"
    assert not other.poll(0)
    while everything.poll(0):  # other topics are published now and then
        assert not everything.recv_multipart()[0].startswith(b"subscribed/")


def test_a_connection_has_a_limited_number_of_subscriptions(limited: Running) -> None:
    socket = subscribe(limited, *(b"output/%d" % i for i in range(MOST)))
    assert len(confirm(socket)) == 1
    socket.send(b"\x01output/m")
    name, header = confirm(socket, b"subscribed/y")
    error = decode_reply([header]).error
    assert name == b"subscribed/y"
    assert isinstance(error, TooLarge)
    assert error.detail == {"limit": "limits.subscriptions", "most": MOST}
    assert len(confirm(socket, b"subscribed/z")) == 1, "a refusal is reported once"
    assert counters(limited)["subscriptions"] == MOST
    limited.wire.learn(X[:3])
    limited.wire.call("describe", "m")
    assert not socket.poll(0), "the refused subscription has no effect"
    socket.send(b"\x00output/0")
    socket.send(b"\x01output/m")
    assert len(confirm(socket)) == 1
    limited.wire.learn(X[:3])
    assert socket.poll(int(SECONDS * 1000))


def test_repeated_subscriptions_count_once(limited: Running) -> None:
    with Peer(limited.endpoints["events"], "SUB") as peer:
        for _ in range(2 * MOST):
            peer.send(b"\x01output/m")
        wait_for(lambda: counters(limited)["subscriptions"] == 1, "the subscription")
        assert used(limited) > 0
        peer.send(b"\x00output/m")
        peer.send(b"\x00output/m")
        wait_for(lambda: counters(limited)["subscriptions"] == 0, "its end")
        assert used(limited) == 0
        published = limited.wire.call("stats")["events"]
        limited.wire.learn(X[:3])
        assert limited.wire.call("stats")["events"] == published
    wait_for(lambda: counters(limited)["subscribers"] == 0, "the end of the connection")


def test_a_topic_that_no_event_can_have_is_refused(limited: Running) -> None:
    socket = subscribe(limited, b"m" * (LONGEST_TOPIC + 1))
    error = decode_reply(confirm(socket)[1:]).error
    assert isinstance(error, TooLarge)
    assert used(limited) == 0


@pytest.mark.parametrize("size", [2000, 1 << 20])
def test_an_endless_topic_closes_the_connection(limited: Running, size: int) -> None:
    with Peer(limited.endpoints["events"], "SUB", SECONDS) as peer:
        assert peer.send_until_ended([b"\x01" + bytes(size)])
    assert counters(limited)["subscriptions"] == 0


def test_a_flood_closes_its_connection_and_frees_its_memory(limited: Running) -> None:
    client = Client(limited.endpoints["requests"])
    with client.subscribe("m", "output") as events:
        with Peer(limited.endpoints["events"], "SUB", SECONDS) as peer:
            assert peer.send_until_ended(b"\x01output/%d" % i for i in range(FLOOD_FACTOR * MOST + 1))
        wait_for(lambda: counters(limited)["subscriptions"] == 1, "the end of the flood")
        client.learn("m", X[:3])
        assert events.next_event(SECONDS) is not None
    assert counters(limited)["closed"] == 1
    wait_for(lambda: used(limited) == 0, "the release of the subscriptions")
    client.close()


def test_the_client_raises_the_refusal(serve: Callable[..., Running]) -> None:
    daemon = serve(limits=LimitSettings(subscriptions=1))
    daemon.wire.create()
    with (
        Client(daemon.endpoints["requests"]) as client,
        pytest.raises(TooLarge, match=r"limits\.subscriptions"),
        client.subscribe("m", "output", "drift"),
    ):
        pass


def test_full_memory_closes_the_connection_with_the_most_subscriptions() -> None:
    """Real sockets, without a daemon: the account has room for three subscriptions."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    events = context.socket(zmq.XPUB)
    events.setsockopt(zmq.XPUB_MANUAL, 1)
    port = events.bind_to_random_port("tcp://127.0.0.1")
    account = Account("subscriptions", 6000)
    subscriptions = Subscriptions(events, Access(), account, most=100)

    def connected(*prefixes: bytes) -> zmq.Socket[bytes]:
        socket = context.socket(zmq.XSUB)
        socket.connect(f"tcp://127.0.0.1:{port}")
        for prefix in (*prefixes, b"subscribed/x"):
            socket.send(b"\x01" + prefix)
        wait_for(lambda: (subscriptions.read(), socket.poll(0))[1], "a confirmation")
        return socket

    try:
        greedy = connected(b"output/a", b"output/b")
        assert len(greedy.recv_multipart()) == 1
        modest = connected(b"output/c")
        assert len(modest.recv_multipart()) == 1
        newcomer = connected(b"output/d", b"output/e")
        assert len(newcomer.recv_multipart()) == 1
        assert subscriptions.to_map()["closed"] == 1
        assert not subscriptions.recipients("a", "output")
        assert all(subscriptions.recipients(name, "output") for name in ("c", "d", "e"))
        newcomer.send(b"\x01output/f")
        newcomer.send(b"\x01subscribed/x")
        wait_for(lambda: (subscriptions.read(), newcomer.poll(0))[1], "a confirmation")
        error = decode_reply(newcomer.recv_multipart()[1:]).error
        assert isinstance(error, Busy)
        assert error.detail["limit"] == "limits.memory_bytes"
        assert account.used <= account.limit
    finally:
        context.destroy(0)
