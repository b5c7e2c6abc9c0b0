"""``sl.RNN`` against the float64 reference and finite differences; documented behaviour."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlearn as sl
from streamlearn.errors import BadShape, BadSpec, BadValue
from tests.models.parameters import assert_same_parameters
from tests.naive.differences import differences
from tests.naive.rnn import Means, Net, Optimizer, Stream
from tests.naive.scale import Scaler
from tests.naive.score import Score

CELLS = ["elman", "lstm", "gru"]


def wave(n: int, dim: int, seed: int, missing: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = np.sin(np.arange(n)[:, None] * 0.4 + np.arange(dim)) + 0.2 * random.normal(size=(n, dim))
    return np.where(random.random(x.shape) < missing, np.nan, x).astype(np.float32)


def reference_of(net: sl.RNN) -> Stream:
    """Return the reference with the same parameters."""
    spec = net.spec
    optimizer = Optimizer(spec.optimizer, spec.learning_rate, spec.largest_norm)  # a constant rate
    return Stream(Net(dict(net.parameters), spec.cell, spec.layers), optimizer, *spec.tbptt)


# The reference against finite differences


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_of_the_reference_equals_finite_differences(cell, layers):
    random = np.random.default_rng(layers)
    net = Net(
        dict(sl.RNN(readout="adam", dim=2, hidden=3, layers=layers, cell=cell, seed=5).parameters),
        cell,
        layers,
    )
    inputs, targets = list(random.normal(size=(5, 2))), list(random.normal(size=(5, 2)))
    targets[3][1] = np.nan
    states = [(random.uniform(-1, 1, 3), random.uniform(-1, 1, 3)) for _ in range(layers)]
    gradient = net.gradient(inputs, targets, states)
    for name, expected in differences(net.p, lambda: net.loss(inputs, targets, states)).items():
        assert np.allclose(gradient[name], expected, rtol=1e-5, atol=1e-9), name


# sl.RNN against the reference

WINDOWS = [(1, 1), (4, 4), (1, 5), (3, 7), (16, 20)]
RULES = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
    "sgd, clipped": {"optimizer": "sgd", "learning_rate": 0.2, "clip": 0.1},
    "momentum": {"optimizer": "momentum", "learning_rate": 0.02},
    "rmsprop, clipped": {"optimizer": "rmsprop", "learning_rate": 0.001, "clip": 0.1},
    "adam": {"optimizer": "adam", "learning_rate": 0.003},
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("tbptt", WINDOWS, ids=str)
@pytest.mark.parametrize(("cell", "layers"), [(cell, n) for cell in CELLS for n in (1, 2, 3)])
def test_forecast_of_the_next_sample_equals_the_reference(cell, layers, tbptt, rule):
    ours = sl.RNN(
        readout="adam", dim=3, hidden=5, cell=cell, layers=layers, tbptt=tbptt, seed=1, **RULES[rule]
    )
    reference = reference_of(ours)
    x = wave(130, 3, seed=2, missing=0.15)
    out = ours.learn(x)
    expected = np.array([reference.learn(row) for row in x.astype(float)])
    assert np.allclose(out.prediction, expected, rtol=1e-3, atol=1e-4, equal_nan=True)
    squared = np.nansum((out.prediction - x.astype(float)) ** 2, axis=1)
    rows = np.flatnonzero(~np.isnan(x).all(axis=1))[1:]  # rows with an error
    assert np.allclose(out.error[rows], np.sqrt(squared[rows] / out.present[rows]), rtol=1e-5)
    assert np.isnan(np.delete(out.error, rows)).all()
    assert out.present.tolist() == (~np.isnan(x)).sum(axis=1).tolist()
    assert_same_parameters(ours, reference.net)
    assert ours.quality()["updates"] == 129 // tbptt[0]


@pytest.mark.parametrize("tbptt", WINDOWS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_prediction_of_given_targets_equals_the_reference(cell, tbptt):
    ours = sl.RNN(
        readout="adam",
        dim=2,
        hidden=18,
        cell=cell,
        tbptt=tbptt,
        target="given",
        outputs=3,
        seed=3,
        learning_rate=0.01,
    )
    reference = reference_of(ours)
    x, y = wave(100, 2, seed=4, missing=0.1), wave(100, 3, seed=5, missing=0.3)
    y[20:45] = np.nan  # longer than most windows, which then have no loss
    out = ours.learn(x, y)
    pairs = zip(x.astype(float), y.astype(float), strict=True)
    expected = np.array([reference.learn(*pair) for pair in pairs])
    assert np.allclose(out.prediction, expected, rtol=1e-3, atol=1e-4)
    assert np.isnan(out.error[20:45]).all()
    assert_same_parameters(ours, reference.net)


def test_a_decaying_learning_rate():
    decay = sl.Decay(0.3, 0.05, 20)
    ours = sl.RNN(readout="adam", dim=1, hidden=4, tbptt=(5, 5), optimizer="sgd", learning_rate=decay)
    reference = Stream(Net(dict(ours.parameters), "lstm", 1), Optimizer("sgd", 0.0, None), 5, 5)
    x = wave(101, 1, seed=6)
    ours.learn(x)
    for t, row in enumerate(x.astype(float)):
        reference.optimizer.rate = 0.05 + 0.25 * np.exp(-t / 20)
        reference.learn(row)
    assert_same_parameters(ours, reference.net)


@pytest.mark.parametrize("target", ["next", "given"])
@pytest.mark.parametrize("method", ["standard", "ewma", "minmax"])
def test_inputs_are_scaled_and_predictions_unscaled(method, target):
    """The reference learns the scaled stream. The statistics at a sample unscale its prediction."""
    outputs = {} if target == "next" else {"outputs": 2}
    ours = sl.RNN(
        readout="adam",
        dim=2, hidden=4, tbptt=(4, 4), learning_rate=0.01, scale=method, half_life=40.0, scale_clip=2.0,
        target=target, **outputs,
    )  # fmt: skip
    reference, score = reference_of(ours), Score(ours.scored_values)
    reference.means = Means(ours.decay, zero=method != "minmax")  # the other methods scale the mean to 0
    x_scaler, y_scaler = (Scaler(2, method, 2.0, ours.decay) for _ in range(2))
    x = wave(120, 2, seed=7, missing=0.1) * [1.0, 30.0] + [5.0, -100.0]
    y = np.roll(x, 3, axis=0) * 0.5
    x, y = x.astype(np.float32), y.astype(np.float32)
    out = ours.learn(x) if target == "next" else ours.learn(x, y)
    for i in range(len(x)):
        row, target_row = x[i].tolist(), (x if target == "next" else y)[i].tolist()
        scaled = np.array(x_scaler.scaled(row))
        if target == "next":
            scaler, prediction = x_scaler, reference.learn(scaled)
        else:
            scaler, prediction = y_scaler, reference.learn(scaled, np.array(y_scaler.scaled(target_row)))
        units = [channel.offset_and_width() for channel in scaler.channels]
        expected = [offset + width * value for (offset, width), value in zip(units, prediction, strict=True)]
        assert np.allclose(out.prediction[i], expected, rtol=1e-3, atol=1e-3, equal_nan=True), i
        error, present = float(out.error[i]), int(np.isfinite(target_row).sum())
        assert np.isclose(out.score[i], score.rank(error, present), atol=1e-4, equal_nan=True), i
        score.observe(error, present)
        x_scaler.observe(row)
        y_scaler.observe(target_row)
    assert_same_parameters(ours, reference.net)


# Documented behaviour


@pytest.mark.parametrize("scale", [None, "standard", "minmax"])
def test_predict_gives_the_predictions_of_learn(scale):
    """Without an update in between, ``learn`` returns the forecasts of ``predict`` one sample later."""
    net = sl.RNN(readout="adam", dim=2, hidden=4, tbptt=(10, 10), scale=scale)
    net.learn(wave(21, 2, seed=8))  # 20 complete pairs: the next update is at the tenth sample of x
    x = wave(10, 2, seed=9, missing=0.2)
    predicted = net.predict(x)
    learned = net.learn(x)
    assert np.array_equal(learned.prediction[1:], predicted.prediction[:-1])
    for name in ("error", "score", "present"):
        expected = learned.arrays[name] if name != "score" else learned.score[:1]
        assert np.array_equal(predicted.arrays[name][: len(expected)], expected, equal_nan=True), name
    assert not np.array_equal(net.predict(x[:1]).prediction, predicted.prediction[:1])


def test_predict_returns_targets_in_their_own_units():
    net = sl.RNN(readout="adam", dim=2, hidden=4, tbptt=(3, 5), target="given", scale="standard", layers=2)
    x, y = wave(80, 2, seed=10), 100 + 10 * wave(80, 1, seed=11)
    for i in range(80):
        predicted, learned = net.predict(x[i]), net.learn(x[i], y[i])
        assert predicted.prediction.tobytes() == learned.prediction.tobytes()
        assert np.isnan(predicted.error).all()
    assert abs(predicted.prediction[0, 0] - 100) < 30


def test_the_first_sample_has_no_forecast():
    net = sl.RNN(readout="adam", dim=2, hidden=3)
    out = net.learn(wave(2, 2, seed=12))
    assert np.isnan(out.prediction[0]).all()
    assert np.isnan([out.error[0], out.score[0]]).all()
    assert np.isfinite(out.prediction[1]).all()


def test_learns_to_forecast():
    """The stream is a sum of two waves. The next sample depends on several samples."""
    t = np.arange(20_000)
    x = (np.sin(0.5 * t) + np.sin(0.211 * t + 1))[:, None].astype(np.float32)
    for cell in CELLS:
        net = sl.RNN(readout="adam", dim=1, hidden=16, cell=cell, half_life=500.0, seed=13)
        net.learn(x)
        assert net.quality()["mase"] < 0.3, cell


@pytest.mark.parametrize("dim", [1, 4, 7])
def test_error_is_the_root_mean_square_of_the_present_values(dim):
    net = sl.RNN(readout="adam", dim=dim, hidden=3, tbptt=(4, 4))
    x = wave(200, dim, seed=14, missing=0.3).astype(np.float32)
    out = net.learn(x)
    squares = np.ma.masked_invalid((out.prediction.astype(float) - x) ** 2)
    assert squares[0].count() == 0
    assert np.allclose(out.error, np.sqrt(squares.mean(1)).filled(np.nan), rtol=1e-6, equal_nan=True)


@pytest.mark.parametrize("dim", [2, 7])
def test_quality_is_the_decayed_mean_of_the_errors(dim):
    net = sl.RNN(readout="adam", dim=dim, hidden=3, half_life=30.0, scale="standard", tbptt=(4, 4))
    x = wave(200, dim, seed=14, missing=0.2) * np.geomspace(1, 50, dim)
    out = net.learn(x)
    x = x.astype(np.float32).astype(float)
    weights = 0.5 ** (np.arange(200)[::-1] / 30)
    relative, absolute, squared = [], [], []
    for c in range(dim):
        error = np.abs(out.prediction[:, c].astype(float) - x[:, c])
        present = ~np.isnan(error)
        absolute.append(np.average(error[present], weights=weights[present]))
        squared.append(np.average(error[present] ** 2, weights=weights[present]))
        last = np.array([x[:i, c][~np.isnan(x[:i, c])][-1:].sum() or np.nan for i in range(200)])
        both = present & ~np.isnan(last)
        relative.append(
            np.average(error[both], weights=weights[both])
            / np.average(np.abs(last - x[:, c])[both], weights=weights[both])
        )
    quality = net.quality()
    # The model weights a value by the present values after it, this test by samples: both differ a little
    assert np.isclose(quality["mae"], np.mean(absolute), rtol=0.05)
    assert np.isclose(quality["rmse"], np.sqrt(np.mean(squared)), rtol=0.05)
    assert np.isclose(quality["mase"], np.mean(relative), rtol=0.05)


def test_quality_of_a_new_model():
    quality = sl.RNN(readout="adam", dim=1, hidden=1).quality()
    assert np.isnan([quality[name] for name in ("mae", "rmse", "mase")]).all()
    assert (quality["updates"], quality["skipped_updates"], quality["gradient_norm"]) == (0, 0, 0.0)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam"])
def test_a_gradient_that_is_not_finite_is_skipped_and_counted(optimizer):
    net = sl.RNN(readout="adam", dim=1, hidden=3, tbptt=(2, 2), optimizer=optimizer, learning_rate=0.01)
    net.learn(wave(11, 1, seed=15))
    before = {name: values.copy() for name, values in net.parameters.items()}
    norm = net.quality()["gradient_norm"]
    net.learn([[1e38], [-1e38]])
    assert net.quality()["skipped_updates"] == 1
    assert net.quality()["gradient_norm"] == norm
    assert all(np.array_equal(values, before[name]) for name, values in net.parameters.items())
    net.learn(wave(10, 1, seed=16))
    assert net.quality()["skipped_updates"] == 1
    assert net.quality()["updates"] == 5 + 5
    assert np.isfinite(net.predict([[0.0]]).prediction).all()


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("hidden", [1, 15, 17])
@pytest.mark.parametrize("cell", CELLS)
def test_lanes_without_a_unit_and_absent_biases_stay_zero(cell, hidden, biases):
    shape = {"dim": 3, "hidden": hidden, "cell": cell, "layers": 2, "bias": biases, "head_bias": biases}
    net = sl.RNN(readout="adam", tbptt=(2, 4), learning_rate=0.05, **shape)
    net.learn(wave(300, 3, seed=17, missing=0.1))
    state = net.copy_state()
    ours = np.concatenate([values.ravel() for values in net.parameters.values()])
    for name in ("parameters", "moments.mean", "moments.square"):
        assert np.count_nonzero(state[name]) <= ours.size
    assert np.count_nonzero(state["parameters"]) == np.count_nonzero(ours)
    blocks = -(-hidden // 16)
    h = state["window"][0, :, 4:].reshape(5, -1, blocks * 16)  # rows 0 to 3 are x, target, present, forecast
    assert np.abs(h[:, :, :hidden]).max() > 0
    assert not h[:, :, hidden:].any()


@settings(max_examples=20)
@given(data=st.data())
@pytest.mark.parametrize("tbptt", [(5, 5), (3, 8)], ids=str)
def test_any_split_gives_the_same_weights_and_outputs(tbptt, data):
    sizes = data.draw(st.lists(st.integers(0, 13), max_size=20), label="sizes")
    whole, pieces = (
        sl.RNN(readout="adam", dim=2, hidden=17, tbptt=tbptt, scale="ewma", half_life=20.0) for _ in range(2)
    )
    x = wave(70, 2, seed=18, missing=0.1)
    cuts = [0, *np.minimum(np.cumsum(sizes, dtype=int), 70).tolist(), 70]
    expected = whole.learn(x)
    parts = [pieces.learn(x[start:stop]) for start, stop in pairwise(cuts)]
    assert pieces.state_hash() == whole.state_hash()
    for name, values in expected.arrays.items():
        assert np.concatenate([out.arrays[name] for out in parts]).tobytes() == values.tobytes()


# Parameters: read and load


@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_parameters_have_pytorchs_names_shapes_and_range(cell, biases):
    shape = {"dim": 3, "hidden": 20, "layers": 2, "bias": biases, "head_bias": biases}
    net = sl.RNN(readout="adam", cell=cell, target="given", outputs=18, **shape)
    sums = {"elman": 20, "gru": 60, "lstm": 80}[cell]
    shapes = {
        "weight_ih_l0": (sums, 3),
        "weight_hh_l0": (sums, 20),
        "bias_ih_l0": (sums,),
        "bias_hh_l0": (sums,),
        "weight_ih_l1": (sums, 20),
        "weight_hh_l1": (sums, 20),
        "bias_ih_l1": (sums,),
        "bias_hh_l1": (sums,),
        "head.weight": (18, 20),
        "head.bias": (18,),
    }
    assert {name: values.shape for name, values in net.parameters.items()} == {
        name: shape for name, shape in shapes.items() if biases or "bias" not in name
    }
    drawn = np.concatenate([values.ravel() for values in net.parameters.values()])
    assert len(np.unique(drawn)) > 0.99 * drawn.size
    assert np.abs(drawn).max() <= 1 / np.sqrt(20)
    assert np.abs(drawn).max() > 0.99 / np.sqrt(20)
    assert abs(drawn.mean()) < 0.02


def test_parameters_are_read_only_copies():
    net = sl.RNN(readout="adam", dim=1, hidden=2)
    with pytest.raises(ValueError, match="read-only"):
        net.parameters["head.bias"][0] = 1
    with pytest.raises(TypeError):
        net.parameters["head.bias"] = np.zeros(1)


def test_load_parameters_resets_states_and_moments():
    one = sl.RNN(readout="adam", dim=2, hidden=5, tbptt=(3, 6), learning_rate=0.01, seed=1)
    two = sl.RNN(readout="adam", dim=2, hidden=5, tbptt=(3, 6), learning_rate=0.01, seed=2)
    two.learn(wave(50, 2, seed=19))
    two.load_parameters(one.parameters)
    for name, values in one.parameters.items():
        assert np.array_equal(values, two.parameters[name])
    x = wave(60, 2, seed=20)
    assert np.array_equal(one.learn(x).prediction, two.learn(x).prediction, equal_nan=True)
    assert np.array_equal(one.state["parameters"], two.state["parameters"])
    assert (one.samples, two.samples) == (60, 110)


def test_one_error_lists_all_wrong_parameters():
    net = sl.RNN(readout="adam", dim=2, hidden=3, cell="elman")
    good = {name: values.copy() for name, values in net.parameters.items()}
    hash_before = net.state_hash()
    short = {**good, "bias_ih_l0": np.zeros(4)}
    infinite = {**good, "head.bias": [np.inf, 0.0]}
    several = {**short, **infinite, "weight": 1, "bias_ih_l0": np.zeros(4)}
    del several["weight_hh_l0"]
    for wrong, error, names in (
        (short, BadShape, ["bias_ih_l0"]),
        (infinite, BadValue, ["head.bias"]),
        (several, BadSpec, ["'weight'", "weight_hh_l0", "bias_ih_l0", "head.bias"]),
    ):
        with pytest.raises(error) as caught:
            net.load_parameters(wrong)
        assert all(name in caught.value.message for name in names)
        assert len(caught.value.detail["problems"]) == len(names)
    assert net.state_hash() == hash_before


@pytest.mark.parametrize(
    ("added", "removed", "spec", "message"),
    [
        ({}, ["bias_hh_l0"], {}, "'bias_hh_l0' is missing"),
        ({}, ["bias_ih_l1", "bias_hh_l1"], {}, "'bias_ih_l1' is missing; 'bias_hh_l1' is missing"),
        ({}, ["head.bias"], {"head_bias": True}, "'head.bias' is missing"),
        ({}, ["head.weight"], {}, "other than the recurrent layers and one linear read-out: head.bias"),
        ({}, ["weight_hh_l0"], {}, "weight_hh_l0 is missing"),
        ({}, [], {"bias": False}, "'bias_ih_l0' is unknown"),
        ({}, [], {"head_bias": False}, "'head.bias' is unknown"),
        ({"other.weight": np.zeros((2, 5))}, [], {}, "read-out: head.bias, head.weight, other.weight"),
        ({"weight": np.zeros((2, 5))}, ["head.bias"], {}, "linear read-out: head.weight, weight"),
        ({"norm.weight": np.zeros(5)}, ["head.weight", "head.bias"], {}, "weight of 'norm' has shape"),
        ({"head.weight": np.zeros((2, 4))}, ["head.bias"], {}, r"'head' has shape .*\(outputs, 5\)"),
        ({"b.weight_ih_l0": np.zeros((5, 2))}, [], {}, "2 recurrent networks"),
    ],
)  # fmt: skip
def test_other_state_dicts_are_refused(added, removed, spec, message):
    net = sl.RNN(readout="adam", dim=2, hidden=5, cell="elman", layers=2)
    given = {name: values for name, values in net.parameters.items() if name not in removed} | added
    with pytest.raises((BadSpec, BadShape), match=message):
        sl.RNN.from_state_dict(given, **spec)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tbptt": (5, 4)}, "k2 ≥ k1"),
        ({"tbptt": (0, 4)}, "tbptt.0"),
        ({"cell": "peephole"}, "cell"),
        ({"loss": "hinge"}, "loss"),
        ({"optimizer": "adagrad"}, "optimizer"),
        ({"momentum": 1.0}, "momentum"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"learning_rate": {"start": 1, "end": -1, "tau": 5}}, "learning_rate"),
        ({"clip": 0}, "clip"),
        ({"symbols": 4}, "dim=1"),
        ({"dim": 1, "symbols": 4}, "needs loss='cross_entropy'"),
        ({"loss": "cross_entropy"}, "needs loss='cross_entropy'"),
        ({"loss": "cross_entropy", "target": "given"}, "classes"),
        ({"classes": 3}, "classes"),
        ({"classes": 3, "loss": "cross_entropy", "target": "given", "outputs": 3}, "outputs"),
        ({"outputs": 3}, "outputs"),
        ({"hidden": 16_000, "layers": 60}, "smaller"),
        ({"tbptt": (1, 60_000), "hidden": 10_000}, "smaller"),
    ],
    ids=str,
)
def test_wrong_specs_are_refused(wrong, message):
    with pytest.raises(BadSpec, match=message):
        sl.RNN(readout="adam", **{"dim": 2, "hidden": 4, **wrong})
