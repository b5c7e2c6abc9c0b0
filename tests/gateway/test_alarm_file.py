"""Alarms survive the end of the gateway, in a file: appended, written anew, damaged, full, and used twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from streamlearn.errors import BadConfig
from streamlearn.gateway import alarm_history
from streamlearn.gateway.alarm_file import AlarmFile
from streamlearn.gateway.alarm_history import AlarmHistory
from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_alarm_history import change, event, shown
from tools.waiting import wait_for

DIM = 2


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "alarms"


def reopened(path: Path, most: int = 10, before: AlarmHistory | None = None) -> AlarmHistory:
    """Return the history of the next gateway, after the end of the one that had ``before``."""
    if before is not None and before._file is not None and before._file._file is not None:
        before._file._file.close()
    return AlarmHistory(most, AlarmFile(path))


def test_what_happened_is_there_again(path: Path) -> None:
    first = reopened(path)
    first.observe(event("a", "begin", 5, 100, lsn=3), ["flow", "pressure"])
    first.observe(event("b", "begin", 7, 110))
    first.observe(event("a", "end", 5, 120, lsn=4))
    first.observe(event("c", "begin", 1, 130))
    first.observe(change("deleted", "c"))
    first.observe(event("d", "begin", 2, 140))
    first.observe(change("restored", "d", 150))
    first.observe(event("e", "begin", 0, 160, "silent"))
    os.utime(path, ns=(first.since + 5, first.since + 5))
    second = reopened(path, before=first)
    assert shown(second) == shown(first)
    ours, theirs = (
        [each.to_json() for each in history.select(lambda _: True, 0, 99)] for history in (second, first)
    )
    assert ours == theirs
    assert ours[-1]["channels"] == ["flow", "pressure"]
    assert second.since == first.since
    ((begin, end),) = second.gaps
    assert begin == first.since + 5
    assert end > begin
    second.observe(event("b", "end", 7, 170))
    third = reopened(path, before=second)
    assert ("b", 7, False, 170) in shown(third)
    assert [each.number for each in third.select(lambda _: True, 0, 9)] == [5, 4, 2, 1]
    assert third.gaps[0] == second.gaps[0]
    assert len(third.gaps) == 2


def test_the_file_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alarm_history, "SPARE_LINES", 20)
    history = reopened(path)
    longest = 0
    for number in range(200):
        history.observe(event("noisy", "begin", number, number))
        history.observe(event("noisy", "end", number, number))
        longest = max(longest, path.read_bytes().count(b"\n"))
    assert 20 < longest <= 2 * 10 + 20 + 1
    assert shown(reopened(path, before=history)) == shown(history)
    for _ in range(alarm_history.MOST_GAPS + 5):
        history = reopened(path, before=history)
    assert len(history.gaps) == alarm_history.MOST_GAPS
    assert history.since <= history.gaps[0][0]
    assert list(path.parent.iterdir()) == [path]


def test_a_torn_line_is_left_out(path: Path) -> None:
    history = reopened(path)
    history.observe(event("a", "begin", 5, 100))
    expected = shown(history)
    history.observe(event("b", "begin", 5, 100))
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    again = reopened(path, before=history)
    assert shown(again) == expected
    again.observe(event("b", "begin", 6, 100))
    assert len(shown(reopened(path, before=again))) == 2
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "damage", [b"{}", b"[1]", b"\xff\xfe", b'{"alarm": {}, "number": 1}', b'{"format": 2']
)
def test_a_damaged_file_is_set_aside(path: Path, damage: bytes) -> None:
    history = reopened(path)
    history.observe(event("a", "begin", 5, 100))
    lines = path.read_bytes().splitlines()
    damaged = b"\n".join([lines[0], damage, lines[1], b""])
    path.write_bytes(damaged)
    again = reopened(path, before=history)
    assert shown(again) == []
    assert again.since > history.since
    (aside,) = (each for each in path.parent.iterdir() if each != path)
    assert aside.read_bytes() == damaged
    again.observe(event("a", "begin", 6, 100))
    assert len(shown(reopened(path, before=again))) == 1


def test_a_file_that_cannot_be_used(path: Path) -> None:
    history = reopened(path)
    with pytest.raises(BadConfig, match="another gateway uses"):
        AlarmHistory(10, AlarmFile(path))
    with pytest.raises(BadConfig, match="No such file"):
        AlarmHistory(10, AlarmFile(path.parent / "no" / "b"))
    assert history._file is not None
    assert history._file._file is not None
    history._file._file.close()
    history._file._file = open("/dev/full", "ab", buffering=0)  # type: ignore[assignment]  # noqa: SIM115
    history.observe(event("a", "begin", 5, 100))
    history.observe(event("a", "begin", 6, 100, "stuck"))
    assert len(shown(history)) == 2, "they are in memory"


def test_an_alarm_that_ended_while_no_gateway_ran(path: Path) -> None:
    history = reopened(path)
    history.observe(event("a", "begin", 5, 100))
    history.observe(event("a", "begin", 5, 100, "stuck"))
    history.observe(event("b", "begin", 5, 100))
    history.observe(event("c", "begin", 5, 100))
    again = reopened(path, before=history)
    assert sorted(again.models_on()) == ["a", "b", "c"]
    again.confirm("a", {"stuck"}, 200)
    again.confirm("b", None, 200)
    again.observe(event("c", "begin", 9, 300))
    assert shown(again) == [
        ("c", 9, True, None),
        ("c", 5, False, 300),
        ("a", 5, True, None),
        ("a", 5, False, 200),
    ]
    assert shown(reopened(path, before=again)) == shown(again)


def test_a_gateway_that_is_killed(
    serve: Callable[[], DaemonProcess], start: Callable[..., GatewayProcess], path: Path
) -> None:
    """One alarm ends before the kill, one while no gateway runs, and one goes on."""
    daemon = serve()
    daemon.ready()
    random = np.random.default_rng(3)

    def learn(client: httpx.Client, model: str, offset: float, rows: int) -> None:
        x = random.normal([0, offset], size=(rows, DIM))
        answer = client.post(f"/v1/models/{model}/learn", json={"x": x.tolist()})
        assert answer.status_code == 200, answer.text

    def alarms(client: httpx.Client) -> dict[str, Any]:
        return {each["model"]: each for each in client.get("/v1/alarms").json()["alarms"]}

    first = start(daemon.requests, "--alarms", str(path)).ready()
    with first.client() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
        for model in ("ended", "ends", "goes-on"):
            spec = {"dim": DIM, "units": 8, "channels": ["flow", "pressure"], "alarm": {}}
            client.post("/v1/models", json={"name": model, "kind": "competitive", "spec": spec})
            learn(client, model, 0, 2500)
            learn(client, model, 40, 6)
        wait_for(lambda: len(alarms(client)) == 3, "three alarms")
        learn(client, "ended", 0, 300)
        wait_for(lambda: not alarms(client)["ended"]["on"], "the end of one")
        before = alarms(client)
        since = client.get("/v1/alarms").json()["complete_since"]
        port = first.port
    first.end(signal.SIGKILL)
    other = start(daemon.requests).ready()
    with other.client() as client:
        assert client.get("/v1/alarms").json() | {"complete_since": 0} == {
            "complete_since": 0,
            "gaps": [],
            "alarms": [],
        }
        learn(client, "ends", 0, 300)
    second = start(daemon.requests, "--alarms", str(path), http=f"127.0.0.1:{port}").ready()
    with second.client() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
        wait_for(lambda: not alarms(client)["ends"]["on"], "the end that was missed")
        found, answer = alarms(client), client.get("/v1/alarms").json()
        assert found["ended"] == before["ended"]
        assert found["goes-on"] == before["goes-on"]
        assert found["goes-on"]["on"]
        assert found["ends"] | {"on": True, "ended": None} == before["ends"]
        assert answer["complete_since"] == since
        (gap,) = answer["gaps"]
        assert since < gap["from"] <= gap["to"]
