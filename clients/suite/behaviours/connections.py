"""Connections: restarts, timeouts, keys, and what is not a daemon."""

from __future__ import annotations

import msgpack

from clients.suite.driver import Driver, Refused
from clients.suite.fake import error
from clients.suite.registry import behaviour
from clients.suite.trial import Trial, learned, rows, until


@behaviour("The daemon restarts while the client is idle (SIGTERM, kill -9): the next call succeeds")
def idle_restart(t: Trial) -> None:
    daemon = t.daemon()
    driver = t.driver(daemon.requests)
    model = t.model(driver)
    x = rows(30)
    driver.do("learn", model=model, x=x[:10])
    daemon.stop()
    daemon.start()
    driver.do("learn", model=model, x=x[10:20])
    daemon.restart()
    assert not driver.do("learn", model=model, x=x[20:])["duplicate"]
    assert driver.do("describe", model=model)["state_hash"] == learned(x).state_hash()


@behaviour("A call waits for a daemon that starts later; a batch whose answer was lost is learned once")
def waiting(t: Trial) -> None:
    daemon = t.daemon()
    proxy = t.proxy(daemon.requests)
    driver = t.driver(proxy.endpoint)
    model = t.model(driver)
    x = rows(20)
    driver.do("learn", model=model, x=x[:10])
    with proxy.losing_answers():
        driver.start("learn", model=model, x=x[10:])
        until(lambda: daemon.samples(model) == 20)
        daemon.kill()
        assert not driver.answered(0.2)
    daemon.start()
    ack = driver.answer()
    assert (ack["duplicate"], ack["rows"]) == (True, 10)
    assert driver.do("describe", model=model)["state_hash"] == learned(x).state_hash()


@behaviour("Timeouts: no daemon, and one that does not answer; the outcome of what was sent is in doubt")
def timeouts(t: Trial) -> None:
    proxy = t.proxy(t.shared.requests)
    driver = t.driver(proxy.endpoint, timeout=0.5)
    model = f"{t.name}-late"
    with t.shared.client() as client:
        client.create(model, "som", dim=3, grid=[4, 4], scale="standard")
    x = rows(15)
    until(lambda: describes(driver, model))
    driver.do("learn", model=model, x=x[:5])
    with proxy.away():
        # In doubt only while the client has not noticed that the connection is gone.
        until(lambda: not refused_by_nobody(driver, model).in_doubt)
    until(lambda: describes(driver, model))
    with proxy.losing_answers():
        refused = driver.refusal("learn", model=model, x=x[5:10])
        assert (refused.code, refused.in_doubt) == ("NO_ANSWER", True)
        until(lambda: t.shared.samples(model) == 10)
    until(lambda: describes(driver, model))
    assert not driver.do("learn", model=model, x=x[10:])["duplicate"]
    assert t.shared.state_hash(model) == learned(x).state_hash()


def refused_by_nobody(driver: Driver, model: str) -> Refused:
    """Send samples although no daemon is there."""
    refused = driver.refusal("learn", model=model, x=rows(5, seed=2))
    assert refused.code == "NO_ANSWER"
    return refused


def describes(driver: Driver, model: str) -> bool:
    """Return whether the daemon answers within the client's timeout."""
    try:
        driver.do("describe", model=model)
    except Refused as refused:
        if refused.code != "NO_ANSWER":
            raise
        return False
    return True


@behaviour("Keys (CURVE): a client with a key is admitted, with its rights, also to events and streams")
def curve(t: Trial) -> None:
    daemon, ring = t.daemon_with_keys()
    server = ring.pairs["server"].public
    driver = t.driver(daemon.requests, server_key=server, key_file=ring.file("operator"))
    model = "pump-1"
    driver.do("create", model=model, kind="som", spec={"dim": 3, "grid": [4, 4], "scale": "standard"})
    driver.do("subscribe", kinds=["output"], models=[model])
    x = rows(40)
    driver.do("stream_open", model=model, batch=10, window=4, timeout=60)
    driver.do("push", x=x)
    driver.do("stream_close")
    assert driver.do("next_event", timeout=60)["event"]["first"] == 0
    assert driver.do("describe", model=model)["state_hash"] == learned(x).state_hash()
    viewer = t.driver(daemon.requests, server_key=server, key_file=ring.file("dashboard"))
    assert viewer.do("describe", model=model)["samples"] == 40
    refused = viewer.refusal("learn", model=model, x=rows(1))
    assert refused.code == "FORBIDDEN"
    assert not refused.in_doubt


@behaviour("Keys (CURVE): an unknown key, a client without a key, and a wrong server key are refused")
def wrong_keys(t: Trial) -> None:
    daemon, ring = t.daemon_with_keys()
    server = ring.pairs["server"].public
    stranger = ring.file("stranger")
    refused = t.driver(daemon.requests, server_key=server, key_file=stranger).refusal("models")
    assert refused.code == "FORBIDDEN"
    assert t.driver(daemon.requests).refusal("models").code == "FORBIDDEN"
    wrong = ring.pairs["operator"].public
    other = t.driver(daemon.requests, timeout=1, server_key=wrong, key_file=ring.file("operator"))
    assert other.refusal("models").code == "NO_ANSWER"


@behaviour("Another protocol version: the client refuses to go on, and reports it")
def version(t: Trial) -> None:
    fake = t.fake(lambda header: error("UNSUPPORTED_VERSION", "use version 2", supported=[2]))
    refused = t.driver(fake.endpoint).refusal("describe", model="pump")
    assert (refused.code, refused.facts["message"]) == ("UNSUPPORTED_VERSION", "use version 2")
    newer = t.fake(lambda header: msgpack.packb({"v": 2, "id": header["id"], "ok": {}}))
    assert t.driver(newer.endpoint).refusal("describe", model="pump").code == "PROTOCOL_ERROR"


@behaviour("What answers is not a daemon: the answer is refused, with the endpoint")
def no_daemon(t: Trial) -> None:
    answers = [b"", b"HTTP/1.1 400 Bad Request", b"\x81\xa1v\x01", b"\xc1", bytes(3)]
    left = list(answers)
    fake = t.fake(lambda header: left.pop(0))
    driver = t.driver(fake.endpoint)
    for _ in answers:
        refused = driver.refusal("describe", model="pump")
        assert refused.code == "PROTOCOL_ERROR"
        assert fake.endpoint in refused.facts["message"]
