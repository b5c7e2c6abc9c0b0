"""The C client against the fake daemon: lost answers, refusals, restarts and forgotten producers."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clients.suite.driver import Driver
from clients.suite.trial import rows
from streamlearn_client.errors import BadValue, Busy, DiskFull, ShuttingDown, UnknownProducer
from tests.client.fake import DROP, IGNORE, FakeDaemon, FakeModel, once

STREAM = {"model": "pump", "batch": 4, "window": 5, "timeout": 60}


@pytest.fixture
def fake() -> Iterator[FakeDaemon]:
    fake = FakeDaemon()
    yield fake
    fake.close()


@pytest.fixture
def pump(fake: FakeDaemon) -> FakeModel:
    return fake.add("pump", dim=3)


@pytest.fixture
def driver(sanitized: Path, fake: FakeDaemon, tmp_path: Path) -> Iterator[Driver]:
    driver = Driver([str(sanitized / "driver")], tmp_path / "driver.log", {})
    driver.do("connect", endpoint=fake.endpoint, timeout=60)
    yield driver
    driver.close()
    assert (tmp_path / "driver.log").read_text() == ""


def test_after_any_faults_each_sample_is_learned_once_and_in_order(fake, pump, driver):
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    faults = [IGNORE, DROP, Busy("busy"), DiskFull("full"), ShuttingDown("stopping"), *[None] * 15]
    fake.fault = lambda request: chance.choice(faults) if hasattr(request, "seq") else None
    x = rows(300)
    driver.do("stream_open", **STREAM)
    for start in range(0, 300, 100):
        driver.do("push", x=x[start : start + 100])
        fake.kill()
        fake.start()
    driver.do("flush")
    fake.fault = lambda request: None
    assert driver.do("stream_status")["resent"] > 0
    driver.do("stream_close")
    assert np.array_equal(pump.rows, np.array(x, "f4"))


def test_a_forgotten_producer_begins_a_new_epoch(pump, driver):
    x = rows(80)
    opened = driver.do("stream_open", **STREAM)
    driver.do("push", x=x[:40])
    driver.do("flush")
    pump.forget_producers()
    driver.do("push", x=x[40:])
    driver.do("flush")
    assert int(driver.do("stream_status")["epoch"]) > int(opened["epoch"])
    driver.do("stream_close")
    assert np.array_equal(pump.rows, np.array(x, "f4"))


def test_a_batch_in_doubt_is_not_sent_again_in_a_new_epoch(fake, pump, driver):
    driver.do("stream_open", **STREAM)
    answered = once("learn", DROP, fake.restart_soon)

    def fault(request):
        outcome = answered(request)
        if outcome is None:
            pump.forget_producers()
        return outcome

    fake.fault = fault
    driver.do("push", x=rows(4))
    lost = driver.refusal("flush")
    assert (lost.code, lost.facts["cause"]) == ("STREAM_LOST", "UNKNOWN_PRODUCER")
    assert lost.facts["detail"] == {"unacknowledged": 4}
    driver.do("stream_abort")


def test_a_daemon_that_lost_acknowledged_batches_ends_the_stream(pump, driver):
    driver.do("stream_open", **STREAM)
    driver.do("push", x=rows(12))
    driver.do("flush")
    pump.forget(2)
    driver.do("push", x=rows(4))
    lost = driver.refusal("flush")
    assert (lost.code, lost.facts["cause"]) == ("STREAM_LOST", "GAP")
    assert "2 batches" in lost.facts["message"]
    driver.do("stream_abort")


@pytest.mark.parametrize("op", ["stream", "learn"])
def test_an_epoch_ahead_of_the_daemons_clock_becomes_the_largest_one(fake, pump, driver, op):
    largest = time.time_ns() - 10**18

    def fault(request):
        if getattr(request, "epoch", 0) > largest:
            return BadValue("the epoch is ahead of the clock", field="epoch", largest=largest)
        return None

    fake.fault = fault
    if op == "learn":
        driver.do("learn", model="pump", x=rows(3))
    else:
        driver.do("stream_open", **STREAM)
        driver.do("push", x=rows(3))
        driver.do("stream_close")
    assert [batch.epoch for batch in pump.batches] == [largest]
    assert np.array_equal(pump.rows, np.array(rows(3), "f4"))


def test_learn_begins_a_new_epoch_for_a_forgotten_producer(fake, pump, driver):
    fake.fault = once("learn", UnknownProducer("forgotten", epoch=1 << 62))
    driver.do("learn", model="pump", x=rows(3))
    assert [batch.epoch for batch in pump.batches] == [1 << 62]


def test_create_and_delete_are_executed_once_if_the_answer_is_lost(fake, driver):
    fake.fault = once("create", DROP, fake.restart_soon)
    spec = {"dim": 3, "grid": [4, 4], "scale": None, "learning_rate": {"start": 0.5, "end": 0.1, "tau": 9}}
    assert driver.do("create", model="new", kind="som", spec=spec)["name"] == "new"
    assert len([each for each in fake.requests if getattr(each, "op", "") == "create"]) == 2
    assert driver.refusal("create", model="new", kind="som", spec=spec).code == "MODEL_EXISTS"
    fake.fault = once("create", IGNORE, lambda: (fake.add("other", dim=4), fake.restart_soon()))
    assert driver.refusal("create", model="other", kind="som", spec=spec).code == "MODEL_EXISTS"
    fake.fault = once("delete", DROP, fake.restart_soon)
    driver.do("delete", model="new")
    assert "new" not in fake.models


def test_a_change_is_sent_again_with_its_number_and_clone_is_not(fake, pump, driver):
    fake.fault = once("restore", DROP, fake.restart_soon)
    driver.do("restore", model="pump", name="before")
    first, second = [each.fields for each in fake.requests if getattr(each, "op", "") == "restore"]
    assert first == second
    assert (first["producer"][0], first["seq"]) == ("~", 0)
    fake.fault = once("pause", UnknownProducer("forgotten", epoch=1 << 62))
    driver.do("pause", model="pump")
    assert fake.requests[-1].fields["epoch"] == 1 << 62
    fake.fault = once("clone", DROP, fake.restart_soon)
    lost = driver.refusal("clone", model="pump", into="copy")
    assert (lost.code, lost.in_doubt) == ("NO_ANSWER", True)
    assert len([each for each in fake.requests if getattr(each, "op", "") == "clone"]) == 1
