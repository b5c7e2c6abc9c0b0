"""Metrics: what Prometheus reads, and a bounded number of series."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamlearn.gateway.metrics import OTHER, Metrics
from streamlearn_client.alarms import AlarmEvent, alarm_arrays
from streamlearn_client.outputs import Outputs
from streamlearn_client.results import Event
from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import GatewayProcess
from tools.waiting import wait_for

X = np.random.default_rng(5).normal(size=(2000, 2)).astype(np.float32)


def samples(text: str) -> dict[tuple[str, ...], float]:
    """All samples by name and labels."""
    return {
        (each.name, *(f"{name}={value}" for name, value in sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
    }


def test_metrics_of_a_daemon(http: httpx.Client) -> None:
    http.post("/v1/models", json={"name": "pump", "kind": "som", "spec": {"dim": 2, "grid": [4, 4]}})
    http.post("/v1/models/pump/learn", json={"x": X.tolist()})
    http.post("/v1/models/pump/predict", json={"x": X[:3].tolist()})
    wait_for(lambda: "streamlearn_score{" in http.get("/metrics").text, "scores")
    stats: dict[str, Any] = http.get("/v1/stats").json()
    scrapes = stats["models"]["pump"]["queries"] - 1  # each reads the quality; one query is that of `predict`
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    found = samples(answer.text)
    assert (
        scrapes == found["streamlearn_gateway_requests_total", "method=GET", "route=/metrics", "status=200"]
    )
    assert found["streamlearn_up",] == 1
    assert found["streamlearn_durable_lsn",] == stats["durable_lsn"]
    assert found["streamlearn_model_samples", "model=pump"] == 2000
    assert found["streamlearn_model_queries_total", "model=pump"] == 1 + scrapes
    assert 0.3 < found["streamlearn_score", "model=pump", "quantile=0.5"] < 0.7
    assert found["streamlearn_query_seconds_count",] == stats["query_seconds"]["count"] >= 1
    assert found["streamlearn_query_seconds_bucket", "le=+Inf"] == found["streamlearn_query_seconds_count",]
    assert found["streamlearn_commit_seconds_sum",] > 0
    assert found["streamlearn_memory_account_used_bytes", "account=models"] > 0
    route = "route=/v1/models/{model}/predict"
    assert found["streamlearn_gateway_requests_total", "method=POST", route, "status=200"] >= 1


def test_quality_of_the_first_models(
    daemon: DaemonProcess, http: httpx.Client, start: Callable[..., GatewayProcess]
) -> None:
    for name in ("b", "a", "c"):
        http.post("/v1/models", json={"name": name, "kind": "som", "spec": {"dim": 2, "grid": [4, 4]}})
        http.post(f"/v1/models/{name}/learn", json={"x": X.tolist()})
    found = samples(http.get("/metrics").text)
    quality = http.get("/v1/models/a/read?what=quality").json()["parts"]["quality"]
    for measure in ("quantization_error", "topographic_error", "watched_samples"):
        name = "streamlearn_model_quality", f"measure={measure}", "model=a"
        assert found[name] == pytest.approx(quality[measure])
    assert all(math.isfinite(value) for value in found.values())
    few = start(daemon.requests, "--quality-models", "2").ready()
    with few.client() as client:
        found = samples(client.get("/metrics").text)
    models = {labels[2] for labels in found if labels[0] == "streamlearn_model_quality"}
    assert models == {"model=b", "model=a"}


def test_alarms_and_drifts_are_counted_by_model() -> None:
    metrics = Metrics(2)
    for name in ("a", "b", "c", "d"):
        metrics.observe(Event("output", name, 1, 0, 3, 0, Outputs(score=np.float32([0.1, np.nan, 0.9]))))
        metrics.observe(drift(name))
        metrics.observe(alarm(name))
    found = samples(metrics.exposition(None).decode())
    assert found["streamlearn_up",] == 0
    assert found["streamlearn_alarms_total", "cause=score", "model=a"] == 1
    assert found["streamlearn_alarms_total", "cause=score", f"model={OTHER}"] == 2
    assert found["streamlearn_drifts_total", f"model={OTHER}"] == 4
    assert {labels[1] for labels in found if labels[0] == "streamlearn_score"} == {
        "model=a",
        "model=b",
        f"model={OTHER}",
    }
    metrics.observe(Event("deleted", "a", 2, 0, 0, 0, Outputs()))
    metrics.observe(alarm("e"))
    found = samples(metrics.exposition(None).decode())
    assert ("streamlearn_alarms_total", "cause=score", "model=a") not in found
    assert found["streamlearn_alarms_total", "cause=score", "model=e"] == 1


def drift(model: str) -> Event:
    return Event("drift", model, 1, 0, 2, 0, Outputs(sample=np.int64([3, 4])))


def alarm(model: str) -> Event:
    shares = np.float32([1.0])
    alarms = [
        AlarmEvent(state, "score", 9, 5, 9, 7, 5, 0.99, 14.0, 0, shares, shares) for state in ("begin", "end")
    ]
    return Event("alarm", model, 1, 0, 2, 0, Outputs.unchecked(alarm_arrays(alarms), 2))
