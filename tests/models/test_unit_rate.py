"""The rate "1/n" against a slow one in float64, MacQueen's means, and scikit-learn's mini-batch k-means."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

import streamlearn as sl
from streamlearn.errors import BadSpec, BadValue
from tests.naive.competitive import NaiveOwnRate

OWN = {"learning_rate": "1/n"}


def blobs(n: int, seed: int, missing: float = 0.0, dim: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.uniform(-2, 2, (5, dim))
    x = centres[random.integers(0, 5, n)] + 0.3 * random.normal(size=(n, dim))
    return np.where(random.random(x.shape) < missing, np.nan, x).astype(np.float32)


@pytest.mark.parametrize("mode", ["hard", "soft", "gas"])
@pytest.mark.parametrize("init", ["random", "given"])
@pytest.mark.parametrize(("units", "missing", "floor"), [(1, 0.0, 0.1), (19, 0.25, 0.02), (40, 0.0, 0.0)])
def test_same_as_the_slow_one(mode, init, units, missing, floor):
    x = blobs(400, seed=3, missing=missing)
    spec = {"mode": mode, "rate_floor": floor, "half_life": 200.0} | (
        {"spread": 2.0} if mode == "gas" else {}
    )
    if init == "given":
        spec["init"] = np.random.default_rng(4).normal(size=(units, 3))
    ours = sl.Competitive(dim=3, units=units, seed=2, **OWN, **spec)
    naive = NaiveOwnRate(
        ours.weights.tolist(), mode, floor, float(init == "given"), spread=2.0, half_life=200.0
    )
    out = ours.learn(x)
    responses = [naive.learn(row) for row in x.tolist()]
    assert out.winner.tolist() == [each.winner for each in responses]
    distances = [each.distance for each in responses]
    assert np.allclose(out.distance, distances, rtol=1e-3, atol=1e-4, equal_nan=True)
    assert np.allclose(ours.weights, naive.weights, rtol=1e-3, atol=1e-4)
    learned = ours.state["rate.learned"].reshape(-1)
    assert np.allclose(learned[:units], naive.n, rtol=1e-4)
    assert not learned[units:].any()


def test_without_a_floor_a_unit_is_the_mean_of_its_samples():
    """MacQueen 1967: the first samples are the units, and every later sample moves its winner's mean."""
    x = blobs(500, seed=6)
    net = sl.Competitive(dim=3, units=4, init="samples", rate_floor=0.0, **OWN)
    winner = net.learn(x).winner
    winner[:4] = range(4)
    means = [x[winner == j].astype(np.float64).mean(axis=0) for j in range(4)]
    assert np.allclose(net.weights, means, rtol=1e-5)


def test_with_a_floor_a_unit_follows():
    """After n = 1/floor samples the rate is the floor: the rest of a step is (1 − floor)^n."""
    net = sl.Competitive(dim=1, units=1, rate_floor=0.1, **OWN)
    net.learn(np.zeros((100, 1)))
    net.learn(np.ones((20, 1)))
    assert net.weights[0, 0] == pytest.approx(1 - 0.9**20, rel=1e-5)


def test_every_unit_gets_a_place():
    """Random weights far from the stream: the nearest unit would win every sample."""
    x = blobs(1000, seed=7) + 50
    net = sl.Competitive(dim=3, units=100, seed=1)
    net.learn(x[:900])
    assert (np.abs(net.weights - 50) < 5).all()
    assert net.state["rate.unplaced"][0] == 100
    net.learn(x[900:])
    constant = sl.Competitive(dim=3, units=100, seed=1, learning_rate=0.02)
    constant.learn(x)
    assert len(constant.dead_units) == 99
    assert len(net.dead_units) < 10


def test_a_spike_gets_one_unit():
    x = blobs(1000, seed=8)
    x[100] = 1e3
    net = sl.Competitive(dim=3, units=50, seed=1)
    net.learn(x)
    assert (np.abs(net.weights) > 10).any(axis=1).sum() == 1


def test_reheat_limits_what_was_learned():
    net = sl.Competitive(dim=1, units=1, **OWN)
    net.learn(np.zeros((100, 1)))
    net.reheat(0.1)
    net.learn([[1.0]])
    assert net.weights[0, 0] == pytest.approx(1 / 11)
    with pytest.raises(BadValue, match="nothing to reheat"):
        sl.Competitive(dim=1, units=1, learning_rate=0.1).reheat()


def test_units_that_move_after_an_alarm_begin_again():
    random = np.random.default_rng(0)
    centres, which = 2 * random.normal(size=(2, 8, 6)), random.integers(0, 8, 12_000)
    later = (np.arange(12_000) >= 6000).astype(int)
    x = centres[later, which] + 0.3 * random.normal(size=(12_000, 6))
    net = sl.Competitive(dim=6, units=10, on_drift="adapt", drift_block=8, drift_rest=16)
    before = net.learn(x[:6000]).distance[-1000:].mean()
    learned = net.state["rate.learned"].copy()
    assert net.learn(x[6000:]).distance[-1000:].mean() < 1.3 * before
    assert (net.state["rate.learned"] < learned).any()


def test_the_default_of_each_mode():
    assert sl.Competitive(dim=1, units=8).spec.rate == "1/n"
    assert sl.Competitive(dim=1, units=8, mode="soft").spec.rate == "1/n"
    assert sl.Competitive(dim=1, units=8, mode="gas").schedules["learning_rate"] == 0.5
    assert sl.Competitive(dim=1, units=8).schedules["learning_rate"] == pytest.approx(0.03)
    with pytest.raises(BadSpec, match="learning_rate"):
        sl.Competitive(dim=1, units=8, learning_rate="1/t")


def inertia(weights: np.ndarray, x: np.ndarray) -> float:
    """Return the mean squared distance to the nearest of the weights (units, dim)."""
    weights = weights.reshape(-1, x.shape[1]).astype(np.float64)
    squares = (x**2).sum(axis=1)[:, None] - 2 * x @ weights.T + (weights**2).sum(axis=1)
    return float(squares.min(axis=1).mean())


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return StandardScaler().fit_transform(load_digits().data)


@pytest.mark.parametrize(("units", "hard", "soft", "gas"), [(10, 42, 43, 42), (100, 22, 22, 24)])
def test_the_digits_in_one_pass(digits, units, hard, soft, gas):
    """1,797 samples in the order in which they ship, beside mini-batch k-means in batches of 100."""
    peer = MiniBatchKMeans(units, random_state=1, n_init=1)
    for begin in range(0, 1700, 100):
        peer.partial_fit(digits[begin : begin + 100])
    theirs = inertia(peer.cluster_centers_, digits)
    for mode, most in (("hard", hard), ("soft", soft), ("gas", gas)):
        net = sl.Competitive(dim=64, units=units, mode=mode, seed=1)
        net.learn(digits)
        assert inertia(net.weights, digits) < most
        assert inertia(net.weights, digits) < 1.06 * theirs


def test_maps_and_growing_nets_learn_the_digits_in_one_pass(digits):
    som = sl.SOM(dim=64, grid=(10, 10), seed=1)
    som.learn(digits)
    assert inertia(som.weights, digits) < 37
    assert som.quality()["topographic_error"] < 0.1
    gng = sl.GrowingNeuralGas(dim=64, seed=1)
    gng.learn(digits)
    assert inertia(gng.weights, digits) < 28
