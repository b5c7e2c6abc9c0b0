"""R1 and R2: any split of a stream is the same model, only state changes, and predict changes nothing."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.models import Model
from tests.conformance.examples import EXAMPLES, SPECS, asked, join, make, outputs_hash, part, stream

N = 60


@pytest.fixture(params=SPECS)
def model(request: pytest.FixtureRequest) -> Model:
    return make(request.param)


def surroundings(model: Model) -> dict[str, Any]:
    """All of a model but what its state arrays hold: the attributes, and which arrays they are."""
    found = {name: (id(value), repr(value)) for name, value in vars(model).items() if name != "state"}
    arrays = {name: (id(array), array.shape, array.dtype) for name, array in model.state.items()}
    return {
        **{name: value[0] if "array" in value[1] else value for name, value in found.items()},
        "state": (id(model.state), arrays),
    }


@pytest.mark.parametrize("example", SPECS)
@settings(max_examples=25)
@given(data=st.data())
def test_any_split_is_the_same_model(example, data):
    sizes = data.draw(st.lists(st.sampled_from([0, 1, 1, 2, 3, 7, 16, 17, 40]), max_size=30), label="sizes")
    whole, pieces = make(example), make(example)
    samples = stream(whole, N)
    cuts = [0, *np.minimum(np.cumsum(sizes, dtype=int), N).tolist(), N]
    expected = whole.learn(**samples)
    said = [pieces.learn(**part(samples, start, stop)) for start, stop in pairwise(cuts)]
    assert pieces.state_hash() == whole.state_hash()
    assert outputs_hash(join(said)) == outputs_hash(expected)


def test_one_by_one_as_vectors(model):
    """A sample may come as ``(dim,)``."""
    whole = type(model).from_spec(model.spec_dict())
    samples = stream(model, N)
    whole.learn(**samples)
    for i in range(N):
        model.learn(**{name: values[i] for name, values in samples.items()})
    assert model.state_hash() == whole.state_hash()


def test_nothing_learned_changes_nothing(model):
    model.learn(**stream(model, 20))
    before = model.state_hash()
    out = model.learn(**part(stream(model, 1), 0, 0))
    assert len(out) == 0
    assert len(model.predict(**asked(part(stream(model, 1), 0, 0)))) == 0
    assert (model.state_hash(), model.samples) == (before, 20)


def test_learn_says_what_predict_said_just_before(model):
    model.learn(**stream(model, 25))
    samples = stream(model, N, seed=3)
    promised = EXAMPLES[model.kind].foretold(model)
    for i in range(N):
        sample = part(samples, i, i + 1)
        before, told = model.predict(**asked(sample)), model.learn(**sample)
        for name in promised:
            assert before.arrays[name].tobytes() == told.arrays[name].tobytes(), (i, name)


def test_predict_changes_nothing(model):
    for n in (0, 1, 40):
        model.learn(**stream(model, n))
        bits, around = model.state_hash(), surroundings(model)
        later = asked(stream(model, 30, seed=4))
        given_ = later["X"].copy()
        first, second = model.predict(**later), model.predict(**later)
        assert outputs_hash(first) == outputs_hash(second)
        assert (model.state_hash(), surroundings(model)) == (bits, around)
        assert np.array_equal(later["X"], given_, equal_nan=True)


def test_learn_changes_the_arrays_of_the_state_and_nothing_else(model):
    around = surroundings(model)
    samples = stream(model, N)
    copies = {name: values.copy() for name, values in samples.items()}
    model.learn(**samples)
    assert surroundings(model) == around
    for name, values in samples.items():
        assert np.array_equal(values, copies[name], equal_nan=True)


def test_state_is_what_a_checkpoint_can_hold(model):
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


def test_hash_sees_every_bit_of_the_state(model):
    model.learn(**stream(model, N))
    before = model.state_hash()
    for name, array in model.state.items():
        raw = array.reshape(-1).view(np.uint8)
        if raw.size:
            raw[raw.size // 2] ^= 1
            assert model.state_hash() != before, name
            raw[raw.size // 2] ^= 1
    assert model.state_hash() == before


def test_counts_samples(model):
    """And says of each one something: once, and not before it comes."""
    told = []
    for n in (0, 1, 5, 30):
        before = model.samples
        out = model.learn(**stream(model, n))
        assert model.samples == before + n
        assert all(len(array) == len(out) for array in out.arrays.values())
        if model.has_lookahead:
            told += out.sample.tolist()
            assert len(set(told)) == len(told)
            assert set(told) <= set(range(before + n))
        else:
            assert len(out) == n


def test_seed_decides_where_learning_starts(model):
    spec = model.spec_dict()
    one, same, other = (type(model).from_spec({**spec, "seed": seed}) for seed in (1, 1, 2))
    assert one.state_hash() == same.state_hash()
    assert (one.state_hash() != other.state_hash()) == EXAMPLES[model.kind].drawn(model)
