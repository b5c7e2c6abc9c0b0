"""A real mosquitto, a real bridge and a real daemon."""

from __future__ import annotations

import json
import os
import signal
import threading

import numpy as np
import pytest

from tools.waiting import wait_for

pytestmark = pytest.mark.e2e

SPEC = {"dim": 2, "grid": [4, 4], "channels": ["rms", "temp"], "seed": 1}
JSON = '[[input]]\ntopic = "plant/{line}/pump"\nmodel = "pump-{line}"\nchannels = ["rms", "temp"]\n'


def samples(client, model):
    return client.describe(model)["samples"] if model in [each["name"] for each in client.models()] else 0


def reach(client, model, count):
    wait_for(lambda: samples(client, model) >= count, f"{count} samples of {model}")
    assert samples(client, model) == count


def test_messages_are_learned_in_order_and_acknowledged(bridge, client, peer):
    client.create("pump-a", "som", **SPEC)
    client.create("twin", "som", **SPEC)
    running = bridge(JSON)
    x = np.random.default_rng(3).normal(size=(500, 2)).astype(np.float32)
    sender = peer()
    for rms, temp in x.tolist():
        sent = sender.publish("plant/a/pump", json.dumps({"rms": rms, "temp": temp}))
    sent.wait_for_publish(60)
    reach(client, "pump-a", 500)
    client.learn("twin", x)
    assert client.describe("pump-a")["state_hash"] == client.describe("twin")["state_hash"]
    figures = running.figures()
    assert figures["messages"] == figures["learned"] == 500
    assert figures["bad"] == figures["refused"] == figures["waiting"] == 0
    running.start()  # the same session: the broker has nothing that is not acknowledged
    running.ready()
    sender.publish("plant/a/pump", '{"rms": 1, "temp": 2}').wait_for_publish(60)
    reach(client, "pump-a", 501)
    assert running.figures()["messages"] == 1


def test_messages_wait_in_the_session_while_the_bridge_is_away(bridge, client, peer):
    client.create("pump-a", "som", **SPEC)
    running = bridge(JSON)
    running.kill()
    sender = peer()
    for number in range(50):
        sender.publish("plant/a/pump", json.dumps({"rms": number, "temp": 1})).wait_for_publish(60)
    running.start()
    running.ready()
    reach(client, "pump-a", 50)


def test_a_stop_waits_until_a_slow_broker_has_the_acknowledgements(bridge, broker, client, daemon, peer):
    client.create("pump-a", "som", **SPEC)
    running = bridge(JSON)
    sender = peer()
    os.kill(daemon.process.pid, signal.SIGSTOP)
    for number in range(50):
        sender.publish("plant/a/pump", json.dumps({"rms": number, "temp": 1})).wait_for_publish(60)
    broker.process.send_signal(signal.SIGSTOP)
    os.kill(daemon.process.pid, signal.SIGCONT)
    reach(client, "pump-a", 50)
    goes_on = threading.Timer(3, broker.process.send_signal, [signal.SIGCONT])
    goes_on.start()
    assert running.figures()["learned"] == 50
    running.start()
    goes_on.join()
    running.ready()
    assert running.figures()["messages"] == 0


def test_a_template_creates_models_up_to_its_limit(bridge, client, peer):
    template = '[template.pump]\nkind = "som"\nspec = { grid = [4, 4], seed = 5 }\nmost = 3\n'
    running = bridge(JSON + 'template = "pump"\n' + template)
    sender = peer()
    for line in "abcdx":
        sender.publish(f"plant/{line}/pump", '{"rms": 1, "temp": 2}')
    for line in "abc":
        reach(client, f"pump-{line}", 1)
    figures = running.figures()
    assert [each["name"] for each in client.models()] == ["pump-a", "pump-b", "pump-c"]
    assert client.describe("pump-a")["spec"]["channels"] == ["rms", "temp"]
    assert figures["bad"] == 2  # d and x
    assert "the most of its template" in running.log.read_text()


def test_bad_messages_are_counted_sampled_into_the_log_and_passed_by(bridge, client, peer):
    client.create("pump-a", "som", **SPEC)
    client.create("keyed", "rnn", dim=2, keys=3, seed=1, hidden=4)
    running = bridge(JSON + '[[input]]\ntopic = "keyed"\nmodel = "keyed"\nchannels = ["rms", "temp"]\n')
    sender = peer()
    for payload in ("{", "", b"\xff", '{"rms": 1e99, "temp": 1}', "x" * 2_000_000, '{"other": 1}') * 20:
        sender.publish("plant/a/pump", payload)
    sender.publish("plant/none/pump", '{"rms": 1, "temp": 2}')
    sender.publish("keyed", '{"rms": 1, "temp": 2}')
    sender.publish("plant/a/pump", '{"rms": 1, "temp": 2}', retain=True)
    sender.publish("plant/a/pump", '{"rms": 1, "temp": 2}', qos=0)
    reach(client, "pump-a", 2)
    figures = running.figures()
    assert figures["bad"] == 102  # the broker keeps back what is larger than message_bytes
    assert figures["learned"] == 2
    log = running.log.read_text()
    assert log.count("bad message") == 2  # one of each input
    assert "reason='the payload is not JSON" in log
    assert "topic=plant/a/pump" in log
    assert "keyed needs a key" in log
    running.start()
    running.ready()
    assert running.figures()["messages"] == 0  # all were acknowledged
    sender.publish("plant/a/pump", "", retain=True).wait_for_publish(60)


def test_keys_and_times_reach_the_model(bridge, client, peer):
    client.create("fleet", "rnn", dim=1, keys=8, seed=1, hidden=4, channels=["v"])
    bridge(
        '[[input]]\ntopic = "fleet/{car}"\nmodel = "fleet"\nkey = "{car}"\nchannels = ["v"]\ntime = "t"\n'
        '[[output]]\nwhat = "score"\ntopic = "seen/{model}/{key}"\n'
    )
    watcher = peer("seen/#")
    watcher.publish("fleet/blue", '{"v": 1, "t": "2026-03-04T11:00:00.25Z"}')
    watcher.publish("fleet/red", '{"v": 2, "t": "2026-03-04 11:00:01"}')
    wait_for(lambda: len(watcher.received) == 2, "two scores")
    found = {topic: json.loads(payload) for topic, payload, _ in watcher.received}
    assert found["seen/fleet/blue"]["key"] == "blue"
    assert found["seen/fleet/blue"]["time"] == "2026-03-04T11:00:00.250Z"
    assert found["seen/fleet/red"]["time"] == "2026-03-04T11:00:01.000Z"


def test_a_model_that_is_deleted_stops_nothing(bridge, client, peer):
    for name in "pump-a", "pump-b":
        client.create(name, "som", **SPEC)
    running = bridge(JSON)
    sender = peer()
    for line in "ab":
        sender.publish(f"plant/{line}/pump", '{"rms": 1, "temp": 2}')
        reach(client, f"pump-{line}", 1)
    client.delete("pump-a")
    for line in "abab":
        sender.publish(f"plant/{line}/pump", '{"rms": 1, "temp": 2}')
    reach(client, "pump-b", 3)
    client.create("pump-a", "som", **SPEC)
    sender.publish("plant/a/pump", '{"rms": 1, "temp": 2}').wait_for_publish(60)
    reach(client, "pump-a", 1)
    figures = running.figures()
    assert figures["refused"] + figures["bad"] == 2
    assert figures["waiting"] == 0


def test_the_status_is_online_offline_and_that_of_the_last_will(bridge, peer, tmp_path):
    topic = f"{tmp_path.name}/bridge/{tmp_path.name}/status"
    watcher = peer(topic)
    running = bridge("")
    wait_for(lambda: watcher.of(topic) == [b"online"], "online")
    running.kill(signal.SIGTERM)
    wait_for(lambda: watcher.of(topic) == [b"online", b"offline"], "offline")
    running.start()
    wait_for(lambda: watcher.of(topic)[2:] == [b"online"], "online again")
    running.kill()
    wait_for(lambda: watcher.of(topic)[2:] == [b"online", b"offline"], "the last will")
