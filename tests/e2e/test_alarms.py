"""Alarms through a daemon: events, feedback, kill -9 and recovery; the command line shows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import streamlearn as sl
from streamlearn.cli.alarms import line
from streamlearn_client import AlarmEvent, Client, Event
from tests.e2e.daemon_process import SECONDS, DaemonProcess

SPEC: dict[str, Any] = {
    "dim": 3, "grid": [4, 4], "scale": "standard", "seed": 1, "alarm": {"above": 9},
    "channels": ["a", "b", "c"],
}  # fmt: skip
FAULT = np.array([9.0, 0.0, -7.0], np.float32)


def stream() -> np.ndarray:
    random = np.random.default_rng(1)
    x = random.normal(size=(6000, 3))
    for place in (2000, 4000, 5500):
        x[place : place + 5] = FAULT + 0.5 * random.normal(size=(5, 3))
    x[3000:3100, 1] = x[3000, 1]
    return x.astype(np.float32)


def facts(alarm: AlarmEvent) -> tuple[Any, ...]:
    return (
        alarm.state,
        alarm.cause,
        alarm.sample,
        alarm.first,
        alarm.last,
        alarm.peak,
        alarm.samples,
        alarm.fault,
        alarm.channel,
        alarm.from_unit,
        alarm.to_unit,
        alarm.from_label,
        alarm.to_label,
        np.float32(alarm.usual),
        np.float32(alarm.probability),
        *(np.float32(value).tobytes() for value in (alarm.score, alarm.evidence)),
        alarm.contribution.tobytes(),
        alarm.expected.tobytes(),
    )


def read(events: Any, count: int) -> list[tuple[Event, AlarmEvent]]:
    found: list[tuple[Event, AlarmEvent]] = []
    while len(found) < count:
        event = events.next_event(timeout=SECONDS)
        assert event is not None, f"{len(found)} of {count} alarms came"
        found += [(event, alarm) for alarm in event.alarms]
    return found


def test_the_same_alarms_after_kill_9(serve: Callable[..., DaemonProcess]) -> None:
    x = stream()
    reference = sl.SOM(**SPEC)
    first = reference.learn(x[:2003]).events  # in the middle of the fault
    reference.feedback(FAULT, "fault", "bearing")
    second = reference.learn(x[2003:]).events
    assert [each.state for each in first][-1] == "begin"
    assert {each.fault for each in second if each.first > 3999} == {"bearing"}
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("pump", kind="som", **SPEC)
        with client.subscribe("pump", "alarm", timeout=SECONDS) as events:
            for start in range(0, 2003, 300):
                client.learn("pump", x[start : min(start + 300, 2003)])
            seen = read(events, len(first))
        assert [facts(alarm) for _, alarm in seen] == [facts(alarm) for alarm in first]
        client.feedback("pump", FAULT, "fault", "bearing")
        client.learn("pump", x[2003:2500])
        before = client.describe("pump")["state_hash"]
    daemon.kill()
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        assert client.describe("pump")["state_hash"] == before
        expected = [event for event in second if event.sample >= 2500]
        with client.subscribe("pump", "alarm", timeout=SECONDS) as events:
            client.learn("pump", x[2500:])
            seen = read(events, len(expected))
        assert [facts(alarm) for _, alarm in seen] == [facts(alarm) for alarm in expected]
        assert all(alarm.time for _, alarm in seen)
        assert client.describe("pump")["state_hash"] == reference.state_hash()
        lines = [line(event, alarm, SPEC["channels"]) for event, alarm in seen]
        assert any("stuck for 17 samples, b 100%" in line for line in lines)
        assert any("fault bearing" in line and "alarm begins" in line for line in lines)
        quality = client.describe("pump")["quality"]
        assert [each["name"] for each in quality["patterns"]] == ["bearing"]
        assert client.models()[0]["silent"] == 0


def test_a_restore_undoes_feedback(serve: Callable[..., DaemonProcess]) -> None:
    daemon = serve()
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        client.create("pump", kind="som", **SPEC)
        ack = client.learn("pump", stream()[:3000])
        before = client.describe("pump")["state_hash"]
        peak = sl.SOM(**SPEC).learn(stream()[:3000]).events[0].peak
        client.feedback("pump", peak, "normal")
        assert client.describe("pump")["quality"]["patterns"][0]["verdict"] == "normal"
        client.restore("pump", lsn=ack.lsn)
        assert client.describe("pump")["state_hash"] == before


def test_the_alarms_of_keys_after_kill_9(serve: Callable[..., DaemonProcess]) -> None:
    """Each event has the key, the time and what was expected of the peak, before and after the crash."""
    spec: dict[str, Any] = {
        "dim": 1, "hidden": 3, "cell": "elman", "keys": 3, "seed": 1,
        "alarm": {"above": 6, "clear": 3, "after": 100, "quiet": 20},
    }  # fmt: skip
    random = np.random.default_rng(5)
    x, keys = random.normal(size=(3000, 1)).astype(np.float32), np.arange(3000) % 3
    for key, place in ((1, 1200), (2, 2400)):
        x[place : place + 60][keys[place : place + 60] == key] += 9
    times = 1_750_000_000_000_000_000 + 10**9 * np.arange(3000)
    reference = sl.RNN(**spec)
    expected = reference.learn(x, keys=keys, times=times).events
    stop = next(event.sample for event in expected if event.state == "begin" and event.sample > 1199) + 1
    assert {int(keys[event.sample]) for event in expected if event.sample > 1199} >= {1, 2}
    seen: list[tuple[Event, AlarmEvent]] = []
    for rows in (slice(0, stop), slice(stop, 3000)):  # the crash is in the middle of an alarm
        daemon = serve()
        daemon.ready()
        with Client(daemon.requests, timeout=SECONDS) as client:
            if rows.start == 0:
                client.create("pumps", kind="rnn", **spec)
            count = sum(rows.start <= event.sample < rows.stop for event in expected)
            with client.subscribe("pumps", "alarm", timeout=SECONDS) as events:
                client.learn("pumps", x[rows], keys=keys[rows], times=times[rows])
                seen += read(events, count)
        daemon.kill()
    assert [facts(alarm) for _, alarm in seen] == [facts(alarm) for alarm in expected]
    for _, alarm in seen:
        assert alarm.key == keys[alarm.sample]
        assert alarm.time == times[alarm.sample]
        assert np.isfinite(alarm.expected).all() or alarm.cause == "stuck"


def test_the_alarms_of_order_and_pace_after_kill_9(serve: Callable[..., DaemonProcess]) -> None:
    """The crash is in the middle of a stay that is too long. The command line shows labels and durations."""
    random = np.random.default_rng(3)
    stays = random.integers(30, 50, 320)
    stays[200] = 300  # a long stay
    visits = np.arange(320) + (np.arange(320) >= 260)  # then a skipped state
    states = np.repeat(visits % 4, stays)
    centres = 3 * np.random.default_rng(7).normal(size=(4, 3))
    x = (centres[states] + 0.3 * random.normal(size=(len(states), 3))).astype(np.float32)
    y = states.astype(np.float32)[:, None]
    spec = SPEC | {
        "alarm": {"transitions": True, "dwell": True, "cycle": True},
        "labels": ["idle", "heat", "hold", "cool"],
    }
    expected = sl.SOM(**spec).learn(x, y).events
    found = [event for event in expected if event.cause in ("transition", "dwell", "cycle")]
    assert [event.cause for event in found if event.state == "begin"] == ["dwell", "transition"]
    stop = found[0].sample + 10
    seen: list[tuple[Event, AlarmEvent]] = []
    for rows in (slice(0, stop), slice(stop, len(x))):
        daemon = serve()
        daemon.ready()
        with Client(daemon.requests, timeout=SECONDS) as client:
            if rows.start == 0:
                client.create("oven", kind="som", **spec)
            count = sum(rows.start <= event.sample < rows.stop for event in expected)
            with client.subscribe("oven", "alarm", timeout=SECONDS) as events:
                client.learn("oven", x[rows], y[rows])
                seen += read(events, count)
        daemon.kill()
    assert [facts(alarm) for _, alarm in seen] == [facts(alarm) for alarm in expected]
    lines = [line(event, alarm, None) for event, alarm in seen if alarm.cause in ("transition", "dwell")]
    begin, _, transition, _ = found
    assert f"in unit {begin.to_unit} ({begin.to_label}) for {begin.samples} samples, usually" in lines[0]
    jump = f"({transition.from_label}) → {transition.to_unit} ({transition.to_label}), probability 0"
    assert jump in lines[2]
    skipped = spec["labels"].index(transition.from_label) + 2
    assert transition.to_label == spec["labels"][skipped % 4]
