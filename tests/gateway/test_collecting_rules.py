"""Rules of collectors, and how values become samples."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamlearn.daemon.config import Http, Log
from streamlearn.daemon.gateway import command
from streamlearn.errors import BadConfig
from streamlearn.gateway.collecting.joining import Joined, Unusable, assign, join
from streamlearn.gateway.collecting.lineprotocol import parse_lines
from streamlearn.gateway.collecting.points import Point
from streamlearn.gateway.collecting.rules import MissingTag, Rules, Source

Load = Callable[[str], Rules]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def rules(text: str) -> Rules:
        path = tmp_path / "rules.toml"
        path.write_text(text)
        return Rules(path)

    return rules


def points(text: str) -> list[Point]:
    found = list(parse_lines(text, 1, 0))
    assert all(isinstance(each, Point) for each in found)
    return found  # type: ignore[return-value]


def assigned(rules: Rules, text: str, source: Source = "line") -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for point in points(text):
        if rule := rules.find(point, source):
            model, entry = assign(point, rule, source)
            groups.setdefault(model, []).append(entry)
    return groups


def joined(
    rules: Rules, text: str, dim: int, channels: list[str] | None = None, keys: bool = False
) -> Joined:
    (entries,) = assigned(rules, text).values()
    return join(entries, {"dim": dim, "needs_keys": keys, "spec": {"channels": channels}})


def rows(found: Joined) -> list[tuple[str | None, int, list[float]]]:
    return [(each.key, each.time, each.x.tolist()) for each in found.samples]


NAN = pytest.approx(float("nan"), nan_ok=True)


def test_without_a_file_the_measurement_is_the_model_and_the_tags_are_the_key() -> None:
    text = "pump,site=b,host=a flow=1 1\nfan rate=2 1"
    assert list(assigned(Rules(), text)) == ["pump", "fan"]
    found = joined(Rules(), "pump,site=b,host=a flow=1 1", 1, ["flow"], keys=True)
    assert rows(found) == [("host=a,site=b", 1, [1.0])]
    assert rows(joined(Rules(), "pump,host=a flow=1 1", 1, ["flow"])) == [(None, 1, [1.0])]
    assert list(assigned(Rules(), "up,job=node,instance=a:9100 up=1 1", "prometheus")) == ["node"]


def test_the_first_rule_that_matches_decides(load: Load) -> None:
    rules = load(
        """
        [[rule]]
        measurement = "cpu"
        tags = { host = ["web-*", "db-?"], cpu = "cpu-total" }
        model = "cpu-{host}"

        [[rule]]
        measurement = ["cpu", "mem*"]
        drop = true

        [[rule]]
        model = "{measurement}.{site}"
        """
    )
    assert list(assigned(rules, "cpu,cpu=cpu-total,host=web-1 f=1 1")) == ["cpu-web-1"]
    assert not assigned(rules, "cpu,cpu=cpu0,host=web-1 f=1 1")
    assert not assigned(rules, "cpu,host=web-1 f=1 1")  # the tag is absent
    assert not assigned(rules, "memory,host=db-1 f=1 1")
    assert list(assigned(rules, "disk,site=x f=1 1")) == ["disk.x"]
    with pytest.raises(MissingTag, match="no tag 'site', which the rule's model needs"):
        assigned(rules, "disk f=1 1")
    assert not assigned(load('[[rule]]\nmeasurement = "a"\nmodel = "m"'), "b f=1 1")


def test_names_of_models_have_no_other_characters(load: Load) -> None:
    rules = load('[[rule]]\nmodel = "{measurement}-{host}"')
    assert list(assigned(rules, r"a\ b,host=10.0.0.1:9100/x f=1 1")) == ["a_b-10.0.0.1_9100_x"]


def test_values_of_one_time_are_one_sample_and_others_are_missing(load: Load) -> None:
    text = "p flow=3 2\np flow=1,other=9 1\np,x=y pressure=2 1\n"
    found = joined(Rules(), text, 2, ["flow", "pressure"])
    assert rows(found) == [(None, 1, [1.0, 2.0]), (None, 2, [3.0, NAN])]
    assert found.unused == 1
    assert not found.refusals
    # two measurements become one model
    both = load('[[rule]]\nmodel = "plant"\nfield = "{measurement}.{field}"\nchannels = ["b.v", "a.v"]')
    assert rows(joined(both, "a v=1 5\nb v=2 5\n", 2)) == [(None, 5, [2.0, 1.0])]


def test_tags_in_the_names_of_fields_and_in_keys(load: Load) -> None:
    rules = load('[[rule]]\nmodel = "cpu"\nkey = "{host}"\nfield = "{cpu}.{field}"')
    text = "cpu,host=b,cpu=c1 idle=4 1\ncpu,host=a,cpu=c0 idle=1 1\ncpu,host=a,cpu=c1 idle=2 1\n"
    found = joined(rules, text, 2, ["c0.idle", "c1.idle"], keys=True)
    assert rows(found) == [("b", 1, [NAN, 4.0]), ("a", 1, [1.0, 2.0])]
    separate = joined(rules, text, 2, ["c0.idle", "c1.idle"])  # streams of a model without keys
    assert rows(separate) == [("b", 1, [NAN, 4.0]), ("a", 1, [1.0, 2.0])]


def test_a_channel_with_two_values_of_one_time_is_refused_unless_it_is_the_same_series() -> None:
    found = joined(Rules(), "p,h=a f=1 1\np,h=b f=2 1\np,h=a f=3 1\n", 1, ["f"])
    assert rows(found) == [(None, 1, [3.0])]
    assert [each.place for each in found.refusals] == [2]
    assert "from the series 'p,h=a f'; give the tags that differ" in found.refusals[0].reason


def test_models_without_names_of_channels(load: Load) -> None:
    assert rows(joined(Rules(), "p anything=1 1", 1)) == [(None, 1, [1.0])]
    with pytest.raises(Unusable, match="has no names of channels"):
        joined(Rules(), "p a=1,b=2 1", 2)
    two = load('[[rule]]\nmodel = "p"\nchannels = ["b", "a"]')
    assert rows(joined(two, "p a=1,b=2 1", 2)) == [(None, 1, [2.0, 1.0])]
    with pytest.raises(Unusable, match="the rule has 2 channels, and the model has 3"):
        joined(two, "p a=1,b=2 1", 3)


def test_labels_come_from_tags_and_texts(load: Load) -> None:
    rules = load('[[rule]]\nmodel = "p"\nlabel = "{state}"')
    found = joined(rules, 'p f=1,state="worn" 1\np,state=fine f=2 2\np f=3 3\np state="x" 4\n', 1, ["f"])
    assert [each.label for each in found.samples] == ["worn", "fine", None]


def test_a_value_beyond_32_bits_is_refused() -> None:
    found = joined(Rules(), "p f=1e39,g=1 1\np f=1,g=2 2\n", 2, ["f", "g"])
    assert rows(found) == [(None, 2, [1.0, 2.0])]
    assert "too large for a 32-bit number" in found.refusals[0].reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rule]]\nmeasurment = 'a'\nmodel = 'b'", "rule 1, measurment: there is no such key; the keys are"),
        ("[[rule]]\nmodel = 'a'\n[[rule]]\nmodel = 5", "rule 2, model: must be text"),
        ("[[rule]]\nmodel = 'pump-{host'", "rule 1, model: .* has a brace without its partner"),
        ("[[rule]]\nmodel = 'pump-{}'", "empty braces"),
        ("[[rule]]\nmodel = '{field}'", "model has {field}, which only `field` may have"),
        ("[[rule]]\nmeasurement = 'a'", "rule 1: model is missing"),
        ("[[rule]]\nmodel = 'a'\ndrop = true", "either drop or model"),
        ("[[rule]]\nmodel = 'a'\nchannels = 'x'", "rule 1, channels: .*list"),
        ("[[rule]]\nmodel = 'a'\ncreate = {kind = 'som'}", "rule 1, create.spec: Field required"),
        ("[[rule]]\nmodel = 'a'\ncreate = {kind = 'som', spec = {}, most = 3}", "create.most: .* kind, spec"),
        ("[[rule]]\nmodel = 'a'\ncreate = {kind = 'som', spec = {}, limit = 0}", "create.limit: .*greater"),
        ("[rule]\nmodel = 'a'", r"expected \[\[rule\]\] tables"),
        ("[[rule]]\nmodel = 'a'\n[other]", r"expected \[\[rule\]\] tables"),
        ("rule = ", "is not TOML"),
    ],
)
def test_wrong_rules_are_named(load: Load, text: str, message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        load(text)


def test_a_file_that_is_absent(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"can't read .*: No such file"):
        Rules(tmp_path / "rules.toml")


def test_the_dimension_of_a_created_model_is_the_number_of_its_channels(load: Load) -> None:
    rules = load("[[rule]]\nmodel = 'a'\ncreate = {kind = 'som', spec = {channels = ['x', 'y']}}")
    (point,) = points("m x=1 1")
    rule = rules.find(point, "line")
    assert rule is not None
    assert rule.create is not None
    assert rule.create.full_spec == {"dim": 2, "channels": ["x", "y"]}
    assert np.isfinite(point.values["x"])


def test_the_daemon_passes_the_rules_on_to_its_gateway() -> None:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        settings = Http(address="127.0.0.1:0", rules="rules.toml")
        words = command(settings, Log(), bound, "tcp://127.0.0.1:7700", None)
    assert words[words.index("--rules") + 1] == "rules.toml"
