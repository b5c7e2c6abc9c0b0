"""What the software promises, and whether it was kept in this very run."""

from __future__ import annotations

from typing import NamedTuple

from streamlearn.cli.demo.cast import LSTM, MAP
from streamlearn.cli.demo.measure import OneStep
from streamlearn.cli.demo.story import Played, Story

KILLED = -9
LEAST_AUC = 0.9


class Promise(NamedTuple):
    text: str
    kept: bool
    evidence: str


class Quality(NamedTuple):
    """How good the models were: ROC AUC by model, and the one-step errors."""

    auc: dict[str, float]
    forecast: OneStep


def promises(story: Story, quality: Quality) -> list[Promise]:
    """Every promise, kept or not."""
    models = [*story.played, story.burst]
    return [
        *_delivery(models),
        *_crash(story),
        *_answers(story),
        *_quality(quality),
        Promise("it stops cleanly, and what it leaves on disk is sound", _left_sound(story), _left(story)),
    ]


def _delivery(models: list[Played]) -> list[Promise]:
    sent, acknowledged = sum(each.sent for each in models), sum(each.acknowledged for each in models)
    total = sum(len(each.role.x) for each in models)
    lost, twice = sum(each.lost for each in models), sum(each.twice for each in models)
    other = [each.role.name for each in models if not each.same]
    return [
        Promise(
            "every sample is acknowledged",
            sent == total == acknowledged,
            f"{acknowledged:,} of {total:,}",
        ),
        Promise("what was acknowledged is learned", lost == 0, f"{lost:,} lost"),
        Promise("nothing is learned twice", twice == 0, f"{twice:,} twice"),
        Promise(
            "each model is, bit for bit, the one of an uninterrupted run",
            not other,
            f"{len(models) - len(other)} of {len(models)} state hashes equal"
            + (f"; not {', '.join(other)}" if other else ""),
        ),
    ]


def _crash(story: Story) -> list[Promise]:
    if not story.kills:
        return []
    well = all(each.exit_code == KILLED and each.learned >= each.acknowledged for each in story.kills)
    told = "; ".join(f"{each.acknowledged:,} acknowledged, {each.learned:,} learned" for each in story.kills)
    return [Promise("what was acknowledged before kill -9 is there after it", well, told)]


def _answers(story: Story) -> list[Promise]:
    answers = story.answers
    return [
        Promise(
            "it answers while it learns, before and after kill -9",
            answers.answered == answers.asked and all(answers.phases),
            f"{answers.answered:,} of {answers.asked:,} questions answered, of {answers.states:,} states",
        ),
        Promise(
            "no answer knows less than the one before", answers.went_back == 0, f"{answers.went_back} did"
        ),
        Promise(
            "what it publishes is what the uninterrupted model says",
            story.published_well and story.published > 0,
            f"{story.published:,} of {len(story.burst.role.x):,} scores came as events (none come while it is"
            f" away), {'all equal' if story.published_well else 'some differ'}",
        ),
    ]


def _quality(quality: Quality) -> list[Promise]:
    forecast = quality.forecast
    return [
        Promise(
            f"{MAP}'s score ranks the labelled anomalies",
            quality.auc[MAP] >= LEAST_AUC,
            f"ROC AUC {quality.auc[MAP]:.3f} (at least {LEAST_AUC})",
        ),
        Promise(
            f"{LSTM} forecasts better than persistence",
            forecast.model < forecast.persistence,
            f"mean absolute error {forecast.model:.3f} against {forecast.persistence:.3f} l/s",
        ),
    ]


def _left_sound(story: Story) -> bool:
    return story.stopped == 0 and not story.findings


def _left(story: Story) -> str:
    return f"exit code {story.stopped}, " + (story.findings[0].message if story.findings else "no damage")
