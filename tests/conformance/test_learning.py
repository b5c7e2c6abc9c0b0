"""R1 and R2: any split of a stream gives the same model; learn changes only the state; predict nothing."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.models import Model
from tests.conformance.examples import (
    EXAMPLES,
    SPECS,
    join,
    make,
    outputs_hash,
    part,
    predict_arguments,
    stream,
)

N = 60


@pytest.fixture(params=SPECS)
def model(request: pytest.FixtureRequest) -> Model:
    return make(request.param)


def identity(model: Model) -> dict[str, Any]:
    """Describe all attributes of a model except the values in its state arrays."""
    found = {name: (id(value), repr(value)) for name, value in vars(model).items() if name != "state"}
    arrays = {name: (id(array), array.shape, array.dtype) for name, array in model.state.items()}
    return {
        **{name: value[0] if "array" in value[1] else value for name, value in found.items()},
        "state": (id(model.state), arrays),
    }


@pytest.mark.parametrize("example", SPECS)
@settings(max_examples=25)
@given(data=st.data())
def test_any_split_gives_the_same_model(example, data):
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 7, 16, 17, 40]), max_size=30), label="sizes")
    whole, pieces = make(example), make(example)
    samples = stream(whole, N)
    cuts = [0, *np.minimum(np.cumsum(sizes, dtype=int), N).tolist(), N]
    expected = whole.learn(**samples)
    outputs = [pieces.learn(**part(samples, start, stop)) for start, stop in pairwise(cuts)]
    assert pieces.state_hash() == whole.state_hash()
    assert outputs_hash(join(outputs)) == outputs_hash(expected)


def test_single_samples_may_be_vectors(model):
    """The shape of a sample may be ``(dim,)``."""
    whole = copy.deepcopy(model)
    samples = stream(model, N)
    whole.learn(**samples)
    for i in range(N):
        model.learn(**{name: values[i] for name, values in samples.items()})
    assert model.state_hash() == whole.state_hash()


def test_an_empty_batch_changes_nothing(model):
    model.learn(**stream(model, 20))
    before = model.state_hash()
    out = model.learn(**part(stream(model, 1), 0, 0))
    assert len(out) == 0
    assert len(model.predict(**predict_arguments(part(stream(model, 1), 0, 0)))) == 0
    assert (model.state_hash(), model.samples) == (before, 20)


def test_learn_returns_the_prediction_before_the_update(model):
    model.learn(**stream(model, 25))
    samples = stream(model, N, seed=3)
    names = EXAMPLES[model.kind].predicted_outputs(model)
    for i in range(N):
        sample = part(samples, i, i + 1)
        predicted, learned = model.predict(**predict_arguments(sample)), model.learn(**sample)
        for name in names:
            assert predicted.arrays[name].tobytes() == learned.arrays[name].tobytes(), (i, name)


def test_predict_changes_nothing(model):
    for n in (0, 1, 40):
        model.learn(**stream(model, n))
        state, attributes = model.state_hash(), identity(model)
        later = predict_arguments(stream(model, 30, seed=4))
        original = later["X"].copy()
        first, second = model.predict(**later), model.predict(**later)
        assert outputs_hash(first) == outputs_hash(second)
        assert (model.state_hash(), identity(model)) == (state, attributes)
        assert np.array_equal(later["X"], original, equal_nan=True)


def test_learn_changes_only_the_values_of_state_arrays(model):
    before = identity(model)
    samples = stream(model, N)
    copies = {name: values.copy() for name, values in samples.items()}
    model.learn(**samples)
    assert identity(model) == before
    for name, values in samples.items():
        assert np.array_equal(values, copies[name], equal_nan=True)


def test_state_arrays_can_be_stored_in_a_checkpoint(model):
    model.learn(**stream(model, N))
    for name, array in model.state.items():
        assert array.flags.c_contiguous, name
        assert array.flags.writeable, name
        assert array.flags.owndata or array.base is not None, name
        assert array.dtype == array.dtype.newbyteorder("<"), name
        assert array.dtype.kind in "fiu", name


def test_no_two_state_arrays_share_memory(model):
    arrays = list(model.state.values())
    for i, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[:i])


def test_the_state_hash_depends_on_every_array(model):
    model.learn(**stream(model, N))
    before = model.state_hash()
    for name, array in model.state.items():
        raw = array.reshape(-1).view(np.uint8)
        if raw.size:
            raw[raw.size // 2] ^= 1
            assert model.state_hash() != before, name
            raw[raw.size // 2] ^= 1
    assert model.state_hash() == before


def test_learn_counts_samples_and_returns_one_row_for_each(model):
    """With look-ahead, a row may come later, but only once and never before its sample."""
    numbers = []
    for n in (0, 1, 5, 30):
        before = model.samples
        out = model.learn(**stream(model, n))
        assert model.samples == before + n
        assert all(len(array) == len(out) for array in out.arrays.values())
        if model.has_lookahead:
            numbers += out.sample.tolist()
            assert len(set(numbers)) == len(numbers)
            assert set(numbers) <= set(range(before + n))
        else:
            assert len(out) == n


def test_the_seed_determines_the_initial_state(model):
    spec = model.spec_dict()
    one, same, other = (type(model).from_spec({**spec, "seed": seed}) for seed in (1, 1, 2))
    assert one.state_hash() == same.state_hash()
    assert (one.state_hash() != other.state_hash()) == EXAMPLES[model.kind].depends_on_seed(model)
