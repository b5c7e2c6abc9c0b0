"""Streams: each sample is learned exactly once, whatever happens to the daemon and the connection."""

from __future__ import annotations

from clients.suite.registry import behaviour
from clients.suite.trial import Trial, learned, rows, until

BATCH = {"batch": 5, "window": 8}
CAPACITY = (8 + 1) * 5
"""The most samples that such a stream holds."""


@behaviour("Streams: exactly once across kill -9 of the daemon, in the middle and repeatedly")
def kill(t: Trial) -> None:
    daemon = t.daemon()
    proxy = t.proxy(daemon.requests)
    driver = t.driver(proxy.endpoint)
    model = t.model(driver)
    x = rows(300)
    driver.do("stream_open", model=model, timeout=60, **BATCH)
    for start in range(0, 300, 100):
        driver.do("push", x=x[start : start + 10])
        driver.do("flush")
        with proxy.losing_answers():  # so batches are accepted and not acknowledged when the daemon dies
            driver.start("push", x=x[start + 10 : start + 100])
            until(lambda start=start: daemon.samples(model) > start + 20)
            daemon.kill()
            assert not driver.answered()
        daemon.start()
        driver.answer()
    assert driver.do("flush")["acknowledged"] == 300
    assert driver.do("stream_status")["resent"] >= 3
    driver.do("stream_close")
    assert driver.do("describe", model=model)["state_hash"] == learned(x).state_hash()


@behaviour("Streams: lost answers; batches that were learned are sent again and are duplicates")
def lost_answers(t: Trial) -> None:
    proxy = t.proxy(t.shared.requests)
    driver = t.driver(proxy.endpoint)
    model = t.model(driver)
    x = rows(300)
    driver.do("stream_open", model=model, timeout=60, **BATCH)
    for start in range(0, 300, 100):
        driver.do("push", x=x[start : start + 10])
        driver.do("flush")
        with proxy.losing_answers():
            driver.start("push", x=x[start + 10 : start + 100])
            until(lambda start=start: t.shared.samples(model) > start + 20)
            assert not driver.answered()
        driver.answer()
    driver.do("flush")
    status = driver.do("stream_status")
    assert (status["acknowledged"], status["pending"]) == (300, 0)
    assert status["resent"] >= 3
    assert driver.do("describe", model=model)["state_hash"] == learned(x).state_hash()


@behaviour("Streams: targets, keys, ids and times of each sample")
def streamed_fields(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver, "som", {"dim": 3, "grid": [4, 4], "labels": 2})
    x, y = rows(30), [[number % 2] for number in range(30)]
    driver.do("subscribe", kinds=["output"], models=[model])
    driver.do("stream_open", model=model, batch=30, window=2, timeout=60)
    sent = [str(10**18 + number) for number in range(30)]
    driver.do("push", x=x, y=y, ids=sent, times=sent)
    driver.do("flush")
    found = []
    while len(found) < 30:
        arrays = driver.do("next_event", timeout=60)["event"]["arrays"]
        assert arrays["time"]["values"] == arrays["id"]["values"]
        found += arrays["id"]["values"]
    assert found == sent
    reference = learned(kind="som", spec={"dim": 3, "grid": [4, 4], "labels": 2})
    reference.learn(x, y, ids=[int(each) for each in sent])
    assert driver.do("describe", model=model)["state_hash"] == reference.state_hash()


@behaviour("Streams: a second stream with the same producer fences the first one")
def fenced(t: Trial) -> None:
    first, second = t.driver(), t.driver()
    model = t.model(first)
    x = rows(20)
    opened = first.do("stream_open", model=model, producer="press-7", timeout=60, **BATCH)
    assert opened["producer"] == "press-7"
    first.do("push", x=x[:10])
    first.do("flush")
    later = second.do("stream_open", model=model, producer="press-7", timeout=60, **BATCH)
    assert int(later["epoch"]) > int(opened["epoch"])
    second.do("push", x=x[10:])
    second.do("flush")
    first.do("push", x=rows(5, seed=2))
    lost = first.refusal("flush")
    assert lost.code == "STREAM_LOST"
    assert lost.facts["cause"] == "FENCED"
    assert first.refusal("push", x=rows(1)).code == "STREAM_LOST"
    first.do("stream_abort")
    assert second.do("describe", model=model)["state_hash"] == learned(x).state_hash()
    position = second.do("position", model=model, producer="press-7")
    assert (int(position["epoch"]), position["next_seq"]) == (int(later["epoch"]), 2)


@behaviour(
    "Streams: back-pressure; push waits while the window is full, and after its timeout nothing is lost"
)
def back_pressure(t: Trial) -> None:
    proxy = t.proxy(t.shared.requests)
    driver = t.driver(proxy.endpoint)
    model = t.model(driver)
    x = rows(200)
    driver.do("stream_open", model=model, timeout=0.5, **BATCH)
    with proxy.away():
        assert driver.refusal("push", x=x).code == "NO_ANSWER"
        held = driver.do("stream_status")["pending"]
        assert 0 < held <= CAPACITY
        assert driver.refusal("flush", timeout=0.2).code == "NO_ANSWER"
    assert driver.do("flush", timeout=60)["acknowledged"] == held
    driver.do("stream_close")
    driver.do("stream_open", model=model, timeout=60, **BATCH)
    driver.do("push", x=x[held:])
    driver.do("stream_close")
    assert driver.do("describe", model=model)["state_hash"] == learned(x).state_hash()


@behaviour("Streams: refused samples end the stream with the daemon's reason; the daemon deletes the model")
def refused_samples(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver)
    driver.do("stream_open", model=model, timeout=60, **BATCH)
    assert driver.refusal("push", x=[[1, 2]]).code == "BAD_SHAPE"
    assert driver.refusal("push", x=[[1, 2, "inf"]]).code == "BAD_VALUE"
    driver.do("push", x=rows(5))
    driver.do("flush")
    with t.shared.client() as other:
        other.delete(model)
    driver.do("push", x=rows(5))
    lost = driver.refusal("flush")
    assert (lost.code, lost.facts["cause"]) == ("STREAM_LOST", "UNKNOWN_MODEL")
    driver.do("stream_abort")
    assert driver.refusal("stream_open", model=model, timeout=60, **BATCH).code == "UNKNOWN_MODEL"


@behaviour("Firehose: samples without acknowledgement")
def firehose(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver)
    x = rows(30)
    driver.do("firehose", model=model, x=x)
    until(lambda: t.shared.samples(model) == 30)
    assert t.shared.state_hash(model) == learned(x).state_hash()
