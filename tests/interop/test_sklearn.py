"""The estimator checks of scikit-learn, and estimators compared with their models."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import streamlearn as sl
from streamlearn.errors import BadSpec
from streamlearn.interop.sklearn import (
    CompetitiveClusterer,
    GrowingNeuralGasClusterer,
    OutlierDetector,
    RNNRegressor,
    SOMClusterer,
)

# Checks that do not apply, and why.
IN_ORDER = "rows are consecutive samples of a stream: an output depends on earlier rows"
MISSING = "NaN in y is a missing target, which is not learned; infinity is refused"
GAPS = "labels are unit numbers; a unit that is nearest to no row leaves a gap"
FEW = "by default 1 % of recent rows are outliers, and the unusual rows of these 300 were learned at first"
NOT_FOR_AN_RNN = {
    "check_methods_sample_order_invariance": IN_ORDER,
    "check_methods_subset_invariance": IN_ORDER,
    "check_supervised_y_no_nan": MISSING,
}
ESTIMATORS = {
    "a chain": (SOMClusterer(grid=(3,)), {}),
    "a map of many units": (SOMClusterer(), {"check_clustering": GAPS}),
    "three prototypes": (CompetitiveClusterer(units=3), {}),
    "more prototypes than clusters": (CompetitiveClusterer(), {"check_clustering": GAPS}),
    "a growing gas": (GrowingNeuralGasClusterer(), {}),
    "outliers of a map": (
        OutlierDetector(),
        {"check_outliers_train": FEW, "check_outliers_fit_predict": FEW},
    ),
    "a lower threshold": (OutlierDetector(CompetitiveClusterer(), threshold=0.9), {}),
    "a recurrent net": (RNNRegressor(hidden=8), NOT_FOR_AN_RNN),
}
SKIPPED = {  # checks that scikit-learn skips unless something else is installed or set
    "check_array_api_input",
    "check_classifier_data_not_an_array",
    "check_regressor_data_not_an_array",
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimator_checks(name):
    estimator, reasons = ESTIMATORS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, expected_failed_checks=reasons, on_fail=None, on_skip=None)
    by_status: dict[str, set[str]] = {}
    for result in results:
        by_status.setdefault(result["status"], set()).add(result["check_name"])
    assert "failed" not in by_status, [result for result in results if result["status"] == "failed"]
    assert len(by_status["passed"]) > 35
    assert by_status.get("xfail", set()) == reasons.keys()
    assert by_status.get("skipped", set()) <= SKIPPED


def blobs(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, n)
    return np.array([[0, 0], [9, 0], [0, 9], [9, 9]])[labels] + random.normal(size=(n, 2)), labels


CLUSTERERS = {
    "som": (SOMClusterer(grid=(3, 4), learning_rate=0.1, seed=3), sl.SOM, {"grid": (3, 4)}),
    "competitive": (
        CompetitiveClusterer(units=12, mode="gas", learning_rate=0.1, seed=3),
        sl.Competitive,
        {"units": 12, "mode": "gas"},
    ),
    "gng": (
        GrowingNeuralGasClusterer(max_units=9, insert_every=20, learning_rate=0.1, seed=3),
        sl.GrowingNeuralGas,
        {"max_units": 9, "insert_every": 20},
    ),
}


@pytest.mark.parametrize("kind", CLUSTERERS)
def test_a_clusterer_equals_the_model(kind):
    estimator, model, spec = CLUSTERERS[kind]
    x, _ = blobs(300)
    x[::7, 0] = np.nan
    peer = model(dim=2, scale="standard", learning_rate=0.1, seed=3, **spec)
    peer.learn(x)
    whole = clone(estimator).fit(x)
    pieces = clone(estimator)
    for part in np.array_split(x, 7):
        pieces.partial_fit(part)
    for fitted in (whole, pieces, copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):  # noqa: S301
        assert fitted.model_.state_hash() == peer.state_hash()
        outputs = peer.predict(x)
        assert np.array_equal(fitted.predict(x), outputs.winner)
        assert np.array_equal(fitted.score_samples(x), -outputs.score.astype(float))
    assert np.array_equal(whole.labels_, peer.predict(x).winner)
    assert np.array_equal(pieces.labels_, peer.predict(x).winner[-len(part) :])
    assert whole.fit(x).model_.state_hash() == peer.state_hash()  # fit forgets


MODELS = {
    SOMClusterer: sl.SOM,
    CompetitiveClusterer: sl.Competitive,
    GrowingNeuralGasClusterer: sl.GrowingNeuralGas,
    RNNRegressor: sl.RNN,
}
EXCLUDED_PARAMETERS = {
    SOMClusterer: {"dim", "labels", "delay"},
    CompetitiveClusterer: {"dim", "labels", "delay"},
    GrowingNeuralGasClusterer: {"dim"},
    RNNRegressor: {
        *("dim target outputs horizon delay residual keys symbols classes".split()),
        *("readout period lags memory ridge mix replay".split()),  # of forecasts
    },
}


@pytest.mark.parametrize("estimator", EXCLUDED_PARAMETERS)
def test_an_estimator_has_all_other_parameters_of_the_model(estimator):
    model = MODELS[estimator]
    assert set(estimator().get_params()) == model.Spec.model_fields.keys() - EXCLUDED_PARAMETERS[estimator]
    with pytest.raises(TypeError, match=f"{estimator.__name__}: .*'dimm'; it takes .*half_life"):
        estimator(dimm=3)
    with pytest.raises(BadSpec, match="half_life"):
        estimator(half_life=-1.0).fit(np.zeros((3, 2)), np.zeros(3))


def test_common_parameters_reach_the_model():
    x, _ = blobs(400)
    given = {
        "init": "pca",
        "init_samples": 50,
        "drift": "page_hinkley",
        "learn_for": 300,
    }
    peer = sl.SOM(dim=2, grid=(3, 4), scale="standard", learning_rate=sl.Decay(0.5, 0.1, 50), **given)
    peer.learn(x)
    estimator = SOMClusterer(grid=(3, 4), learning_rate=sl.Decay(0.5, 0.1, 50), **given)
    assert clone(estimator).fit(x).model_.state_hash() == peer.state_hash()
    assert peer.quality()["watched_samples"] == 100


def test_a_copy_is_independent():
    x, _ = blobs(50)
    original = SOMClusterer(grid=(2, 2)).fit(x)
    before = original.model_.state_hash()
    copy.deepcopy(original).partial_fit(x)
    assert original.model_.state_hash() == before


def test_a_map_transforms_to_grid_coordinates():
    x, _ = blobs(200)
    som = SOMClusterer(grid=(3, 4)).fit(x)
    assert np.array_equal(som.transform(x), som.model_.predict(x).coords)
    assert som.get_feature_names_out().tolist() == ["somclusterer0", "somclusterer1"]


@pytest.mark.parametrize("grid", [5, (5,), [5], np.int64(5)])
def test_a_chain_transforms_to_its_coordinate(grid):
    x, _ = blobs(200)
    chain = SOMClusterer(grid=grid)
    assert chain.fit_transform(x).shape == (200, 1)
    assert chain.get_feature_names_out().tolist() == ["somclusterer0"]


def test_parameters():
    decay = sl.Decay(0.9, 0.1, 100)
    som = SOMClusterer(grid=(2, 2), learning_rate=decay)
    assert som.get_params()["learning_rate"] is decay
    assert clone(som).get_params() == som.get_params()
    som.set_params(grid=(2, 3), scale=None)
    som.fit(blobs(20)[0])
    assert som.model_.spec == sl.SOM(dim=2, grid=(2, 3), learning_rate=decay).spec
    detector = OutlierDetector(SOMClusterer()).set_params(estimator__grid=(2, 2))
    assert detector.fit(blobs(20)[0]).estimator_.model_.units == 4
    assert not hasattr(detector.estimator, "model_")


def test_parameters_are_those_of_the_spec():
    """The names and defaults are those of the spec."""
    own = {"scale", "grid", "units", "hidden"}  # standard scaling; sizes without a default in the model
    for estimator, model in MODELS.items():
        ours, fields = estimator().get_params(), model.Spec.model_fields
        assert ours.keys() <= fields.keys()
        for name in ours.keys() - own:
            assert ours[name] in (None, fields[name].default), name


def test_in_a_pipeline():
    x, labels = blobs(2000)
    found = make_pipeline(StandardScaler(), CompetitiveClusterer(units=4, mode="gas")).fit_predict(x)
    pairs = set(zip(found.tolist(), labels.tolist(), strict=True))
    assert len(pairs) < 10
    assert len({label for _, label in pairs}) == 4


@pytest.mark.parametrize(
    "estimator", [SOMClusterer(grid=(4, 4)), CompetitiveClusterer(), GrowingNeuralGasClusterer(), None]
)
def test_outliers(estimator):
    x, _ = blobs(3000)
    detector = OutlierDetector(estimator, threshold=0.98)
    for part in np.array_split(x, 5):
        detector.partial_fit(part)
    assert detector.predict([[4.5, 4.5], [40, -40], [np.nan, np.nan]]).tolist()[1:] == [-1, 1]
    fresh, _ = blobs(1000, seed=2)
    assert (detector.predict(fresh) == -1).mean() < 0.05
    assert np.array_equal(detector.predict(fresh) == -1, detector.score_samples(fresh) < -0.98)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, np.nan])
def test_a_threshold_outside_0_to_1_raises(threshold):
    with pytest.raises(BadSpec, match="threshold"):
        OutlierDetector(threshold=threshold).fit([[1.0], [2.0]])


def waves(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The target is the input three rows earlier, so the model needs memory."""
    x = np.random.default_rng(4).normal(size=(n, 1))
    return x, np.concatenate((np.zeros(3), x[:-3, 0]))


def test_a_regressor_equals_the_model_and_uses_its_memory():
    x, y = waves(6000)
    net = RNNRegressor(hidden=16, tbptt=(8, 8), seed=5)
    peer = sl.RNN(
        readout="adam", dim=1, hidden=16, tbptt=(8, 8), target="given", outputs=1, scale="standard", seed=5
    )
    net.fit(x[:2500], y[:2500]).partial_fit(x[2500:5000], y[2500:5000])
    peer.learn(x[:5000], y[:5000])
    assert net.model_.state_hash() == peer.state_hash()
    before = net.model_.state_hash()
    assert net.score(x[5000:], y[5000:]) > 0.8
    assert np.array_equal(net.predict(x[5000:]), peer.predict(x[5000:]).prediction[:, 0])
    assert net.model_.state_hash() == before


def test_a_regressor_accepts_several_targets_and_missing_ones():
    x, y = waves(200)
    targets = np.stack((y, -y), axis=1)
    targets[::5] = np.nan
    net = RNNRegressor(hidden=4).fit(x, targets)
    assert net.predict(x).shape == (200, 2)
    assert np.isfinite(net.predict(x)).all()
    with pytest.raises(ValueError, match="infinity"):
        net.fit(x, np.full(200, np.inf))
    with pytest.raises(ValueError, match="inconsistent"):
        net.fit(x, y[:-1])
    with pytest.raises(ValueError, match="requires y"):
        net.fit(x, None)


def test_a_search_over_parameters():
    x, y = waves(400)
    grid = {"hidden": [2, 4], "cell": ["elman", "lstm"]}
    search = GridSearchCV(RNNRegressor(), grid, cv=TimeSeriesSplit(2), error_score="raise").fit(x, y)
    assert search.best_params_.keys() == grid.keys()


def test_predict_of_an_unfitted_estimator_raises():
    for estimator in (*(cls() for cls in MODELS), OutlierDetector()):
        with pytest.raises(NotFittedError):
            estimator.predict([[1.0]])


def test_another_number_of_columns_raises():
    net = CompetitiveClusterer().partial_fit([[1.0, 2.0]])
    with pytest.raises(ValueError, match="3 features"):
        net.partial_fit([[1.0, 2.0, 3.0]])


def test_an_invalid_parameter_raises_in_fit():
    with pytest.raises(BadSpec, match="topology"):
        SOMClusterer(topology="round").fit([[1.0]])
    with pytest.raises(BadSpec, match=r"take loss 'mse' or 'huber', or for classes sl\.RNN"):
        RNNRegressor(loss="cross_entropy").fit([[1.0]], [0.0])


def test_missing_scikit_learn_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "streamlearn.interop.sklearn")
    with pytest.raises(ImportError, match=r"streamlearn\[sklearn\]"):
        importlib.import_module("streamlearn.interop.sklearn")
