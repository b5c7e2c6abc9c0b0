"""Save, load, copy and adopt: the model continues like the original. An invalid state changes nothing."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models
from streamlearn.errors import BadCheckpoint, BadSpec
from streamlearn.models import Model
from tests.conformance.examples import EXAMPLES, SPECS, USUAL, make, not_finite, outputs_hash, stream


@pytest.fixture(params=SPECS)
def model(request: pytest.FixtureRequest) -> Model:
    return make(request.param)


@pytest.fixture(params=USUAL)
def usual(request: pytest.FixtureRequest) -> Model:
    model = make(request.param)
    model.learn(**stream(model, 30))
    return model


def test_a_loaded_model_continues_like_the_original(model, tmp_path):
    file = tmp_path / "model.safetensors"
    for stop in range(0, 45, 9):
        model.save(file)
        loaded = sl.load(file)
        assert type(loaded) is type(model)
        assert loaded.spec == model.spec
        assert (loaded.state_hash(), loaded.samples) == (model.state_hash(), model.samples)
        later = stream(model, 9, seed=stop)
        assert outputs_hash(loaded.learn(**later)) == outputs_hash(model.learn(**later))
        assert loaded.state_hash() == model.state_hash()
    assert json.dumps(loaded.quality()) == json.dumps(model.quality())


def test_copies_and_pickles_learn_alike_and_independently(usual):
    before, later = usual.state_hash(), stream(usual, 40, seed=2)
    copies = [copy.copy(usual), copy.deepcopy(usual), pickle.loads(pickle.dumps(usual))]  # noqa: S301
    for copied in copies:
        copied.learn(**later)
    assert usual.state_hash() == before
    usual.learn(**later)
    assert {copied.state_hash() for copied in copies} == {usual.state_hash()}


def test_saving_again_gives_the_same_file(usual, tmp_path):
    usual.save(tmp_path / "one")
    sl.load(tmp_path / "one").save(tmp_path / "two")
    usual.save(str(tmp_path / "two again"))
    one = (tmp_path / "one").read_bytes()
    assert one == (tmp_path / "two").read_bytes() == (tmp_path / "two again").read_bytes()


def test_a_model_that_adopts_a_state_continues_like_its_source(model):
    """Nothing remains of what the adopting model learned before."""
    other = make_other(model)
    other.learn(**stream(model, 33, seed=5))
    model.learn(**stream(model, 20))
    other.adopt(model.copy_state())
    assert other.state_hash() == model.state_hash()
    later = stream(model, 40, seed=6)
    assert outputs_hash(other.learn(**later)) == outputs_hash(model.learn(**later))
    assert other.state_hash() == model.state_hash()


def make_other(model: Model) -> Model:
    return models.create(model.kind, model.spec_dict())


def test_a_copied_state_is_independent_of_the_model(model):
    model.learn(**stream(model, 10))
    copied = model.copy_state()
    before = {name: array.tobytes() for name, array in copied.items()}
    model.learn(**stream(model, 30, seed=7))
    assert {name: array.tobytes() for name, array in copied.items()} == before


def test_a_spec_survives_json(model):
    spec = json.loads(json.dumps(model.spec_dict()))
    again = models.create(model.kind, spec)
    assert again.spec == model.spec
    assert again.spec_dict() == model.spec_dict()
    assert again.state_hash() == type(model).from_spec(model.spec_dict()).state_hash()
    assert model.metadata()["kind"] == model.kind
    assert json.loads(model.metadata()["spec"]) == spec


def test_a_spec_is_frozen(usual):
    with pytest.raises(ValueError, match="frozen"):
        usual.spec.dim = 3


def test_repr_has_the_kind_and_the_number_of_samples(usual):
    assert type(usual).__name__ in repr(usual)
    assert "30 samples" in repr(usual)


def invalid_states(model: Model) -> dict[str, dict[str, np.ndarray]]:
    state = model.copy_state()
    first = sorted(state)[0]
    largest = max(state, key=lambda name: state[name].size)
    return {
        "no arrays": {},
        "a missing array": {name: array for name, array in state.items() if name != first},
        "an extra array": {**state, "another": np.zeros(3)},
        "another shape": {**state, largest: state[largest][..., :-1]},
        "another axis": {**state, largest: state[largest][None]},
        "another type": {**state, largest: state[largest].astype(np.float16)},
        "another byte order": {
            **state,
            largest: state[largest].astype(state[largest].dtype.newbyteorder(">")),
        },
    }


def test_an_invalid_state_raises_and_changes_nothing(usual):
    before = usual.state_hash()
    for mistake, arrays in invalid_states(usual).items():
        with pytest.raises(BadCheckpoint) as caught:
            usual.adopt(arrays)
        assert caught.value.detail["problems"], mistake
        assert usual.state_hash() == before, mistake


def test_all_problems_of_a_state_are_reported(usual):
    names = sorted(usual.state)
    arrays = {**usual.copy_state(), names[1]: np.zeros((3, 3, 3), np.int8), "another": np.zeros(1)}
    del arrays[names[0]]
    with pytest.raises(BadCheckpoint) as caught:
        usual.adopt(arrays)
    assert len(caught.value.detail["problems"]) == 3


WRONG_METADATA = {
    "no format": {"format": None},
    "another format": {"format": "999"},
    "no kind": {"kind": None},
    "another kind": {"kind": "perceptron"},
    "no spec": {"spec": None},
    "spec is not JSON": {"spec": "{"},
    "spec is a list": {"spec": "[]"},
    "spec is a number": {"spec": "3"},
    "spec is wrong": {"spec": '{"dim": 0}'},
    "spec of another size": {"spec": None, "dim": 3},
}


@pytest.mark.parametrize("mistake", WRONG_METADATA)
def test_invalid_metadata_raises(usual, mistake):
    changes = dict(WRONG_METADATA[mistake])
    if changes.pop("dim", None):
        changes["spec"] = json.dumps({**usual.spec_dict(), "dim": 3})
    metadata = {name: value for name, value in {**usual.metadata(), **changes}.items() if value is not None}
    with pytest.raises(BadCheckpoint):
        models.from_arrays(usual.copy_state(), metadata)


def test_a_damaged_file_raises(usual, tmp_path):
    file = tmp_path / "model"
    usual.save(file)
    whole = file.read_bytes()
    for damaged in (b"", b"not a model", whole[:7], whole[: len(whole) // 2], whole[:-1], whole + b"x"):
        file.write_bytes(damaged)
        with pytest.raises(BadCheckpoint):
            sl.load(file)
    with pytest.raises(FileNotFoundError):
        sl.load(tmp_path / "absent")


def test_saving_replaces_an_existing_file(usual, tmp_path):
    file = tmp_path / "model"
    usual.save(file)
    usual.learn(**stream(usual, 5))
    usual.save(file)
    assert sl.load(file).state_hash() == usual.state_hash()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with pytest.raises(OSError, match="nowhere"):
        usual.save(tmp_path / "nowhere" / Path(file).name)


# specs


def test_every_kind_has_an_example():
    """The suite tests only kinds with an entry in EXAMPLES."""
    missing = models.kinds().keys() - EXAMPLES.keys()
    assert not missing, f"no examples of {missing} in tests/conformance/examples.py"


@pytest.mark.parametrize("name", USUAL)
def test_all_errors_of_a_spec_are_reported_together(name):
    wrong = {
        "dim": 0,
        "scale": "loud",
        "scale_clip": -1,
        "half_life": "long",
        "seed": -1,
        "self": 1,
        "colour": "red",
    }
    with pytest.raises(BadSpec) as caught:
        models.create(name, {**EXAMPLES[name].usual, **wrong})
    messages = {error["field"]: error["message"] for error in caught.value.detail["errors"]}
    assert messages.keys() == wrong.keys()
    assert all(field in caught.value.message for field in wrong)
    json.dumps(caught.value.to_wire())


@pytest.mark.parametrize("name", USUAL)
@pytest.mark.parametrize("half_life", [float("nan"), float("inf"), 0, -1, "always"])
def test_a_half_life_that_is_not_positive_and_finite_raises(name, half_life):
    with pytest.raises(BadSpec):
        models.create(name, {**EXAMPLES[name].usual, "half_life": half_life})


@pytest.mark.parametrize("example", [name for name in SPECS if name in USUAL or name.endswith("-ewma")])
@pytest.mark.parametrize("half_life", [1e-300, 1e-3, 1e300])
def test_extreme_half_lives(example, half_life):
    kind, spec = SPECS[example]
    model = models.create(kind, {**spec, "half_life": half_life})
    out = model.learn(**stream(model, 60))
    scores = out.score[~np.isnan(out.score)]
    assert np.all((scores >= 0) & (scores <= 1))
    assert not_finite(model) == []


@pytest.mark.parametrize("name", USUAL)
def test_an_oversized_model_raises_before_any_allocation(name):
    for wrong in (EXAMPLES[name].oversized, {"dim": 1 << 21}, {"dim": 10**30}):
        with pytest.raises(BadSpec) as caught:
            models.create(name, {**EXAMPLES[name].usual, **wrong})
        assert caught.value.detail["errors"]


@pytest.mark.parametrize("kind", ["", "SOM", "perceptron", "__class__"])
def test_an_unknown_kind_raises_and_lists_the_known_kinds(kind):
    with pytest.raises(BadSpec, match="som") as caught:
        models.create(kind, {"dim": 3})
    assert caught.value.detail["errors"][0]["field"] == "kind"
