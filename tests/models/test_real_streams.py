"""Real streams, every sample judged before it is learned: what the models are good for, beside river's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import streamlearn as sl
from benchmarks import streams


@pytest.fixture(scope="module")
def shuttle():
    return streams.shuttle()


@pytest.fixture(scope="module")
def water():
    return streams.water()


def test_the_maps_score_finds_the_shuttles_anomalies_better_than_rivers_trees(shuttle):
    ours, theirs = streams.map_auc(shuttle), streams.trees_auc(shuttle)
    assert ours >= 0.98
    assert 0.95 < theirs < 0.97  # the peer is what it is known to be


def test_so_it_does_with_nothing_but_defaults(shuttle):
    som = sl.SOM(dim=9, grid=(10, 10))
    assert roc_auc_score(shuttle.anomaly, som.learn(shuttle.x).score) >= 0.97


@pytest.mark.parametrize("scale", ["standard", "ewma"])
@pytest.mark.parametrize("grid", [(8, 8), (10, 10), (12, 12)], ids=str)
def test_neither_size_nor_seed_decides(shuttle, grid, scale):
    aucs = [streams.map_auc(shuttle, grid, scale=scale, seed=seed) for seed in (1, 2)]
    assert min(aucs) >= 0.97
    assert np.ptp(aucs) < 0.002


@pytest.mark.parametrize("seed", range(5))
def test_the_lstm_forecasts_the_flow_better_than_persistence_and_rivers_models(water, seed):
    ours = streams.mean_absolute_error(water, streams.lstm(water, seed))
    last = streams.mean_absolute_error(water, streams.persistence(water))
    assert last == pytest.approx(0.4792, abs=1e-4)
    assert ours < 0.93 * last
    for name in streams.RIVER_MODELS:
        assert ours < streams.mean_absolute_error(water, streams.river_forecast(water, name)), name


def test_a_forecast_knows_nothing_of_what_it_is_for(water):
    """Other readings from some hour on change no forecast up to that hour's."""
    flow = water.flow.copy()
    flow[900:] = 50.0
    before, after = streams.lstm(water), streams.lstm(water._replace(flow=flow))
    assert np.array_equal(before[:901], after[:901], equal_nan=True)
    assert not np.array_equal(before[901:], after[901:])
