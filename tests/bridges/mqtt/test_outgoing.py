"""Alarms, scores, winners and silence as messages, and their discovery by Home Assistant."""

from __future__ import annotations

import json
import re
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from streamlearn.bridges.mqtt.outgoing import Outgoing
from streamlearn.bridges.mqtt.settings import Settings
from streamlearn_client.alarms import AlarmEvent, alarm_arrays
from streamlearn_client.outputs import Outputs
from streamlearn_client.results import Event
from tools.waiting import wait_for

pytestmark = pytest.mark.e2e

CHANNELS = ["pressure", "flow"]
SPEC = {"dim": 2, "grid": [4, 4], "scale": "standard", "alarm": True, "seed": 1, "channels": CHANNELS}
OUTPUTS = """
[[output]]
what = "alarm"
retain = true
[[output]]
what = "score"
topic = "scores/{model}"
models = ["pump-*"]
[[output]]
what = "winner"
topic = "winners/{model}"
every = 3600
[[output]]
what = "silence"
retain = true
[homeassistant]
"""


def healthy(count, seed=0):
    return np.random.default_rng(seed).normal([5, 20], 1, size=(count, 2)).astype(np.float32)


def states(watcher):
    """Return the messages on a topic that a peer received."""
    return [json.loads(payload) for _, payload, _ in watcher.received]


def test_alarms_scores_and_winners_are_those_of_the_daemon(bridge, client, peer, tmp_path):
    client.create("pump-a", "som", **SPEC)
    client.create("other", "som", **SPEC)
    bridge(OUTPUTS)
    watcher = peer(f"{tmp_path.name}/#", "scores/#", "winners/#")
    events = client.subscribe(kind=("alarm", "output"), timeout=5)
    x = np.vstack([healthy(1500), healthy(30) + np.float32([40, 0]), healthy(200, 1)]).astype(np.float32)
    client.learn("pump-a", x)
    client.learn("other", x[:10])
    wait_for(lambda: len(watcher.of("scores/pump-a")) == len(x), "all scores")
    found = [event for event in events if event.model == "pump-a"]
    scores = [json.loads(payload)["score"] for payload in watcher.of("scores/pump-a")]
    expected = np.concatenate([event.outputs.score for event in found if event.kind == "output"])
    np.testing.assert_array_equal(np.array(scores, float).astype(np.float32), expected)
    alarms = [alarm for event in found for alarm in event.alarms]
    published = [json.loads(payload) for payload in watcher.of(f"{tmp_path.name}/pump-a/alarm")]
    assert published.pop(0) == {"model": "pump-a", "key": None, "state": "none", "active": 0, "on": []}
    assert [each["state"] for each in published] == [each.state for each in alarms]
    assert {"begin", "end"} == {each["state"] for each in published}
    for message, alarm in zip(published, alarms, strict=True):
        for name in "cause", "sample", "peak", "first", "last", "samples":
            assert message[name] == getattr(alarm, name)
        assert message["channel"] == CHANNELS[alarm.channel]
        assert list(message["contribution"]) == CHANNELS
        np.testing.assert_allclose(list(message["expected"].values()), alarm.expected, rtol=1e-6)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", message["time"])
    assert [each["active"] for each in published][-1] == 0
    winners = [json.loads(payload) for payload in watcher.of("winners/pump-a")]
    assert len(winners) == 1  # one in an hour
    assert len(winners[0]["coords"]) == 2
    assert not watcher.of("scores/other")
    late = peer(f"{tmp_path.name}/+/alarm")
    wait_for(lambda: late.received, "a retained alarm")
    assert late.received[0][2]


def test_silent_streams_are_published_with_the_number_of_those_that_are_silent():
    published = []
    client = SimpleNamespace(describe=lambda name: {"spec": {}})
    settings = Settings(output=[{"what": "silence"}, {"what": "alarm", "topic": "{model}/{key}"}])
    outgoing = Outgoing(settings, client, lambda *message: published.append(message), threading.Event())
    nothing = np.full(2, np.nan, np.float32)
    for key, state in (4, "begin"), (7, "begin"), (4, "end"):
        alarm = AlarmEvent(
            state, "silent", 9, 9, 9, 9, 9, 0.0, 0.0, -1, nothing, nothing, seconds=8.0, key=key
        )
        arrays = alarm_arrays([alarm]) | {"key": np.array([key])}
        outgoing._observe(Event("alarm", "fleet", 1, 9, 1, 0, Outputs(**arrays)))
    outgoing.silence("fleet", "x", "begin", "death", 1_772_622_720_000_000_000)
    found = [json.loads(payload) for topic, payload, *_ in published if topic == "streamlearn/fleet/silence"]
    assert [(each["key"], each["state"], each["active"]) for each in found] == [
        (4, "begin", 1), (7, "begin", 2), (4, "end", 1), ("x", "begin", 2)
    ]  # fmt: skip
    assert found[-1]["time"] == "2026-03-04T11:12:00.000Z"
    assert found[0]["seconds"] == 8.0
    alarms = [
        (topic, json.loads(payload)["active"]) for topic, payload, *_ in published if "silence" not in topic
    ]
    assert alarms == [("fleet/4", 1), ("fleet/7", 2), ("fleet/4", 1)]


def test_models_appear_in_home_assistant_and_disappear(bridge, client, peer, tmp_path):
    client.create("pump-a", "som", **SPEC)
    bridge(OUTPUTS)
    watcher = peer("homeassistant/#", f"{tmp_path.name}/#")

    def entities(model):
        found = {}
        for topic, payload, _ in watcher.received:
            if topic.startswith("homeassistant/") and f"{tmp_path.name}_{model}_" in topic:
                found[topic] = json.loads(payload) if payload else None
        return found

    wait_for(lambda: len(entities("pump-a")) == 4, "four entities")
    client.create("pump-b", "som", **SPEC)
    wait_for(lambda: len(entities("pump-b")) == 4, "four more")
    for topic, found in (entities("pump-a") | entities("pump-b")).items():
        assert re.fullmatch(r"homeassistant/(binary_sensor|sensor)/[\w-]+/[\w-]+/config", topic)
        assert found["unique_id"] == topic.split("/")[-2]
        assert found["availability_topic"] == f"{tmp_path.name}/bridge/{tmp_path.name}/status"
        assert found["device"]["name"] in ("pump-a", "pump-b")
        assert found["device"]["model"] == "som"
    topics = {each["state_topic"] for each in entities("pump-a").values()}
    own = {f"{tmp_path.name}/pump-a/{what}" for what in ("alarm", "silence")}
    assert topics == own | {"scores/pump-a", "winners/pump-a"}
    # A sensor of a problem has a state before the first alarm.
    wait_for(lambda: watcher.of(f"{tmp_path.name}/pump-a/alarm"), "the first state")
    assert json.loads(watcher.of(f"{tmp_path.name}/pump-a/alarm")[0])["active"] == 0
    client.delete("pump-b")
    wait_for(lambda: set(map(str, entities("pump-b").values())) == {"None"}, "no entity of a deleted model")


def test_alarms_that_are_on_are_known_after_a_restart(bridge, client, peer, tmp_path):
    client.create("pump-a", "som", **SPEC | {"alarm": {"silent": False}})
    running = bridge(OUTPUTS)
    watcher = peer(f"{tmp_path.name}/pump-a/alarm")
    client.learn("pump-a", np.vstack([healthy(1500), healthy(20) + np.float32(40)]))
    wait_for(lambda: states(watcher) and states(watcher)[-1]["active"] == 1, "an alarm")
    running.kill()
    running.start()
    running.ready()
    client.learn("pump-a", healthy(500, 1))
    wait_for(lambda: states(watcher)[-1]["state"] == "end", "the end")
    # The restart published nothing that is not true.
    assert [each["active"] for each in states(watcher)] in ([1, 0], [0, 1, 0])


def test_an_alarm_that_ended_while_the_bridge_was_away_is_not_shown_for_ever(bridge, client, peer, tmp_path):
    client.create("pump-a", "som", **SPEC | {"alarm": {"silent": False}})
    running = bridge(OUTPUTS)
    watcher = peer(f"{tmp_path.name}/pump-a/alarm")
    client.learn("pump-a", np.vstack([healthy(1500), healthy(20) + np.float32(40)]))
    wait_for(lambda: states(watcher) and states(watcher)[-1]["active"] == 1, "an alarm")
    running.kill()
    client.learn("pump-a", healthy(500, 1))
    running.start()
    running.ready()
    wait_for(lambda: states(watcher)[-1]["active"] == 0, "the end")
