"""The demo's summary: tables for a person, and the same facts for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamlearn.cli import report
from streamlearn.cli.demo.checks import Check, Quality
from streamlearn.cli.demo.models import LSTM
from streamlearn.cli.demo.scenario import ModelResult, Results

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def models_table(results: Results, quality: Quality) -> Table:
    """Return a table with one column per model."""
    table = report.table("", *(f">{result.model.name}" for result in results.models))

    def row(label: str, *values: str) -> None:
        table.add_row(label, *values)

    def row_of(label: str, value: Any) -> None:
        row(label, *(report.text(value(result)) for result in results.models))

    row_of("kind", lambda result: result.model.kind)
    row_of("samples sent", lambda result: result.sent)
    row_of("acknowledged (durable)", lambda result: result.acknowledged)
    row_of("learned", lambda result: result.learned)
    row_of("learned twice", lambda result: result.learned_twice)
    row_of("lost", lambda result: result.lost)
    row_of("batches sent again", lambda result: result.resent)
    row_of("quantization error", lambda result: result.description["quality"].get("quantization_error"))
    row_of("topographic error", lambda result: result.description["quality"].get("topographic_error"))
    row("ROC AUC of the score", *(_number(quality.auc.get(result.model.name)) for result in results.models))
    row("one-step MAE, l/s", *_lstm_only(results, quality.forecast.model))
    row("MAE of persistence, l/s", *_lstm_only(results, quality.forecast.persistence))
    row_of("state hash", lambda result: result.description["state_hash"][:12])
    row_of("uninterrupted run", lambda result: result.reference.state_hash[:12])
    return table


def numbers(results: Results) -> Table:
    """Return latencies and rates."""
    queries, burst = results.queries, results.full_speed
    daemon_rate = burst.acknowledged / burst.seconds
    in_process_rate = len(burst.model.x) / burst.reference.seconds
    outage = (
        f"; {queries.over_outage} waited for the restart after kill -9, "
        f"at most {report.duration(queries.longest_over_outage)}"
    )
    return report.pairs(
        {
            "queries": f"{queries.answered:,} answered: median {report.duration(queries.p50)}, 99 % within "
            f"{report.duration(queries.p99)}, longest {report.duration(queries.longest)}"
            + (outage if queries.over_outage else ""),
            "rate": f"{daemon_rate:,.0f} samples/s through the daemon with durable acks, "
            f"{in_process_rate:,.0f} in-process ({burst.model.kind}, one stream at full speed; the three "
            "streams above were paced)",
        }
    )


def checks_table(checks: list[Check]) -> Table:
    """Return one line per check."""
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for check in checks:
        mark = Text("✔", style="green") if check.passed else Text("✘", style="bold red")
        table.add_row(mark, Text.assemble(check.text, (f"  {check.evidence}", "dim")))
    return table


def facts(results: Results, quality: Quality, checks: list[Check]) -> dict[str, Any]:
    """Return all results as JSON-serializable values."""
    queries, burst = results.queries, results.full_speed
    return {
        "models": {result.model.name: _model_facts(result, quality) for result in [*results.models, burst]},
        "kills": [
            {
                "exit_code": kill.exit_code,
                "acknowledged": kill.acknowledged,
                "in_flight": kill.in_flight,
                "recovered": kill.recovered,
                "outage_seconds": kill.outage.ready - kill.outage.killed,
            }
            for kill in results.kills
        ],
        "queries": {name: getattr(queries, name) for name in queries.__slots__},
        "forecast": quality.forecast._asdict(),
        "rates": {
            "daemon": burst.acknowledged / burst.seconds,
            "in_process": len(burst.model.x) / burst.reference.seconds,
        },
        "events": results.events,
        "seconds": results.seconds,
        "checks": [check._asdict() for check in checks],
    }


def renderables(
    results: Results, quality: Quality, checks: list[Check], drawing: Table
) -> list[RenderableType]:
    """Return the summary for a person."""
    passed = sum(check.passed for check in checks)
    verdict = f"{passed} of {len(checks)} promises kept, in {report.duration(results.seconds)}"
    tables = models_table(results, quality), numbers(results), "", drawing, "", checks_table(checks)
    return [*tables, verdict]


def _model_facts(result: ModelResult, quality: Quality) -> dict[str, Any]:
    return {
        "kind": result.model.kind,
        "sent": result.sent,
        "acknowledged": result.acknowledged,
        "learned": result.learned,
        "learned_twice": result.learned_twice,
        "lost": result.lost,
        "resent_batches": result.resent,
        "quality": result.description["quality"],
        "roc_auc": quality.auc.get(result.model.name),
        "state_hash": result.description["state_hash"],
        "uninterrupted_state_hash": result.reference.state_hash,
    }


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _lstm_only(results: Results, value: float) -> list[str]:
    return [_number(value if result.model.name == LSTM else None) for result in results.models]
