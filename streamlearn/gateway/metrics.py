"""Metrics in the form that Prometheus scrapes.

Counters of the daemon are its `stats`. Alarms, drifts and scores are counted from events, and the quality is
read from the models. The number of series is bounded: models beyond ``limits.metric_models`` share the label
``model="other"``, and the quality is that of the first ``limits.quality_models`` of them, in the order of
their creation.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from streamlearn.errors import Quarantined, UnknownModel
from streamlearn_client import AsyncClient
from streamlearn_client.results import Event

disable_created_metrics()  # type: ignore[no-untyped-call]  # the time of the first count is of no use

OTHER: Final = "other"
SCORES: Final = 1000
"""Recent scores of a model, of which the quantiles are."""
QUANTILES: Final = (0.5, 0.9, 0.99)
BOUNDS: Final = [2.0**exponent / 1e9 for exponent in range(16, 35)]
"""Bounds of `counts` in ``stats``, in seconds."""

_COUNTERS: Final = {
    "messages": "Messages received",
    "records": "Records written to the journal",
    "bytes": "Bytes written to the journal",
    "firehose_lost": "Messages of the firehose that were refused",
    "replies_dropped": "Replies that no client read",
    "checkpoints": "Checkpoints written",
    "checkpoint_failures": "Checkpoints that could not be written",
    "disk_full": "Groups of records that a full disk refused",
    "events": "Events published",
}
_GAUGES: Final = {
    "uptime_seconds": "Seconds since the start of the daemon",
    "backlog_rows": "Samples that are accepted and not yet learned",
    "backlog_bytes": "Their bytes",
    "written_lsn": "Last record in the journal",
    "durable_lsn": "Last record that is synced",
    "journal_bytes": "Size of the journal",
    "journal_segments": "Files of the journal",
}
_MODEL_COUNTERS: Final = {
    "learned": "Samples learned",
    "received": "Samples received",
    "duplicates": "Batches that were sent again",
    "refused": "Batches that were refused",
    "queries": "Queries answered",
}
_MODEL_GAUGES: Final = {
    "samples": "Samples in the state of the model",
    "backlog_rows": "Samples that are accepted and not yet learned",
    "silent": "Streams that are silent",
}


class Metrics:
    """What the gateway counts, and the conversion of ``stats``."""

    def __init__(self, most_models: int) -> None:
        self._most = most_models
        self._named: set[str] = set()
        self._scores: dict[str, deque[float]] = {}
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "streamlearn_gateway_requests",
            "HTTP requests by route, method and status",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._alarms = Counter(
            "streamlearn_alarms", "Alarms that began", ["model", "cause"], registry=self.registry
        )
        self._drifts = Counter("streamlearn_drifts", "Drift alarms", ["model"], registry=self.registry)
        self.listeners = Gauge("streamlearn_gateway_listeners", "Listeners of events", registry=self.registry)

    def observe(self, event: Event) -> None:
        """Count an event."""
        model = self._label(event.model)
        if event.kind == "deleted":
            self._forget(event.model)
        elif event.kind == "alarm":
            for each in event.alarms:
                if each.state == "begin":
                    self._alarms.labels(model, each.cause).inc()
        elif event.kind == "drift":
            self._drifts.labels(model).inc(len(event.outputs))
        elif event.kind == "output" and "score" in event.outputs.arrays:
            scores = event.outputs.score
            self._scores.setdefault(model, deque(maxlen=SCORES)).extend(
                scores[np.isfinite(scores)][-SCORES:].tolist()
            )

    def _label(self, model: str) -> str:
        if model in self._named or len(self._named) < self._most:
            self._named.add(model)
            return model
        return OTHER

    def _forget(self, model: str) -> None:
        self._named.discard(model)
        self._scores.pop(model, None)
        for counter in (self._alarms, self._drifts):
            for labels in [key for key in counter._metrics if key[0] == model]:
                counter.remove(*labels)

    def exposition(
        self, stats: Mapping[str, Any] | None, qualities: Mapping[str, Mapping[str, Any]] | None = None
    ) -> bytes:
        """Return all metrics as text.

        Parameters
        ----------
        stats
            The counters of the daemon; ``None`` if it does not answer.
        qualities
            The live quality of some models.
        """
        snapshot = CollectorRegistry()
        snapshot.register(_Snapshot([*self._families(stats), _quality(qualities or {})]))
        return generate_latest(self.registry) + generate_latest(snapshot)

    def _families(self, stats: Mapping[str, Any] | None) -> Iterable[Metric]:
        yield GaugeMetricFamily("streamlearn_up", "Whether the daemon answers", float(stats is not None))
        scores = GaugeMetricFamily(
            "streamlearn_score", "Quantiles of recent scores", labels=["model", "quantile"]
        )
        for model, values in self._scores.items():
            for q in QUANTILES if values else ():
                scores.add_metric([model, str(q)], float(np.quantile(values, q)))
        yield scores
        if stats is None:
            return
        for name, text in _COUNTERS.items():
            yield CounterMetricFamily(f"streamlearn_{name}", text, stats[name])
        for name, text in _GAUGES.items():
            yield GaugeMetricFamily(f"streamlearn_{name}", text, stats[name])
        errors = CounterMetricFamily("streamlearn_errors", "Error replies by code", labels=["code"])
        for code, count in stats["errors"].items():
            errors.add_metric([code], count)
        yield errors
        for name in ("query_seconds", "commit_seconds"):
            yield _histogram(name, stats[name])
        yield from _memory(stats["memory"])
        yield from self._models(stats["models"])

    def _models(self, models: Mapping[str, Mapping[str, Any]]) -> Iterable[Metric]:
        yield GaugeMetricFamily("streamlearn_models", "Models", len(models))
        for names, family in ((_MODEL_COUNTERS, CounterMetricFamily), (_MODEL_GAUGES, GaugeMetricFamily)):
            for name, text in names.items():
                sums: dict[str, float] = {}
                for model, counters in models.items():
                    label = self._label(model)
                    sums[label] = sums.get(label, 0.0) + counters[name]
                found = family(f"streamlearn_model_{name}", text, labels=["model"])
                for label, value in sums.items():
                    found.add_metric([label], value)
                yield found
        quarantined = sum(each["quarantined"] is not None for each in models.values())
        yield GaugeMetricFamily("streamlearn_models_quarantined", "Models that are set aside", quarantined)


class _Snapshot(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _histogram(name: str, found: Mapping[str, Any]) -> Metric:
    text = {"query_seconds": "Duration of queries", "commit_seconds": "Duration of writes and syncs"}[name]
    buckets = [(repr(bound), count) for bound, count in zip(BOUNDS, found["counts"], strict=True)]
    return HistogramMetricFamily(
        f"streamlearn_{name}", text, [*buckets, ("+Inf", found["count"])], found["sum"]
    )


async def read_qualities(client: AsyncClient, most: int) -> dict[str, dict[str, Any]]:
    """Return the live quality of the ``most`` models that were created first, by name."""
    models = sorted(await client.models(), key=lambda each: int(each["create_lsn"]))
    found: dict[str, dict[str, Any]] = {}
    for each in models[:most]:
        with suppress(UnknownModel, Quarantined):
            found[each["name"]] = (await client.read(each["name"], ["quality"]))["quality"]
    return found


def _quality(qualities: Mapping[str, Mapping[str, Any]]) -> Metric:
    """Return the numbers of each quality; texts, lists and unknown values have no series."""
    text = "Live quality, for example mae, quantization_error, coverage of the bands"
    family = GaugeMetricFamily("streamlearn_model_quality", text, labels=["model", "measure"])
    for model, quality in qualities.items():
        for measure, value in quality.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
                family.add_metric([model, measure], value)
    return family


def _memory(memory: Mapping[str, Any]) -> Iterable[Metric]:
    for name, text in (("limit", "Budget of memory"), ("resident", "Memory of the process")):
        yield GaugeMetricFamily(f"streamlearn_memory_{name}_bytes", text, memory[name])
    for name in ("used", "limit", "peak"):
        family = GaugeMetricFamily(
            f"streamlearn_memory_account_{name}_bytes", f"Memory by account: {name}", labels=["account"]
        )
        for account, values in memory["accounts"].items():
            family.add_metric([account], values[name])
        yield family
