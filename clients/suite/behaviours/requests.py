"""Requests and their answers."""

from __future__ import annotations

from typing import Any

import numpy as np

from clients.suite.fake import error
from clients.suite.registry import behaviour
from clients.suite.trial import MAP, Trial, array, learned, rows
from streamlearn_client.errors import by_code

OF_THE_CLIENT = {"NO_ANSWER", "STREAM_LOST", "PROTOCOL_ERROR", "WRONG_PROCESS"}


@behaviour("Requests: hello, create, learn, describe, predict, explain, read, models, delete")
def requests(t: Trial) -> None:
    driver = t.driver()
    assert driver.do("hello")["protocol"] == 1
    model = t.model(driver)
    x, question = rows(200), rows(7, seed=2)
    ack = driver.do("learn", model=model, x=x)
    assert ack["rows"] == 200
    assert not ack["duplicate"]
    assert ack["durable_lsn"] >= ack["lsn"] > 0
    description = driver.do("describe", model=model)
    reference = learned(x)
    assert (description["kind"], description["dim"], description["samples"]) == ("som", 3, 200)
    assert description["state_hash"] == reference.state_hash()
    outputs = driver.do("predict", model=model, x=question)["arrays"]
    expected = reference.predict(np.array(question, "<f4"))
    for name in ("winner", "coords", "distance", "score", "present"):
        assert np.array_equal(array(outputs[name]), getattr(expected, name), equal_nan=True), name
    explained = driver.do("explain", model=model, x=question)["arrays"]
    assert np.allclose(array(explained["contribution"]).sum(1), 1, atol=1e-5)
    assert np.array_equal(array(explained["score"]), array(outputs["score"]), equal_nan=True)
    reading = driver.do("read", model=model, what=["prototypes", "hits"])
    assert reading["samples"] == 200
    assert reading["arrays"]["prototypes"]["shape"] == [4, 4, 3]
    assert array(reading["arrays"]["hits"]).sum() > 0
    assert model in driver.do("models")["names"]
    assert model in driver.do("stats")["models"]
    driver.do("delete", model=model)
    assert model not in driver.do("models")["names"]


@behaviour(
    "Errors: the code of the wire and the daemon's message, for refused names, specs, samples and models"
)
def errors(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver)
    unknown = driver.refusal("describe", model="no-such-model")
    assert unknown.code == "UNKNOWN_MODEL"
    assert "no-such-model" in unknown.facts["message"]
    assert driver.refusal("learn", model="no-such-model", x=rows(1)).code == "UNKNOWN_MODEL"
    assert driver.refusal("create", model=model, kind="som", spec=MAP[1]).code == "MODEL_EXISTS"
    spec = driver.refusal("create", model=f"{model}-x", kind="som", spec={"dim": 3, "grid": [0, 4]})
    assert spec.code == "BAD_SPEC"
    assert "grid" in spec.facts["message"]
    assert driver.refusal("describe", model="a/b").code == "BAD_NAME"
    assert driver.refusal("predict", model=model, x=[[1, 2]]).code == "BAD_SHAPE"
    assert driver.refusal("learn", model=model, x=[[1, 2, "inf"]]).code == "BAD_VALUE"
    assert not unknown.in_doubt
    assert t.shared.samples(model) == 0


@behaviour("Errors: every code of the protocol, and one that is newer than the client")
def every_code(t: Trial) -> None:
    codes = [*sorted(set(by_code) - OF_THE_CLIENT), "NEWER"]
    left = list(codes)
    fake = t.fake(lambda header: error(left.pop(0), "what to do", epoch=7, expected_seq=1))
    driver = t.driver(fake.endpoint)
    for code in codes:
        refused = driver.refusal("describe", model="pump")
        assert refused.code == ("UNRECOGNISED" if code == "NEWER" else code)
        assert refused.facts["message"] == "what to do"


@behaviour("A retryable refusal (BUSY) is sent again after a pause, with the same number")
def busy(t: Trial) -> None:
    ok = {"lsn": 5, "durable_lsn": 5, "applied_lsn": 5, "duplicate": False, "rows": 2}
    left: list[dict[str, Any]] = [error("BUSY", "later", retryable=True)] * 2 + [{"ok": ok}]
    fake = t.fake(lambda header: left.pop(0))
    assert t.driver(fake.endpoint).do("learn", model="pump", x=rows(2))["lsn"] == 5
    numbers = {(each["epoch"], each["seq"], each["producer"]) for each in fake.headers}
    assert len(fake.headers) == 3
    assert len(numbers) == 1


@behaviour("Lists that the daemon answers in parts")
def pages(t: Trial) -> None:
    names = [f"m{number}" for number in range(9)]

    def answer(header: dict[str, Any]) -> dict[str, Any]:
        start = names.index(header["after"]) + 1 if header.get("after") else 0
        entry = {"kind": "som", "dim": 3, "samples": 0, "applied_lsn": 1, "create_lsn": 1, "silent": 0}
        part = [{"name": name, "paused": False, "quarantined": None, **entry} for name in names[start:][:4]]
        return {"ok": {"models": part, "more": start + 4 < len(names)}}

    assert t.driver(t.fake(answer).endpoint).do("models")["names"] == names


@behaviour("Checkpoints with names, restore, clone, pause and resume")
def checkpoints(t: Trial) -> None:
    driver = t.driver()
    model = t.model(driver)
    first, second = rows(50), rows(50, seed=2)
    driver.do("learn", model=model, x=first)
    assert driver.do("checkpoint", model=model, name="before")["lsn"] > 0
    driver.do("learn", model=model, x=second)
    assert driver.do("describe", model=model)["state_hash"] == learned(first, second).state_hash()
    assert driver.do("checkpoints", model=model)["names"] == ["before"]
    driver.do("restore", model=model, name="before")
    assert driver.do("describe", model=model)["state_hash"] == learned(first).state_hash()
    refused = driver.refusal("restore", model=model, name="after")
    assert refused.code == "NO_CHECKPOINT"
    driver.do("clone", model=model, into=f"{model}-copy")
    assert driver.do("describe", model=f"{model}-copy")["state_hash"] == learned(first).state_hash()
    driver.do("pause", model=model)
    assert driver.do("describe", model=model)["paused"]
    driver.do("resume", model=model)
    assert not driver.do("describe", model=model)["paused"]


@behaviour("A model as a file: exported, and created from it")
def files(t: Trial) -> None:
    driver = t.driver()
    spec = {
        **MAP[1],
        "grid": [100, 100],
    }  # more than one part of 4 MiB would be slow; two requests are enough
    model = t.model(driver, "som", spec)
    x = rows(20)
    driver.do("learn", model=model, x=x)
    path = t.path("model.safetensors")
    driver.do("export", model=model, path=str(path))
    assert path.stat().st_size > 1 << 17
    driver.do("import", model=f"{model}-new", path=str(path))
    assert driver.do("describe", model=f"{model}-new")["state_hash"] == learned(x, spec=spec).state_hash()
    path.write_bytes(path.read_bytes()[:-1])
    assert driver.refusal("import", model=f"{model}-cut", path=str(path)).code == "BAD_CHECKPOINT"
