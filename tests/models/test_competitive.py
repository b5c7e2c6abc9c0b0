"""Competitive nets against a slow one in float64, scikit-learn's k-means, and counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans

import streamlearn as sl
from streamlearn.errors import BadShape, BadSpec
from tests.naive.competitive import NaiveCompetitive


def blobs(n: int, dim: int, seed: int, missing: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.uniform(-2, 2, (5, dim))
    x = centres[random.integers(0, 5, n)] + 0.3 * random.normal(size=(n, dim))
    return np.where(random.random(x.shape) < missing, np.nan, x).astype(np.float32)


RULES = {
    "hard": {"mode": "hard", "learning_rate": 0.2},
    "hard, decaying": {"mode": "hard", "learning_rate": sl.Decay(0.9, 0.01, 60)},
    "soft": {"mode": "soft", "learning_rate": 0.2},
    "soft, sharper": {"mode": "soft", "learning_rate": 0.2, "beta": sl.Decay(0.1, 20, 100)},
    "soft, all alike": {"mode": "soft", "learning_rate": 0.2, "beta": 0.0},
    "soft, very sharp": {"mode": "soft", "learning_rate": 0.2, "beta": 1e20},
    "standard": {"mode": "soft", "learning_rate": 0.2, "scale": "standard"},
    "ewma": {"mode": "hard", "learning_rate": 0.2, "scale": "ewma", "half_life": 50.0},
    "minmax": {"mode": "soft", "learning_rate": 0.2, "scale": "minmax"},
}


def as_tuple(schedule) -> tuple[float, float, float]:
    if isinstance(schedule, sl.Decay):
        return schedule.start, schedule.end, schedule.tau
    return schedule, schedule, 1.0


@pytest.mark.parametrize("units", [7, 16, 19])  # up to 16, a hard net measures the next sample as it moves
@pytest.mark.parametrize("missing", [0.0, 0.25])
@pytest.mark.parametrize("rule", RULES)
def test_same_as_the_slow_one(rule, missing, units):
    spec = {"half_life": 200.0, **RULES[rule]}
    x = blobs(400, 3, seed=1, missing=missing)
    ours = sl.Competitive(dim=3, units=units, seed=2, **spec)
    naive = NaiveCompetitive(
        ours.weights.tolist(),
        spec["mode"],
        as_tuple(spec["learning_rate"]),
        as_tuple(spec.get("beta", 1.0)),
        scale=spec.get("scale"),
        half_life=spec["half_life"],
    )
    out = ours.learn(x)
    responses = [naive.learn(row) for row in x.tolist()]
    assert out.winner.tolist() == [each.winner for each in responses]
    assert out.present.tolist() == [each.channels for each in responses]
    distances = [each.distance for each in responses]
    assert np.allclose(out.distance, distances, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert np.allclose(out.score, [each.score for each in responses], rtol=0, atol=1e-3, equal_nan=True)
    assert np.allclose(ours.weights, naive.weights, rtol=1e-4, atol=1e-5)
    known = ~np.isnan(distances)
    ages = np.arange(known.sum())[::-1]
    error = np.average(np.array(distances)[known], weights=0.5 ** (ages / spec["half_life"]))
    assert ours.quality()["quantization_error"] == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize(
    "spec", [{}, {"learning_rate": "1/n"}, {"conscience": 1.0}, {"learn_below": 0.9}], ids=str
)
def test_a_small_hard_net_learns_the_same_in_one_call_or_in_many(spec):
    x = blobs(500, 3, seed=3, missing=0.1)
    spec = {"learning_rate": 0.1, **spec}
    whole, parts = (sl.Competitive(dim=3, units=16, seed=2, mode="hard", **spec) for _ in range(2))
    out = whole.learn(x)
    winners = [parts.learn(row[None]).winner for row in x]
    assert np.concatenate(winners).tolist() == out.winner.tolist()
    assert parts.weights.tobytes() == whole.weights.tobytes()


def test_finds_the_clusters():
    """At rate 1/t a hard net is MacQueen's k-means; near enough at a small constant one."""
    random = np.random.default_rng(3)
    centres = np.array([[0, 0], [4, 0], [0, 4], [4, 4]])
    x = centres[random.integers(0, 4, 5000)] + 0.2 * random.normal(size=(5000, 2))
    net = sl.Competitive(dim=2, units=4, learning_rate=sl.Decay(0.3, 0.005, 500))
    net.weights = centres + random.uniform(-1, 1, (4, 2))
    net.learn(x)
    peer = KMeans(4, init=net.weights, n_init=1).fit(x)
    assert np.allclose(net.weights, peer.cluster_centers_, atol=0.06)
    assert net.predict(x).winner.tolist() == peer.labels_.tolist()


def test_hard_moves_the_winner_alone():
    net = sl.Competitive(dim=2, units=20, learning_rate=0.25)
    weights = np.full((20, 2), 8.0)
    weights[17] = 4.0, 0.0
    net.weights = weights
    out = net.learn([[0.0, 0.0]])
    assert (out.winner[0], out.distance[0]) == (17, 4.0)
    weights[17] = 3.0, 0.0
    assert np.array_equal(net.weights, weights.astype(np.float32))


def test_soft_shares_by_softmax():
    net = sl.Competitive(dim=1, units=3, mode="soft", learning_rate=0.5, beta=0.5)
    net.weights = [[1.0], [2.0], [3.0]]
    net.learn([0.0])
    share = np.exp(-0.5 * np.array([1.0, 4.0, 9.0]))
    share /= share.sum()
    assert np.allclose(net.weights[:, 0], np.array([1, 2, 3]) * (1 - 0.5 * share), rtol=1e-6)


@pytest.mark.parametrize("units", [1, 15, 16, 17, 40])
@pytest.mark.parametrize("beta", [0.0, sl.Decay(1, 0, 0.1), 1e30])
def test_soft_at_the_ends_of_beta(units, beta):
    """All alike at 0, the nearest alone at the other end; units that are not there change nothing."""
    net = sl.Competitive(dim=2, units=units, mode="soft", learning_rate=0.5, beta=beta, seed=4)
    net.learn(blobs(40, 2, seed=5))
    assert np.isfinite(net.state["weights"]).all()
    padding = net.state["weights"].transpose(0, 2, 1).reshape(-1, 2)[units:]
    assert not padding.any()


def test_soft_with_units_out_of_sight():
    """Units too far for float32 to square have no share, and do not spoil the others'."""
    net = sl.Competitive(dim=1, units=3, mode="soft", learning_rate=0.5, beta=0.0)
    net.weights = [[1.0], [3.0], [1e30]]
    net.learn([0.0])
    assert np.allclose(net.weights[:, 0], [0.75, 2.25, 1e30])


def test_weights_can_be_set_and_not_by_accident():
    net = sl.Competitive(dim=3, units=18)
    wanted = np.random.default_rng(6).normal(size=(18, 3))
    net.weights = wanted
    assert np.array_equal(net.weights, wanted.astype(np.float32))
    with pytest.raises(ValueError, match="read-only"):
        net.weights[0] = 1
    before = net.state_hash()
    with pytest.raises(BadShape):
        net.weights = np.zeros((3, 18))
    assert net.state_hash() == before


def test_every_mistake_in_a_spec_is_told_at_once():
    with pytest.raises(BadSpec) as caught:
        sl.Competitive(dim=-1, units=0, mode="fuzzy", learning_rate=-1, beta=-1, seed="x", colour="red")
    reported = {each["field"] for each in caught.value.detail["errors"]}
    assert reported == set("dim units mode learning_rate beta seed colour".split())


@pytest.mark.parametrize(
    "wrong",
    [
        {"beta": 1e300},
        {"beta": float("nan")},
        {"units": 1 << 20, "dim": 1 << 10},
        {"units": 1 << 30},
        {"self": 1},
    ],
)
def test_a_wrong_parameter_is_refused(wrong):
    with pytest.raises(BadSpec):
        sl.Competitive(**{"dim": 2, "units": 3, **wrong})


@pytest.mark.parametrize("distance", ["euclidean", "manhattan", "chebyshev"])
def test_frequency_sensitive_counts_wins_times_distance_in_every_distance(distance):
    """At distances 1 and 4 that never change, the nearer unit learns four times as often."""
    net = sl.Competitive(dim=1, units=2, learning_rate=0, frequency_sensitive=True, distance=distance)
    net.weights = [[1.0], [4.0]]
    net.learn(np.zeros((1000, 1)))
    near, far = net.state["share"][0, :2]
    assert near / far == pytest.approx(4, rel=0.02)
