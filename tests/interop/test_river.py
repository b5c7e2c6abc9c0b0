"""The checks of river, and wrappers compared with their models."""

from __future__ import annotations

import copy
import importlib
import math
import pickle
import random
import sys
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
from river import checks, datasets, evaluate, metrics, preprocessing, utils

import streamlearn as sl
from streamlearn.errors import BadSpec, BadValue
from streamlearn.interop.river import AnomalyDetector, Clusterer, Regressor

MODELS = {
    "som": Clusterer("som", grid=(3, 3), scale="standard"),
    "competitive": Clusterer("competitive", units=4, scale="standard"),
    "gng": Clusterer("gng", scale="standard"),
    "hamming": Clusterer("hamming", units=4, threshold=0.5),
    "grossberg": Clusterer("grossberg", layers=[[4]], threshold=0.5),
    "anomalies": AnomalyDetector("som", grid=(5, 5), scale="standard"),
    "forecasts": AnomalyDetector("rnn", readout="adam", hidden=4, scale="standard"),
    "regression": Regressor("rnn", readout="adam", hidden=8, scale="standard"),
}


class FirstRows:
    """Repeat the first ``n`` rows of river's data."""

    def __init__(self, dataset, n: int) -> None:
        self.dataset, self.n = dataset, n

    def __iter__(self) -> Iterator:
        return islice(iter(self.dataset), self.n)


@pytest.mark.parametrize("name", MODELS)
def test_river_checks(name, monkeypatch):
    """Yield all checks, with bundled data: river downloads its data for anomaly detectors."""
    regression = name == "regression"
    data = datasets.TrumpApproval() if regression else datasets.Shuttle()
    monkeypatch.setattr(
        checks, "_yield_datasets", lambda model, scale=1: iter([FirstRows(data, 200 * scale)])
    )
    random.seed(1)
    names = set()
    for check in checks.yield_checks(MODELS[name]):
        check(MODELS[name].clone())
        names.add(check.__name__)
    assert len(names) > 20


def shuttle(n: int) -> tuple[list[dict[str, float]], np.ndarray, np.ndarray]:
    rows = list(islice(datasets.Shuttle(), n))
    names = sorted(rows[0][0])
    table = np.array([[x[name] for name in names] for x, _ in rows], np.float32)
    return [x for x, _ in rows], table, np.array([bool(label) for _, label in rows])


def test_scores_in_a_pipeline_on_the_shuttle():
    """Prequential scores over 5,000 rows rank the anomalies."""
    rows, _, anomalous = shuttle(5000)
    slow = {"sigma": sl.Decay(5, 1.5), "learning_rate": sl.Decay(0.5, 0.02)}
    detector = preprocessing.StandardScaler() | AnomalyDetector("som", grid=(10, 10), **slow)
    auc = evaluate.progressive_val_score(
        zip(rows, anomalous.tolist(), strict=True), detector, metrics.ROCAUC(n_thresholds=100)
    )
    assert auc.get() > 0.95


def test_a_pipeline_equals_the_model():
    rows, _, _ = shuttle(5000)
    scaler = preprocessing.StandardScaler()
    pipeline = preprocessing.StandardScaler() | Clusterer("competitive", units=8, learning_rate=0.05)
    peer = sl.Competitive(dim=9, units=8, learning_rate=0.05)
    for i, x in enumerate(rows):
        scaler.learn_one(x)
        scaled = scaler.transform_one(x)
        sample = [[scaled[name] for name in sorted(scaled)]]
        if i % 50 == 1:
            pipeline.predict_one(x)
        pipeline.learn_one(x)
        peer.learn(sample)
    assert pipeline["Clusterer"].model.state_hash() == peer.state_hash()
    assert pipeline.predict_one(x) == peer.predict(sample).winner[0]


def test_single_samples_equal_a_batch():
    rows, table, _ = shuttle(300)
    peer = sl.SOM(dim=9, grid=(4, 4), scale="standard")
    detector = AnomalyDetector("som", grid=(4, 4), scale="standard")
    scores = []
    for x in rows:
        scores.append(detector.score_one(x))
        detector.learn_one(x)
    expected = peer.learn(table).score
    assert scores[0] == 0.0
    assert np.array_equal(np.array(scores[1:], np.float32), expected[1:])
    assert detector.model.state_hash() == peer.state_hash()


def test_the_first_sample_defines_the_channels():
    net = Clusterer("competitive", units=3)
    net.learn_one({"b": 2.0, "a": 1.0, 3: 0.0})
    assert net.channels == (3, "a", "b")
    peer = sl.Competitive(dim=3, units=3)
    peer.learn([0.0, 1.0, 2.0])
    net.learn_one({"a": 5.0, "new": 7.0, "b": None})  # 3 is absent, b is missing, new is new
    peer.learn([np.nan, 5.0, np.nan])
    assert net.model.state_hash() == peer.state_hash()
    assert net.predict_one({"a": 5.0}) == peer.predict([np.nan, 5.0, np.nan]).winner[0]


def test_channels_can_be_named_in_advance():
    net = AnomalyDetector("som", ["x", "y"], grid=(2, 2))
    net.learn_one({"y": 1.0})
    assert net.channels == ("x", "y")
    assert net.model.dim == 2


def test_a_spec_with_a_fixed_dim_needs_named_channels():
    spec = {"patterns": [[1, 1, -1], [-1, 1, 1]]}
    names = ("a", "b", "c")
    net = AnomalyDetector("hamming", names, **spec)
    for _ in range(40):  # the first 16 scores are ½
        net.learn_one({"a": 1, "b": 1, "c": -1})
    assert net.score_one({"a": -1, "b": -1, "c": -1}) > net.score_one({"a": 1, "b": 1, "c": -1})
    with pytest.raises(BadSpec, match="dim is 1"):
        AnomalyDetector("hamming", **spec)


def test_an_empty_sample():
    rows, _, _ = shuttle(20)
    for model in (model.clone() for model in MODELS.values()):
        predict = model.score_one if isinstance(model, AnomalyDetector) else model.predict_one
        first = predict(rows[0])
        assert model.model is None
        assert first == (-1 if isinstance(model, Clusterer) else 0.0)
        for x in rows:
            model.learn_one(x, 1.0) if isinstance(model, Regressor) else model.learn_one(x)
        result = predict({})
        assert isinstance(result, (int, float))
        assert not math.isnan(result)
        assert result == first or isinstance(model, Regressor)


def test_regression_prequentially():
    """The target is the input two samples earlier, so the net needs memory."""
    x = np.random.default_rng(2).normal(size=4000)
    net = Regressor("rnn", readout="adam", hidden=16, tbptt=(8, 8))
    peer = sl.RNN(readout="adam", dim=1, hidden=16, tbptt=(8, 8), target="given", outputs=1)
    expected = peer.learn(x[2:, None], x[:-2, None]).prediction[:, 0]
    error = utils.Rolling(metrics.R2, window_size=1000)
    for i, (now, y) in enumerate(zip(x[2:].tolist(), x[:-2].tolist(), strict=True)):
        prediction = net.predict_one({"x": now})
        error.update(y, prediction)
        net.learn_one({"x": now}, y)
        assert i == 0 or prediction == pytest.approx(float(expected[i]), rel=1e-6)
    assert net.model.state_hash() == peer.state_hash()
    assert error.get() > 0.8


@pytest.mark.parametrize("name", MODELS)
def test_copies_learn_alike_and_independently(name):
    model = MODELS[name].clone()
    rows, _, _ = shuttle(60)

    def learn(wrapper, samples) -> None:
        for x in samples:
            wrapper.learn_one(x, x["f1"]) if isinstance(wrapper, Regressor) else wrapper.learn_one(x)

    learn(model, rows[:30])
    before = model.model.state_hash()
    copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]  # noqa: S301
    for copied in copies:
        learn(copied, rows[30:])
    assert model.model.state_hash() == before
    learn(model, rows[30:])
    assert {copied.model.state_hash() for copied in copies} == {model.model.state_hash()}
    assert model.clone().model is None


def test_an_invalid_spec_raises_in_the_constructor():
    with pytest.raises(BadSpec, match="grid"):
        Clusterer("som")
    with pytest.raises(BadSpec, match="perceptron"):
        Clusterer("perceptron")
    for kind, spec in ("rnn", {"readout": "adam", "hidden": 3}), ("grossberg", {"layers": [[2, 2]]}):
        with pytest.raises(BadSpec, match="no one winner; take som, competitive, gng, hamming, or grossberg"):
            Clusterer(kind, **spec)
    with pytest.raises(BadSpec, match="learns from x alone"):
        AnomalyDetector("rnn", readout="adam", hidden=3, target="given", outputs=1)
    with pytest.raises(BadSpec):
        Regressor("som", grid=(2, 2))
    with pytest.raises(BadSpec, match="at once"):
        Regressor("birnn", hidden=4)
    for wrapper in AnomalyDetector, Regressor, Clusterer:
        with pytest.raises(BadSpec, match="leave keys out") as refused:
            wrapper("rnn", readout="adam", hidden=4, keys=3)
        assert refused.value.detail["errors"][0]["field"] == "keys"


@pytest.mark.parametrize(("name", "value"), [("target", "later"), ("target", "next"), ("outputs", 2)])
def test_a_fixed_parameter_of_a_regressor_cannot_be_overridden(name, value):
    with pytest.raises(BadSpec, match=f"no spec of a Regressor: {name} is always .*: leave it out"):
        Regressor("rnn", readout="adam", hidden=4, **{name: value})
    assert (
        Regressor("rnn", readout="adam", hidden=4, target="given", outputs=1).clone().parameters["target"]
        == "given"
    )


@pytest.mark.parametrize("value", ["warm", [1.0, 2.0], 1e39, -math.inf, 10**400])
def test_an_invalid_value_raises_and_is_not_learned(value):
    net = Clusterer("competitive", units=3)
    net.learn_one({"a": 1.0, "b": 2.0})
    before = net.model.state_hash()
    fresh = net.clone()
    with pytest.raises(BadValue):
        fresh.learn_one({"a": 1.0, "b": value})
    assert (fresh.model, fresh.channels) == (None, ())
    for function in (net.learn_one, net.predict_one):
        with pytest.raises(BadValue, match="'b' is"):
            function({"a": 1.0, "b": value})
    assert net.model.state_hash() == before


def test_missing_river_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "river", None)
    monkeypatch.delitem(sys.modules, "streamlearn.interop.river")
    with pytest.raises(ImportError, match=r"streamlearn\[river\]"):
        importlib.import_module("streamlearn.interop.river")
