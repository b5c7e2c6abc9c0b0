"""Silent streams, with the time passed in; and their events from a daemon."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from streamlearn import models
from streamlearn.daemon import silence
from streamlearn.daemon.runtime import Runtime
from streamlearn.daemon.silence import Silence, Silences
from streamlearn_client import Client
from tests.daemon.harness import SECONDS, Running


@pytest.fixture
def reported() -> list[Silence]:
    return []


@pytest.fixture
def silences(reported: list[Silence]) -> Silences:
    return Silences(reported.append)


def send(silences: Silences, times, model: str = "pump", keys=None) -> None:
    """Let samples arrive; ten ticks a second."""
    for at in times:
        silences.arrived(model, keys, float(at))
        for tick in np.arange(at, at + 1, 0.1):
            silences.tick(float(tick))


def test_a_stream_that_stops_is_reported_once_and_its_return_too(silences, reported):
    send(silences, range(0, 300, 10))
    silences.tick(290 + 29.9)
    assert reported == []
    silences.tick(290 + 30.1)
    silences.tick(1000.0)
    assert reported == [Silence("pump", None, True, pytest.approx(30.1))]
    assert silences.count("pump") == 1
    silences.arrived("pump", None, 1000.0)
    assert reported[1:] == [Silence("pump", None, False, pytest.approx(710.0))]
    assert silences.count("pump") == 0


def test_a_stream_that_is_sent_once_is_not_judged(silences, reported):
    for at in np.linspace(0, 0.9, 500):
        silences.arrived("pump", None, at)
    send(silences, range(10, 190, 10))
    silences.tick(1e6)
    assert reported == []


def test_one_outage_does_not_hide_the_next(silences, reported):
    """An outage of an hour counts with the limit, 30 s, and which is forgotten slowly."""
    send(silences, range(0, 300, 10))
    silences.tick(2000.0)
    send(silences, range(4000, 4300, 10))
    silences.tick(4290 + 90.1)
    assert [each.begins for each in reported] == [True, False, True]


def test_irregular_arrivals_are_healthy(silences, reported):
    random = np.random.default_rng(1)
    now = 0.0
    for interval in random.exponential(4.0, 30_000):
        for tick in np.arange(now, now + interval, 0.5):
            silences.tick(tick)
        now += interval
        silences.arrived("pump", None, now)
    assert len(reported) <= 2  # of 30,000 intervals


def test_a_stream_only_by_day_is_learned(silences, reported):
    """Every second for 12 hours, then none for 12: reported in the first nights only."""
    nights = []
    for day in range(12):
        begin = day * 86_400.0
        for second in range(0, 43_200, 5):
            silences.arrived("solar", None, begin + second)
            silences.tick(begin + second)
        for second in range(43_200, 86_400, 60):
            silences.tick(begin + second)
        nights.append(sum(each.begins for each in reported))
    assert nights[-1] == nights[8] <= 8


def test_each_key_has_intervals_of_its_own(silences, reported):
    both, one = np.array([7, 9, 7, 9]), np.array([7])
    send(silences, range(30), keys=both)
    send(silences, range(30, 60), keys=one)
    assert [(each.key, each.begins) for each in reported] == [(9, True)]
    assert silences.count("pump") == 1


def test_a_deleted_model_is_forgotten(silences, reported):
    send(silences, range(30))
    silences.forget("pump")
    silences.tick(1e6)
    assert reported == []
    assert len(silences) == 0


def test_the_number_of_streams_is_bounded(silences, monkeypatch):
    monkeypatch.setattr(silence, "MOST", 10)
    for number in range(100):
        silences.arrived(f"m{number}", None, float(number))
    assert [name for name, _ in silences] == [f"m{number}" for number in range(90, 100)]


class Fast(Runtime):
    """A clock that runs 200 times as fast."""

    def steady(self) -> float:
        return 200 * time.monotonic()


def test_a_daemon_reports_silence_and_the_model_stays_as_it_is(tmp_path: Path) -> None:
    running = Running(tmp_path, models=models, runtime=Fast())
    try:
        with Client(running.endpoints["requests"], timeout=SECONDS) as client:
            client.create("pump", kind="som", dim=1, grid=[2, 2], alarm=True)
            with client.subscribe("pump", "alarm", timeout=SECONDS) as events:
                for _ in range(30):
                    client.learn("pump", np.zeros((1, 1)))
                    time.sleep(0.01)  # 2 seconds of the clock
                before = client.describe("pump")
                event = next(events)
                (alarm,) = event.alarms
                assert (alarm.state, alarm.cause, alarm.sample) == ("begin", "silent", 30)
                assert alarm.seconds > 5
                assert client.models()[0]["silent"] == 1
                assert client.stats("pump")["models"]["pump"]["silent"] == 1
                now = client.describe("pump")
                assert (now["silent"], now["state_hash"]) == (1, before["state_hash"])
                client.learn("pump", np.zeros((1, 1)))
                (alarm,) = next(events).alarms
                assert (alarm.state, alarm.cause) == ("end", "silent")
    finally:
        running.stop()
