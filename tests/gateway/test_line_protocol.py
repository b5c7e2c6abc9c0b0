"""The parser of line protocol: InfluxDB's own encoder, its documented lines, and those of Telegraf."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from influxdb_client import Point as InfluxPoint
from influxdb_client import WritePrecision

from streamlearn.gateway.collecting.lineprotocol import PRECISIONS, parse_lines
from streamlearn.gateway.collecting.points import Point, Refusal

NOW = 1_772_622_720_000_000_000

# Names as InfluxDB permits them: no end of line, and no backslash at the end, which would escape what comes.
NAMES = st.text(
    st.characters(exclude_characters="\n\r\t\\", exclude_categories=["C"]), min_size=1, max_size=8
)
PLAIN = NAMES.filter(lambda name: name.strip() == name and not name.startswith(("#", "_")))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**63), 2**63 - 1), st.booleans(), TEXTS
)


def parse(text: str, unit: str = "ns") -> list[Point | Refusal]:
    return list(parse_lines(text, PRECISIONS[unit], NOW))


def one(text: str, unit: str = "ns") -> Point:
    (point,) = parse(text, unit)
    assert isinstance(point, Point), point
    return point


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            PLAIN,
            st.dictionaries(PLAIN, PLAIN, max_size=3),
            st.dictionaries(PLAIN, VALUES, min_size=1, max_size=3),
            st.integers(0, 2**62),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_what_the_encoder_of_influxdb_writes_is_read(
    points: list[tuple[str, dict[str, str], dict[str, Any], int]],
) -> None:
    lines = []
    for measurement, tags, fields, time in points:
        encoded = InfluxPoint(measurement).time(time, WritePrecision.NS)
        for name, value in tags.items():
            encoded.tag(name, value)
        for name, value in fields.items():
            encoded.field(name, value)
        lines.append(encoded.to_line_protocol())
    found = parse("\n".join(lines))
    assert len(found) == len(points)
    for point, (measurement, tags, fields, time) in zip(found, points, strict=True):
        assert isinstance(point, Point), point
        assert (point.measurement, point.tags, point.time) == (measurement, tags, time)
        assert point.texts == {name: value for name, value in fields.items() if isinstance(value, str)}
        assert point.values == {
            name: float(value) for name, value in fields.items() if not isinstance(value, str)
        }


@pytest.mark.parametrize(
    ("line", "measurement", "tags", "values", "texts"),
    [
        # https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
        (
            'myMeasurement,tag1=value1,tag2=value2 fieldKey="fieldValue" 1556813561098000000',
            "myMeasurement",
            {"tag1": "value1", "tag2": "value2"},
            {},
            {"fieldKey": "fieldValue"},
        ),
        ("m fieldKey=1.0", "m", {}, {"fieldKey": 1.0}, {}),
        ("m fieldKey=1", "m", {}, {"fieldKey": 1.0}, {}),
        ("m fieldKey=-1.234456e+78", "m", {}, {"fieldKey": -1.234456e78}, {}),
        ("m fieldKey=12485903i", "m", {}, {"fieldKey": 12485903.0}, {}),
        ("m fieldKey=12485903u", "m", {}, {"fieldKey": 12485903.0}, {}),
        ("m a=true,b=f,c=TRUE,d=False", "m", {}, {"a": 1.0, "b": 0.0, "c": 1.0, "d": 0.0}, {}),
        (
            r'my\ Measurement fieldKey="string value"',
            "my Measurement",
            {},
            {},
            {"fieldKey": "string value"},
        ),
        (
            r'myMeasurement fieldKey="\"string\" within a string"',
            "myMeasurement",
            {},
            {},
            {"fieldKey": '"string" within a string'},
        ),
        (
            r"myMeasurement,tag\ Key1=tag\ Value1,tag\ Key2=tag\ Value2 fieldKey=100",
            "myMeasurement",
            {"tag Key1": "tag Value1", "tag Key2": "tag Value2"},
            {"fieldKey": 100.0},
            {},
        ),
        (
            'myMeasurement,tagKey=🍭 fieldKey="Launch 🚀" 1556813561098000000',
            "myMeasurement",
            {"tagKey": "🍭"},
            {},
            {"fieldKey": "Launch 🚀"},
        ),
        # Telegraf: inputs.cpu, inputs.modbus, inputs.opcua (the node's id has = and ;), inputs.snmp
        (
            "cpu,cpu=cpu0,host=web-1 usage_idle=98.2,usage_user=0.7 1772622720000000000",
            "cpu",
            {"cpu": "cpu0", "host": "web-1"},
            {"usage_idle": 98.2, "usage_user": 0.7},
            {},
        ),
        (
            "modbus,host=plc,name=Press,slave_id=1,type=holding_register"
            " flow=12.5,running=1i 1772622720000000000",
            "modbus",
            {"host": "plc", "name": "Press", "slave_id": "1", "type": "holding_register"},
            {"flow": 12.5, "running": 1.0},
            {},
        ),
        (
            r'opcua,host=edge,id=ns\=3;s\=Temperature Quality="OK (0x0)",temp=79i 1772622720000000000',
            "opcua",
            {"host": "edge", "id": "ns=3;s=Temperature"},
            {"temp": 79.0},
            {"Quality": "OK (0x0)"},
        ),
        (
            r"interface,agent_host=10.0.0.1,ifName=Gi0/1 ifInOctets=1234567890u,ifOperStatus=1i",
            "interface",
            {"agent_host": "10.0.0.1", "ifName": "Gi0/1"},
            {"ifInOctets": 1234567890.0, "ifOperStatus": 1.0},
            {},
        ),
        ("m, =1", None, {}, {}, {}),
    ],
)
def test_documented_lines(
    line: str,
    measurement: str | None,
    tags: dict[str, str],
    values: dict[str, float],
    texts: dict[str, str],
) -> None:
    if measurement is None:
        assert isinstance(parse(line)[0], Refusal)
        return
    point = one(line)
    assert (point.measurement, point.tags, point.values, point.texts) == (measurement, tags, values, texts)
    assert point.time == (int(line.rsplit(maxsplit=1)[-1]) if line.endswith("000000") else NOW)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("m", "a measurement, its tags"),
        ("m ", "no field"),
        (" f=1", "a measurement, its tags"),
        (",tag=1 f=1", "a measurement, its tags"),
        ("m,tag f=1", "a measurement, its tags"),
        ("m,tag= f=1", "a measurement, its tags"),
        ("m,a=1,a=2 f=1", "the tag 'a' occurs twice"),
        ("m f=", "no field"),
        ("m f=1,", "after the fields"),
        ("m f=1 1.5", "after the fields"),
        ("m f=1 1 2", "after the fields"),
        ('m f="open 1', "no field"),
        ('m f="a"b 1', "after the fields"),
        ("m f=nan", "no number, boolean or text"),
        ("m f=inf", "no number, boolean or text"),
        ("m f=1.5i", "no number, boolean or text"),
        ("m f=-1u", "no number, boolean or text"),
        ("m f=0x10", "no number, boolean or text"),
        ("m f=1_0", "no number, boolean or text"),
        ("m f=1e999", "too large"),
        ("m f=1 -1", "not between 1970 and 2262"),
        ("m f=1 9223372036854775808", "not between 1970 and 2262"),
    ],
)
def test_a_wrong_line_is_refused_with_its_number_and_the_others_are_read(line: str, reason: str) -> None:
    before, refused, after = parse(f"m f=1 1\n{line}\nm f=3 3\n")
    assert isinstance(before, Point)
    assert isinstance(after, Point)
    assert (before.place, after.place) == (1, 3)
    assert isinstance(refused, Refusal)
    assert refused.place == 2
    assert reason in refused.reason


def test_lines_comments_and_precisions() -> None:
    text = '# a comment with "\n\r\n\nm s="two\nlines",f=1 5\r\n  \nm f=2 6'
    first, second = parse(text)
    assert isinstance(first, Point)
    assert isinstance(second, Point)
    assert (first.place, first.texts, second.place) == (4, {"s": "two\nlines"}, 7)
    for unit, nanoseconds in PRECISIONS.items():
        assert one("m f=1 7", unit).time == 7 * nanoseconds
    assert one("m f=1").time == NOW


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from('m,= \\"\n1itf#-.e'), max_size=40))
def test_no_text_disturbs_the_parser(text: str) -> None:
    places = []
    for each in parse(text):
        places.append(each.place)
        if isinstance(each, Point):
            assert all(math.isfinite(value) for value in each.values.values())
    assert places == sorted(places)
    assert len(places) <= text.count("\n") + 1
