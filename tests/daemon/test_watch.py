"""`streamlearn watch` prints events as they happen."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamlearn import cli
from streamlearn import models as real_models
from tests.daemon.harness import SECONDS, Running
from tools.waiting import wait_for

X = np.random.default_rng(8).normal(size=(300, 2)).astype(np.float32)
ALARM: dict[str, Any] = {
    "dim": 2,
    "grid": [3, 3],
    "scale": "standard",
    "alarm": True,
    "channels": ["flow", "level"],
}


def watched(running: Running, act: Callable[[], Any], *options: str, topics: int = 1) -> None:
    """Run the command in a thread, act once it is subscribed to all topics, and wait for its end."""
    command = ["watch", *options, "--wait", "8", "-e", running.endpoints["requests"]]
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(cli.main(command)), daemon=True)
    thread.start()
    wait_for(
        lambda: running.wire.call("stats")["subscriptions"]["subscriptions"] >= topics, "the subscriptions"
    )
    act()
    thread.join(SECONDS)
    assert codes == [0]


def test_events_of_some_models_and_all_kinds(
    serve: Callable[..., Running], capsys: pytest.CaptureFixture[str]
) -> None:
    running = serve(models=real_models)

    def act() -> None:
        for name in ("pump", "oven", "pump-2"):
            running.wire.create(name, "som", **ALARM)
        running.wire.learn(X[:100], "pump-2")
        running.wire.learn(X[:100], "pump")
        pump = running.daemon.context.shard.hosted("pump").model
        wait_for(lambda: pump.samples == 100, "a batch that no request divides into two outputs")
        running.wire.call("pause", "oven")

    watched(running, act, "pump", "oven", "--count", "4", topics=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "pump: created, lsn 1",
        "oven: created, lsn 2",
        "pump: output of samples 0 … 99, highest score " + lines[2].split()[-1],
        "oven: paused, lsn 6",
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_alarms_of_all_models_with_the_names_of_channels(
    as_json: bool, serve: Callable[..., Running], capsys: pytest.CaptureFixture[str]
) -> None:
    running = serve(models=real_models)
    spikes = np.tile(np.float32([0, 40]), (20, 1))

    def act() -> None:
        for name in ("pump", "oven"):
            running.wire.learn(np.concatenate([X, spikes]), name)

    for name in ("pump", "oven"):
        running.wire.create(name, "som", **ALARM)
    watched(running, act, "--kind", "alarm", "--count", "2", *(["--json"] if as_json else []))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    for name, line in zip(("pump", "oven"), lines, strict=True):
        if as_json:
            alarm = json.loads(line)
            assert (alarm["kind"], alarm["model"], alarm["state"]) == ("alarm", name, "begin")
            continue
        assert f" {name}: alarm begins: " in line
        assert "level" in line
