"""Growing neural gas against a slow one in float64, and against the shapes it is to find."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec
from tests.naive.gng import NaiveGrowingGas


def wandering(n: int, dim: int, seed: int, missing: float = 0.0) -> np.ndarray:
    """Clusters that jump now and then, so that units are left behind."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-3, 3, (n // 150 + 1, 4, dim))
    x = centres[np.arange(n) // 150, random.integers(0, 4, n)] + 0.3 * random.normal(size=(n, dim))
    return np.where(random.random(x.shape) < missing, np.nan, x).astype(np.float32)


RULES = {
    "plain": {"max_units": 30, "insert_every": 10, "max_age": 2},
    "small": {"max_units": 5, "insert_every": 3, "max_age": 2},
    "missing": {"max_units": 20, "insert_every": 7, "max_age": 2},
    "standard": {"max_units": 30, "insert_every": 10, "max_age": 3, "scale": "standard"},
    "other rates": {
        "max_units": 24,
        "insert_every": 5,
        "max_age": 3,
        "learning_rate": 0.05,
        "neighbour_rate": 0.01,
        "error_split": 0.25,
        "error_decay": 0.9,
    },
}


def graph(net: sl.GrowingNeuralGas) -> dict[frozenset[int], int]:
    return {frozenset(edge): int(net.state["edges"][tuple(edge)]) for edge in net.edges.tolist()}


@pytest.mark.parametrize("rule", RULES)
def test_same_as_the_slow_one(rule):
    """Labels by hand stay with their units when the last unit takes the place of a removed one."""
    random = np.random.default_rng(3)
    spec = {"half_life": 200.0, **RULES[rule]}
    x = wandering(900, 3, seed=1, missing=0.1 if rule == "missing" else 0.0)
    ours = sl.GrowingNeuralGas(dim=3, seed=2, **spec)
    naive = NaiveGrowingGas(
        ours.weights.tolist(),
        spec["max_units"],
        spec.get("learning_rate", 0.2),
        spec.get("neighbour_rate", 0.006),
        spec["max_age"],
        spec["insert_every"],
        spec.get("error_split", 0.5),
        spec.get("error_decay", 0.995),
        scale=spec.get("scale"),
        half_life=spec["half_life"],
    )
    for start in range(0, len(x), 30):
        part = x[start : start + 30]
        out = ours.learn(part)
        responses, expected = [], []
        for row in part.tolist():
            before = naive.labels.copy()
            responses.append(naive.learn(row))
            winner = responses[-1].winner
            expected.append(before[winner] if winner >= 0 else None)
        if start > 0:
            assert [None if label < 0 else ours.label_names[label] for label in out.label] == expected
        assert out.winner.tolist() == [each.winner for each in responses]
        assert out.present.tolist() == [each.channels for each in responses]
        distances = [each.distance for each in responses]
        assert np.allclose(out.distance, distances, rtol=1e-4, atol=1e-5, equal_nan=True)
        assert np.allclose(out.score, [each.score for each in responses], rtol=0, atol=2e-3, equal_nan=True)
        assert ours.weights.shape == (len(naive.weights), 3)
        assert np.allclose(ours.weights, naive.weights, rtol=1e-4, atol=1e-5)
        assert graph(ours) == naive.edges
        assert np.allclose(ours.state["errors"][: len(naive.errors)], naive.errors, rtol=1e-3, atol=1e-6)
        names = [None if label < 0 else ours.label_names[label] for label in ours.labels.tolist()]
        assert names == naive.labels
        unit, name = int(random.integers(len(names))), str(random.choice(["ok", "worn", "leak"]))
        ours.label(name, unit=unit)
        naive.labels[unit] = name
    assert naive.inserted >= 15
    assert naive.removed >= 5


def components(net: sl.GrowingNeuralGas) -> list[set[int]]:
    """The units that hang together by edges."""
    parts = [{j} for j in range(len(net.weights))]
    for i, j in net.edges.tolist():
        one, other = (next(part for part in parts if k in part) for k in (i, j))
        if one is not other:
            one |= other
            parts.remove(other)
    return parts


def test_two_rings_are_two_components():
    random = np.random.default_rng(3)
    angle, ring = random.uniform(0, 2 * np.pi, 12_000), random.integers(0, 2, 12_000)
    x = np.stack((np.cos(angle) + 4 * ring, np.sin(angle)), axis=1) + 0.03 * random.normal(size=(12_000, 2))
    net = sl.GrowingNeuralGas(dim=2, max_units=40, seed=1)
    net.learn(x)
    parts = components(net)
    assert len(parts) == 2
    sides = [{bool(net.weights[j, 0] > 2) for j in part} for part in parts]
    assert sorted(map(list, sides)) == [[False], [True]]
    lengths = np.linalg.norm(np.diff(net.weights[net.edges], axis=1), axis=2)
    assert lengths.max() < 0.6  # neighbours on a ring of 20 are 0.31 apart
    assert (net.predict(x).winner < len(net.weights)).all()
    left = {j for part, side in zip(parts, sides, strict=True) if side == {False} for j in part}
    assert [int(w) in left for w in net.predict([[-1, 0], [5, 0]]).winner] == [True, False]


def consistent(net: sl.GrowingNeuralGas) -> None:
    """What says that a unit is there says so everywhere."""
    count, ages = len(net.weights), net.state["edges"]
    assert 2 <= count <= net.spec.max_units
    pad = net.state["pad"].reshape(-1)
    assert not pad[:count].any()
    assert np.isposinf(pad[count:]).all()
    assert (ages == ages.T).all()
    assert (np.diag(ages) == -1).all()
    assert (ages[count:] == -1).all()
    assert ages.max() <= net.spec.max_age
    joined = (ages[:count, :count] >= 0).any(axis=1)
    assert joined.all() or not joined.any()
    assert not net.state["errors"][count:].any()
    assert not net.state["hits"][count:-1].any()
    assert net.hits.shape == (count,)
    assert net.quality()["units"] == count
    assert net.quality()["edges"] == len(net.edges) == (ages >= 0).sum() // 2


@pytest.mark.parametrize("distance", ["euclidean", "manhattan", "chebyshev", "cosine"])
def test_state_stays_consistent(distance):
    net = sl.GrowingNeuralGas(dim=3, max_units=20, insert_every=3, max_age=3, distance=distance)
    consistent(net)
    for part in np.split(wandering(900, 3, seed=5, missing=0.2), 60):
        net.learn(part)
        consistent(net)


def test_one_step_by_hand():
    """ε_b for the winner, ε_n for those joined to it; the edge to the second is made, or new again."""
    net = sl.GrowingNeuralGas(dim=1, max_units=3, insert_every=3, learning_rate=0.5, neighbour_rate=0.25)
    net.state["weights"][0, 0, :2] = 0.0, 8.0
    net.learn([2.0])  # nothing is joined yet
    assert net.weights[:, 0].tolist() == [1.0, 8.0]
    assert net.edges.tolist() == [[0, 1]]
    net.learn([3.0])
    assert net.weights[:, 0].tolist() == [2.0, 6.75]
    net.learn([2.0])  # the third sample calls for a unit, between the two
    assert net.weights[:, 0].tolist() == [2.0, 5.5625, 3.78125]
    assert net.edges.tolist() == [[0, 2], [1, 2]]
    error = (4.0 * 0.995 + 4.0) * 0.995 * 0.5 * 0.995
    assert net.state["errors"].tolist() == pytest.approx([error, 0.0, error])
    net.learn(np.full(30, 3.5))
    assert len(net.weights) == 3


def test_learns_nothing_from_nothing():
    net = sl.GrowingNeuralGas(dim=2, max_units=5, insert_every=2)
    before = net.weights
    net.learn(np.full((10, 2), np.nan))
    assert np.array_equal(net.weights, before)
    assert len(net.edges) == 0
    out = net.learn([[3e38, 3e38]])  # too far to be measured
    assert out.winner.tolist() == [-1]
    assert np.array_equal(net.weights, before)


def test_units_that_no_longer_win_are_dead():
    net = sl.GrowingNeuralGas(dim=1, max_units=6, insert_every=50, half_life=200.0)
    random = np.random.default_rng(7)
    net.learn(random.choice([-5.0, 5.0], 2000) + 0.3 * random.normal(size=2000))
    assert net.quality()["dead_units"] == 0
    net.learn(5 + 0.1 * random.normal(size=4000))
    assert net.quality()["dead_units"] == len(net.dead_units) == 3
    assert (net.weights[net.dead_units] < 0).all()


def test_weights_are_a_copy():
    with pytest.raises(ValueError, match="read-only"):
        sl.GrowingNeuralGas(dim=2).weights[0] = 1


def test_every_mistake_in_a_spec_is_told_at_once():
    wrong = {
        "max_units": 1,
        "learning_rate": 2,
        "neighbour_rate": -1,
        "max_age": 0,
        "insert_every": 0,
        "error_split": 2,
        "error_decay": -1,
        "grid": 3,
    }
    with pytest.raises(BadSpec) as caught:
        sl.GrowingNeuralGas(dim=2, **wrong)
    assert {each["field"] for each in caught.value.detail["errors"]} == wrong.keys()
