"""The end of the demo: what to show a person, and the same for a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamlearn.cli import report
from streamlearn.cli.demo.cast import LSTM
from streamlearn.cli.demo.promises import Promise, Quality
from streamlearn.cli.demo.story import Played, Story

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table


def models_table(story: Story, quality: Quality) -> Table:
    """One column for each model."""
    shown = report.table("", *(f">{each.role.name}" for each in story.played))

    def line(what: str, *values: str) -> None:
        shown.add_row(what, *values)

    def each(what: str, value: Any) -> None:
        line(what, *(report.text(value(one)) for one in story.played))

    each("kind", lambda one: one.role.kind)
    each("samples sent", lambda one: one.sent)
    each("acknowledged (durable)", lambda one: one.acknowledged)
    each("learned", lambda one: one.learned)
    each("learned twice", lambda one: one.twice)
    each("lost", lambda one: one.lost)
    each("batches sent again", lambda one: one.resent)
    each("quantization error", lambda one: _quality_of(one, "quantization_error"))
    each("topographic error", lambda one: _quality_of(one, "topographic_error"))
    line("ROC AUC of the score", *(_number(quality.auc.get(one.role.name)) for one in story.played))
    line("one-step MAE, l/s", *_only(story, quality.forecast.model))
    line("persistence's MAE, l/s", *_only(story, quality.forecast.persistence))
    each("state hash", lambda one: one.found["state_hash"][:12])
    each("uninterrupted run's", lambda one: one.twin.state_hash[:12])
    return shown


def numbers(story: Story) -> Table:
    """Latencies and rates."""
    answers, burst = story.answers, story.burst
    through, within = burst.acknowledged / burst.seconds, len(burst.role.x) / burst.twin.seconds
    hit = f"; {answers.over_kill} waited out kill -9, {report.duration(answers.longest_over_kill)} at most"
    return report.pairs(
        {
            "answers": f"{answers.answered:,}, half within {report.duration(answers.p50)}, 99 % within "
            f"{report.duration(answers.p99)}, all within {report.duration(answers.longest)}"
            + (hit if answers.over_kill else ""),
            "rate": f"{through:,.0f} samples/s through the daemon with durable acks, {within:,.0f} in-process"
            f" ({burst.role.kind}, one stream at full speed; the three above were paced)",
        }
    )


def verdicts(promised: list[Promise]) -> Table:
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 1))
    for promise in promised:
        mark = Text("✔", style="green") if promise.kept else Text("✘", style="bold red")
        made.add_row(mark, Text.assemble(promise.text, (f"  {promise.evidence}", "dim")))
    return made


def facts(story: Story, quality: Quality, promised: list[Promise]) -> dict[str, Any]:
    """Everything, for a program."""
    answers, burst = story.answers, story.burst
    return {
        "models": {one.role.name: _model_facts(one, quality) for one in [*story.played, story.burst]},
        "kills": [
            {
                "exit_code": each.exit_code,
                "acknowledged": each.acknowledged,
                "under_way": each.under_way,
                "recovered": each.learned,
                "outage_seconds": each.outage.ready - each.outage.killed,
            }
            for each in story.kills
        ],
        "answers": {name: getattr(answers, name) for name in answers.__slots__},
        "forecast": quality.forecast._asdict(),
        "rates": {
            "daemon": burst.acknowledged / burst.seconds,
            "in_process": len(burst.role.x) / burst.twin.seconds,
        },
        "published": story.published,
        "seconds": story.seconds,
        "promises": [promise._asdict() for promise in promised],
    }


def shown(story: Story, quality: Quality, promised: list[Promise], drawing: Table) -> list[RenderableType]:
    kept = sum(promise.kept for promise in promised)
    told = f"{kept} of {len(promised)} promises kept, in {report.duration(story.seconds)}"
    return [models_table(story, quality), numbers(story), "", drawing, "", verdicts(promised), told]


def _model_facts(one: Played, quality: Quality) -> dict[str, Any]:
    return {
        "kind": one.role.kind,
        "sent": one.sent,
        "acknowledged": one.acknowledged,
        "learned": one.learned,
        "learned_twice": one.twice,
        "lost": one.lost,
        "resent_batches": one.resent,
        "quality": one.found["quality"],
        "roc_auc": quality.auc.get(one.role.name),
        "state_hash": one.found["state_hash"],
        "uninterrupted_state_hash": one.twin.state_hash,
    }


def _quality_of(one: Played, name: str) -> float | None:
    return one.found["quality"].get(name)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _only(story: Story, value: float) -> list[str]:
    return [_number(value if one.role.name == LSTM else None) for one in story.played]
