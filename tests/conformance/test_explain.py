"""Explanations of every kind: shares of the channels present, and the values that the model expects."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from streamlearn.models import Model
from streamlearn.models.outputs import Explanation, columns, row_bytes
from tests.conformance.examples import SPECS, make, part, predict_arguments, stream

N = 60


def explain_arguments(model: Model, batch: dict[str, Any]) -> dict[str, Any]:
    """The arguments of ``explain`` for a batch of ``learn``."""
    given = {**predict_arguments(batch)}
    return {**given, "y": batch["y"]} if model.explains_targets else given


def compared(model: Model, batch: dict[str, Any]) -> np.ndarray:
    """The values that an explanation compares."""
    return np.asarray(batch["y"] if model.explains_targets else batch["X"], np.float32)


@pytest.fixture(params=SPECS)
def model(request: pytest.FixtureRequest) -> Model:
    return make(request.param)


def test_shares_sum_to_one_over_the_channels_present(model: Model) -> None:
    model.learn(**stream(model, N))
    batch = stream(model, 2 * N)
    batch = part(batch, N, 2 * N)
    before = model.state_hash()
    out = model.explain(**explain_arguments(model, batch))
    assert model.state_hash() == before
    assert type(out) is model.explanation_class
    assert issubclass(type(out), Explanation)
    assert out.expected.shape == out.contribution.shape == (len(out), model.explained)
    known = ~np.isnan(out.contribution).any(axis=1)
    assert np.isnan(out.contribution[~known]).all()
    assert np.allclose(out.contribution[known].sum(axis=1), 1, atol=1e-6)
    assert (out.contribution[known] >= 0).all()
    assert not np.isnan(out.expected[known]).any()
    if not model.has_lookahead:
        assert len(out) == N
        missing = np.isnan(compared(model, batch))
        assert missing.any()
        assert (out.contribution[known][missing[known]] == 0).all()
        assert np.isnan(out.contribution[missing.all(axis=1)]).all()


def test_the_answer_is_as_large_as_declared(model: Model) -> None:
    model.learn(**stream(model, N))
    out = model.explain(**explain_arguments(model, stream(model, N)))
    declared = columns(model.explanation_class)
    assert out.arrays.keys() == declared.keys()
    assert {name: array.dtype for name, array in out.arrays.items()} == {
        name: dtype for name, (dtype, _) in declared.items()
    }
    size = sum(array.nbytes for array in out.arrays.values())
    assert size == len(out) * row_bytes(model, model.explanation_class)


def test_the_shares_of_an_alarm_sum_to_one_in_any_split(model: Model) -> None:
    early = {"above": 0.5, "clear": 0.5, "quiet": 0, "after": 0}
    models = [type(model).from_spec(model.spec_dict() | {"alarm": early}) for _ in range(2)]
    batch, cuts = stream(model, N), [0, 1, 8, 9, 40, N]
    whole = models[0].learn(**batch).events
    parts = [event for ends in pairwise(cuts) for event in models[1].learn(**part(batch, *ends)).events]
    assert models[0].state_hash() == models[1].state_hash()
    assert sorted(map(repr, parts)) == sorted(map(repr, whole))
    for one, other in zip(sorted(parts, key=repr), sorted(whole, key=repr), strict=True):
        assert one.contribution.tobytes() == other.contribution.tobytes()
        if not np.isnan(one.contribution).all():
            assert one.contribution.sum() == pytest.approx(1, abs=1e-6)
            assert (one.contribution >= 0).all()
