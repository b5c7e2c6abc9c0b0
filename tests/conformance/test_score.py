"""The score of every kind: rising with the distance, and rarely high on a constant stream."""

from __future__ import annotations

import numpy as np
import pytest

from streamlearn.models import Model
from tests.conformance.examples import USUAL, make, predict_arguments, stream, stream_of


@pytest.fixture(params=USUAL)
def model(request: pytest.FixtureRequest) -> Model:
    return make(request.param)


def values_and_scores(out) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances or errors, scores and numbers of present values, where there is a score."""
    values = out.arrays.get("distance", out.arrays.get("error"))
    known = ~np.isnan(out.score)
    return values[known], out.score[known], out.present[known]


def test_the_score_never_falls_with_the_distance(model: Model):
    """For one state and one number of compared values. Samples of one call share the state.

    The distance is the one that the score compares: to all units.
    """
    if "rare_below" in type(model.spec).model_fields:
        model = type(model)(**{**model.spec.model_dump(), "rare_below": 0.0})
    model.learn(**stream(model, 300, missing=0))
    batch = predict_arguments(stream(model, 200, missing=0))
    values, scores, _ = values_and_scores(model.predict(**batch))
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(scores[order]) >= 0)


def test_a_constant_stream_has_few_high_scores(model: Model):
    """At first the model converges, and the score with it. Then at most as many as on any stream."""
    batch = stream_of(model, np.full((3000, model.dim), 1.0))
    _, scores, _ = values_and_scores(model.learn(**batch))
    assert (scores[-1500:] > 0.99).mean() <= 0.02


def test_the_memory_of_the_score_is_a_parameter_of_its_own(model: Model):
    """It changes scores only: weights and all other arrays have the same bits."""
    other = type(model)(**{**model.spec.model_dump(), "score_half_life": 20.0})
    batch = stream(model, 400, missing=0.2)
    model.learn(**batch)
    other.learn(**batch)
    followed = "score", "alarm", "drift", "watch", "gate", "feedback", "evidence", "sequence"
    for name in model.state:
        if not name.startswith(followed):
            assert np.array_equal(model.state[name], other.state[name], equal_nan=True), name
    assert not np.array_equal(model.state["score.reference"], other.state["score.reference"])
