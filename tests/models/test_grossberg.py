"""Inhibitory clusters: a float64 reference, updates calculated by hand, and the sums of the weights."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadDtype, BadShape, BadSpec, BadValue
from streamlearn.models.classic.grossberg import Grossberg
from tests.naive.grossberg import NaiveGrossberg

BOUND = 2.8e-5  # of |Σw − 1|, derived in kernels/classic/grossberg.py


def stimuli(n: int, dim: int, seed: int, on: float = 0.3, missing: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = (random.random((n, dim)) < on).astype(np.float32)
    x[random.random(x.shape) < missing] = np.nan
    return x


def largest_sum_error(net: Grossberg) -> float:
    """Return the largest |Σw − 1| of all units."""
    return max(float(np.abs(w.sum(axis=1, dtype=np.float64) - 1).max()) for w in net.weights)


def as_tuple(schedule) -> tuple[float, float, float]:
    if isinstance(schedule, sl.Decay):
        return schedule.start, schedule.end, schedule.tau
    return schedule, schedule, 1.0


RULES = {
    "one cluster": {"layers": [[3]]},
    "many clusters": {"layers": [[5, 1, 7, 2, 20, 9]], "learning_rate": 0.3},
    "more than four blocks": {"layers": [[70, 3]]},
    "three layers": {"layers": [[5, 5, 3], [4, 4], [2]], "learning_rate": sl.Decay(0.5, 0.01, 60)},
    "leaky": {"layers": [[6, 18], [4]], "leak": sl.Decay(0.05, 0.001, 50)},
    "sensitive": {"layers": [[6, 4], [3]], "sensitivity": 0.01},
}


@pytest.mark.parametrize("missing", [0.0, 0.25])
@pytest.mark.parametrize("rule", RULES)
def test_same_as_the_reference(rule, missing):
    spec = {"learning_rate": 0.1, **RULES[rule]}
    x = stimuli(300, 11, seed=1, missing=missing)
    x[7] = 0
    x[8] = np.nan
    net = Grossberg(dim=11, half_life=100.0, seed=2, **spec)
    naive = NaiveGrossberg(
        net.weights,
        spec["layers"],
        as_tuple(spec["learning_rate"]),
        as_tuple(spec.get("leak", 0.0)),
        spec.get("sensitivity", 0.0),
    )
    out = net.learn(x)
    winners, distances, scores = zip(*[naive.learn(row) for row in x.tolist()], strict=True)
    assert out.winner.tolist() == list(winners)
    assert out.present.tolist() == (~np.isnan(x)).sum(axis=1).tolist()
    assert np.allclose(out.distance, distances, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert np.allclose(out.score, scores, rtol=0, atol=2e-3, equal_nan=True)
    for weights, expected in zip(net.weights, naive.weights, strict=True):
        assert np.allclose(weights, expected, rtol=0, atol=1e-5)
    out = net.predict(x)
    expected = [naive.predict(row) for row in x.tolist()]
    assert out.winner.tolist() == [winner for winner, _, _ in expected]
    assert np.allclose(
        out.distance, [distance for _, distance, _ in expected], rtol=1e-4, atol=1e-5, equal_nan=True
    )


# the rule, calculated by hand


def test_the_winner_shifts_its_weight_to_the_active_lines():
    net = Grossberg(dim=4, layers=[[2]], learning_rate=0.5)
    net.weights = [[[0.5, 0.25, 0.25, 0], [0, 0, 0.5, 0.5]]]
    out = net.learn([1, 1, 0, 0])
    assert out.winner.tolist() == [[0]]
    assert out.distance[0] == 0.25  # the weight of unit 0 on line 2
    assert net.weights[0].tolist() == [[0.5, 0.375, 0.125, 0], [0, 0, 0.5, 0.5]]
    assert net.predict([1, 1, 0, 0]).distance[0] == 0.125


def test_each_layer_divides_by_its_own_number_of_active_lines():
    """The two clusters of layer 1 give layer 2 two active lines, for any stimulus."""
    net = Grossberg(dim=5, layers=[[2, 3], [2]], learning_rate=1.0)
    below = np.full((5, 5), 0.2)
    below[[1, 4]] = [1, 0, 0, 0, 0]
    net.weights = [below, [[1, 0, 0, 0, 0], [0, 0, 0, 0.5, 0.5]]]
    out = net.learn([1, 1, 1, 0, 0])
    assert out.winner.tolist() == [[1, 2, 1]]
    for unit in (1, 4):
        assert np.allclose(net.weights[0][unit], [1 / 3, 1 / 3, 1 / 3, 0, 0], atol=1e-6)
    assert net.weights[1].tolist() == [[1, 0, 0, 0, 0], [0, 0.5, 0, 0, 0.5]]


def test_ties_go_to_the_lowest_index():
    net = Grossberg(dim=2, layers=[[3, 20, 30], [40]], learning_rate=0.0)
    net.weights = [np.full((53, 2), 0.5), np.full((40, 53), 1 / 53)]
    assert net.predict([[1, 0], [1, 1]]).winner.tolist() == [[0, 0, 0, 0]] * 2
    weights = np.full((53, 2), 0.5)
    weights[[2, 7, 21, 39, 52]] = 1, 0
    net.weights = [weights, np.full((40, 53), 1 / 53)]
    assert net.predict([1, 0]).winner.tolist() == [[2, 4, 16, 0]]


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_without_active_lines_there_is_no_winner_and_no_learning(value):
    net = Grossberg(dim=6, layers=[[3, 3], [2]], leak=0.1, sensitivity=0.1, learning_rate=0.5)
    net.learn(stimuli(50, 6, seed=1))
    before = {name: array.copy() for name, array in net.state.items()}
    out = net.learn(np.full((3, 6), value))
    assert (out.winner == -1).all()
    for name in ("weights", "wins"):
        assert np.array_equal(net.state[name], before[name])
    assert net.samples == 53
    if np.isnan(value):
        assert np.isnan(out.distance).all()
        assert np.isnan(out.score).all()
        assert not out.present.any()
    else:
        assert (out.distance == 1).all()  # the largest possible distance
        assert (out.present == 6).all()


def test_missing_lines_keep_their_weight():
    net = Grossberg(dim=4, layers=[[2]], learning_rate=0.5)
    net.weights = [[[0.25, 0.25, 0.25, 0.25], [0, 0, 0.5, 0.5]]]
    out = net.learn([1, 0, 0, np.nan])
    assert (out.winner[0, 0], out.present[0]) == (0, 3)
    assert out.distance[0] == pytest.approx(
        2 / 3
    )  # of the weight 0.75 on present lines, 0.5 is on inactive ones
    assert net.weights[0][0].tolist() == [0.5, 0.125, 0.125, 0.25]


def test_a_unit_without_weight_on_the_present_lines():
    net = Grossberg(dim=2, layers=[[1]], learning_rate=0.5)
    net.weights = [[[0, 1]]]
    out = net.learn([1, np.nan])
    assert (out.winner[0, 0], out.distance[0]) == (0, 1.0)
    assert net.weights[0].tolist() == [[0, 1]]


def test_leaky_learning_revives_dead_units():
    """One of two units wins for neither stimulus. With the leak it learns when it loses, and wins for one."""
    x = np.tile([[1.0, 1, 0, 0, 0], [0, 1, 1, 0, 0]], (500, 1))
    weights = [[[0.4, 0.4, 0.2, 0, 0], [0, 0, 0.01, 0, 0.99]]]
    hard, leaky = (Grossberg(dim=5, layers=[[2]], learning_rate=0.1, leak=rate) for rate in (0.0, 0.01))
    for net in (hard, leaky):
        net.weights = weights
        net.learn(x)
    assert hard.predict(x[:2]).winner.ravel().tolist() == [0, 0]
    assert hard.quality()["dead_units"] == 1
    assert sorted(leaky.predict(x[:2]).winner.ravel().tolist()) == [0, 1]
    assert leaky.quality()["dead_units"] == 0


def test_losers_learn_at_the_leak_rate():
    net = Grossberg(dim=2, layers=[[2], [2]], learning_rate=0.5, leak=0.25)
    net.weights = [[[1, 0], [0, 1]], [[1, 0], [0, 1]]]
    net.learn([1, 0])
    assert net.weights[0].tolist() == net.weights[1].tolist() == [[1, 0], [0.25, 0.75]]


def test_sensitivity_equalizes_wins():
    """With a constant stimulus, one unit always wins; with sensitivity all units win equally often."""
    x = np.tile([1.0, 0, 1], (3000, 1))
    without, sensitive = (Grossberg(dim=3, layers=[[3, 5]], sensitivity=gamma, seed=3) for gamma in (0, 0.01))
    without.learn(x)
    sensitive.learn(x)
    assert sorted(without.wins[0].tolist()) == [0] * 6 + [3000, 3000]
    assert np.allclose(sensitive.wins[0][:3], 1000, atol=100)
    assert np.allclose(sensitive.wins[0][3:], 600, atol=100)


# sums of the weights


def test_initial_weights_sum_to_one():
    net = Grossberg(dim=1000, layers=[[30, 30], [7]], seed=1)
    assert largest_sum_error(net) < 1e-6
    assert all((w > 0).all() for w in net.weights)
    other = Grossberg(dim=1000, layers=[[30, 30], [7]], seed=2)
    assert not np.array_equal(net.weights[0], other.weights[0])
    assert not np.array_equal(net.weights[0][0], net.weights[0][1])


START = [0.05, 0.85, 0.05, 0.05]


def sum_error_of_plain_rule(x: np.ndarray, samples: int, rate: float) -> float:
    """Return |Σw − 1| after the rule in float32 without correction, for a constant stimulus."""
    w = np.array(START, np.float32)
    target = (x / x.sum()).astype(np.float32)
    for _ in range(samples):
        w += np.float32(rate) * (target - w)
    return abs(float(w.sum(dtype=np.float64)) - 1)


def test_the_sum_holds_over_ten_million_samples():
    """At this low rate a step is mostly rounding error, always in the same direction."""
    x = np.array([1, 0, 1, 1], np.float32)
    assert sum_error_of_plain_rule(x, 100_000, 1e-4) > 10 * BOUND  # without correction the bound is exceeded
    net = Grossberg(dim=4, layers=[[1]], learning_rate=1e-4)
    net.weights = [[START]]
    batch = np.tile(x, (250_000, 1))
    worst = 0.0
    for _ in range(40):
        net.learn(batch)
        worst = max(worst, largest_sum_error(net))
    assert net.samples == 10_000_000
    assert worst < BOUND
    assert np.allclose(net.weights[0], [1 / 3, 0, 1 / 3, 1 / 3], atol=1e-3)


RULES_FOR_SUMS = {
    "largest rate": {"learning_rate": 1.0},
    "tiny rates": {"learning_rate": 1e-6, "leak": 1e-7},
    "usual rates": {"learning_rate": 0.05, "leak": 0.001, "sensitivity": 0.001},
    "decaying rates": {"learning_rate": sl.Decay(1.0, 0.0, 5000), "leak": sl.Decay(0.1, 0.0, 5000)},
}


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("rule", RULES_FOR_SUMS)
def test_the_sum_holds_for_any_rule(rule, missing):
    net = Grossberg(dim=40, layers=[[6, 20], [5]], seed=4, **RULES_FOR_SUMS[rule])
    for part in range(20):
        net.learn(stimuli(2003, 40, seed=part, missing=missing))
        assert largest_sum_error(net) < BOUND
        assert all((w >= 0).all() for w in net.weights)


def test_renormalization_does_not_change_idle_units():
    """Division by a sum that differs from 1 in its last bits would change the weights at every sample."""
    net = Grossberg(dim=33, layers=[[2]], learning_rate=0.1)
    idle = np.random.default_rng(5).random(33)
    idle[0] = 0
    busy = np.eye(33)[0]
    net.weights = [[busy, idle / idle.sum()]]
    before = net.weights[0][1]
    net.learn(np.tile(busy, (1000, 1)))
    assert net.wins[0].tolist() == [1000, 0]
    assert np.array_equal(net.weights[0][1], before)


def test_vanishing_weights_become_zero():
    """Denormal weights would be slow and never reach 0."""
    net = Grossberg(dim=4, layers=[[1]], learning_rate=0.5)
    net.learn(np.tile([1.0, 0, 0, 1], (500, 1)))
    assert net.weights[0].tolist() == [[0.5, 0, 0, 0.5]]


# valid input and specs


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, 1e-30, -0.001])
def test_only_zeros_and_ones_are_valid(value):
    net = Grossberg(dim=3, layers=[[2]])
    x = np.zeros((4, 3))
    x[2, 1] = value
    before = net.state_hash()
    for function in (net.learn, net.predict, net.validate):
        with pytest.raises(BadValue, match=r"x\[2, 1\].*0 and 1.*threshold") as caught:
            function(x)
        assert caught.value.detail == {"row": 2, "column": 1}
    assert net.state_hash() == before
    net.learn([[0, -0.0, 1]])
    net.learn([[0, np.nan, 1]])


def test_a_threshold_converts_real_values_to_lines():
    random = np.random.default_rng(6)
    real = random.normal(size=(200, 7)).astype(np.float32)
    real[random.random(real.shape) < 0.1] = np.nan
    real[3, 2] = 0.25  # equal to the threshold: inactive
    lines = np.where(np.isnan(real), np.nan, real > 0.25)
    with_threshold, binary = (Grossberg(dim=7, layers=[[4], [2]], threshold=t, seed=1) for t in (0.25, None))
    out, expected = with_threshold.learn(real), binary.learn(lines)
    for name, array in expected.arrays.items():
        assert np.array_equal(out.arrays[name], array, equal_nan=True), name
    assert with_threshold.state_hash() == binary.state_hash()


def test_an_invalid_spec_raises():
    for wrong, message in (
        ({"layers": []}, "layers"),
        ({"layers": [[]]}, "layers"),
        ({"layers": [[3], [0]]}, "layers"),
        ({"layers": [3]}, "layers"),
        ({"layers": [[1 << 20] * 50]}, "weights"),
        ({"layers": [[2]], "learning_rate": 1.5}, "learning_rate"),
        ({"layers": [[2]], "leak": -0.1}, "leak"),
        ({"layers": [[2]], "sensitivity": -1}, "sensitivity"),
        ({"layers": [[2]], "threshold": float("nan")}, "threshold"),
        ({"layers": [[2]], "scale": "standard"}, "leave it out"),
    ):
        with pytest.raises(BadSpec, match=message):
            Grossberg(dim=5, **wrong)
    assert Grossberg(dim=5, layers=[[2]], scale=None).spec.scale is None


def test_weights_can_be_set_and_are_validated():
    net = Grossberg(dim=2, layers=[[2], [1]])
    net.weights = [[[1, 0], [0.3, 0.7005]], [[0.5, 0.5]]]
    assert largest_sum_error(net) < 1e-7
    valid = [[1, 0], [0, 1]]
    for wrong, error in (
        ([valid], BadShape),
        ([valid, [[0.5, 0.5]], [[1.0]]], BadShape),
        ([valid, [[1.0]]], BadShape),
        ([valid, [["a", "b"]]], BadDtype),
        ([[[1, 0], [2, -1]], [[0.5, 0.5]]], BadValue),
        ([[[1, 0], [1, 1]], [[0.5, 0.5]]], BadValue),
        ([[[1, 0], [np.nan, 1]], [[0.5, 0.5]]], BadValue),
    ):
        before = net.state_hash()
        with pytest.raises(error, match="weights"):
            net.weights = wrong
        assert net.state_hash() == before
    with pytest.raises(ValueError, match="read-only"):
        net.weights[0][0, 0] = 5


def test_quality_weights_recent_samples():
    net = Grossberg(dim=12, layers=[[4, 2], [3]], half_life=50.0, seed=1)
    assert np.isnan(net.quality()["distance"])
    assert net.quality()["dead_units"] == 9
    x = stimuli(400, 12, seed=2)
    x[:, 5] = 1
    out = net.learn(x)
    expected = np.average(out.distance, weights=0.5 ** (np.arange(400)[::-1] / 50))
    assert net.quality()["distance"] == pytest.approx(expected, rel=1e-5)
    assert [int(wins.sum()) for wins in net.wins] == [800, 400]
    for cluster, wins in ((0, net.wins[0][:4]), (1, net.wins[0][4:]), (2, net.wins[1])):
        assert np.bincount(out.winner[:, cluster], minlength=len(wins)).tolist() == wins.tolist()
