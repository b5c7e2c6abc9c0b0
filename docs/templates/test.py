"""The template against an oracle in float64."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from tests.naive.near_ties import assert_same_until_near_tie
from tests.naive.template import NaiveTemplate


@pytest.mark.parametrize("scale", [None, "standard", "ewma", "minmax"])
def test_equals_the_oracle(scale):
    x = np.random.default_rng(1).normal(size=(150, 3)).astype(np.float32)
    model = sl.Template(dim=3, units=19, learning_rate=sl.Decay(0.5, 0.02, 50), seed=2, scale=scale)
    oracle = NaiveTemplate(model.weights.tolist(), (0.5, 0.02, 50), scale=scale)
    assert_same_until_near_tie(model, oracle, x, at_least=100)


def test_the_lower_index_of_equal_distances_wins():
    net = sl.Template(dim=1, units=2, learning_rate=0.5, init=[[1.0], [-1.0]])
    assert net.learn([[0.0]]).winner.tolist() == [0]
    assert net.weights.ravel().tolist() == [0.5, -1.0]
