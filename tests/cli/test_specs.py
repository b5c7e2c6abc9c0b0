"""Model parameters on the command line."""

from __future__ import annotations

import pytest

from streamlearn.cli.errors import BadUsage
from streamlearn.cli.models import assign, parse_value, read_spec


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("0.5", 0.5),
        ("10,10", [10, 10]),
        ("[10, 10]", [10, 10]),
        ('{"start": 1, "end": 0}', {"start": 1, "end": 0}),
        ("standard", "standard"),
        ('"8"', "8"),
        ("true", True),
        ("null", None),
        ("None", None),
        ("a,b", "a,b"),
        ("", ""),
    ],
)
def test_a_value_is_json_where_it_can_be(text, value):
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_dots_reach_into_a_value():
    spec = {"dim": 3}
    for assignment in ("dim=8", "sigma.start=3", "sigma.end=1", "note=a=b"):
        assign(spec, assignment)
    assert spec == {"dim": 8, "sigma": {"start": 3, "end": 1}, "note": "a=b"}


@pytest.mark.parametrize("assignment", ["dim", "=8", ".dim=8", "a..b=1", ""])
def test_what_is_no_assignment(assignment):
    with pytest.raises(BadUsage, match="KEY=VALUE"):
        assign({}, assignment)


def test_a_value_has_nothing_within():
    with pytest.raises(BadUsage, match="already has a value"):
        assign({"sigma": 3}, "sigma.start=3")


def test_files(tmp_path):
    toml, json = tmp_path / "spec.toml", tmp_path / "spec.json"
    toml.write_text('kind = "som"\ngrid = [4, 4]\n[sigma]\nstart = 2.0\n')
    json.write_text('{"kind": "som", "grid": [4, 4], "sigma": {"start": 2.0}}')
    assert read_spec(toml) == read_spec(json) == {"kind": "som", "grid": [4, 4], "sigma": {"start": 2.0}}


@pytest.mark.parametrize(
    ("name", "text"), [("a.toml", "x = "), ("a.json", "{"), ("a.json", "[1]"), ("a.toml", "\x00")]
)
def test_files_that_hold_no_spec(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(BadUsage, match=str(path)):
        read_spec(path)
