"""Sparkplug B against an independent encoder."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest

from streamlearn.bridges.mqtt.sparkplug_births import Birth, Node, read_node
from streamlearn.bridges.mqtt.sparkplug_messages import (
    Address,
    SparkplugMessage,
    number_of,
    read_address,
    read_message,
)
from streamlearn.bridges.readings import BadPayload
from tests.bridges.mqtt.edge import messages, samples, vectors
from tools.waiting import wait_for

INPUT = """
[[input]]
topic = "spBv1.0/{group}/+/{node}/{device}"
model = "{group}-{device}"
payload = "sparkplug"
channels = { a = "Motor/Speed", b = "Motor/Heat" }
template = "t"
[[input]]
topic = "spBv1.0/{group}/+/{node}"
model = "{node}"
payload = "sparkplug"
channels = ["load"]
template = "t"
[template.t]
kind = "som"
spec = { grid = [4, 4], seed = 1 }
[[output]]
what = "silence"
topic = "silence/{model}"
"""


def test_every_type_that_is_a_number_has_the_value_that_was_encoded():
    vector = vectors()[0]
    found = read_message(base64.b64decode(vector["base64"]))
    assert (found.time, found.seq) == (vector["payload"]["timestamp"], vector["payload"]["seq"])
    assert [each.name for each in found.metrics] == [each["name"] for each in vector["payload"]["metrics"]]
    for metric, encoded in zip(found.metrics, vector["payload"]["metrics"], strict=True):
        if encoded["type"] in ("String", "DataSet"):
            with pytest.raises(BadPayload, match="not a number"):
                number_of(metric, None, encoded["name"])
        elif encoded["value"] is None:
            assert math.isnan(number_of(metric, None, "null"))
        else:
            assert number_of(metric, None, encoded["name"]) == encoded["value"]


def test_all_messages_have_the_metrics_that_were_encoded():
    for vector in vectors()[1:]:
        found = read_message(base64.b64decode(vector["base64"]))
        assert (found.time, found.seq) == (vector["payload"]["timestamp"], vector["payload"].get("seq"))
        for metric, encoded in zip(found.metrics, vector["payload"]["metrics"], strict=True):
            assert (metric.name, metric.alias) == (encoded.get("name"), encoded.get("alias"))
            assert number_of(metric, None, "x") == encoded["value"]


def test_damaged_payloads_are_refused_or_read_and_nothing_else():
    random = np.random.default_rng(7)
    for _, payload in messages()[:3]:
        for end in range(len(payload)):
            damaged = bytearray(payload[: end + 1])
            damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
            try:
                read = read_message(bytes(damaged))
                [number_of(each, None, "x") for each in read.metrics]
            except BadPayload:
                pass


@pytest.mark.parametrize(
    ("topic", "address"),
    [
        ("spBv1.0/g/NDATA/n", Address("g", "NDATA", "n", "")),
        ("spBv1.0/g/DDATA/n/d", Address("g", "DDATA", "n", "d")),
        ("spBv1.0/STATE/host", None),
        ("spBv1.0/g/DDATA/n/d/e", None),
        ("spAv1.0/g/NDATA/n", None),
        ("spBv1.0/g/NDATA/", None),
    ],
)
def test_topics_have_the_parts_of_the_specification(topic, address):
    assert read_address(topic) == address


def test_numbers_continue_where_sequence_numbers_wrap():
    birth, last = Birth("1", 0), 0
    for number in (*range(1, 700), 698, 690, 600, 720, 800):
        assert birth.extended(number % 256, last) == number
        last = max(last, number)


def test_a_message_belongs_to_the_birth_before_it_and_births_are_kept():
    node = Node()
    for session, moment in ("1", 100), ("2", 200), ("3", 300):
        node.begin(Birth(session, moment)).learn("d", SparkplugMessage(moment, 0, []))
    assert node.begin(Birth("2", 200)).session == "2"  # sent again
    kept = read_node(node.to_json().encode())
    for each in node, kept:
        assert [birth.session for birth in each.births] == ["2", "3"]
        assert [each.at(moment).session for moment in (None, 350, 300, 299)] == ["3", "3", "3", "2"]
    assert read_node(b"{").births == read_node(b"[1]").births == []


@pytest.mark.e2e
def test_births_data_and_deaths_of_a_node(bridge, client, peer):
    running = bridge(INPUT)
    watcher = peer("silence/#", "spBv1.0/+/NCMD/#")
    sent = messages()[1:]
    watcher.publish(*sent[2])  # data before the birth: the node is asked for it
    wait_for(lambda: watcher.received, "a request for the birth")
    topic, payload, _ = watcher.received.pop()
    assert topic == "spBv1.0/plant/NCMD/edge"
    (metric,) = read_message(payload).metrics
    assert (metric.name, metric.value) == ("Node Control/Rebirth", True)
    for each in sent:
        watcher.publish(*each)
    x, times = samples()
    wait_for(lambda: len(watcher.received) >= 2, "two silences")
    wait_for(lambda: client.describe("plant-pump")["samples"] >= len(x), "all samples")
    wait_for(lambda: client.describe("edge")["samples"] >= 60, "all samples of the node")
    client.create("twin", "som", dim=2, grid=[4, 4], seed=1, channels=["a", "b"])
    client.learn("twin", x, times=times)
    found, twin = client.describe("plant-pump"), client.describe("twin")
    assert (found["samples"], found["state_hash"]) == (len(x), twin["state_hash"])
    assert client.describe("edge")["samples"] == 60
    assert sorted((topic, json.loads(payload)["state"]) for topic, payload, _ in watcher.received) == [
        ("silence/edge", "begin"),
        ("silence/plant-pump", "begin"),
    ]
    watcher.publish(*sent[0])  # the node is there again
    wait_for(lambda: len(watcher.received) >= 3, "the end of a silence")
    assert json.loads(watcher.received[-1][1])["state"] == "end"
    figures = running.figures()
    assert figures["bad"] == 1
    assert figures["learned"] == len(x) + 60
