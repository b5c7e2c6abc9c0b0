"""What topics and payloads mean, without a broker."""

from __future__ import annotations

import json
import math

import pytest

from streamlearn.bridges.inputs import Input
from streamlearn.bridges.paths import MISSING, Path
from streamlearn.bridges.payloads import reader_of
from streamlearn.bridges.readings import BadPayload
from streamlearn.bridges.topics import Pattern, fill, made_from, model_name


@pytest.mark.parametrize(
    ("pattern", "topic", "parts"),
    [
        ("plant/{line}/pump/{pump}/vibration", "plant/3/pump/a b/vibration", {"line": "3", "pump": "a b"}),
        ("plant/{line}/x", "plant/3/4/x", None),
        ("plant/{line}/x", "plant//x", None),
        ("a/+/{b}", "a/x/y", {"b": "y"}),
        ("a/#", "a", {}),
        ("a/#", "a/b/c", {}),
        ("#", "a/b", {}),
        ("#", "$SYS/uptime", None),
        ("{rest...}", "a/b", {"rest": "a/b"}),
        ("a/{rest...}", "a/b/c", {"rest": "b/c"}),
        ("a/{rest...}", "a", None),
        ("a.c", "abc", None),
    ],
)
def test_a_pattern_matches_as_its_filter_does_and_names_the_parts(pattern, topic, parts):
    assert Pattern(pattern).match(topic) == parts


def test_the_filter_of_a_pattern_is_that_of_a_subscription():
    assert Pattern("plant/{line}/pump/{pump}").filter == "plant/+/pump/+"
    assert Pattern("a/{rest...}").filter == "a/#"


@pytest.mark.parametrize(
    "pattern", ["", "a/#/b", "a/b+", "a/{b}c", "{a...}/b", "{a}/{a}", "{1}", "a/{b", "a\0b"]
)
def test_other_patterns_are_refused(pattern):
    with pytest.raises(ValueError, match="topic"):
        Pattern(pattern)


def test_names_are_made_from_parts():
    assert fill("{line}/{pump}", {"line": "a", "pump": "1/2"}) == "a/1/2"
    assert model_name("pump-{line}", {"line": "north/7 ü"}) == "pump-north_7__"
    assert made_from("pump-{line}.{x}").fullmatch("pump-a.b-c")
    assert not made_from("pump-{line}").fullmatch("pumps-a")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b", 1),
        ("list[1].x", 2),
        ("dotted.name", 3),
        (".", ...),
        ("a.c", MISSING),
        ("list[9]", MISSING),
        ("a[0]", MISSING),
        ("list.x", MISSING),
    ],
)
def test_a_path_finds_its_value(path, found):
    value = {"a": {"b": 1}, "list": [{}, {"x": 2}], "dotted.name": 3}
    assert Path(path).find(value) == (value if found is ... else found)


@pytest.mark.parametrize("path", ["", "a[x]", "a]", "a.[", "a..b"])
def test_other_paths_are_refused(path):
    with pytest.raises(ValueError, match="path"):
        Path(path)


def given(**settings):
    return reader_of(Input(topic="t/{name}", model="m", **settings))


def rows(readings):
    return [(dict(row.values), row.time) for row in readings.rows]


def test_json_has_channels_at_paths_a_time_a_number_and_a_run():
    read = given(
        channels={"rms": "v.rms", "temp": "t", "on": "on", "gone": "gone"}, time="ts", number="n", run="boot"
    ).read
    found = read(
        b'{"v": {"rms": 1.5}, "t": "20.5", "on": true, "ts": 1772622720.5, "n": 7, "boot": "x1"}', {}
    )
    ((values, time),) = rows(found)
    assert math.isnan(values.pop("gone"))
    assert values == {"rms": 1.5, "temp": 20.5, "on": 1.0}
    assert time == 1772622720_500_000_000
    assert (found.number, found.run) == (7, "x1")


def test_json_may_have_a_list_of_samples_with_their_times():
    read = given(channels=["x"], rows="data.samples", time="t", number="n").read
    message = {
        "n": 4,
        "data": {"samples": [{"x": 1, "t": "2026-03-04T11:00:00Z"}, {"x": None, "t": "2026-03-04 11:00:01"}]},
    }
    found = read(json.dumps(message).encode(), {})
    (first, at), (second, then) = rows(found)
    assert first == {"x": 1.0}
    assert math.isnan(second["x"])
    assert then - at == 1_000_000_000
    assert found.number == 4


def test_a_channel_may_be_named_by_the_topic():
    assert rows(given(channels="{name}", payload="number").read(b" -3.25e1 degC\n", {"name": "heat"})) == [
        ({"heat": -32.5}, None)
    ]
    assert rows(given(channels={"{name}": "value"}).read(b'{"value": 2}', {"name": "heat"})) == [
        ({"heat": 2.0}, None)
    ]
    assert rows(given(channels={"x": "."}).read(b"12.5", {})) == [({"x": 12.5}, None)]


def test_csv_has_columns():
    read = given(
        payload="csv",
        columns=["n", "t", "x", "y"],
        channels={"x": "x", "why": "y"},
        time="t",
        number="n",
        delimiter=";",
    ).read
    found = read(b"5;1772622720;1.5;\n6;1772622721;2.5;3\n\n", {})
    (first, at), (second, then) = rows(found)
    assert (first["x"], second) == (1.5, {"x": 2.5, "why": 3.0})
    assert math.isnan(first["why"])
    assert (at, then) == (1772622720 * 10**9, 1772622721 * 10**9)
    assert found.number == 5


BAD = [
    ({"channels": ["x"]}, b"", "not JSON"),
    ({"channels": ["x"]}, b"{", "not JSON"),
    ({"channels": ["x"]}, b"[" * 100_000, "not JSON"),
    ({"channels": ["x"]}, b"\xff\xfe", "not JSON"),
    ({"channels": ["x"]}, b'{"y": 1}', "none of x"),
    ({"channels": ["x"]}, b"[1]", "none of x"),
    ({"channels": ["x"]}, b'{"x": "high"}', "expected a number"),
    ({"channels": ["x"]}, b'{"x": [1]}', "expected a number"),
    ({"channels": ["x"]}, b'{"x": 1e39}', "finite"),
    ({"channels": ["x"]}, b'{"x": Infinity}', "finite"),
    ({"channels": ["x"]}, b'{"x": 1' + b"0" * 400 + b"}", "finite"),
    ({"channels": ["x"], "time": "t"}, b'{"x": 1}', "has no t"),
    ({"channels": ["x"], "time": "t"}, b'{"x": 1, "t": "soon"}', "no form of a time"),
    ({"channels": ["x"], "time": "t"}, b'{"x": 1, "t": true}', "expected a time"),
    ({"channels": ["x"], "number": "n"}, b'{"x": 1, "n": -1}', "whole number"),
    ({"channels": ["x"], "number": "n"}, b'{"x": 1, "n": 1.5}', "whole number"),
    ({"channels": ["x"], "number": "n"}, b'{"x": 1, "n": 2199023255552}', "whole number"),
    ({"channels": ["x"], "number": "n"}, b'{"x": 1}', "has no n"),
    ({"channels": ["x"], "rows": "r"}, b'{"r": []}', "no list"),
    ({"channels": "x", "payload": "number"}, b"", "empty"),
    ({"channels": "x", "payload": "number"}, b"on", "expected a number"),
    ({"channels": "x", "payload": "number"}, b"\xff", "UTF-8"),
    ({"channels": ["x"], "payload": "csv", "columns": ["x", "y"]}, b"1", "1 fields; expected 2"),
    ({"channels": ["x"], "payload": "csv", "columns": ["x", "y"]}, b"1,high\n2", "1 fields; expected 2"),
    ({"channels": ["x"], "payload": "csv", "columns": ["x"]}, b"\n", "0 lines"),
    ({"channels": ["x"], "payload": "csv", "columns": ["x"]}, b'"a', "expected a number|not CSV"),
]


@pytest.mark.parametrize(("settings", "payload", "message"), BAD)
def test_a_payload_without_a_meaning_is_refused_with_the_reason(settings, payload, message):
    with pytest.raises(BadPayload, match=message):
        given(**settings).read(payload, {})
