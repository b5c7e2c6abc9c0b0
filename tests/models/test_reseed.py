"""After a drift alarm: dead units move to where the error is, and the model recovers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models
from streamlearn.errors import BadSpec
from streamlearn.kernels.maps import reseed as kernels
from streamlearn.kernels.maps.winner import MEASURES
from streamlearn.kernels.stream import scaling
from streamlearn.models import lane_layout

DRIFT = {"drift_block": 8, "drift_rest": 16}
CHANGE = 6000


def clusters(seed: int = 0, n: int = 12_000) -> np.ndarray:
    """Return eight clusters that jump to other places at CHANGE."""
    random = np.random.default_rng(seed)
    centres = 2 * random.normal(size=(2, 8, 6))
    which = random.integers(0, 8, n)
    x = centres[(np.arange(n) >= CHANGE).astype(int), which] + 0.3 * random.normal(size=(n, 6))
    return x.astype(np.float32)


def distances(x: np.ndarray, w: np.ndarray, measure: str) -> np.ndarray:
    """Return the distance of each sample to each weight vector, over the channels that are present."""
    found = np.empty((len(x), len(w)))
    for i, sample in enumerate(x):
        present = ~np.isnan(sample)
        difference = np.abs(sample[present] - w[:, present].astype(np.float64))
        if measure == "euclidean":
            found[i] = np.sqrt((difference**2).sum(axis=1) * x.shape[1] / max(1, present.sum()))
        else:
            found[i] = difference.sum(axis=1) * x.shape[1] / max(1, present.sum())
        if not present.any():
            found[i] = np.nan
    return found


def moves(x: np.ndarray, w: np.ndarray, hits: np.ndarray, goal: float, measure: str) -> list[tuple[int, int]]:
    """Return the units that move, and the sample to which each moves, in order."""
    found = distances(x, w, measure)
    valid = ~np.isnan(found[:, 0])
    winner = np.where(valid, np.nan_to_num(found).argmin(axis=1), -1)
    error = found.min(axis=1)
    dead = sorted(set(range(len(w))) - set(winner.tolist()), key=lambda j: (hits[j], j))
    filled = np.where(np.isnan(x), w[winner], x)
    between = distances(x, filled, measure) ** 2
    between[:, ~valid] = np.inf
    result = []
    while dead and np.mean(error[valid] ** (2 / 3)) > goal:
        gain = np.maximum(0, error[valid, None] ** 2 - between[valid]).sum(axis=0)
        best = int(gain.argmax())
        error = np.fmin(error, np.sqrt(between[:, best]))
        result.append((dead.pop(0), best))
    return result


@pytest.mark.parametrize("measure", ["euclidean", "manhattan"])
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("goal", [0.0, 1.0, 100.0])
def test_the_moves_equal_the_oracle(measure, missing, goal):
    random = np.random.default_rng(5)
    x = (random.integers(0, 5, (60, 1)) * 3 + random.normal(size=(60, 3))).astype(np.float32)
    x[random.random(x.shape) < missing] = np.nan
    w, hits = random.normal(size=(20, 3)).astype(np.float32), np.append(random.random(20), 1.0)
    hits[[3, 7]] = hits[11]
    expected = moves(x, w, hits[:-1], goal, measure)
    assert bool(expected) == (goal < 100)
    weights, pad = lane_layout.to_groups(w), lane_layout.group_columns(np.zeros((20, 1)))[0]
    moved, statistics = np.zeros(60, np.int64), np.zeros((scaling.ROWS, 3))
    count = kernels.reseed(
        x, scaling.NONE, statistics, np.inf, weights, pad, MEASURES[measure], hits, goal, moved
    )
    assert moved[:count].tolist() == [unit for unit, _ in expected]
    found = lane_layout.from_lanes(weights, 20)
    for unit, sample in expected:
        present = ~np.isnan(x[sample])
        assert np.array_equal(found[unit, present], x[sample, present])
        assert hits[unit] == 0
    rest = np.setdiff1d(np.arange(20), moved[:count])
    assert np.array_equal(found[rest], w[rest])


@pytest.mark.parametrize("mode", ["hard", "soft", "gas"])
def test_a_competitive_net_recovers_from_a_jump_of_its_clusters(mode):
    x = clusters()
    spec = {"dim": 6, "units": 10, "mode": mode, "scale": "standard", "learning_rate": 0.02, **DRIFT}
    adapting, plain = sl.Competitive(**spec, on_drift="adapt"), sl.Competitive(**spec)
    error = [net.learn(x).distance for net in (adapting, plain)]
    assert adapting.quality()["drift_alarms"] == 1
    assert CHANGE < adapting.quality()["last_drift"] < CHANGE + 50
    before, after = slice(CHANGE - 2000, CHANGE), slice(CHANGE + 3000, CHANGE + 5000)
    assert error[0][:CHANGE].tobytes() == error[1][:CHANGE].tobytes()
    assert error[0][after].mean() < 1.2 * error[0][before].mean()
    assert error[0][after].mean() < error[1][after].mean()


def test_a_healthy_stream_moves_no_unit():
    x = clusters()[:CHANGE]
    net = sl.Competitive(dim=6, units=30, scale="standard", learning_rate=0.02, on_drift="reseed")
    net.learn(x[:-300])
    net._begin_reseeding(1.0)  # as after a false alarm; the level is below 1
    before = net.weights
    dead = set(net.dead_units.tolist())
    net.learn(x[-300:])
    assert net._reseeding is not None
    assert net._reseeding.state["reseed.counts"].tolist() == [44, 15]
    assert dead
    assert all(np.array_equal(net.weights[unit], before[unit]) for unit in dead)


SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "hard": ("competitive", {"units": 12, "on_drift": "adapt"}),
    "gas": ("competitive", {"units": 12, "mode": "gas", "on_drift": "reseed", "labels": 3}),
    "som": ("som", {"grid": (4, 5), "learning_rate": 0.02, "sigma": 1.0, "on_drift": "reseed"}),
    "som adapts": ("som", {"grid": (4, 5), "learning_rate": 0.02, "sigma": 1.0, "on_drift": "adapt"}),
    "gng": ("gng", {"max_units": 20, "on_drift": "adapt", "max_age": 5}),
}


@pytest.mark.parametrize("name", SPECS)
def test_any_split_is_the_same_model(name, tmp_path):
    kind, options = SPECS[name]
    spec = {"dim": 6, "scale": "standard", "half_life": 500.0, **DRIFT, **options}
    x = clusters(seed=3, n=8000)
    x[np.random.default_rng(4).random(x.shape) < 0.05] = np.nan
    whole, pieces = models.create(kind, spec), models.create(kind, spec)
    y = {"y": np.arange(len(x)) % 3} if options.get("labels") else {}
    expected = whole.learn(x, **y)
    cuts = np.sort(np.random.default_rng(6).integers(0, len(x), 60))
    drift = []
    for part in np.split(np.arange(len(x)), cuts):
        drift.append(pieces.learn(x[part], **{name: column[part] for name, column in y.items()}).drift)
        if part.size and part[0] > 6000 and pieces.samples % 2:
            pieces.save(tmp_path / "model")
            pieces = sl.load(tmp_path / "model")
    assert expected.drift.any()
    assert np.array_equal(np.concatenate(drift), expected.drift)
    assert pieces.state_hash() == whole.state_hash()
    assert list(whole.inconsistencies(whole.state)) == []


def test_a_gas_removes_dead_units_and_inserts_others():
    x = clusters(seed=1)
    spec = {"dim": 6, "max_units": 30, "scale": "standard", **DRIFT}
    adapting, plain = sl.GrowingNeuralGas(**spec, on_drift="adapt"), sl.GrowingNeuralGas(**spec)
    error = [net.learn(x).distance for net in (adapting, plain)]
    after = slice(CHANGE + 2000, CHANGE + 4000)
    assert error[0][after].mean() < error[1][after].mean()
    assert list(adapting.inconsistencies(adapting.state)) == []
    assert adapting.quality()["units"] == 30


def test_a_moved_unit_has_no_label():
    x = clusters()
    net = sl.Competitive(dim=6, units=12, labels=2, learning_rate=0.05, on_drift="reseed", **DRIFT)
    net.learn(x[:CHANGE], y=np.zeros(CHANGE))
    assert set(net.predict(x[:100]).label.tolist()) == {0}
    net.learn(x[CHANGE:])  # no labels
    assert -1 in net.predict(x[-300:]).label


def test_a_net_without_units_cannot_reseed():
    with pytest.raises(BadSpec, match="use 'adapt', or one of the kinds som, competitive, gng"):
        sl.RNN(dim=2, hidden=3, on_drift="reseed", readout="adam")
    assert sl.RNN(dim=2, hidden=3, on_drift="adapt", readout="adam").spec.reheats
