"""The checks of the demo: properties of the software, tested with the results of this run."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn.cli.demo.alarm import Alarm
from streamlearn.cli.demo.models import LSTM, MAP
from streamlearn.cli.demo.scenario import ModelResult, Results

KILLED = -9  # exit code of a process that received SIGKILL
LEAST_AUC = 0.9


class Check(NamedTuple):
    """A property, whether this run has it, and the numbers that show it."""

    text: str
    passed: bool
    evidence: str


class OneStepErrors(NamedTuple):
    """Mean absolute errors of one-step forecasts over the second half of a stream."""

    model: float
    persistence: float
    """error of the forecast that nothing changes"""
    forecasts: int


class Quality(NamedTuple):
    """Quality of the models: ROC AUC of the score by model, and the one-step errors."""

    auc: dict[str, float]
    forecast: OneStepErrors


def roc_auc(positive: ArrayLike, score: ArrayLike) -> float:
    """Return the probability that a positive has a higher score than a negative; a tie counts half.

    U / (positives · negatives), with U the rank sum of Mann & Whitney (1947) and mean ranks for ties. NaN
    without positives or without negatives.
    """
    is_positive = np.asarray(positive, np.bool_)
    ranks = _mean_ranks(np.asarray(score, np.float64))
    positives = int(is_positive.sum())
    negatives = is_positive.size - positives
    if not positives or not negatives:
        return float("nan")
    u = ranks[is_positive].sum() - positives * (positives + 1) / 2
    return float(u / (positives * negatives))


def _mean_ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1; equal values share their mean rank."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: NDArray[Any] = last[group] - (counts[group] - 1) / 2
    return ranks


def one_step_errors(changes: NDArray[np.float32], forecast: NDArray[np.float32]) -> OneStepErrors:
    """Return the errors of ``forecast`` (n, 1), made before ``changes`` (n, 1) arrived, at known changes.

    The first half is excluded because the model starts untrained.
    """
    half = len(changes) // 2
    change = changes[half:, 0].astype(np.float64)
    known = ~np.isnan(change)
    error = np.abs(forecast[half:, 0].astype(np.float64) - change)[known]
    return OneStepErrors(float(error.mean()), float(np.abs(change[known]).mean()), int(known.sum()))


def run_checks(results: Results, quality: Quality) -> list[Check]:
    """Return all checks, passed or not."""
    models = [*results.models, results.full_speed]
    sound = results.exit_code == 0 and not results.findings
    damage = results.findings[0].message if results.findings else "no damage"
    return [
        *_delivery(models),
        *_crashes(results),
        *_queries(results),
        *_quality(quality),
        _alarm(results.alarm),
        Check(
            "the daemon stops cleanly and leaves undamaged files",
            sound,
            f"exit code {results.exit_code}, {damage}",
        ),
    ]


def _delivery(models: list[ModelResult]) -> list[Check]:
    sent, acknowledged = sum(model.sent for model in models), sum(model.acknowledged for model in models)
    total = sum(len(model.model.x) for model in models)
    lost, repeated = sum(model.lost for model in models), sum(model.learned_twice for model in models)
    unequal = [model.model.name for model in models if not model.equals_reference]
    return [
        Check(
            "every sample is acknowledged",
            sent == total == acknowledged,
            f"{acknowledged:,} of {total:,}",
        ),
        Check("every acknowledged sample is learned", lost == 0, f"{lost:,} lost"),
        Check("no sample is learned twice", repeated == 0, f"{repeated:,} twice"),
        Check(
            "each model equals the uninterrupted run bit for bit",
            not unequal,
            f"{len(models) - len(unequal)} of {len(models)} state hashes equal"
            + (f"; unequal: {', '.join(unequal)}" if unequal else ""),
        ),
    ]


def _crashes(results: Results) -> list[Check]:
    if not results.kills:
        return []
    passed = all(kill.exit_code == KILLED and kill.recovered >= kill.acknowledged for kill in results.kills)
    evidence = "; ".join(
        f"{kill.acknowledged:,} acknowledged, {kill.recovered:,} recovered" for kill in results.kills
    )
    return [Check("samples acknowledged before kill -9 are recovered after it", passed, evidence)]


def _queries(results: Results) -> list[Check]:
    queries = results.queries
    events = f"{results.events:,} of {len(results.full_speed.model.x):,} scores arrived as events"
    return [
        Check(
            "the daemon answers queries while it learns, before and after kill -9",
            queries.answered == queries.sent and all(queries.phases),
            f"{queries.answered:,} of {queries.sent:,} queries answered, from {queries.states:,} states",
        ),
        Check(
            "no answer comes from an older state than the answer before it",
            queries.reversals == 0,
            f"{queries.reversals} did",
        ),
        Check(
            "published scores equal those of the uninterrupted run",
            results.events_equal and results.events > 0,
            f"{events} (none are sent during an outage), "
            + ("all equal" if results.events_equal else "some differ"),
        ),
    ]


def _quality(quality: Quality) -> list[Check]:
    forecast = quality.forecast
    return [
        Check(
            f"{MAP}'s score ranks the labelled anomalies",
            quality.auc[MAP] >= LEAST_AUC,
            f"ROC AUC {quality.auc[MAP]:.3f} (at least {LEAST_AUC})",
        ),
        Check(
            f"{LSTM} forecasts better than persistence",
            forecast.model < forecast.persistence,
            f"mean absolute error {forecast.model:.3f} against {forecast.persistence:.3f} l/s",
        ),
    ]


def _alarm(alarm: Alarm | None) -> Check:
    evidence = "there was no alarm"
    if alarm is not None:
        evidence = (
            f"{alarm.channel} after {alarm.delay} samples: {alarm.value:.1f} where {alarm.expected:.1f} was"
            f" expected, and {alarm.healthy:.1f} is healthy"
        )
    return Check(
        "an alarm names the channel of a fault and the expected value",
        bool(alarm and alarm.is_right),
        evidence,
    )
