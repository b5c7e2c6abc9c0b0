"""Samples with missing values, keys, ids, times, targets and labels; forecasts; large batches."""

from __future__ import annotations

import numpy as np

from clients.suite.registry import behaviour
from clients.suite.trial import Rows, Trial, array, learned, rows
from streamlearn import models
from streamlearn_client.protocol import as_identifiers

KEYED = ("rnn", {"dim": 2, "keys": 8, "hidden": 4, "readout": "adam"})
LABELLED = ("som", {"dim": 3, "grid": [4, 4], "labels": ["ok", "worn"]})
FORECASTS = ("rnn", {"dim": 2, "hidden": 0, "horizon": 5, "period": 8})
LARGE = (1 << 62) + 1
"""Not a number that a double has."""


def numbers_of(texts: list[str]) -> np.ndarray:
    """Return the keys that texts stand for."""
    return as_identifiers(texts, len(texts), "keys")


@behaviour("Missing values: NaN in samples and in outputs")
def missing(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver)
    x: Rows = [[1.5, None, -2.25], [None, None, None], *rows(30), [None, 0.5, 1.0]]
    driver.do("learn", model=model, x=x)
    assert driver.do("describe", model=model)["state_hash"] == learned(x).state_hash()
    outputs = driver.do("predict", model=model, x=x)["arrays"]
    assert outputs["present"]["values"][:2] == [2, 0]
    assert outputs["score"]["values"][1] is None
    assert outputs["winner"]["values"][1] == -1


@behaviour("Keys: one for each row, integers of 64 bits and texts, in learn, predict and events")
def keys(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver, *KEYED)
    x = rows(60, dim=2)
    numbers = [LARGE, -LARGE, 7] * 20
    reference = models.create(*KEYED)
    reference.learn(np.array(x, "<f4"), keys=np.array(numbers))
    driver.do("learn", model=model, x=x, keys=[str(each) for each in numbers])
    assert driver.do("describe", model=model)["state_hash"] == reference.state_hash()
    driver.do("subscribe", kinds=["output"], models=[model])
    texts = ["press-7", "öfen"]
    y = rows(2, seed=2, dim=2)
    driver.do("learn", model=model, x=y, keys=texts)
    reference.learn(np.array(y, "<f4"), keys=numbers_of(texts))
    assert driver.do("describe", model=model)["state_hash"] == reference.state_hash()
    event = driver.do("next_event", timeout=60)["event"]
    assert event["keys"] == texts
    assert array(event["arrays"]["key"]).tolist() == numbers_of(texts).tolist()
    predicted = driver.do("predict", model=model, x=[[1, 2]], keys=[str(LARGE)])["arrays"]["prediction"]
    expected = reference.predict(np.array([[1, 2]], "<f4"), keys=np.array([LARGE])).prediction
    assert np.array_equal(array(predicted), expected)
    assert driver.refusal("learn", model=model, x=y).code == "BAD_SHAPE"


@behaviour("Times: nanoseconds of the sender, exact in events")
def times(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver)
    driver.do("subscribe", kinds=["output"], models=[model])
    sent = [1_700_000_000_123_456_789, 1_700_000_000_123_456_790, -1]
    driver.do("learn", model=model, x=rows(3), times=[str(each) for each in sent])
    event = driver.do("next_event", timeout=60)["event"]
    assert array(event["arrays"]["time"]).tolist() == sent
    assert np.array_equal(array(event["arrays"]["x"]), np.array(rows(3), "<f4"))


@behaviour("Late targets and labels: ids, matched and unmatched; a label by hand; feedback")
def labels(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver, *LABELLED)
    x = rows(40)
    ids = [LARGE + number for number in range(40)]
    driver.do("learn", model=model, x=x, ids=[str(each) for each in ids])
    ack = driver.do("learn_targets", model=model, ids=[str(ids[3]), str(ids[39]), "5"], y=[[0], [1], [1]])
    assert (ack["rows"], ack["matched"], ack["unmatched"]) == (3, 2, 1)
    driver.do("label", model=model, label="worn", unit=5)
    reference = models.create(*LABELLED)
    reference.learn(np.array(x, "<f4"), ids=np.array(ids))
    reference.learn_targets(np.array([ids[3], ids[39], 5]), np.array([[0], [1], [1]], "<f4"))
    reference.label("worn", unit=5)
    assert driver.do("describe", model=model)["state_hash"] == reference.state_hash()
    found = array(driver.do("predict", model=model, x=x)["arrays"]["label"])
    assert found.tolist() == reference.predict(np.array(x, "<f4")).label.tolist()
    assert driver.refusal("feedback", model=model, sample=3, verdict="normal").code == "BAD_VALUE"


@behaviour("Forecasts with bands")
def forecast(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver, *FORECASTS)
    x = rows(200, dim=2)
    driver.do("learn", model=model, x=x)
    found = driver.do("forecast", model=model, steps=5)["arrays"]
    reference = learned(x, kind=FORECASTS[0], spec=FORECASTS[1])
    assert driver.do("describe", model=model)["state_hash"] == reference.state_hash()
    expected = reference.forecast(5)
    assert np.array_equal(array(found["forecast"]), np.asarray(expected))
    assert (array(found["lower"]) <= array(found["upper"])).all()
    assert driver.refusal("forecast", model=t.model(driver), steps=5).code == "BAD_VALUE"


@behaviour("A batch above the daemon's limits is sent in parts")
def large(t: Trial) -> None:
    daemon = t.daemon(limits={"frame_bytes": 16384})
    driver = t.driver(daemon.requests)
    model = t.model(driver)
    x = rows(5000)
    ack = driver.do("learn", model=model, x=x)
    assert ack["rows"] == 5000
    assert driver.do("describe", model=model)["state_hash"] == learned(x).state_hash()
    driver.do("stream_open", model=model, batch=1000, window=4, timeout=60)
    driver.do("push", x=x)
    assert driver.do("flush")["acknowledged"] == 5000
    assert driver.do("describe", model=model)["state_hash"] == learned(x, x).state_hash()


@behaviour("An idempotency key: a batch that two processes send is learned once")
def idempotency_key(t: Trial) -> None:
    one, other = t.driver(), t.driver()
    model = t.model(one)
    x = rows(20)
    assert not one.do("learn", model=model, x=x, idempotency_key="file-7")["duplicate"]
    assert other.do("learn", model=model, x=x, idempotency_key="file-7")["duplicate"]
    assert (
        other.refusal("learn", model=model, x=rows(20, seed=2), idempotency_key="file-7").code == "CONFLICT"
    )
    assert one.do("describe", model=model)["state_hash"] == learned(x).state_hash()
