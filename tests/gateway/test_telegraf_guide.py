"""The guide for Telegraf: its options are Telegraf's, and its rules do what it says.

Telegraf itself is in none of the package registries, so lines are written as its documentation shows them.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import streamlearn
from streamlearn.gateway.collecting.joining import Entry, assign, join
from streamlearn.gateway.collecting.lineprotocol import parse_lines
from streamlearn.gateway.collecting.points import Point
from streamlearn.gateway.collecting.rules import Rules
from tests.documents import blocks

# The options of each plugin that the guide may use, as the documentation of Telegraf 1.36 names them.
OPTIONS = {
    "agent": {"interval", "flush_interval", "metric_batch_size", "metric_buffer_limit"},
    "inputs.modbus": {
        *("name", "slave_id", "controller", "configuration_type", "coils", "discrete_inputs"),
        *("holding_registers", "input_registers", "timeout"),
    },
    "outputs.influxdb": {
        *("urls", "database", "skip_database_creation", "timeout", "username", "password"),
        *("content_encoding", "influx_uint_support"),
    },
    "outputs.influxdb_v2": {
        *("urls", "token", "organization", "bucket", "timeout", "content_encoding"),
        *("influx_uint_support", "concurrent_writes"),
    },
}
LINES = r"""
modbus,host=edge,name=pump-1,slave_id=1,type=coil running=1u 1772622720000000000
modbus,host=edge,name=pump-1,slave_id=1,type=holding_register flow=12.5 1772622720000000000
modbus,host=edge,name=fan-1,slave_id=1,type=coil running=0u 1772622720000000000
opcua,id=ns\=3;s\=Temperature temp=79.0,Quality="OK (0x0)" 1772622720000000000
opcua,id=ns\=3;s\=Draft draft=-1.389117,Quality="OK (0x0)",state="firing" 1772622720000000000
cpu,cpu=cpu0,host=web-1 usage_idle=98.5,usage_user=0.5 1772622720000000000
cpu,cpu=cpu1,host=web-1 usage_idle=97.5,usage_user=1.5 1772622720000000000
cpu,cpu=cpu-total,host=web-1 usage_idle=98,usage_user=1 1772622720000000000
interface,agent_host=10.0.0.1,ifDescr=eth0 ifInOctets=3852386380i,ifOutOctets=434865441i 1772622720000000000
internal_agent,host=edge metrics_gathered=5i 1772622720000000000
"""


def documents() -> list[dict[str, Any]]:
    found = [each for each in blocks("docs/guides/telegraf.md") if each.language == "toml"]
    assert len(found) == 3
    return [tomllib.loads(each.source) for each in found]


def test_the_options_are_those_of_telegraf() -> None:
    used: dict[str, set[str]] = {}
    for document in documents()[:2]:
        used.setdefault("agent", set()).update(document.get("agent", {}))
        for part in ("inputs", "outputs"):
            for name, (table,) in document.get(part, {}).items():
                used.setdefault(f"{part}.{name}", set()).update(table)
    assert used.keys() == OPTIONS.keys()
    for plugin, options in used.items():
        assert options <= OPTIONS[plugin], plugin


def test_the_rules_of_the_guide(tmp_path: Path) -> None:
    (source,) = [each.source for each in blocks("docs/guides/telegraf.md") if "[[rule]]" in each.source]
    (tmp_path / "rules.toml").write_text(source)
    rules = Rules(tmp_path / "rules.toml")
    groups: dict[str, list[Entry]] = {}
    passed = []
    for point in parse_lines(LINES, 1, 0):
        assert isinstance(point, Point)
        rule = rules.find(point, "line")
        if rule is None:
            passed.append(point.measurement)
            continue
        model, entry = assign(point, rule, "line")
        groups.setdefault(model, []).append(entry)
    (created,) = [each.rule.create for each in groups["pump-1"] if each.rule.create][:1]
    assert streamlearn.SOM(**created.full_spec).spec.dim == 2
    assert passed == ["modbus", "cpu", "internal_agent"]
    assert list(groups) == ["pump-1", "kiln", "hosts", "ports"]
    rows = {}
    for model, channels, keys in (
        ("pump-1", ["flow", "running"], False),
        ("kiln", None, False),
        ("hosts", ["cpu0.usage_idle", "cpu1.usage_idle"], True),
        ("ports", None, True),
    ):
        found = join(groups[model], {"dim": 2, "needs_keys": keys, "spec": {"channels": channels}})
        assert not found.refusals
        rows[model] = [(each.key, each.x.round(2).tolist(), each.label) for each in found.samples]
    assert rows == {
        "pump-1": [(None, [12.5, 1.0], None)],
        "kiln": [(None, [79.0, -1.3899999856948853], "firing")],
        "hosts": [("web-1", [98.5, 97.5], None)],
        "ports": [("10.0.0.1/eth0", [3852386304.0, 434865440.0], None)],
    }
