"""Labels by hand of a model without ``labels`` in the spec, against a dictionary of names by unit."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models
from streamlearn.errors import BadCheckpoint, BadShape, BadValue


def samples(n: int) -> np.ndarray:
    """Samples of three clusters."""
    random = np.random.default_rng(1)
    centres = np.array([[0, 3], [3, 0], [-3, -3]])
    return (centres[random.integers(0, 3, n)] + random.normal(size=(n, 2))).astype(np.float32)


BARE = {
    "som": {"dim": 2, "grid": (3, 4)},
    "competitive": {"dim": 2, "units": 12},
    "gng": {"dim": 2, "max_units": 12, "insert_every": 5, "alarm": True},
}


@pytest.mark.parametrize("kind", BARE)
def test_labels_by_hand_of_a_model_that_counts_none(kind):
    """A dictionary of names by unit is the reference. No other array and no other output changes."""
    net, plain = models.create(kind, BARE[kind]), models.create(kind, BARE[kind])
    x = samples(200)
    net.learn(x)
    plain.learn(x)
    unlabelled = net.state_hash()
    assert net.labels.max() == -1
    assert net.label_names == []
    net.label(None, unit=2)
    assert net.state_hash() == unlabelled == plain.state_hash()
    net.label("worn", unit=2)
    net.label("7", unit=0)
    winner = int(net.predict([[0.5, 3.0]]).winner[0])
    net.label("leak ü", x=[0.5, 3.0])
    names = {0: "7", 2: "worn"} | {winner: "leak ü"}
    assert net.label_names == ["worn", "7", "leak ü"]
    assert net.quality()["labelled_units"] == len(names)
    for learn in (False, True) if kind != "gng" else (False,):  # test_gng.py compares what it learns
        ours, theirs = (m.learn(x) if learn else m.predict(x) for m in (net, plain))
        found = [net.label_names[label] if label >= 0 else None for label in ours.label]
        assert found == [names.get(unit) for unit in ours.winner.tolist()]
        assert ours.arrays.keys() - theirs.arrays.keys() == {"label"}
        for name, array in theirs.arrays.items():
            assert array.tobytes() == ours.arrays[name].tobytes()
    for name, array in plain.state.items():
        assert array.tobytes() == net.state[name].tobytes()
    found = [net.label_names[label] if label >= 0 else None for label in net.labels.ravel()]
    assert found == [names.get(unit) for unit in range(12)]
    net.label(None, unit=2)
    assert net.labels.ravel()[2] == -1
    for wrong in ({"unit": 12}, {"unit": -1}, {}, {"unit": 1, "x": [1, 2]}, {"x": [1]}, {"sample": "a"}):
        with pytest.raises((BadValue, BadShape)):
            net.label("leak ü", **wrong)


def test_a_sample_of_an_alarm_gives_its_winner_a_label():
    som = sl.SOM(dim=2, grid=(3, 4), alarm=True, seed=1)
    x = samples(2000)
    som.learn(x)
    fault = np.tile([[40.0, 40.0]], (20, 1)).astype(np.float32)
    som.learn(fault)
    assert som.learn(x[:50]).alarm.max() > 0
    winner = int(som.predict(fault[:1]).winner[0])
    som.label("cavitation", sample=2000)
    assert som.labels.ravel()[winner] == 0
    assert (som.labels >= 0).sum() == 1
    with pytest.raises(BadValue, match="the values of sample 7 are not kept"):
        som.label("cavitation", sample=7)
    with pytest.raises(BadValue, match="give unit, or the values x"):
        sl.SOM(dim=2, grid=(3, 4), alarm=False).label("cavitation", sample=7)


def test_a_state_with_labels_and_one_without():
    som = sl.SOM(dim=2, grid=(3, 4))
    som.learn(samples(50))
    without, before = som.copy_state(), som.state_hash()
    size = som.optional_bytes
    som.label("ok", unit=3)
    assert som.optional_bytes == 0
    assert sum(array.nbytes for array in som.state.values()) == size + sum(
        array.nbytes for array in without.values()
    )
    labelled_state, after = som.copy_state(), som.state_hash()
    som.adopt(without)
    assert (som.state_hash(), som.label_names, som.optional_bytes) == (before, [], size)
    with pytest.raises(BadCheckpoint, match=r"'labels\.names' is missing"):
        som.adopt({name: array for name, array in labelled_state.items() if name != "labels.names"})
    labelled_state["labels.given"][5] = 12
    with pytest.raises(BadCheckpoint, match=r"labels\.given"):
        som.adopt(labelled_state)
    assert som.state_hash() == before
    labelled_state["labels.given"][5] = -1
    som.adopt(labelled_state)
    assert (som.state_hash(), som.label_names) == (after, ["ok"])
    assert copy.deepcopy(som).state_hash() == after


def test_a_name_that_no_unit_has_any_more_makes_room():
    som = sl.SOM(dim=2, grid=(10, 10))
    for k in range(64):
        som.label(f"label {k}", unit=k)
    with pytest.raises(BadValue, match="no class left for the label 'more': the units have 64"):
        som.label("more", unit=70)
    som.label("label 5", unit=70)
    som.label("label 4", unit=5)
    with pytest.raises(BadValue, match="no class left"):
        som.label("more", unit=5)
    som.label(None, unit=70)
    som.label("more", unit=70)
    assert som.label_names[som.labels.ravel()[70]] == "more"
    assert "label 5" not in som.label_names
    assert [som.label_names[k] for k in som.labels.ravel()[:5]] == [f"label {k}" for k in range(5)]


def test_a_unit_that_moves_loses_its_label():
    net = sl.Competitive(dim=1, units=3, init=[[0.0], [1.0], [50.0]])
    for unit, name in enumerate("abc"):
        net.label(name, unit=unit)
    net._forget_units(np.array([1]))
    assert net.labels.tolist() == [0, -1, 2]
