"""Neural gas, and the ways to let no unit die: against slow ones in float64, and on a stream that kills."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec
from tests.naive.competitive import NaiveFair, NaiveGas


def blobs(n: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = random.uniform(-2, 2, (5, 3))
    return (centres[random.integers(0, 5, n)] + 0.3 * random.normal(size=(n, 3))).astype(np.float32)


@pytest.mark.parametrize("units", [1, 7, 16, 33])
@pytest.mark.parametrize("spread", [2.0, sl.Decay(8.0, 0.1, 100.0), 0.0])
def test_neural_gas_is_the_slow_one(units, spread):
    x = blobs(300, seed=units)
    ours = sl.Competitive(dim=3, units=units, mode="gas", learning_rate=0.2, spread=spread, seed=1)
    schedule = (
        (spread.start, spread.end, spread.tau)
        if isinstance(spread, sl.Decay)
        else (spread or 1e-3,) * 2 + (1.0,)
    )
    naive = NaiveGas(ours.weights.tolist(), (0.2, 0.2, 1.0), schedule)
    responses = [naive.learn(row) for row in x.tolist()]
    assert ours.learn(x).winner.tolist() == [each.winner for each in responses]
    np.testing.assert_allclose(ours.weights, naive.weights, rtol=1e-3, atol=1e-4)


def test_of_equally_near_units_the_lower_index_is_the_nearer():
    gas = sl.Competitive(dim=1, units=20, mode="gas", learning_rate=1.0, spread=1.0)
    gas.weights = np.zeros((20, 1))
    gas.learn([[1.0]])
    np.testing.assert_allclose(gas.weights[:, 0], np.exp(-np.arange(20)), rtol=1e-6)


FAIR = {
    "leak": ({"leak": 0.01}, {"leak": 0.01}),
    "conscience": (
        {"conscience": 5.0, "conscience_rate": 0.05},
        {"conscience": 5.0, "conscience_rate": 0.05},
    ),
    "frequency": ({"frequency_sensitive": True}, {"frequency": True}),
    "frequency and leak": ({"frequency_sensitive": True, "leak": 0.01}, {"frequency": True, "leak": 0.01}),
}


@pytest.mark.parametrize("units", [1, 7, 16, 33])
@pytest.mark.parametrize("rule", FAIR)
def test_fair_learning_is_the_slow_one(rule, units):
    spec, same = FAIR[rule]
    x = blobs(300, seed=units)
    ours = sl.Competitive(dim=3, units=units, learning_rate=0.2, seed=1, **spec)
    naive = NaiveFair(ours.weights.tolist(), 0.2, **same)
    responses = [naive.learn(row) for row in x.tolist()]
    assert ours.learn(x).winner.tolist() == [each.winner for each in responses]
    np.testing.assert_allclose(ours.weights, naive.weights, rtol=1e-3, atol=1e-4)


def test_where_plain_learning_leaves_units_dead_fair_learning_does_not():
    """All samples lie to one side of where the weights start: a plain net's first winner takes every one."""
    x = blobs(6000, seed=3) + 3

    def dead(**spec) -> int:
        net = sl.Competitive(dim=3, units=5, learning_rate=0.05, half_life=1000.0, seed=2, **spec)
        net.learn(x)
        return net.quality()["dead_units"]

    assert dead() == 4
    assert dead(leak=0.001) == 0
    assert dead(conscience=100.0, conscience_rate=0.001) == 0
    assert dead(frequency_sensitive=True) == 0
    assert dead(mode="gas", spread=sl.Decay(1.25, 0.5)) == 0


def test_frequencies_survive_a_long_stream():
    """n is halved at 2²⁰ where only ratios matter: float32 would stop counting at 2²⁴."""
    net = sl.Competitive(dim=1, units=2, learning_rate=0.0, frequency_sensitive=True)
    net.weights = [[0.0], [1.0]]
    net.state["share"].ravel()[:2] = [2.0**20 - 1, 2.0**19]
    net.learn([[0.0]])
    np.testing.assert_array_equal(net.state["share"].ravel()[:2], [2.0**19, 2.0**18])


def test_rules_that_exclude_each_other_are_refused():
    with pytest.raises(BadSpec, match="conscience or frequency_sensitive"):
        sl.Competitive(dim=1, units=2, conscience=1.0, frequency_sensitive=True)
    with pytest.raises(BadSpec, match="leak is for mode 'hard'"):
        sl.Competitive(dim=1, units=2, mode="soft", leak=0.1)
