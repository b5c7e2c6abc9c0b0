"""Silent streams, with the time passed in; and their events from a daemon."""

from __future__ import annotations

import numpy as np
import pytest

from streamlearn.daemon import silence
from streamlearn.daemon.silence import Silence, Silences


@pytest.fixture
def reported() -> list[Silence]:
    return []


@pytest.fixture
def silences(reported: list[Silence]) -> Silences:
    return Silences(reported.append)


def send(silences: Silences, times, model: str = "pump", keys=None) -> None:
    """Let samples arrive; ten ticks a second."""
    for time in times:
        silences.arrived(model, keys, float(time))
        for tick in np.arange(time, time + 1, 0.1):
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
    for time in np.linspace(0, 0.9, 500):
        silences.arrived("pump", None, time)
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
