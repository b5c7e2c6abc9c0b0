"""Homie devices, and the sensors that Home Assistant discovery announces."""

from __future__ import annotations

import json

import numpy as np
import pytest

from streamlearn.bridges.mqtt.homeassistant import Sensor, _path, _value
from streamlearn.bridges.readings import BadPayload
from tools.waiting import wait_for

CLIMATE = {"dim": 2, "grid": [4, 4], "channels": ["temperature", "humidity"], "seed": 1}
HOMIE = """
[[input]]
topic = "homie/{device}"
model = "{device}"
payload = "homie"
channels = { temperature = "climate/temperature", humidity = "climate/humidity" }
join = { window = 30, wait = 60 }
[[output]]
what = "silence"
topic = "silence/{model}"
"""
DISCOVERED = """
[[input]]
topic = "homeassistant/sensor/#"
model = "{device}"
payload = "homeassistant"
channels = ["temperature", "humidity"]
"""


def sensor(name):
    """Return the configuration of a sensor, with the short names that devices use."""
    template = "{{ value_json." + name + " }}"
    device = {"ids": ["0x1"], "name": "kitchen"}
    return json.dumps(
        {
            "name": name,
            "uniq_id": f"x_{name}",
            "stat_t": "zigbee/kitchen",
            "dev_cla": name,
            "val_tpl": template,
        }
        | {"dev": device}
    )


@pytest.mark.e2e
def test_homie_properties_become_samples_and_a_lost_device_is_silent(bridge, client, peer):
    client.create("weather", "som", **CLIMATE)
    running = bridge(HOMIE)
    device = peer("silence/#")
    for topic, payload in (
        ("$homie", "4.0"),
        ("$state", "init"),
        ("climate/temperature/$unit", "°C"),
        ("$state", "ready"),
    ):
        device.publish(f"homie/weather/{topic}", payload)
    device.publish("homie/weather/climate/temperature", "20.5")
    device.publish("homie/weather/climate/pressure", "1013")  # no channel
    device.publish("homie/weather/climate/temperature/set", "25")
    device.publish("homie/weather/climate/humidity", "true")
    wait_for(lambda: client.describe("weather")["samples"] == 1, "a sample of two properties")
    device.publish("homie/weather/climate/humidity", "wet")
    device.publish("homie/weather/$state", "lost")
    device.publish("homie/weather/$state", "ready")
    wait_for(lambda: len(device.received) == 2, "silence")
    states = [json.loads(payload) for topic, payload, _ in device.received]
    assert [(each["state"], each["cause"]) for each in states] == [("begin", "state"), ("end", "state")]
    assert running.figures()["bad"] == 1


@pytest.mark.e2e
def test_discovered_sensors_of_a_device_are_channels_also_after_a_crash(bridge, client, peer):
    for name in "kitchen", "cellar":
        client.create(name, "som", **CLIMATE)
    client.create("twin", "som", **CLIMATE)
    device = peer()
    for name in "temperature", "humidity", "battery":
        device.publish(f"homeassistant/sensor/0x1/{name}/config", sensor(name), retain=True)
    running = bridge(DISCOVERED)
    device.publish("homeassistant/sensor/0x2/config", json.dumps({"dev": {"name": "cellar"}, "cmps": {
        "a": {"p": "sensor", "unique_id": "temperature", "state_topic": "cellar/t"},
    }}), retain=True)  # fmt: skip
    device.publish("homeassistant/sensor/broken/config", "{")
    wait_for(lambda: "bad message" in running.log.read_text(), "all configurations")
    x = np.random.default_rng(5).normal(size=(20, 2)).astype(np.float32)
    for number, (temperature, humidity) in enumerate(x.tolist()):
        if number == 10:
            running.kill()
        payload = json.dumps({"temperature": temperature, "humidity": humidity, "battery": 90})
        device.publish("zigbee/kitchen", payload).wait_for_publish(60)
        if number == 9:
            wait_for(lambda: client.describe("kitchen")["samples"] == 10, "the first half")
    device.publish("cellar/t", "7.5").wait_for_publish(60)
    running.start()
    running.ready()
    wait_for(lambda: client.describe("cellar")["samples"] == 1, "a plain state")
    found = client.describe("kitchen")
    assert found["samples"] >= 20  # messages without numbers may come again after a kill
    if found["samples"] == 20:
        client.learn("twin", x)
        assert found["state_hash"] == client.describe("twin")["state_hash"]
    device.publish("homeassistant/sensor/0x1/humidity/config", "", retain=True)  # the sensor is removed
    device.publish("zigbee/kitchen", '{"humidity": 3, "temperature": 1}')
    wait_for(lambda: client.describe("kitchen")["samples"] == found["samples"] + 1, "one more")
    for name in "0x1/temperature", "0x1/battery", "0x2":
        device.publish(f"homeassistant/sensor/{name}/config", "", retain=True).wait_for_publish(60)


@pytest.mark.parametrize(
    ("template", "payload", "value"),
    [
        (None, b"21.5", 21.5),
        ("{{ value }}", b"21.5", 21.5),
        ("{{ value | float }}", b" 3 ", 3.0),
        ("{{ value_json.a }}", b'{"a": 1}', 1.0),
        ("{{value_json.a.b|round(1)}}", b'{"a": {"b": 2}}', 2.0),
        ("{{ value_json['a b'] }}", b'{"a b": "4"}', 4.0),
        ("{{ value_json.list[1].x }}", b'{"list": [0, {"x": 5}]}', 5.0),
    ],
)
def test_a_value_template_is_the_path_of_the_value(template, payload, value):
    assert _value(Sensor("t", _path(template), "d", "c"), payload) == value


def test_other_templates_and_states_are_refused():
    for template in "{{ value_json.a * 10 }}", "{% if value %}1{% endif %}", "{{ states('x') }}":
        with pytest.raises(BadPayload, match="template"):
            _path(template)
    for payload in b"{", b"\xff", b'{"a": []}':
        with pytest.raises(BadPayload):
            _value(Sensor("t", _path("{{ value_json.a }}"), "d", "c"), payload)
    assert np.isnan(_value(Sensor("t", None, "d", "c"), b"unavailable"))
    assert np.isnan(_value(Sensor("t", _path("{{ value_json.a }}"), "d", "c"), b"{}"))
