"""Write the Grafana dashboard: ``python -m tools.dashboard``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).parents[1] / "deploy" / "monitoring" / "grafana-dashboard.json"
WIDTH, HEIGHT = 8, 7  # of a panel; a row of the dashboard is 24 wide
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
HERE = 'instance="$instance"'
MODEL = f'{HERE}, model=~"$model"'

Query = tuple[str, str]  # expression, legend


def rate(name: str, labels: str = HERE) -> str:
    """Return the expression of a counter's rate."""
    return f"rate(streamlearn_{name}_total{{{labels}}}[$__rate_interval])"


def gauge(name: str, labels: str = HERE) -> str:
    """Return the expression of a gauge."""
    return f"streamlearn_{name}{{{labels}}}"


def quantile(q: float, name: str) -> str:
    """Return the expression of a quantile of a histogram."""
    return (
        f"histogram_quantile({q}, sum by (le) (rate(streamlearn_{name}_bucket{{{HERE}}}[$__rate_interval])))"
    )


PANELS: tuple[tuple[str, str, tuple[Query, ...]], ...] = (
    ("Daemon answers", "bool_yes_no", ((gauge("up"), "daemon"),)),
    ("Models set aside", "none", ((gauge("models"), "models"), (gauge("models_quarantined"), "set aside"))),
    ("Uptime", "s", ((gauge("uptime_seconds"), "daemon"),)),
    ("Samples learned per second", "short", ((rate("model_learned", MODEL), "{{model}}"),)),
    (
        "Messages and records per second",
        "short",
        ((rate("messages"), "messages"), (rate("records"), "records"), (rate("events"), "events")),
    ),
    ("Backlog: samples not yet learned", "short", ((gauge("model_backlog_rows", MODEL), "{{model}}"),)),
    (
        "Queries: duration",
        "s",
        ((quantile(0.5, "query_seconds"), "50 %"), (quantile(0.99, "query_seconds"), "99 %")),
    ),
    (
        "Writes and syncs: duration",
        "s",
        ((quantile(0.5, "commit_seconds"), "50 %"), (quantile(0.99, "commit_seconds"), "99 %")),
    ),
    (
        "Written lsn minus durable lsn",
        "short",
        ((f"{gauge('written_lsn')} - {gauge('durable_lsn')}", "records that are not synced"),),
    ),
    (
        "Memory against budget",
        "bytes",
        ((gauge("memory_resident_bytes"), "process"), (gauge("memory_limit_bytes"), "budget")),
    ),
    ("Memory by account", "bytes", ((gauge("memory_account_used_bytes"), "{{account}}"),)),
    ("Journal", "bytes", ((gauge("journal_bytes"), "journal"),)),
    ("Score, 99 % quantile", "short", ((gauge("score", f'{MODEL}, quantile="0.99"'), "{{model}}"),)),
    (
        "Error of the model",
        "short",
        ((gauge("model_quality", f'{MODEL}, measure=~"mae|log_loss|.*_error"'), "{{model}} {{measure}}"),),
    ),
    (
        "Error relative to the last value (mase)",
        "short",
        ((gauge("model_quality", f'{MODEL}, measure="mase"'), "{{model}}"),),
    ),
    (
        "Coverage of the bands",
        "percentunit",
        ((gauge("model_quality", f'{MODEL}, measure=~"coverage.*"'), "{{model}} {{measure}}"),),
    ),
    (
        "Score, median",
        "short",
        ((gauge("score", f'{MODEL}, quantile="0.5"'), "{{model}}"),),
    ),
    (
        "Alarms by model",
        "short",
        (
            (
                f"sum by (model) (increase(streamlearn_alarms_total{{{MODEL}}}[$__rate_interval]))",
                "{{model}}",
            ),
        ),
    ),
    (
        "Drift alarms by model",
        "short",
        ((f"increase(streamlearn_drifts_total{{{MODEL}}}[$__rate_interval])", "{{model}}"),),
    ),
    ("Silent streams", "none", ((gauge("model_silent", MODEL), "{{model}}"),)),
    (
        "Refusals per second",
        "short",
        (
            (rate("errors"), "{{code}}"),
            (rate("firehose_lost"), "firehose"),
            (rate("replies_dropped"), "replies that no client read"),
        ),
    ),
    (
        "Checkpoints per second",
        "short",
        (
            (rate("checkpoints"), "written"),
            (rate("checkpoint_failures"), "failed"),
            (rate("disk_full"), "disk full"),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana imports it."""
    return {
        "uid": "streamlearn",
        "title": "streamlearn",
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
                _variable("instance", "label_values(streamlearn_up, instance)", "Gateway"),
                _variable(
                    "model",
                    f"label_values(streamlearn_model_samples{{{HERE}}}, model)",
                    "Model",
                    several=True,
                ),
            ]
        },
        "panels": [_panel(number, *each) for number, each in enumerate(PANELS)],
    }


def _variable(name: str, query: str, label: str, several: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "label": label,
        "datasource": DATASOURCE,
        "query": query,
        "refresh": 2,  # when the time range changes
        "sort": 1,
        "multi": several,
        "includeAll": several,
        "current": {"text": "All", "value": "$__all"} if several else {},
    }


def _panel(number: int, title: str, unit: str, queries: tuple[Query, ...]) -> dict[str, Any]:
    row, column = divmod(number, 24 // WIDTH)
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": title,
        "datasource": DATASOURCE,
        "gridPos": {"x": WIDTH * column, "y": HEIGHT * row, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for index, (expression, legend) in enumerate(queries)
        ],
    }


def text() -> str:
    """Return the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
