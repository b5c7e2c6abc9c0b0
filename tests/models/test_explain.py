"""Explanations against the formulas of each kind, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadShape
from tests.naive.explain import ErrorScale, shares
from tests.naive.relations import Relations, Stream

RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=(400, 6)) * [1, 2, 5, 0.1, 1, 30] + [0, 5, -7, 1, 0, 400]
X[RANDOM.random(X.shape) < 0.05] = np.nan


@pytest.mark.parametrize("distance", ["euclidean", "manhattan", "chebyshev", "cosine"])
def test_units(distance: str) -> None:
    som = sl.SOM(dim=6, grid=(4, 4), distance=distance, rare_below=0.0, seed=1)
    som.learn(X / 10)
    x = (X[:50] / 10).astype(np.float32)
    out, winner = som.explain(x), som.predict(x).winner
    for n in np.flatnonzero(winner >= 0):
        present, w = ~np.isnan(x[n]), som.weights.reshape(16, 6)[winner[n]].astype(float)
        values, expected = x[n].astype(float), w
        if distance == "cosine":
            expected = w * np.linalg.norm(values[present]) / np.linalg.norm(w[present])
        deviation = np.abs(values - expected) ** (1 if distance == "manhattan" else 2)
        assert out.contribution[n] == pytest.approx(shares(deviation), abs=1e-5)
        assert out.expected[n] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_scaled_units_expect_values_in_the_units_of_the_stream() -> None:
    som = sl.SOM(dim=6, grid=(4, 4), scale="standard", rare_below=0.0, seed=1)
    som.learn(X)
    out, winner = som.explain(X[:50]), som.predict(X[:50]).winner
    known = winner >= 0
    assert np.array_equal(out.expected[known], som.prototypes.reshape(16, 6)[winner[known]])
    assert np.array_equal(out.score, som.predict(X[:50]).score, equal_nan=True)


def test_a_sample_without_a_winner_and_one_without_deviation() -> None:
    som = sl.SOM(dim=2, grid=(1,), init=[[3.0, 4.0]])
    out = som.explain([[np.nan, np.nan], [3, 4], [np.nan, 4], [3, 9]])
    assert np.isnan(out.contribution[0]).all()
    assert np.isnan(out.expected[0]).all()
    assert out.contribution[1:].tolist() == [[0.5, 0.5], [0, 1], [0, 1]]
    assert out.expected[1:].tolist() == [[3, 4]] * 3


def test_huge_values_have_finite_shares() -> None:
    som = sl.SOM(dim=3, grid=(1,), init=[[0.0, 0.0, 0.0]])
    out = som.explain([[1e19, 1e19, 0]])
    assert out.contribution.tolist() == [[0.5, 0.5, 0]]


def test_targets_are_refused_where_samples_are_explained() -> None:
    with pytest.raises(BadShape, match="leave y out"):
        sl.SOM(dim=2, grid=(2,), labels=3).explain([[1, 2]], [[1]])


def test_hamming() -> None:
    lines = np.where(RANDOM.random((60, 12)) < 0.5, -1.0, 1.0)
    net = sl.HammingNet(dim=12, units=4, learning_rate=0.3, seed=1)
    net.learn(lines)
    x = lines[:20].copy()
    x[0, 3] = np.nan
    out, winner = net.explain(x), net.predict(x).winner
    for n in range(20):
        w = net.weights[winner[n]].astype(float)
        assert out.contribution[n] == pytest.approx(shares(np.maximum(0.5 - 0.5 * w * x[n], 0)), abs=1e-5)
        assert out.expected[n].tolist() == net.weights[winner[n]].tolist()


def test_grossberg() -> None:
    lines = (RANDOM.random((200, 10)) < 0.4).astype(float)
    net = sl.Grossberg(dim=10, layers=[[3, 2], [2]], seed=1)
    net.learn(lines)
    x = lines[:20].copy()
    x[0, 3] = np.nan
    out, winner = net.explain(x), net.predict(x).winner
    for n in range(20):
        active = np.nansum(x[n])
        if not active:
            continue
        units = net.weights[0][[winner[n, 0], 3 + winner[n, 1]]].astype(float)
        present = ~np.isnan(x[n])
        own = units / units[:, present].sum(axis=1, keepdims=True)
        assert out.contribution[n] == pytest.approx(shares(np.abs(x[n] / active - own).sum(axis=0)), abs=1e-5)
        assert out.expected[n] == pytest.approx(np.minimum(active * own, 1).mean(axis=0), abs=1e-5)


def test_malsburg() -> None:
    bars = sl.Malsburg.bars()
    net = sl.Malsburg(dim=bars.shape[1], seed=1)
    net.learn(np.tile(bars, (5, 1)))
    x = bars * RANDOM.uniform(0.5, 2, bars.shape)
    out, predicted = net.explain(x), net.predict(x)
    for n in np.flatnonzero(predicted.winner >= 0):
        s, a = net.weights[predicted.winner[n]].astype(float), x[n]
        parts = (a / np.linalg.norm(a) - s / np.linalg.norm(s)) ** 2
        assert parts.sum() == pytest.approx(2 * predicted.distance[n], abs=1e-4)
        assert out.contribution[n] == pytest.approx(shares(parts), abs=1e-4)
        assert out.expected[n] == pytest.approx(s * np.linalg.norm(a) / np.linalg.norm(s), abs=1e-4)


def test_a_cognitron_expects_the_patterns_that_it_learned() -> None:
    bars = np.eye(12)[1::3].repeat(12, axis=1)  # four horizontal bars of a picture of 12 × 12
    net = sl.Cognitron(dim=144, shape=(12, 12), layers=2)
    net.learn(np.tile(bars, (20, 1)))
    out = net.explain(bars)
    assert np.abs(out.expected - bars).mean() < 0.05
    broken = bars.copy()
    rows, spots = np.arange(4), np.array([18, 54, 90, 126])
    assert (broken[rows, spots] == 1).all()
    broken[rows, spots] = 0  # one pixel of each bar is dark
    found = net.explain(broken)
    assert found.contribution.argmax(axis=1).tolist() == spots.tolist()
    assert (found.expected[rows, spots] > 0.5).all()


FORECASTS = [
    {"readout": "adam", "hidden": 4, "scale": "standard", "alarm": {}},
    {"readout": "rls", "lags": 4, "hidden": 0},
]


@pytest.mark.parametrize("spec", FORECASTS, ids=["adam with alarms", "rls"])
@pytest.mark.parametrize("half_life", [50.0, 10_000.0])
def test_forecast(half_life: float, spec: dict[str, Any]) -> None:
    x = RANDOM.normal(size=(400, 3)) * [1, 10, 0.1] + [0, 100, 0]
    x[:, 1] += 8 * x[:, 0]
    x[100:110, 1] += 1e4  # outliers
    x[200, 2] = np.nan
    x[250] = np.nan
    x[300:350, 2] = x[299, 2]  # stuck
    x = x.astype(np.float32)
    net = sl.RNN(dim=3, half_life=half_life, seed=1, **spec)
    net.explains_learning = True
    learn, kept = net._learn, []

    def keep(batch):  # alarms take the contributions out of the outputs
        out = learn(batch)
        kept.append(out.arrays["contribution"])
        return out

    net._learn = keep
    out = net.learn(x)
    (contribution,) = kept
    naive, stream = Relations(3, 2.0 ** (-1 / half_life)), Stream(3)
    for n, (forecast, row) in enumerate(zip(out.prediction, x, strict=True)):
        distance, parts = naive.compare(stream, forecast, row)
        assert out.distance[n] == pytest.approx(distance, rel=2e-3, nan_ok=True), n
        if not np.isnan(distance):
            assert contribution[n] == pytest.approx(shares(parts), abs=2e-3), n
        naive.observe(stream, row)
        naive.advance(stream, row)
    assert np.isnan(contribution[0]).all()
    assert (contribution[310:330].argmax(axis=1) == 2).mean() > 0.9
    explained = net.explain(x[:3])
    assert explained.expected[0].tolist() == net.forecast(1)[0].tolist()
    assert explained.expected[1:].tolist() == net.predict(x[:3]).prediction[:2].tolist()


def test_forecast_of_a_net_without_alarms() -> None:
    x = (RANDOM.normal(size=(400, 3)) * [1, 10, 0.1] + [0, 100, 0]).astype(np.float32)
    x[100:110, 1] += 1e4  # outliers
    x[200, 2] = np.nan
    net = sl.RNN(readout="adam", dim=3, hidden=4, half_life=50, scale="standard", seed=1)
    net.explains_learning = True
    out, scale = net.learn(x), ErrorScale(3, 2.0 ** (-1 / 50))
    assert "distance" not in out.arrays
    for n in range(1, 400):
        errors = out.prediction[n].astype(float) - x[n]
        expected = shares((errors / scale.usual(x[n])) ** 2)
        assert out.contribution[n] == pytest.approx(expected, abs=1e-4), n
        scale.observe(errors, x[n])
    assert np.isnan(out.contribution[0]).all()


def test_a_flat_start_does_not_spoil_the_score() -> None:
    x = np.random.default_rng(1).normal(size=(1500, 4))
    x[:6, 1] = 0.0
    faults = np.arange(300, 1500, 50)
    x[faults, 2] += 8
    out = sl.RNN(dim=4, lags=4, hidden=0).learn(x)
    assert out.distance[1:20].max() < 20
    assert (out.score[faults] > 0.95).all()  # one sample in 50 is a fault


def test_relations_of_more_channels_than_a_group() -> None:
    x = RANDOM.normal(size=(300, 2)) @ RANDOM.normal(size=(2, 40)) + 0.1 * RANDOM.normal(size=(300, 40))
    x = x.astype(np.float32)
    net = sl.RNN(dim=40, lags=2, hidden=0)
    out = net.learn(x)
    naive, stream = Relations(40, net.decay), Stream(40)
    for n, (forecast, row) in enumerate(zip(out.prediction, x, strict=True)):
        assert out.distance[n] == pytest.approx(
            naive.compare(stream, forecast, row)[0], rel=2e-3, nan_ok=True
        )
        naive.observe(stream, row)
        naive.advance(stream, row)


def test_each_key_has_a_level_of_its_own() -> None:
    x = RANDOM.normal(size=(600, 2)) + np.outer(np.arange(600) % 3, [100, 1000])
    keys = np.arange(600) % 3
    net = sl.RNN(dim=2, lags=2, hidden=0, keys=3)
    out = net.learn(x, keys=keys)
    x, naive, streams = x.astype(np.float32), Relations(2, net.decay), [Stream(2) for _ in range(3)]
    for n, (forecast, row) in enumerate(zip(out.prediction, x, strict=True)):
        stream = streams[keys[n]]
        assert out.distance[n] == pytest.approx(
            naive.compare(stream, forecast, row)[0], rel=2e-3, nan_ok=True
        )
        naive.observe(stream, row)
        naive.advance(stream, row)


def test_a_given_target_is_explained_by_its_columns() -> None:
    x = RANDOM.normal(size=(300, 4))
    y = (x[:, :2] * [1, 10]).astype(np.float32)
    y[100:110, 1] += 1e4  # outliers
    net = sl.RNN(readout="adam", dim=4, target="given", outputs=2, hidden=8, half_life=50, seed=1)
    scale = ErrorScale(2, 2.0 ** (-1 / 50))
    for n in range(300):
        out = net.explain(x[n], y[n])
        errors = out.expected[0].astype(float) - y[n]
        assert out.contribution[0] == pytest.approx(shares((errors / scale.usual(y[n])) ** 2), abs=1e-4), n
        scale.observe(net.learn(x[n], y[n]).prediction[0].astype(float) - y[n], y[n])
    wrong = y[:5].copy()
    wrong[2, 1] += 3000
    out, predicted = net.explain(x[:5], wrong), net.predict(x[:5])
    assert np.array_equal(out.expected, predicted.prediction)
    assert out.contribution[2, 1] > 0.99
    assert np.isnan(net.explain(x[:5]).contribution).all()
    assert np.array_equal(net.explain(x[:5]).expected, predicted.prediction)


def test_a_class_has_the_whole_contribution_and_the_most_probable_one_is_expected() -> None:
    x = RANDOM.normal(size=(400, 2))
    y = (x[:, :1] > 0).astype(float)
    net = sl.RNN(readout="adam", dim=2, target="given", classes=2, loss="cross_entropy", hidden=8, seed=1)
    net.learn(x, y)
    out = net.explain(x[:20], y[:20])
    assert out.expected[:, 0].tolist() == net.predict(x[:20]).prediction.argmax(axis=1).tolist()
    assert out.contribution.tolist() == [[1.0]] * 20


def test_keys_are_explained_each_from_its_own_state() -> None:
    x, keys = RANDOM.normal(size=(200, 2)), np.arange(200) % 3
    net = sl.RNN(readout="adam", dim=2, keys=3, hidden=4, seed=1)
    net.learn(x, keys=keys)
    out = net.explain(x[:30], keys=keys[:30])
    for key in range(3):
        alone = net.explain(x[:30][keys[:30] == key], keys=key)
        assert np.array_equal(out.expected[keys[:30] == key], alone.expected)
        assert np.array_equal(out.contribution[keys[:30] == key], alone.contribution)


def test_a_bidirectional_net_explains_the_samples_that_are_complete() -> None:
    x = RANDOM.normal(size=(400, 3))
    y = (np.roll(x[:, :1], -1) * [1, 5])[:, :2]
    net = sl.BidirectionalRNN(dim=3, hidden=6, outputs=2, chunk=(8, 2), seed=1)
    net.learn(x, y)
    waiting = net.quality()["waiting"]
    late = y[:40].copy()
    late[10, 1] += 1000
    out, predicted = net.explain(x[:40], late), net.predict(x[:40])
    assert np.array_equal(out.sample, predicted.sample)
    assert np.array_equal(out.expected, predicted.prediction)
    (row,) = np.flatnonzero(out.sample == 400 + 10)
    assert waiting > 0
    assert out.contribution[row, 1] > 0.99


def test_features_count_for_their_channels() -> None:
    x = RANDOM.normal(size=(500, 3))
    som = sl.SOM(dim=3, grid=(4, 4), scale="standard", features={"lags": [1], "calendar": ["hour"]}, seed=1)
    som.learn(x, times=np.arange(500) * 60.0)
    late = x[:4].copy()
    late[1, 2] = 50
    late[3, 0] = np.nan
    out = som.explain(late, times=500 * 60.0 + np.arange(4) * 60)
    assert out.expected.shape == out.contribution.shape == (4, 3)
    assert out.contribution.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-6)
    assert out.contribution[1:3].argmax(axis=1).tolist() == [2, 2]  # the second has it as a lag
    assert out.contribution[3, 0] == 0
    for readout, features in (("adam", {"lags": [2]}), ("rls", {"calendar": ["hour"]})):
        net = sl.RNN(readout=readout, dim=3, features=features, seed=1)
        net.learn(x, times=np.arange(500) * 60.0)
        times = 500 * 60.0 + np.arange(4) * 60
        found, predicted = net.explain(late, times=times), net.predict(late, times=times)
        assert found.contribution[1, 2] > 0.9
        assert found.score[1] == predicted.score[1]
        assert predicted.error[1] == pytest.approx(
            np.sqrt(np.mean((predicted.prediction[0] - late[1]) ** 2)), rel=1e-4
        )
