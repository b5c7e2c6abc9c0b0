"""`deploy/monitoring`: Prometheus accepts its files and scrapes a gateway; queries use metrics that exist."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from prometheus_client.parser import text_string_to_metric_families

from streamlearn.gateway.metrics import Metrics
from streamlearn.gateway.token_file import add_token
from tests.e2e.daemon_process import SECONDS, DaemonProcess
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_metrics import alarm, drift
from tools import dashboard
from tools.waiting import wait_for

FILES = Path(__file__).parents[2] / "deploy" / "monitoring"
X = np.random.default_rng(6).normal(size=(300, 2)).astype(np.float32)
NAME = re.compile(r"streamlearn_\w+")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The folder of Prometheus, as an operator makes it."""
    folder = tmp_path / "prometheus"
    shutil.copytree(FILES, folder)
    (folder / "streamlearn.token").write_text("unused\n")
    return folder


def test_promtool_accepts_the_files(config: Path) -> None:
    for command in (
        "check config prometheus.yml",
        "check rules streamlearn-rules.yml",
        "test rules streamlearn-rules-test.yml",
    ):
        done = subprocess.run(["promtool", *command.split()], cwd=config, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_is_the_one_of_the_script() -> None:
    assert dashboard.PATH.read_text() == dashboard.text(), "run python -m tools.dashboard"
    panels = json.loads(dashboard.PATH.read_text())["panels"]
    assert len({each["title"] for each in panels}) == len(panels) == len(dashboard.PANELS)


def lost(given: Any, kept: Any, place: str = "") -> Iterator[str]:
    """Yield the places of values that the second document does not have."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            yield from lost(value, kept.get(name), f"{place}.{name}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif given != kept:
        yield place


def not_in_the_schema(document: dict[str, Any]) -> list[str]:
    """Return the fields that Grafana's own types of dashboards do not keep."""
    plugins.register_default_plugins()
    return list(lost(document, json.loads(JSONEncoder().encode(Dashboard.from_json(document)))))


def test_the_dashboard_follows_the_schema_of_grafana() -> None:
    document = dashboard.dashboard()
    assert not_in_the_schema(document) == []
    document["panels"][0]["gridPosition"] = {}
    document["panels"][1]["targets"][0]["expression"] = "up"
    document["templating"]["variables"] = []
    assert sorted(not_in_the_schema(document)) == [
        ".panels[0].gridPosition",
        ".panels[1].targets[0].expression",
        ".templating.variables",
    ]


def test_rules_and_dashboard_use_metrics_and_labels_that_exist(http: httpx.Client) -> None:
    """The metrics of a live gateway, and those that are counted from events of alarms and drifts."""
    http.post("/v1/models", json={"name": "pump", "kind": "som", "spec": {"dim": 2, "grid": [4, 4]}})
    http.post("/v1/models/pump/learn", json={"x": X.tolist()})
    http.get("/v1/models/no/read?what=hits")  # an error
    wait_for(lambda: "streamlearn_score{" in http.get("/metrics").text, "scores")
    counted = Metrics(2)
    counted.observe(alarm("pump"))
    counted.observe(drift("pump"))
    labels: dict[str, set[str]] = {}
    for text in (http.get("/metrics").text, counted.exposition(None).decode()):
        for family in text_string_to_metric_families(text):
            for each in family.samples:
                labels.setdefault(each.name, set()).update(each.labels)
    rules = "\n".join(
        line
        for line in (FILES / "streamlearn-rules.yml").read_text().splitlines()
        if not re.match(r"\s*(summary|description|#)", line)
    )
    panels = dashboard.dashboard()["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    legends = [target["legendFormat"] for panel in panels for target in panel["targets"]]
    for expression, legend in zip([*expressions, rules], [*legends, ""], strict=True):
        names = NAME.findall(expression)
        assert names
        unknown = set(names) - set(labels)
        assert not unknown, f"{unknown} in {expression}"
        for name, matchers in re.findall(r"(streamlearn_\w+)\{([^}]*)\}", expression):
            used = set(re.findall(r"(\w+)=", matchers)) - {"instance"}
            assert used <= labels[name], f"{name} has {labels[name]}, not {used}"
        for label in re.findall(r"\{\{(\w+)\}\}", legend):
            assert label in labels[names[0]]


@pytest.fixture
def prometheus(config: Path) -> Iterator[Callable[[GatewayProcess, str], str]]:
    """Start Prometheus with the files of `deploy/monitoring`. Returns its address."""
    started: list[subprocess.Popen[bytes]] = []

    def start(gateway: GatewayProcess, token: str) -> str:
        (config / "streamlearn.token").write_text(f"{token}\n")
        settings = config / "prometheus.yml"
        text = settings.read_text().replace("127.0.0.1:7780", f"127.0.0.1:{gateway.port}")
        settings.write_text(text.replace("interval: 15s", "interval: 1s"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        options = {
            "config.file": settings,
            "storage.tsdb.path": config / "data",
            "web.listen-address": address,
        }
        with (config / "log").open("wb") as log:
            started.append(
                subprocess.Popen(
                    ["prometheus", *(f"--{name}={value}" for name, value in options.items())], stderr=log
                )
            )
        return f"http://{address}"

    yield start
    for each in started:
        each.terminate()
        each.wait(SECONDS)


@pytest.mark.e2e
def test_prometheus_scrapes_a_gateway_with_tokens(
    daemon: DaemonProcess,
    start: Callable[..., GatewayProcess],
    prometheus: Callable[[GatewayProcess, str], str],
    tmp_path: Path,
) -> None:
    tokens = tmp_path / "tokens.toml"
    scraper = add_token(tokens, "prometheus", ["query=*"])
    sender = add_token(tokens, "sender", ["push=*", "change=*", "query=*"])
    gateway = start(daemon.requests, "--tokens", str(tokens)).ready()
    with gateway.client(sender) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
        spec = {"name": "scraped", "kind": "som", "spec": {"dim": 2, "grid": [4, 4]}}
        assert client.post("/v1/models", json=spec).status_code < 300
        assert client.post("/v1/models/scraped/learn", json={"x": X.tolist()}).status_code < 300
    address = prometheus(gateway, scraper)

    def value(expression: str) -> float | None:
        try:
            answer = httpx.get(f"{address}/api/v1/query", params={"query": expression}, timeout=SECONDS)
        except httpx.TransportError:  # it does not listen yet
            return None
        result: list[dict[str, Any]] = answer.json()["data"]["result"] if answer.is_success else []
        return float(result[0]["value"][1]) if result else None

    wait_for(lambda: value("streamlearn_up") == 1, "a scrape")
    assert value('streamlearn_model_samples{model="scraped"}') == len(X)
    assert value('up{job="streamlearn"}') == 1
    for panel in dashboard.dashboard()["panels"]:  # Grafana replaces the variables
        for target in panel["targets"]:
            query = target["expr"].replace("$instance", f"127.0.0.1:{gateway.port}").replace("$model", ".*")
            query = query.replace("$__rate_interval", "1m")
            answer = httpx.get(f"{address}/api/v1/query", params={"query": query}, timeout=SECONDS).json()
            assert answer["status"] == "success", answer
            if re.fullmatch(r"streamlearn_(up|model_samples|model_backlog_rows|models)\{.*\}", query):
                assert answer["data"]["result"], query
    rules = httpx.get(f"{address}/api/v1/rules", timeout=SECONDS).json()["data"]["groups"][0]["rules"]
    assert len(rules) == (FILES / "streamlearn-rules.yml").read_text().count("- alert:")
    gateway.end()
    wait_for(lambda: value('up{job="streamlearn"}') == 0, "a scrape that fails")
    wait_for(lambda: value('ALERTS{alertname="StreamlearnGatewayDown", alertstate="pending"}'), "an alert")
