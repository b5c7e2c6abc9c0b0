"""The alarms that the gateway keeps for pages that are opened later."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from streamlearn.gateway.alarm_history import AlarmHistory
from streamlearn_client.alarms import AlarmEvent, alarm_arrays
from streamlearn_client.outputs import Outputs
from streamlearn_client.results import Event
from tools.waiting import wait_for

SHARES = np.float32([1.0, 0.0])


def event(model: str, state: Any, first: int, moment: int = 0, cause: Any = "score", lsn: int = 1) -> Event:
    alarm = AlarmEvent(state, cause, first + 1, first, first + 4, first + 2, 5, 0.99, 14.0, 0, SHARES, SHARES)
    return Event("alarm", model, lsn, 0, 1, moment, Outputs.unchecked(alarm_arrays([alarm]), 1))


def change(kind: str, model: str, moment: int = 0) -> Event:
    return Event(kind, model, 9, 0, 0, moment, Outputs())


def shown(history: AlarmHistory, since: int = 0) -> list[tuple[str, int, bool, int | None]]:
    return [
        (each.model, each.alarm.first, each.on, each.ended)
        for each in history.select(lambda _: True, since, 99)
    ]


def test_the_end_of_an_alarm_completes_its_begin() -> None:
    history = AlarmHistory(10)
    history.observe(event("a", "begin", 5, 100, lsn=3))
    history.observe(event("b", "begin", 7, 110))
    history.observe(event("a", "begin", 6, 115, "stuck"))
    assert shown(history) == [("a", 6, True, None), ("b", 7, True, None), ("a", 5, True, None)]
    history.observe(event("a", "end", 5, 120, lsn=4))
    history.observe(event("c", "end", 1, 130))  # it began before the gateway
    assert shown(history) == [
        ("c", 1, False, 130),
        ("a", 6, True, None),
        ("b", 7, True, None),
        ("a", 5, False, 120),
    ]
    assert shown(history, since=121) == [("c", 1, False, 130), ("a", 6, True, None), ("b", 7, True, None)]
    assert history.select(lambda name: name == "a", 0, 99)[1].lsn == 3


def test_changes_of_a_model_end_its_alarms() -> None:
    history = AlarmHistory(10)
    history.observe(event("a", "begin", 5, 100))
    history.observe(event("a", "begin", 0, 101, "silent"))
    history.observe(change("restored", "a", 150))
    assert shown(history) == [("a", 0, True, None), ("a", 5, False, 150)]
    history.observe(event("a", "end", 5, 160))  # it was on in the restored state
    history.daemon_started(170)
    assert shown(history) == [("a", 0, False, 170), ("a", 5, False, 160)]
    history.observe(change("deleted", "a"))
    assert shown(history) == []


def test_the_number_of_alarms_is_bounded_and_one_model_does_not_push_out_the_others() -> None:
    history = AlarmHistory(10)
    history.observe(event("quiet", "begin", 0))
    for number in range(100):
        history.observe(event("noisy", "begin", number))
        history.observe(event("noisy", "end", number))
    assert [first for name, first, _, _ in shown(history) if name == "noisy"] == list(range(99, 90, -1))
    assert ("quiet", 0, True, None) in shown(history)


def test_a_page_that_is_opened_later_gets_the_alarms(http: httpx.Client) -> None:
    spec = {"dim": 2, "units": 8, "channels": ["flow", "pressure"], "alarm": {}}
    answer = http.post("/v1/models", json={"name": "pump", "kind": "competitive", "spec": spec})
    assert answer.status_code == 201, answer.text
    x = np.random.default_rng(3).normal(size=(3000, 2)).astype(np.float32)
    x[2500:2600, 1] += 12
    for part in np.split(x, 6):
        answer = http.post("/v1/models/pump/learn", json={"x": part.tolist()})
        assert answer.status_code == 200, answer.text

    def ended() -> Any:
        found = http.get("/v1/alarms", params={"model": "pump"}).json()["alarms"]
        return found and not found[-1]["on"] and found

    alarm = wait_for(ended, "the end of an alarm")[-1]
    assert 2500 <= alarm["first"] < 2510
    assert alarm["channels"] == ["flow", "pressure"]
    assert "CAUSES" not in alarm
    assert np.argmax(alarm["contribution"]) == alarm["channel"] == 1
    assert alarm["time"] <= alarm["ended"]
    after = str(alarm["ended"] + 1)
    assert alarm not in http.get("/v1/alarms", params={"model": "pump", "since": after}).json()["alarms"]
    assert http.get("/v1/alarms", params={"since": "2020-01-01"}).json()["alarms"][-1] == alarm
    assert http.get("/v1/alarms", params={"model": "fan*"}).json()["alarms"] == []
    restored = http.post("/v1/models/pump/restore", json={"lsn": alarm["lsn"] - 1})
    assert restored.status_code == 200, restored.text
    assert http.get("/v1/models/pump").json()["samples"] == 2500


@pytest.mark.parametrize("since", ["yesterday", "1" * 25])
def test_a_wrong_time(http: httpx.Client, since: str) -> None:
    answer = http.get("/v1/alarms", params={"since": since})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_VALUE")
    assert "since" in answer.json()["detail"]
