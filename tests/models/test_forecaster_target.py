"""Least squares on a given target: against float64, and by what it promises."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec, BadValue
from streamlearn_client.outputs import NamedArrays
from tests.naive.forecaster_target import TargetPredictor


def streams(n: int, seed: int = 1, outputs: int = 2, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated channels, and targets that are lags of them with noise."""
    random = np.random.default_rng(seed)
    x = np.cumsum(random.normal(0, 0.1, (n, 2)), axis=0) + random.normal(0, 1, (n, 2)) + [100, -5]
    slow, y = x[0].copy(), np.empty((n, outputs))
    for t in range(n):
        slow += (x[t] - slow) / 30
        y[t] = (slow[0] + 2 * x[t, 1], 10 * slow[1] - x[max(t - 2, 0), 0])[:outputs]
    y += random.normal(0, 0.2, y.shape)
    x[random.random(x.shape) < missing] = np.nan
    y[random.random(y.shape) < missing] = np.nan
    return x.astype(np.float32), y.astype(np.float32)


def make(**spec) -> sl.RNN:
    return sl.RNN(**{"dim": 2, "target": "given", "outputs": 2, "hidden": 0, "lags": 3, "memory": 2, **spec})


RULES = {
    "default": {},
    "three steps": {"horizon": 3},
    "no mix": {"mix": False, "ridge": 1.0, "half_life": 100.0},
    "one lag": {"lags": 1, "memory": 3, "outputs": 1, "coverage": 0.5},
    "no averages": {"memory": 0, "clip": 1.0},
}


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("rule", RULES)
def test_predictions_and_bands_are_those_of_the_formulas(rule, missing):
    ours = make(**RULES[rule])
    spec, columns = ours.spec, ours.target_dim
    x, y = streams(400, outputs=columns, missing=missing)
    x[0] = 100, -5  # a channel without a value has no mean yet, in which the oracle differs
    oracle = TargetPredictor(
        2, columns, spec.lags, spec.memory, spec.horizon or 1, spec.half_life or 1400.0, spec.ridge or 0.1,
        spec.error_limit, spec.band_coverage, mixes=spec.mix,
    )  # fmt: skip
    x[250:270] += 8
    expected, half = np.empty((2, 400, (spec.horizon or 1) * columns))
    for t in range(400):
        expected[t], half[t] = oracle.predict(x[t])
        (oracle.watch if 250 <= t < 300 else oracle.learn)(y[t])
    parts = [ours.learn(x[:250], y[:250])]
    ours.pause()
    parts.append(ours.learn(x[250:300], y[250:300]))
    ours.resume()
    parts.append(ours.learn(x[300:], y[300:]))
    out = NamedArrays(**{name: np.concatenate([p.arrays[name] for p in parts]) for name in parts[0].arrays})
    prediction, upper = (array.reshape(400, -1) for array in (out.prediction, out.upper))
    np.testing.assert_allclose(prediction, expected, rtol=2e-5, atol=2e-3)
    np.testing.assert_array_equal(np.isnan(upper), np.isnan(half))
    same = np.isclose(upper, expected + half, rtol=1e-3, atol=1e-2, equal_nan=True)
    assert same.mean() > 0.99


def test_a_thermal_lag_of_400_samples_is_learned():
    random = np.random.default_rng(1)
    x, y = np.repeat(random.uniform(0, 1, 200), random.integers(1, 300, 200)), []
    level = 0.0
    for value in x:
        level += (value - level) / 400
        y.append(level)
    y = np.array(y)
    error = {}
    for name, spec in ("default", {}), ("without averages", {"memory": 0, "lags": 48, "mix": False}):
        out = sl.RNN(dim=1, target="given", **spec).learn(x[:, None], y[:, None])
        half = len(y) // 2
        error[name] = np.sqrt(np.mean((out.prediction[half:, 0] - y[half:]) ** 2)) / y[half:].std()
    assert error["default"] < 0.005
    assert error["without averages"] > 0.2


@pytest.mark.parametrize("target", ["mean", "last"])
def test_it_is_hardly_worse_than_the_naive_predictions(target):
    random, n = np.random.default_rng(2), 3000
    x = random.normal(size=(n, 2)).astype(np.float32)  # says nothing of y
    y = random.normal(size=n) if target == "mean" else np.cumsum(random.normal(size=n))
    out = sl.RNN(dim=2, target="given").learn(x, y[:, None])
    naive = np.abs(y - y.mean()) if target == "mean" else np.abs(np.diff(y, prepend=0))
    assert np.abs(out.prediction[50:, 0] - y[50:]).mean() < 1.05 * naive[50:].mean()


def test_a_new_key_has_the_relation_of_the_others():
    x, _ = streams(1200)
    y = x @ np.float32([[1, 0], [2, -1]]) + np.roll(x, 1, axis=0)
    net = make(keys=3, mix=False, memory=0)
    net.learn(x[:800], y[:800], keys="a")
    net.learn(x[800:], y[800:], keys="b")
    out = net.predict(x[:200], keys="new")
    error = np.abs(out.prediction[2:] - y[2:200]).mean()
    assert error < 0.05 * np.abs(y[2:200] - y.mean(axis=0)).mean()


def test_predict_continues_without_targets():
    x, y = streams(900)
    net = make(hidden=3)
    net.learn(x[:800], y[:800])
    before = net.state_hash()
    out = net.predict(x[800:])
    assert net.state_hash() == before
    assert out.prediction.shape == out.lower.shape == (100, 2)
    np.testing.assert_array_equal(out.prediction[:1], net.learn(x[800:801], y[800:801]).prediction)
    explained = net.explain(x[801:810], y[801:810])
    np.testing.assert_allclose(explained.contribution.sum(axis=1), 1, rtol=1e-6)
    assert np.isnan(explained.score).sum() == 0


def test_bands_of_every_step_cover_what_they_state():
    x, y = streams(12_000, outputs=1)
    net = make(outputs=1, horizon=4)
    out = net.learn(x, y)
    for h in range(4):
        n = len(y) - h
        inside = (out.lower[:n, h, 0] <= y[h:, 0]) & (y[h:, 0] <= out.upper[:n, h, 0])
        assert abs(inside[5000:].mean() - 0.9) < 0.01, h


def test_the_read_out_is_the_default_of_a_given_target():
    assert sl.RNN(dim=1, target="given").spec.least_squares
    for other in {"loss": "huber"}, {"cell": "gru"}, {"classes": 3, "loss": "cross_entropy"}:
        assert not sl.RNN(dim=1, target="given", **other).spec.least_squares


def test_what_it_does_not_have():
    with pytest.raises(BadValue, match="use predict"):
        make().forecast(3)
    with pytest.raises(BadSpec, match=r"features=\{'period': \[24\]\}"):
        make(period=24)
    with pytest.raises(BadSpec, match="residual=True needs target='next'"):
        make(residual=True)


def faulty_streams(fault: str) -> tuple[np.ndarray, np.ndarray]:
    """Three channels and a target, with a fault in samples 4000 … 4599."""
    random, n = np.random.default_rng(1), 7000
    t = np.arange(n)
    x = np.stack([np.sin(2 * np.pi * t / 50), np.cos(2 * np.pi * t / 130), random.normal(size=n)], axis=1)
    x += random.normal(0, 0.05, x.shape)
    y = x @ [[2.0], [1.0], [-0.5]] + random.normal(0, 0.1, (n, 1))
    during = slice(4000, 4600)
    if fault == "shift":
        x[during] += 20
    elif fault == "shift of a channel":
        x[during, 0] += 3
    elif fault == "stuck":
        x[during] = x[3999]
    elif fault == "wide":
        x[during] *= 10
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("fault", ["none", "shift", "shift of a channel", "stuck", "wide"])
@pytest.mark.parametrize("target", ["given", "next"])
def test_a_watched_fault_is_forgotten(fault, target):
    x, y = faulty_streams(fault)
    net = sl.RNN(dim=3, target=target, learn_for=3500)
    out = net.learn(x, y) if target == "given" else net.learn(x)
    assert out.watched[3500:].all()
    # Twice the same phase of both waves. Stuck values are as usual as others: the averages have them at first
    begins = [5700] if fault == "stuck" and target == "given" else [4650, 5700]
    before = out.error[2700:4000].mean()
    assert before < (0.1 if target == "given" else 0.5)
    for begin in begins:
        assert out.error[begin : begin + 1300].mean() < 1.1 * before


@pytest.mark.parametrize("seed", range(3))
def test_the_errors_of_slow_averages_are_no_reason_to_watch(seed):
    x, y = faulty_streams("none")
    x[:, 2] = np.random.default_rng(seed).permutation(x[:, 2])
    y[:, 0] = x @ [2.0, 1.0, -0.5] + np.random.default_rng(seed + 10).normal(0, 0.1, len(x))
    out = sl.RNN(dim=3, target="given", learn_below=0.99).learn(x, y)
    assert out.error[1000:].mean() < 0.1
    assert out.watched.mean() < 0.03
