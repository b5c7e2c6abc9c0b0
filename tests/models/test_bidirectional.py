"""``sl.BidirectionalRNN`` against the float64 reference and finite differences; documented behaviour."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlearn as sl
from streamlearn.errors import BadShape, BadSpec
from streamlearn_client.outputs import NamedArrays
from tests.models.parameters import assert_same_parameters
from tests.models.test_rnn import CELLS, wave
from tests.naive.bidirectional import Net, Stream
from tests.naive.differences import differences
from tests.naive.rnn import Means, Optimizer
from tests.naive.scale import Scaler
from tests.naive.score import Score


def make(**spec: object) -> sl.BidirectionalRNN:
    return sl.BidirectionalRNN(**{"dim": 2, "hidden": 5, "chunk": (5, 2), **spec})


def reference_of(net: sl.BidirectionalRNN) -> Stream:
    """Return the reference with the same parameters."""
    spec = net.spec
    optimizer = Optimizer(spec.optimizer, spec.learning_rate, spec.clip)  # a constant rate
    cells = Net(dict(net.parameters), spec.cell, spec.layers, classes=spec.class_count is not None)
    return Stream(cells, optimizer, *spec.chunk)


def joined(parts: list[NamedArrays]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part.arrays[name] for part in parts]) for name in parts[0].arrays}


# The reference against finite differences


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_gradient_of_the_reference_equals_finite_differences(cell, layers, classes):
    random = np.random.default_rng(layers)
    kind = {"loss": "cross_entropy", "classes": 3} if classes else {"outputs": 2}
    net = reference_of(make(hidden=2, layers=layers, cell=cell, seed=5, **kind)).net
    inputs, targets = list(random.normal(size=(6, 2))), list(random.normal(size=(4, 2)))
    if classes:
        targets = list(random.integers(0, 3, (4, 1)).astype(float))
    targets[3][-1] = np.nan
    states = [(random.uniform(-1, 1, 2), random.uniform(-1, 1, 2)) for _ in range(layers)]
    gradient = net.gradient(inputs, targets, states)
    for name, expected in differences(net.p, lambda: net.loss(inputs, targets, states)).items():
        assert np.allclose(gradient[name], expected, rtol=1e-5, atol=1e-9), name


# sl.BidirectionalRNN against the reference

CHUNKS = [(1, 0), (1, 3), (4, 0), (5, 2), (3, 7)]
RULES = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1},
    "momentum, clipped": {"optimizer": "momentum", "learning_rate": 0.02, "clip": 0.1},
    "adam": {"optimizer": "adam", "learning_rate": 0.003},
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_predictions_and_parameters_equal_the_reference(cell, layers, chunk, rule):
    ours = make(cell=cell, layers=layers, chunk=chunk, outputs=3, seed=1, **RULES[rule])
    reference = reference_of(ours)
    x, y = wave(90, 2, seed=2, missing=0.15), wave(90, 3, seed=3, missing=0.3)
    y[20:45] = np.nan  # longer than a chunk, which then has no loss
    out = ours.learn(x, y)
    pairs = zip(x.astype(float), y.astype(float), strict=True)
    expected = np.array([row for pair in pairs for row in reference.learn(*pair)])
    n = len(expected)
    assert n == (90 - chunk[1]) // chunk[0] * chunk[0]
    assert out.sample.tolist() == list(range(n))
    assert np.allclose(out.prediction, expected, rtol=1e-3, atol=1e-4)
    assert out.present.tolist() == (~np.isnan(x)).sum(axis=1)[:n].tolist()
    difference = (out.prediction - y[:n].astype(float)) ** 2
    rows = np.flatnonzero(~np.isnan(y[:n]).all(axis=1))  # rows with an error
    assert np.allclose(out.error[rows], np.sqrt(np.nanmean(difference[rows], axis=1)), rtol=1e-5)
    assert np.isnan(np.delete(out.error, rows)).all()
    assert_same_parameters(ours, reference.net)
    quality = ours.quality()
    assert quality["waiting"] == 90 - n == len(reference.waiting)
    assert quality["skipped_updates"] == 0


@pytest.mark.parametrize("cell", CELLS)
def test_class_probabilities_equal_the_reference(cell):
    ours = make(
        cell=cell, layers=2, hidden=18, loss="cross_entropy", classes=20, optimizer="sgd", learning_rate=0.1
    )
    reference = reference_of(ours)
    x = wave(90, 2, seed=4, missing=0.1)
    y = np.random.default_rng(5).integers(0, 20, (90, 1)).astype(np.float32)
    y[::7] = np.nan
    out = ours.learn(x, y)
    pairs = zip(x.astype(float), y.astype(float), strict=True)
    expected = [row for pair in pairs for row in reference.learn(*pair)]
    assert np.allclose(out.prediction, expected, rtol=1e-3, atol=1e-4)
    present = ~np.isnan(y[: len(out), 0])
    probability = np.array(expected)[present, y[: len(out), 0][present].astype(int)]
    assert np.allclose(out.error[present], -np.log(probability), rtol=1e-3)
    assert np.isnan(out.error[~present]).all()
    assert_same_parameters(ours, reference.net)


@pytest.mark.parametrize("method", ["standard", "ewma", "minmax"])
def test_inputs_are_scaled_and_predictions_unscaled(method):
    """A sample is scaled when it arrives, a target when its chunk is learned, by the targets before it."""
    ours = make(
        layers=2, learning_rate=0.01, scale=method, half_life=40.0, scale_clip=2.0, outputs=2, chunk=(4, 3)
    )
    reference, score = reference_of(ours), Score(ours.scored_values)
    reference.means = Means(ours.decay, zero=method != "minmax")  # the other methods scale the mean to 0
    x_scaler, y_scaler = (Scaler(2, method, 2.0, ours.decay) for _ in range(2))
    x = wave(120, 2, seed=7, missing=0.1) * [1.0, 30.0] + [5.0, -100.0]
    y = np.roll(x, 3, axis=0) * 0.5
    x, y = x.astype(np.float32), y.astype(np.float32)
    out = ours.learn(x, y)
    done = 0
    for i in range(len(x)):
        complete = reference.append(np.array(x_scaler.scaled(x[i].tolist())), y[i])
        x_scaler.observe(x[i].tolist())
        if not complete:
            continue
        targets, units = [], []
        for target in y[done : done + 4].tolist():
            targets.append(np.array(y_scaler.scaled(target)))
            units.append([channel.offset_and_width() for channel in y_scaler.channels])
            y_scaler.observe(target)
        for prediction, unit in zip(reference.run(targets), units, strict=True):
            expected = [
                offset + width * value for (offset, width), value in zip(unit, prediction, strict=True)
            ]
            assert np.allclose(out.prediction[done], expected, rtol=1e-3, atol=1e-3), done
            error, present = float(out.error[done]), int(np.isfinite(y[done]).sum())
            assert np.isclose(out.score[done], score.rank(error, present), atol=1e-4, equal_nan=True)
            score.observe(error, present)
            done += 1
    assert done == len(out)
    assert_same_parameters(ours, reference.net)


def test_a_decaying_learning_rate():
    """A chunk is learned with the learning rate of the sample that completes it."""
    ours = make(optimizer="sgd", learning_rate=sl.Decay(0.3, 0.05, 20))
    reference = reference_of(make(optimizer="sgd", learning_rate=0.0))
    x, y = wave(101, 2, seed=8), wave(101, 1, seed=9)
    ours.learn(x, y)
    for t in range(101):
        reference.optimizer.rate = 0.05 + 0.25 * np.exp(-t / 20)
        reference.learn(x[t].astype(float), y[t].astype(float))
    assert_same_parameters(ours, reference.net)


# Documented behaviour


def test_predictions_come_with_the_last_sample_of_the_right_context():
    net = make(chunk=(3, 2))
    pairs = zip(wave(12, 2, 1), wave(12, 1, 2), strict=True)
    samples = [net.learn(*pair).sample.tolist() for pair in pairs]
    assert samples == [[], [], [], [], [0, 1, 2], [], [], [3, 4, 5], [], [], [6, 7, 8], []]
    assert net.samples == 12


def test_predictions_depend_on_the_chunk_and_its_right_context_only():
    x, y = wave(7, 2, seed=10), wave(7, 1, seed=11)
    plain = make().learn(x, y).prediction
    for t in range(7):
        other = x.copy()
        other[t] += 1
        changed = (make().learn(other, y).prediction != plain).any(axis=1)
        assert changed.all()  # every prediction depends on every sample of the chunk and its context
    other = np.concatenate((x, wave(3, 2, seed=12)))
    assert np.array_equal(make().learn(other, np.zeros(10)).prediction, plain)


def test_a_prediction_does_not_depend_on_its_own_target():
    """The prediction for t depends neither on y_t nor on later targets, nor on their scale."""
    x, y = wave(60, 2, seed=13), wave(60, 1, seed=14)
    plain = make(scale="standard").learn(x, y)
    for t in (0, 7, 23):
        other = y.copy()
        other[t:] += 1000
        out = make(scale="standard").learn(x, other)
        assert np.array_equal(out.prediction[: t + 1], plain.prediction[: t + 1])
        assert out.prediction[t + 1] != plain.prediction[t + 1]


@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
def test_predict_equals_learn_and_has_errors_for_samples_with_targets(chunk):
    net = make(chunk=chunk, scale="standard", layers=2)
    x, y = wave(120, 2, seed=15, missing=0.1), 100 + 10 * wave(120, 1, seed=16)
    net.learn(x[:40], y[:40])
    predictions = []
    for i in range(40, 120):
        predicted, learned = net.predict(x[i]), net.learn(x[i], y[i])
        for name in ("sample", "prediction", "present"):
            assert predicted.arrays[name].tobytes() == learned.arrays[name].tobytes()
        has_target = predicted.sample < i
        assert predicted.error[has_target].tobytes() == learned.error[has_target].tobytes()
        assert predicted.score[has_target].tobytes() == learned.score[has_target].tobytes()
        assert np.isnan(predicted.error[~has_target]).all()
        predictions += predicted.prediction.tolist()
    assert abs(np.mean(predictions) - 100) < 30


def test_predict_advances_from_chunk_to_chunk():
    predicting, learning = (make(learning_rate=0.0, layers=2, seed=3) for _ in range(2))
    x, y = wave(100, 2, seed=17), wave(100, 1, seed=18)
    for net in (predicting, learning):
        net.learn(x[:33], y[:33])
    predicted, learned = predicting.predict(x[33:]), learning.learn(x[33:], y[33:])
    assert np.array_equal(predicted.sample, learned.sample)
    assert np.array_equal(predicted.prediction, learned.prediction)


def test_learns_a_target_that_depends_on_later_samples():
    """y_t is x_{t+2}. A network with one direction cannot predict it."""
    x = np.random.default_rng(1).normal(size=(20_000, 1)).astype(np.float32)
    y = np.roll(x, -2)
    for cell in CELLS:
        net = sl.BidirectionalRNN(dim=1, hidden=12, cell=cell, chunk=(8, 3), learning_rate=0.01)
        net.learn(x, y)
        assert net.quality()["mae"] < 0.15, cell
    forward = sl.RNN(readout="adam", dim=1, hidden=12, target="given", learning_rate=0.01)
    forward.learn(x, y)
    assert forward.quality()["mae"] > 0.7  # √(2/π) = 0.8 is the mean of |x|


@settings(max_examples=20)
@given(data=st.data())
@pytest.mark.parametrize("keys", [None, 3], ids=str)
def test_any_split_gives_the_same_weights_and_rows(keys, data):
    sizes = data.draw(st.lists(st.integers(0, 13), max_size=20), label="sizes")
    whole, pieces = (make(hidden=17, scale="ewma", half_life=20.0, keys=keys) for _ in range(2))
    x, y = wave(90, 2, seed=19, missing=0.1), wave(90, 1, seed=20, missing=0.1)
    key = None if keys is None else np.random.default_rng(21).integers(0, 4, 90)
    cuts = [0, *np.minimum(np.cumsum(sizes, dtype=int), 90).tolist(), 90]
    expected = whole.learn(x, y, keys=key)
    parts = [pieces.learn(x[i:j], y[i:j], keys=None if key is None else key[i:j]) for i, j in pairwise(cuts)]
    assert pieces.state_hash() == whole.state_hash()
    outputs = joined(parts)
    for name, values in expected.arrays.items():
        assert outputs[name].tobytes() == values.tobytes(), name


def test_watched_samples_have_outputs_and_are_not_learned():
    """A watched sample has no loss in its chunk. If it completes a chunk, the chunk is not learned."""
    x, y = wave(105, 2, seed=36), wave(105, 1, seed=37)
    x[3::10] = np.nan  # no sample that completes a chunk
    watched, plain = (make(learning_rate=0.01, chunk=(5, 1), **spec) for spec in ({"watch_missing": 0.5}, {}))
    y_without_watched = np.where(np.isnan(x[:, :1]), np.nan, y)
    out, expected = watched.learn(x[:100], y[:100]), plain.learn(x[:100], y_without_watched[:100])
    assert out.watched.tolist() == np.isnan(x[out.sample]).all(axis=1).tolist()
    assert 0 < out.watched.sum() < len(out)
    assert np.array_equal(out.prediction, expected.prediction)
    assert np.array_equal(watched.state["parameters"], plain.state["parameters"])
    assert np.isfinite(out.error).all()
    assert watched.quality()["watched_samples"] == out.watched.sum()
    before = watched.state["parameters"].copy()
    x[100] = np.nan
    assert watched.learn(x[100], y[100]).sample.tolist() == list(range(95, 100))
    assert np.array_equal(watched.state["parameters"], before)


# Keys


def test_keys_have_separate_chunks_and_states():
    """With a learning rate of 0, the outputs of a key equal those of a model with this key only."""
    shared = make(keys=3, learning_rate=0.0)
    x, y = wave(150, 2, seed=22), wave(150, 1, seed=23)
    key = np.random.default_rng(24).integers(0, 3, 150)
    out = shared.learn(x, y, keys=key)
    for k in range(3):
        alone = make(learning_rate=0.0).learn(x[key == k], y[key == k])
        rows = key[out.sample] == k
        assert out.sample[rows].tolist() == np.flatnonzero(key == k)[: len(alone)].tolist()
        assert np.array_equal(out.prediction[rows], alone.prediction)
        assert np.array_equal(out.error[rows], alone.error)
    assert shared.quality()["keys"] == 3


def test_keys_share_the_parameters():
    """Learning from one key improves the predictions for another."""
    net = make(keys=2, chunk=(4, 0), learning_rate=0.01)
    x = wave(1000, 2, seed=25)
    net.learn(x, x[:, :1], keys=1)
    out = net.predict(x[:4], keys=2)
    assert np.abs(out.prediction - x[:4, :1]).max() < 0.3
    untrained = make(keys=2, chunk=(4, 0)).predict(x[:4], keys=2)
    assert np.abs(untrained.prediction - x[:4, :1]).max() > 0.3


def test_a_new_key_replaces_the_least_recently_used_key():
    net, fresh = (make(keys=2, learning_rate=0.0) for _ in range(2))
    x, y = wave(30, 2, seed=26), wave(30, 1, seed=27)
    net.learn(x[:6], y[:6], keys="a")  # one sample less than a chunk and its context
    net.learn(x[6:20], y[6:20], keys="b")
    net.learn(x[20], y[20], keys="c")  # replaces a and its waiting samples
    assert net.learn(x[6], y[6], keys="a").sample.size == 0  # replaces b
    assert net.quality()["forgotten_keys"] == 2
    before = net.samples
    out, alone = net.learn(x[7:13], y[7:13], keys="a"), fresh.learn(x[6:13], y[6:13], keys="a")
    assert out.sample.tolist() == [before - 1, *range(before, before + 4)]
    assert np.array_equal(out.prediction, alone.prediction)


def test_predict_for_known_and_new_keys():
    net = make(keys=2, learning_rate=0.0)
    x, y = wave(60, 2, seed=28), wave(60, 1, seed=29)
    net.learn(x[:9], y[:9], keys="known")
    before = net.state_hash()
    keys = np.array(["known", "new", "newer"])[np.arange(51) % 3]
    out = net.predict(x[9:], keys=keys)
    for name in ("known", "new", "newer"):
        alone = make(learning_rate=0.0)
        if name == "known":
            alone.learn(x[:9], y[:9])
        expected = alone.predict(x[9:][keys == name]).prediction
        rows = np.concatenate((np.full(9, "known"), keys))[out.sample] == name
        assert np.array_equal(out.prediction[rows], expected)
    assert net.state_hash() == before


def test_keys_are_required_if_the_model_has_keys_and_refused_otherwise():
    for net, keys in ((make(), 1), (make(keys=2), None)):
        with pytest.raises(BadShape, match="key"):
            net.learn(wave(3, 2, 1), wave(3, 1, 2), keys=keys)


# Parameters, specs, gradients that are not finite


def test_parameters_have_pytorchs_names_and_shapes():
    net = make(dim=3, hidden=20, cell="gru", layers=2, outputs=18)
    shapes = {name: values.shape for name, values in net.parameters.items()}
    for end in ("", "_reverse"):
        for layer, inputs in ((0, 3), (1, 40)):
            assert shapes.pop(f"weight_ih_l{layer}{end}") == (60, inputs)
            assert shapes.pop(f"weight_hh_l{layer}{end}") == (60, 20)
            assert shapes.pop(f"bias_ih_l{layer}{end}") == shapes.pop(f"bias_hh_l{layer}{end}") == (60,)
    assert shapes == {"head.weight": (18, 40), "head.bias": (18,)}


def test_load_parameters_resets_the_states_and_keeps_waiting_samples():
    one, two = (make(learning_rate=0.01, layers=2, seed=seed) for seed in (1, 2))
    x, y = wave(200, 2, seed=30), wave(200, 1, seed=31)
    two.learn(x[:45], y[:45])  # five samples wait
    two.load_parameters(one.parameters)
    rest, alone = two.learn(x[45:], y[45:]), one.learn(x[40:], y[40:])
    assert rest.sample[0] == 40
    assert np.array_equal(rest.prediction, alone.prediction)
    assert np.array_equal(one.state["parameters"], two.state["parameters"])


def test_a_state_dict_with_a_missing_reverse_parameter_is_refused():
    parameters = dict(make(layers=2).parameters)
    del parameters["weight_hh_l1_reverse"]
    with pytest.raises(BadSpec, match="'weight_hh_l1_reverse' is missing"):
        sl.BidirectionalRNN.from_state_dict(parameters)
    with pytest.raises(BadSpec, match="'weight_hh_l1_reverse' is missing"):
        make(layers=2).load_parameters(parameters)


@pytest.mark.parametrize("hidden", [1, 15, 17])
@pytest.mark.parametrize("cell", CELLS)
def test_lanes_without_a_unit_stay_zero(cell, hidden):
    net = make(dim=3, hidden=hidden, cell=cell, layers=2, learning_rate=0.05)
    net.learn(wave(300, 3, seed=32, missing=0.1), wave(300, 1, seed=33))
    ours = np.concatenate([values.ravel() for values in net.parameters.values()])
    assert np.count_nonzero(net.state["parameters"]) == np.count_nonzero(ours)
    states = net.state["states"].reshape(1, -1, -(-hidden // 16) * 16)
    assert states[:, :, :hidden].any()
    assert not states[:, :, hidden:].any()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam"])
def test_a_gradient_that_is_not_finite_is_skipped_and_counted(optimizer):
    net = make(optimizer=optimizer, learning_rate=0.01, chunk=(2, 0))
    x, y = wave(20, 2, seed=34), wave(20, 1, seed=35)
    net.learn(x, y)
    before = {name: values.copy() for name, values in net.parameters.items()}
    net.learn(x[:2], [[1e38], [-1e38]])
    assert net.quality()["skipped_updates"] == 1
    assert all(np.array_equal(values, before[name]) for name, values in net.parameters.items())
    net.learn(x, y)
    assert net.quality()["skipped_updates"] == 1
    assert net.quality()["updates"] == 10 + 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"chunk": (0, 4)}, "chunk.0"),
        ({"chunk": (4, -1)}, "chunk.1"),
        ({"chunk": 4}, "chunk"),
        ({"tbptt": (4, 4)}, "tbptt"),
        ({"target": "next"}, "reads the next sample"),
        ({"delay": 5}, "delay needs target='later'"),
        ({"target": "later", "delay": 60_000, "dim": 1000, "keys": 9}, "smaller"),
        ({"keys": 0}, "keys"),
        ({"learning_rate": -0.1}, "learning_rate"),
        ({"symbols": 4}, "dim=1"),
        ({"loss": "cross_entropy"}, "classes"),
        ({"classes": 3}, "classes"),
        ({"classes": 3, "loss": "cross_entropy", "outputs": 3}, "outputs"),
        ({"hidden": 16_000, "layers": 60}, "smaller"),
        ({"chunk": (1, 60_000), "hidden": 10_000}, "smaller"),
        ({"chunk": (1000, 1), "dim": 1000, "keys": 60_000}, "smaller"),
    ],
    ids=str,
)
def test_wrong_specs_are_refused(wrong, message):
    with pytest.raises(BadSpec, match=message):
        make(**wrong)
