"""Real sockets with keys: who is denied, on which socket, and that the allowed are unharmed meanwhile."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import zmq
from zmq.utils.monitor import parse_monitor_message

from streamlearn.access.identity import OPERATIONS, Identity
from streamlearn.access.identity import RIGHTS as RIGHT_NAMES
from streamlearn.daemon.config import Endpoints
from streamlearn.daemon.network.sockets import bind
from streamlearn.daemon.security.access import Access
from streamlearn.daemon.security.refusals import Refusals
from streamlearn.errors import BadConfig, Forbidden, UnknownModel
from streamlearn_client.keys import ClientKeys, generate
from streamlearn_client.protocol import OPS, Learn, encode_request
from tests.daemon.harness import SECONDS, Running, X
from tests.daemon.keyrings import RIGHTS, KeyRing
from tools.waiting import wait_for

KINDS = {"requests": zmq.DEALER, "firehose": zmq.PUSH, "events": zmq.SUB}
REFUSED = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
ADMITTED = zmq.EVENT_HANDSHAKE_SUCCEEDED


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


@pytest.fixture
def guarded(serve: Callable[..., Running], ring: KeyRing) -> Running:
    """A daemon with keys and the models pump-1 and secret. `wire` has the key of the operator."""
    running = serve(keys=ring.keys("operator"), security=ring.security)
    running.wire.create("pump-1")
    running.wire.create("secret")
    return running


class Attempt:
    """A socket that tries to connect to one of the daemon's sockets."""

    def __init__(self, name: str, endpoint: str, keys: ClientKeys | None) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.socket = self.context.socket(KINDS[name])
        self.socket.linger = 0
        self.socket.reconnect_ivl = 20
        if keys is not None:
            keys.set_on(self.socket)
        self.events: list[int] = []
        self.monitor = self.socket.get_monitor_socket(
            REFUSED | ADMITTED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        )
        self.socket.connect(endpoint)

    def outcome(self) -> str:
        """`admitted`, `refused`, or `closed`: the daemon ended several handshakes without a reason."""
        while True:
            assert self.monitor.poll(int(SECONDS * 1000)), "no handshake"
            event = parse_monitor_message(self.monitor.recv_multipart())["event"]
            self.events.append(event)
            if event == ADMITTED:
                return "admitted"
            if event & REFUSED:
                return "refused"
            if len(self.events) == 5:
                return "closed"

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.disable_monitor()
        self.context.destroy(0)


def attempt(running: Running, name: str, keys: ClientKeys | None) -> str:
    with Attempt(name, running.endpoints[name], keys) as found:
        return found.outcome()


def refused(running: Running) -> dict[str, int]:
    return dict(running.wire.call("stats")["refused"])


@pytest.fixture(autouse=True)
def allowed_is_unharmed(guarded: Running) -> Iterator[None]:
    """Before and after each test, the operator's key learns and queries on its connection."""
    guarded.wire.learn(X[:5], "secret")
    samples = guarded.wire.call("describe", "secret")["samples"]
    yield
    guarded.wire.learn(X[:5], "secret")
    assert guarded.wire.call("describe", "secret")["samples"] == samples + 5


@pytest.mark.parametrize("name", KINDS)
def test_strangers_are_denied_on_every_socket(guarded: Running, ring: KeyRing, name: str) -> None:
    before = refused(guarded)["peers"]
    assert attempt(guarded, name, ring.keys("stranger")) == "refused"
    assert attempt(guarded, name, None) in ("refused", "closed")
    other = generate("another-daemon").public
    wrong = ClientKeys(other, ring.pairs["operator"].public, ring.pairs["operator"].secret)
    assert attempt(guarded, name, wrong) == "closed"
    assert attempt(guarded, name, ring.keys("operator")) == "admitted"
    wait_for(lambda: refused(guarded)["peers"] >= before + 3)


def test_a_crowd_of_strangers_does_not_disturb_the_allowed(guarded: Running, ring: KeyRing) -> None:
    stop = threading.Event()

    def knock(name: str, keys: ClientKeys | None) -> None:
        while not stop.is_set():
            with Attempt(name, guarded.endpoints[name], keys) as found:
                found.outcome()

    stranger = ring.keys("stranger")
    crowd = [
        threading.Thread(target=knock, args=(name, keys), daemon=True)
        for name in KINDS
        for keys in (stranger, None)
    ]
    for each in crowd:
        each.start()
    before = guarded.wire.call("describe", "pump-1")["samples"]
    wait_for(lambda: (guarded.wire.learn(X[:1], "pump-1"), refused(guarded)["peers"] > 100)[1])
    stop.set()
    for each in crowd:
        each.join(SECONDS)
    counters = guarded.wire.call("stats")["models"]["pump-1"]
    assert counters["samples"] > before
    assert counters["refused"] == 0


def test_a_key_connects_only_to_sockets_that_it_has_a_right_for(guarded: Running, ring: KeyRing) -> None:
    outcomes = {
        (key, name): attempt(guarded, name, ring.keys(key))
        for key in ("sensor", "dashboard")
        for name in KINDS
    }
    assert {pair for pair, outcome in outcomes.items() if outcome == "refused"} == {
        ("sensor", "events"),
        ("dashboard", "firehose"),
    }
    assert set(outcomes.values()) == {"refused", "admitted"}


def test_a_key_with_a_right_on_other_models_is_denied(guarded: Running, ring: KeyRing) -> None:
    sensor = guarded.connect(keys=ring.keys("sensor"))
    sensor.learn(X[:3], "pump-1")
    for name in ("secret", "absent"):
        with pytest.raises(Forbidden) as error:
            sensor.learn(X[:3], name)
        assert error.value.detail == {"key": "sensor", "right": "push"}
        assert "'sensor'" in error.value.message
    with pytest.raises(UnknownModel):
        sensor.learn(X[:3], "pump-2")  # a name that the key may see


@pytest.mark.parametrize(
    ("key", "op", "right", "fields"),
    [
        ("sensor", "predict", "query", {"x": X[:1]}),
        ("sensor", "explain", "query", {"x": X[:1]}),
        ("sensor", "create", "change", {"kind": "sum", "spec": {"dim": 2}}),
        ("sensor", "delete", "change", {}),
        ("sensor", "checkpoint", "change", {}),
        ("sensor", "restore", "change", {}),
        ("dashboard", "reheat", "change", {}),
        ("dashboard", "pause", "change", {}),
        ("dashboard", "resume", "change", {}),
        ("dashboard", "feedback", "change", {"sample": 1, "verdict": "normal"}),
        ("dashboard", "delete", "change", {}),
        ("sensor", "stats", "query", {}),
    ],
)
def test_an_operation_without_its_right_is_denied(
    guarded: Running, ring: KeyRing, key: str, op: str, right: str, fields: dict[str, Any]
) -> None:
    wire = guarded.connect(keys=ring.keys(key))
    with pytest.raises(Forbidden) as error:
        wire.call(op, "pump-1", **fields)
    assert error.value.detail == {"key": key, "right": right}


def test_a_restore_into_another_model_needs_the_right_on_both(guarded: Running, ring: KeyRing) -> None:
    ring.add("mechanic")
    ring.rights.write_text(RIGHTS + '[mechanic]\nchange = ["pump-*"]\n')
    reload(guarded)
    mechanic = guarded.connect(keys=ring.keys("mechanic"))
    mechanic.call("checkpoint", "pump-1")
    for model, into in (("pump-1", "secret-copy"), ("secret", "pump-copy")):
        with pytest.raises(Forbidden):
            mechanic.call("restore", model, into=into)
    mechanic.call("restore", "pump-1", into="pump-copy")
    assert [each["name"] for each in mechanic.call("models")["models"]] == ["pump-1", "pump-copy"]


def test_every_operation_has_a_right() -> None:
    assert set(OPS) <= set(OPERATIONS)
    assert {right for rights in OPERATIONS.values() for right in rights} == set(RIGHT_NAMES) - {"subscribe"}
    with pytest.raises(Forbidden) as error:
        Identity("k", globs={right: ["*"] for right in RIGHT_NAMES if right != "admin"}).require("later", "")
    assert error.value.detail["right"] == "admin"


def test_a_key_sees_only_its_models(guarded: Running, ring: KeyRing) -> None:
    dashboard = guarded.connect(keys=ring.keys("dashboard"))
    assert [each["name"] for each in dashboard.call("models")["models"]] == ["pump-1"]
    assert set(dashboard.call("stats")["models"]) == {"pump-1"}
    assert dashboard.call("hello")["server"] == "streamlearn"
    with pytest.raises(UnknownModel) as error:
        dashboard.call("describe", "pump-9")
    assert "secret" not in f"{error.value.message} {error.value.detail}"
    with pytest.raises(UnknownModel) as error:
        guarded.wire.call("describe", "pump-9")
    assert error.value.detail["models"] == ["pump-1", "secret"]


def test_a_forbidden_push_of_the_firehose_is_counted_and_not_learned(
    guarded: Running, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    socket = guarded.connect(zmq.PUSH, "firehose", ring.keys("sensor")).socket
    for name in ("secret", "pump-1"):
        socket.send_multipart(encode_request(Learn(name, X[:7], ack="none")))
    wait_for(lambda: guarded.wire.call("describe", "pump-1")["samples"] == 7)
    assert guarded.wire.call("describe", "secret")["samples"] % 5 == 0
    stats = guarded.wire.call("stats")
    assert stats["refused"]["pushes"] == 1
    assert stats["firehose_lost"] == 1
    wait_for(lambda: "key sensor: no right push" in caplog.text)


def test_a_revoked_key_is_denied_at_once_on_its_connections(guarded: Running, ring: KeyRing) -> None:
    dashboard = guarded.connect(keys=ring.keys("dashboard"))
    sensor = guarded.connect(keys=ring.keys("sensor"))
    firehose = guarded.connect(zmq.PUSH, "firehose", ring.keys("sensor")).socket
    dashboard.call("hello")
    sensor.learn(X[:3], "pump-1")
    firehose.send_multipart(encode_request(Learn("pump-1", X[:2], ack="none")))
    wait_for(lambda: samples(guarded) == 5)  # the connection of the firehose is admitted
    ring.revoke("dashboard")
    ring.rights.write_text(RIGHTS.replace('push = ["pump-*"]', "push = []"))
    reload(guarded)
    with pytest.raises(Forbidden):
        dashboard.call("hello")
    with pytest.raises(Forbidden):
        sensor.learn(X[:3], "pump-1")
    firehose.send_multipart(encode_request(Learn("pump-1", X[:7], ack="none")))
    wait_for(lambda: refused(guarded)["pushes"] == 1)
    assert samples(guarded) == 5
    for name in KINDS:
        assert attempt(guarded, name, ring.keys("dashboard")) == "refused"


def samples(running: Running) -> int:
    return int(running.wire.call("describe", "pump-1")["samples"])


def reload(running: Running) -> None:
    running.daemon.loop.reload()
    wait_for(lambda: not running.access.reload_requested)
    running.wire.call("hello")  # the turn of the reload is over


def test_a_new_key_and_new_rights_take_effect_at_a_reload(
    guarded: Running, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ring.add("extra")
    ring.revoke("sensor")
    ring.rights.write_text(RIGHTS.replace('query = ["pump-*"]', 'query = ["*"]') + '[extra]\nquery = ["*"]\n')
    assert attempt(guarded, "requests", ring.keys("extra")) == "refused"
    reload(guarded)
    assert attempt(guarded, "requests", ring.keys("extra")) == "admitted"
    assert "added extra; removed sensor; changed the rights of dashboard" in caplog.text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[operator", "is not TOML"),
        ('[operator]\nquerry = ["*"]', "did you mean query?"),
        ('[operator]\nquery = "*"', "must be a list of model names"),
        ('[operator]\nadmin = ["pump-*"]', 'write admin = ["*"]'),
        ("operator = 3", "expected a table of rights"),
    ],
)
def test_wrong_rights_keep_the_old_ones(
    guarded: Running, ring: KeyRing, caplog: pytest.LogCaptureFixture, text: str, reason: str
) -> None:
    ring.rights.write_text(text)
    reload(guarded)
    assert reason in caplog.text
    assert guarded.wire.call("hello")
    assert attempt(guarded, "requests", ring.keys("stranger")) == "refused"
    with pytest.raises(BadConfig) as error:
        Access(ring.security)
    assert reason in error.value.message
    ring.rights.unlink()
    reload(guarded)
    assert guarded.wire.call("hello")


def test_wrong_keys_keep_the_old_ones(guarded: Running, ring: KeyRing, caplog: Any) -> None:
    for name, text in {
        "bad.pub": "public = 'x'",
        "secret.pub": f'public = "{ring.pairs["sensor"].public}"\nsecret = "s"',
        "again.pub": f'public = "{ring.pairs["sensor"].public}"',
    }.items():
        (ring.clients / name).write_text(text)
        reload(guarded)
        assert name.removesuffix(".pub") in caplog.text
        (ring.clients / name).unlink()
        caplog.clear()
    assert guarded.wire.call("hello")


def test_a_check_that_fails_denies(
    guarded: Running, ring: KeyRing, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sensor = guarded.connect(keys=ring.keys("sensor"))
    sensor.learn(X[:3], "pump-1")
    firehose = guarded.connect(zmq.PUSH, "firehose", ring.keys("sensor")).socket
    require = Identity.require

    def fail(self: Identity, op: str, model: str) -> None:
        if self.name == "sensor":
            raise RuntimeError("the check is broken")
        require(self, op, model)

    monkeypatch.setattr(Identity, "require", fail)
    with pytest.raises(Forbidden):
        sensor.learn(X[:3], "pump-1")
    firehose.send_multipart(encode_request(Learn("pump-1", X[:7], ack="none")))
    wait_for(lambda: refused(guarded)["pushes"] == 1)
    assert guarded.wire.call("describe", "pump-1")["samples"] == 3
    assert "the check is broken" in caplog.text


@pytest.mark.parametrize("name", KINDS)
def test_an_exception_in_the_handler_denies_and_does_not_end_it(
    guarded: Running, ring: KeyRing, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    zap = guarded.sockets.zap
    assert zap is not None

    def fail(socket: str, public: str) -> str:
        raise RuntimeError("the check is broken")

    with monkeypatch.context() as patched:
        patched.setattr(zap, "_admit", fail)
        assert attempt(guarded, name, ring.keys("operator")) == "refused"
    assert attempt(guarded, name, ring.keys("operator")) == "admitted"


def test_without_the_handler_nobody_is_admitted(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlearn.daemon.network.sockets.ZapHandler", Mock())
    free = dict.fromkeys(KINDS, "tcp://127.0.0.1:*")
    sockets = bind(Endpoints(**free), 1 << 20, 16 << 20, Access(ring.security))
    try:
        for name, endpoint in sockets.endpoints().items():
            with Attempt(name, endpoint, ring.keys("operator")) as found:
                assert found.outcome() == "closed"
    finally:
        sockets.close(0)


def test_refused_peers_are_counted_and_logged_without_secrets(
    guarded: Running, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    stranger = ring.keys("stranger")
    for _ in range(20):
        assert attempt(guarded, "requests", stranger) == "refused"
    assert refused(guarded)["peers"] >= 20  # an attempt that lost its connection is repeated
    wait_for(lambda: "127.0.0.1 at requests: unknown key" in caplog.text)
    secrets = [pair.secret for pair in ring.pairs.values()] + [stranger.secret]
    assert not [secret for secret in secrets if secret in caplog.text]
    assert not [
        secret for secret in secrets if secret in repr((ring.pairs, stranger, guarded.access.server_key))
    ]


def test_a_flood_of_refusals_is_one_line_in_ten_seconds(caplog: pytest.LogCaptureFixture) -> None:
    refusals = Refusals()
    refusals.report(0.0)
    for now in range(100):
        for peer in range(1000):
            refusals.count("peers", f"peer {peer}")
        refusals.count("pushes")
        refusals.report(float(now))
    assert refusals.to_map() == {"peers": 100_000, "requests": 0, "pushes": 100, "subscriptions": 0}
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 10
    assert "peer 3 (10 times)" in lines[1]
    assert "others (9800 times)" in lines[1]
    assert max(map(len, lines)) < 1000


def test_a_signal_only_requests_the_reload(guarded: Running) -> None:
    generation = guarded.access.generation
    previous = signal.signal(signal.SIGHUP, lambda *_: guarded.daemon.loop.reload())
    try:
        for _ in range(3):
            signal.raise_signal(signal.SIGHUP)
        wait_for(lambda: guarded.access.generation > generation)
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert guarded.failure is None
