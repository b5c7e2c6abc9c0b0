"""The score compares a sample with common units: by hand, and on faults that have units of their own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import streamlearn as sl

UNITS = [[0.0, 0.0], [4.0, 0.0], [0.0, 10.0]]


def fixed_net(**spec) -> sl.Competitive:
    """Three units that do not move, after 60, 60 and 8 samples near them."""
    net = sl.Competitive(dim=2, units=3, init=UNITS, learning_rate=0.0, **spec)
    random = np.random.default_rng(1)
    which = random.permutation(np.repeat([0, 1, 2], [60, 60, 8]))
    net.learn(np.array(UNITS)[which] + 0.5 * random.normal(size=(128, 2)))
    return net


def test_a_unit_of_few_samples_is_rare():
    """n̄ ≈ (60² + 60² + 8²)/128 = 57: at ρ = 0.4 the third unit is rare, at 0.1 it is not."""
    at_a_rare_unit, near_a_common_unit = [0.0, 10.0], [4.0, 0.1]
    net = fixed_net()
    out = net.predict([at_a_rare_unit, near_a_common_unit])
    assert out.winner.tolist() == [2, 1]
    assert out.distance.tolist() == pytest.approx([0, 0.1])
    assert out.score[0] > 0.85 > 0.5 > out.score[1]
    explained = net.explain([at_a_rare_unit, near_a_common_unit])
    assert explained.expected.tolist() == UNITS[:2]
    assert explained.contribution.tolist() == [[0, 1], [0, 1]]
    assert explained.score.tolist() == out.score.tolist()
    for rare_below in (0.1, 0.0):
        assert fixed_net(rare_below=rare_below).predict([at_a_rare_unit]).score[0] < 0.1


def test_units_with_new_weights_are_common():
    net = fixed_net()
    net.weights = UNITS
    assert net.predict([UNITS[2]]).score[0] < 0.1


def test_what_is_watched_does_not_become_common():
    net = fixed_net()
    net.pause()
    net.learn(np.tile(UNITS[2], (1000, 1)))
    net.resume()
    net.learn(np.tile(UNITS[0], (64, 1)))
    assert net.predict([UNITS[2]]).score[0] > 0.9


MODELS = {
    "hard": lambda **spec: sl.Competitive(dim=6, units=50, **spec),
    "gas": lambda **spec: sl.Competitive(dim=6, units=50, mode="gas", **spec),
    "gng": lambda **spec: sl.GrowingNeuralGas(dim=6, max_units=50, **spec),
}


@pytest.mark.parametrize("kind", MODELS)
def test_faults_that_come_again_stay_unusual(kind):
    """Eight clusters, and five of faults with 1 % of the samples each, which have units of their own."""
    random = np.random.default_rng(2)
    fault = random.random(20_000) < 0.05
    which = np.where(fault, 8 + random.integers(5, size=fault.size), random.integers(8, size=fault.size))
    x = 2.5 * random.normal(size=(13, 6))[which] + 0.3 * random.normal(size=(fault.size, 6))
    auc = {
        rare_below: roc_auc_score(fault[5000:], MODELS[kind](rare_below=rare_below).learn(x).score[5000:])
        for rare_below in (0.0, 0.5)
    }
    assert auc[0.0] < 0.8
    assert auc[0.5] > 0.97
