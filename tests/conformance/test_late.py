"""R1, R2 and R7 for late targets: any split gives the same model, save and load, invalid targets."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlearn as sl
from streamlearn.errors import BadDtype, BadShape, BadValue
from streamlearn.models import Model
from streamlearn_client.outputs import NamedArrays
from tests.conformance.examples import SPECS, make, not_finite, outputs_hash, part, stream

LATE = [name for name in SPECS if make(name).accepts_late_targets]
ROUND = 12  # samples per round; late targets for some earlier samples follow
Step = tuple[str, dict[str, np.ndarray]]  # learn or learn_targets, and its arguments


@pytest.fixture(params=LATE)
def model(request: pytest.FixtureRequest) -> Model:
    return make(request.param)


def steps(model: Model, rounds: int = 8, seed: int = 1) -> list[Step]:
    """Return calls of learn and learn_targets by turns.

    Half of the samples come with their targets. The late targets are for samples of the last call, for older
    samples, for some samples a second time, and for an unknown id.
    """
    random = np.random.default_rng(seed)
    batch = stream(model, rounds * ROUND, seed)
    targets = batch["y"].copy()
    batch["y"][random.random(len(targets)) < 0.5] = np.nan
    batch["ids"] = random.permutation(10 * len(targets))[: len(targets)]
    found: list[Step] = []
    for start in range(0, len(targets), ROUND):
        found.append(("learn", part(batch, start, start + ROUND)))
        rows = np.concatenate((random.integers(start, start + ROUND, 5), random.integers(0, start + 1, 4)))
        rows = np.append(rows, 0)
        late = {name: {**batch, "y": targets}[name][rows] for name in ("ids", "y", "keys") if name in batch}
        late["ids"][-1] = -1
        found.append(("learn_targets", late))
    return found


def run(model: Model, calls: list[Step]) -> list[NamedArrays]:
    return [getattr(model, name)(**arguments) for name, arguments in calls]


def split(step: Step, cuts: list[int]) -> list[Step]:
    name, arguments = step
    n = len(arguments["ids"])
    edges = sorted({0, n, *(cut % (n + 1) for cut in cuts)})
    return [(name, part(arguments, start, stop)) for start, stop in pairwise(edges)]


@pytest.mark.parametrize("example", LATE)
@settings(max_examples=15)
@given(cuts=st.lists(st.lists(st.integers(0, 20), max_size=4), min_size=16, max_size=16))
def test_any_split_is_the_same_model(example, cuts):
    whole, pieces = make(example), make(example)
    for step, step_cuts in zip(steps(whole), cuts, strict=True):
        (expected,) = run(whole, [step])
        outputs = run(pieces, split(step, step_cuts))
        for name, array in expected.arrays.items():
            joined = np.concatenate([out.arrays[name] for out in outputs])
            assert np.array_equal(array, joined, equal_nan=array.dtype.kind == "f"), name
        assert pieces.state_hash() == whole.state_hash()


def test_a_loaded_model_continues_like_the_original(model, tmp_path):
    file = tmp_path / "model.safetensors"
    for step in steps(model):
        model.save(file)
        loaded = sl.load(file)
        outputs, expected = run(loaded, [step]), run(model, [step])
        assert outputs_hash(outputs[0]) == outputs_hash(expected[0])
        assert loaded.state_hash() == model.state_hash()
    assert not_finite(model) == []


def test_late_targets_find_their_samples_and_change_the_state(model):
    calls = steps(model)
    outputs = run(model, calls)
    for (name, arguments), out in zip(calls, outputs, strict=True):
        if name == "learn_targets" or not model.has_lookahead:
            assert len(out) == len(arguments["ids"])
        if name == "learn_targets":
            assert out.sample.dtype == np.int64
            assert out.sample[-1] == -1
            assert out.sample.max() < model.samples
    assert max(out.sample.max() for out in outputs if "sample" in out.arrays) > model.samples - 2 * ROUND
    untaught = make_same(model)
    run(untaught, [step for step in calls if step[0] == "learn"])
    assert untaught.samples == model.samples
    assert untaught.state_hash() != model.state_hash()


def make_same(model: Model) -> Model:
    return type(model).from_spec(model.spec_dict())


def test_the_default_id_of_a_sample_is_its_number(model):
    named, numbered = make_same(model), model
    batch = stream(model, 3 * ROUND)
    targets = np.nan_to_num(batch["y"], nan=0.0)
    batch["y"][::2] = np.nan
    batch["ids"] = np.arange(len(targets))
    named.learn(**batch)
    numbered.learn(**{name: values for name, values in batch.items() if name != "ids"})
    late = {name: {**batch, "y": targets}[name] for name in ("ids", "y", "keys") if name in batch}
    for either in (named, numbered):
        either.learn_targets(**part(late, 20, 36))
    assert named.state_hash() == numbered.state_hash()


def test_missing_targets_equal_omitted_targets(model):
    omitted, missing = make_same(model), model
    samples = stream(model, 40)
    samples["y"][:] = np.nan
    missing.learn(**samples)
    del samples["y"]
    omitted.learn(**samples)
    assert omitted.state_hash() == missing.state_hash()


INVALID: dict[str, tuple[Any, Any, type[Exception]]] = {
    "fewer targets": ([1, 2], lambda k: np.zeros((1, k)), BadShape),
    "more targets": ([1, 2], lambda k: np.zeros((3, k)), BadShape),
    "more columns": ([1, 2], lambda k: np.zeros((2, k + 1)), BadShape),
    "ids with two axes": ([[1, 2]], lambda k: np.zeros((2, k)), BadShape),
    "ids with a fraction": ([1.5, 2.0], lambda k: np.zeros((2, k)), BadDtype),
    "ids beyond 64 bits": (np.array([1, 2**64 - 1], np.uint64), lambda k: np.zeros((2, k)), BadValue),
    "infinity": ([1, 2], lambda k: np.full((2, k), np.inf), BadValue),
    "words": ([1, 2], lambda k: [["?"] * k] * 2, BadDtype),
}


@pytest.mark.parametrize("mistake", INVALID)
def test_invalid_targets_raise_and_change_nothing(model, mistake):
    run(model, steps(model, rounds=2))
    before = model.state_hash()
    ids, targets, error = INVALID[mistake]
    if mistake == "words" and model.label_names:
        error = BadValue  # it takes names of labels
    key = 1 if model.needs_keys else None
    with pytest.raises(error) as caught:
        model.learn_targets(ids, targets(model.target_dim), keys=key)
    assert type(caught.value) is error
    assert model.state_hash() == before
