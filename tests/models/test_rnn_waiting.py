"""``sl.RNN`` with a horizon, late targets and keys, against the float64 reference; documented behaviour."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadDtype, BadShape, BadSpec, BadValue
from tests.models.parameters import assert_same_parameters
from tests.models.test_rnn import CELLS, wave
from tests.naive.rnn import DelayedStream, Net, Optimizer

WINDOWS = [(1, 1), (4, 4), (3, 7)]


def make_rnn(**spec: object) -> sl.RNN:
    return sl.RNN(readout="adam", **{"dim": 1, "hidden": 3, "target": "later", **spec})


def make_bidirectional(**spec: object) -> sl.BidirectionalRNN:
    return sl.BidirectionalRNN(**{"dim": 1, "hidden": 3, "target": "later", "chunk": (2, 1), **spec})


DIRECTIONS = pytest.mark.parametrize("make", [make_rnn, make_bidirectional])


def reference_of(net: sl.RNN, **rule: int) -> DelayedStream:
    """Return the reference with the same parameters."""
    spec = net.spec
    optimizer = Optimizer(spec.optimizer, spec.learning_rate, spec.largest_norm)  # a constant rate
    classes = spec.loss == "cross_entropy"
    return DelayedStream(
        Net(dict(net.parameters), spec.cell, spec.layers, classes), optimizer, *spec.tbptt, **rule
    )


def shared_stream(first: DelayedStream, **rule: int) -> DelayedStream:
    """Return another stream of the same reference network."""
    another = DelayedStream(first.net, first.optimizer, first.k1, first.k2, **rule)
    another.means = first.means
    return another


# Horizon


@pytest.mark.parametrize("tbptt", WINDOWS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_forecast_of_a_horizon_equals_the_reference(cell, tbptt):
    ours = sl.RNN(
        readout="adam", dim=2, hidden=5, cell=cell, tbptt=tbptt, horizon=3, seed=1, learning_rate=0.01
    )
    reference = reference_of(ours, horizon=3)
    x = wave(120, 2, seed=2, missing=0.15)
    out = ours.learn(x)
    expected = np.array([reference.step(row) for row in x.astype(float)]).reshape(-1, 3, 2)
    assert np.isnan(out.prediction[0]).all()
    assert np.allclose(out.prediction[1:], expected[:-1], rtol=1e-3, atol=1e-4)
    assert np.allclose(ours.predict(x[:0]).prediction.shape, (0, 3, 2))
    assert_same_parameters(ours, reference.net)


def test_quality_of_a_horizon_is_reported_by_step():
    net = sl.RNN(readout="adam", dim=2, hidden=4, horizon=3, half_life=40.0, scale="standard", tbptt=(4, 4))
    x = wave(150, 2, seed=3, missing=0.1) * np.float32([1, 20])
    out = net.learn(x)
    expected, relative = [], []
    for h in range(3):
        steps = []
        for c in range(2):
            weight = total = model_error = persistence_error = 0.0
            for n in range(len(x)):
                i = n - h  # step h of forecast i is x[n]
                if i < 1 or np.isnan(x[n, c]):
                    continue
                error = abs(float(out.prediction[i, h, c]) - float(x[n, c]))
                weight, total = weight * net.decay + 1, total * net.decay + error
                before = x[:i, c][~np.isnan(x[:i, c])]  # persistence forecasts the last of these
                if len(before):
                    model_error = model_error * net.decay + error
                    difference = abs(float(before[-1]) - float(x[n, c]))
                    persistence_error = persistence_error * net.decay + difference
            steps.append(total / weight)
            relative.append(model_error / persistence_error)
        expected.append(np.mean(steps))
    quality = net.quality()
    assert quality["mae_by_step"] == pytest.approx(expected)
    assert quality["mae"] == pytest.approx(np.mean(expected))
    assert quality["mase"] == pytest.approx(np.mean(relative))


def test_error_is_that_of_the_first_step():
    net = sl.RNN(readout="adam", dim=2, hidden=4, horizon=4)
    x = wave(60, 2, seed=4)
    out = net.learn(x)
    expected = np.sqrt(np.mean((out.prediction[1:, 0].astype(float) - x[1:]) ** 2, axis=1))
    assert np.allclose(out.error[1:], expected, rtol=1e-5)


def test_an_untrained_residual_horizon_is_persistence():
    net = sl.RNN(readout="adam", dim=2, hidden=3, horizon=3, residual=True, learning_rate=0.0)
    net.load_parameters({name: 0 * values for name, values in net.parameters.items()})
    x = wave(5, 2, seed=5)
    assert np.array_equal(net.predict(x).prediction, np.repeat(x[:, None], 3, axis=1))


def test_forecast_beyond_the_horizon_runs_on_its_own_forecasts():
    net = sl.RNN(readout="adam", dim=2, hidden=4, horizon=3, tbptt=(50, 50))
    x = wave(41, 2, seed=6)
    net.learn(x[:40])
    ahead = net.forecast(5)
    assert ahead.shape == (5, 2)
    assert np.array_equal(net.forecast(2), ahead[:2])
    rollout = net.forecast(1)
    while len(rollout) < 5:  # each forecast of one step is the next input
        rollout = np.concatenate((rollout, net.predict(rollout).prediction[-1:, 0]))
    assert np.array_equal(ahead[3:], rollout[3:])
    assert not np.array_equal(ahead[1:3], rollout[1:3])
    assert np.array_equal(net.learn(x[40]).prediction[0], ahead[:3])  # the forecast before x[40]


def test_a_horizon_of_one_equals_no_horizon():
    one, plain = (sl.RNN(readout="adam", dim=2, hidden=4, tbptt=(3, 7), horizon=h) for h in (1, None))
    x = wave(80, 2, seed=7, missing=0.1)
    assert np.array_equal(one.learn(x).prediction[:, 0], plain.learn(x).prediction, equal_nan=True)
    assert one.quality()["mae"] == plain.quality()["mae"]


# Late targets


@pytest.mark.parametrize("tbptt", WINDOWS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_learning_from_late_targets_equals_the_reference(cell, tbptt):
    ours = sl.RNN(
        readout="adam",
        dim=2,
        hidden=5,
        cell=cell,
        tbptt=tbptt,
        target="later",
        outputs=2,
        delay=6,
        seed=8,
        learning_rate=0.01,
    )
    reference = reference_of(ours, delay=6)
    random = np.random.default_rng(9)
    x, y = wave(150, 2, seed=10, missing=0.1), wave(150, 2, seed=11, missing=0.1)
    unmatched = 0
    for i, row in enumerate(x.astype(float)):
        target = y[i] if random.random() < 0.2 else None
        out = ours.learn(x[i], target, ids=1000 + i)
        expected = reference.step(row, target)
        assert np.allclose(out.prediction[0], expected, rtol=1e-3, atol=1e-4), i
        for lag in random.permutation(9)[: random.integers(0, 4)]:  # some are too late, some out of order
            number = i - int(lag)
            if number < 0 or np.isnan(y[number]).all():
                continue
            late = ours.learn_targets([1000 + number], y[number : number + 1])
            expected = reference.target(number, y[number].astype(float))
            if expected is None:
                unmatched += 1
                assert (late.sample[0], np.isnan(late.prediction).all()) == (-1, True)
            else:
                assert late.sample[0] == number
                assert np.allclose(late.prediction[0], expected, rtol=1e-3, atol=1e-4), (i, number)
                present = ~np.isnan(y[number])
                error = np.sqrt(np.mean((expected - y[number])[present] ** 2))
                assert np.isclose(late.error[0], error, rtol=1e-2, atol=1e-3)
    assert_same_parameters(ours, reference.net)
    quality = ours.quality()
    assert 0 < unmatched == quality["unmatched_targets"]
    assert quality["waiting"] == len(reference.steps) - len(reference.pairs)
    assert quality["expired_targets"] == sum(np.isnan(target).all() for _, target, _ in reference.pairs) > 5


def test_the_error_of_a_late_target_is_that_of_the_first_prediction():
    """Also if the scaling statistics and the parameters have changed since."""
    net = sl.RNN(readout="adam", dim=1, hidden=4, target="later", scale="standard", tbptt=(2, 2), delay=50)
    x = wave(60, 1, seed=12)
    net.learn(x[:20], 100 + 10 * x[:20])
    prediction = net.learn(x[20:30]).prediction
    net.learn(x[30:60], 100 + 10 * x[30:60])
    late = net.learn_targets(range(20, 30), 100 + 10 * x[20:30])
    assert np.array_equal(late.prediction, prediction)
    assert late.sample.tolist() == list(range(20, 30))
    assert np.allclose(late.error, np.abs(prediction - (100 + 10 * x[20:30]))[:, 0], rtol=1e-5)
    assert np.isfinite(late.score).all()


def test_late_targets_that_come_with_their_samples_equal_given_targets():
    later, given = (
        sl.RNN(readout="adam", dim=2, hidden=4, tbptt=(3, 7), target=target, outputs=2)
        for target in ("later", "given")
    )
    x, y = wave(80, 2, seed=13), wave(80, 2, seed=14)
    assert np.array_equal(later.learn(x, y).prediction, given.learn(x, y).prediction)
    assert all(np.array_equal(later.parameters[name], given.parameters[name]) for name in given.parameters)


@DIRECTIONS
def test_learns_classes_from_late_targets(make):
    net = make(hidden=8, classes=2, loss="cross_entropy", half_life=200.0, seed=1)
    x = wave(3000, 1, seed=15)
    y = (x > 0).astype(np.float32)
    for start in range(0, 3000, 10):
        net.learn(x[start : start + 10], ids=[f"sample {i}" for i in range(start, start + 10)])
        net.learn_targets([f"sample {i}" for i in range(start, start + 10)], y[start : start + 10])
    quality = net.quality()
    assert quality["accuracy"] > 0.9
    assert (quality["expired_targets"], quality["unmatched_targets"]) == (0, 0)


def test_wrong_late_targets_are_refused():
    net = sl.RNN(readout="adam", dim=1, hidden=2, target="later", classes=3, loss="cross_entropy")
    before = net.state_hash()
    for wrong, error in [
        (([1], [[3.0]]), BadValue),
        (([1, 2], [[1.0]]), BadShape),
        (([1.5], [[1.0]]), BadDtype),
        (([1], [[1.0, 2.0]]), BadShape),
    ]:
        with pytest.raises(error):
            net.learn_targets(*wrong)
    assert net.state_hash() == before
    with pytest.raises(BadShape, match="takes no targets later"):
        sl.RNN(readout="adam", dim=1, hidden=2).learn_targets([1], [[1.0]])
    with pytest.raises(BadSpec, match="delay needs target='later'"):
        sl.RNN(readout="adam", dim=1, hidden=2, delay=3)
    with pytest.raises(BadSpec, match="horizon needs target='next'"):
        sl.RNN(readout="adam", dim=1, hidden=2, target="given", horizon=3)


# Missing inputs


@DIRECTIONS
@pytest.mark.parametrize("scaling", [None, "standard", "ewma", "minmax"])
def test_a_missing_input_without_a_forecast_is_replaced_by_the_mean(make, scaling):
    """The mean in scaled units: 0 after centring, else the running mean of the channel."""
    net = make(dim=2, scale=scaling, scale_clip=1e6, learning_rate=0.0, optimizer="sgd", seed=1)
    x = (1 + 0.3 * np.random.default_rng(28).normal(size=(1000, 2))).astype(np.float32)
    net.learn(x, x[:, :1])
    ahead = np.repeat(x[:1], 5, axis=0)
    ahead[0, 1] = np.nan
    with_missing = net.predict(ahead)
    ahead[0, 1] = x[:, 1].mean()
    with_mean = net.predict(ahead)
    close = {"rtol": 5e-3, "atol": 2e-4}  # minmax: older samples were scaled by an older range
    assert np.allclose(with_missing.prediction, with_mean.prediction, **close)
    ahead[0, 1] = -5  # the predictions depend on this value
    assert not np.allclose(net.predict(ahead).prediction, with_mean.prediction, **close)


# Keys


@pytest.mark.parametrize("tbptt", WINDOWS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_learning_from_many_streams_equals_the_reference(cell, tbptt):
    ours = sl.RNN(
        readout="adam", dim=2, hidden=5, cell=cell, tbptt=tbptt, keys=3, seed=16, learning_rate=0.01
    )
    first = reference_of(ours)
    streams = {0: first, 1: shared_stream(first), 2: shared_stream(first)}
    random = np.random.default_rng(17)
    keys = random.choice(3, 200, p=[0.6, 0.3, 0.1])
    x = wave(200, 2, seed=18, missing=0.1)
    out = ours.learn(x, keys=keys)
    forecasts: dict[int, np.ndarray] = {}
    for i, key in enumerate(keys.tolist()):
        expected = forecasts.get(key, np.full(2, np.nan))
        # The forecast of x[i] used the parameters of the sample before it in its stream
        assert np.allclose(out.prediction[i], expected, rtol=1e-3, atol=1e-4, equal_nan=True), i
        forecasts[key] = streams[key].step(x[i].astype(float))
    assert_same_parameters(ours, first.net)


def test_streams_have_separate_states():
    """With a learning rate of 0, the outputs of a stream equal those of a model with this stream only."""
    spec = {"dim": 2, "hidden": 4, "learning_rate": 0.0, "optimizer": "sgd", "seed": 19}
    many = sl.RNN(readout="adam", **spec, keys=4)
    keys = np.random.default_rng(20).integers(0, 4, 100)
    x = wave(100, 2, seed=21)
    out, later = many.learn(x, keys=keys), many.predict(x, keys=keys)
    for key in range(4):
        alone = sl.RNN(readout="adam", **spec)
        rows = x[keys == key]
        assert np.array_equal(alone.learn(rows).prediction, out.prediction[keys == key], equal_nan=True)
        assert np.array_equal(alone.predict(rows).prediction, later.prediction[keys == key])
        assert np.array_equal(alone.forecast(5), many.forecast(5, key=key))


def test_a_new_key_replaces_the_least_recently_used_key():
    net = sl.RNN(readout="adam", dim=1, hidden=3, keys=2, learning_rate=0.0, optimizer="sgd")
    x = wave(30, 1, seed=22)
    net.learn(x[:10], keys="pump")
    net.learn(x[:10], keys="fan")
    net.learn(x[10:12], keys="pump")
    assert net.quality()["keys"] == 2
    assert np.isnan(net.learn(x[:1], keys="valve").prediction[0, 0])  # replaces the fan
    assert np.isfinite(net.predict(x[:1], keys="pump").error[0])
    assert np.isnan(net.predict(x[:1], keys="fan").error[0])
    assert net.quality()["forgotten_keys"] == 1
    alone = sl.RNN(readout="adam", dim=1, hidden=3, learning_rate=0.0, optimizer="sgd")
    alone.learn(x[:1])
    assert np.array_equal(net.forecast(3, key="valve"), alone.forecast(3))  # the state of the fan was reset


@DIRECTIONS
def test_late_targets_are_matched_by_key_and_id(make):
    net = make(keys=2, delay=8)
    x = wave(8, 1, seed=23)
    for key in ("a", "b"):
        net.learn(x[:4], keys=key, ids=range(4))
    late = net.learn_targets([1, 2, 3, 4], x[:4], keys=["a", "b", "c", "a"])
    assert late.sample.tolist() == [1, 6, -1, -1]
    assert net.quality()["unmatched_targets"] == 2


@DIRECTIONS
def test_a_repeated_id_matches_the_newest_waiting_sample(make):
    net = make(delay=8)
    x = wave(4, 1, seed=27)
    net.learn(x, ids=[7, 7, 8, 7])
    assert net.learn_targets([7, 7, 7, 7], x).sample.tolist() == [3, 1, 0, -1]


def test_keys_are_required_if_the_model_has_keys_and_refused_otherwise():
    keyed, plain = sl.RNN(readout="adam", dim=1, hidden=2, keys=2), sl.RNN(readout="adam", dim=1, hidden=2)
    x = wave(3, 1, seed=24)
    for call in (keyed.learn, keyed.predict):
        with pytest.raises(BadShape, match="needs a key"):
            call(x)
        with pytest.raises(BadShape, match="one for each of the 3 samples"):
            call(x, keys=[1, 2])
        with pytest.raises(BadDtype):
            call(x, keys=[0.5, 1.0, 2.0])
    with pytest.raises(BadShape, match="no keys"):
        plain.learn(x, keys=1)
    with pytest.raises(BadShape, match="needs a key"):
        keyed.forecast(3)


def test_watched_samples_change_the_hidden_state_and_the_quality_only():
    net = sl.RNN(readout="adam", dim=2, hidden=4, scale="standard", tbptt=(4, 8), drift=None)
    net.learn(wave(50, 2, seed=25))
    x = wave(21, 2, seed=26)
    before = net.copy_state()
    predicted = net.predict(x)
    net.pause()
    watched = net.learn(x)
    changed = {name for name, array in net.state.items() if array.tobytes() != before[name].tobytes()}
    assert changed == {"samples", "window", "progress", "last_values", "quality", "watch", "schedule.clock"}
    assert np.array_equal(predicted.error[:1], watched.error[:1])
    learning = sl.RNN.from_spec(net.spec_dict())
    learning.adopt(before)
    learning.learn(x)
    assert not np.array_equal(learning.parameters["head.weight"], net.parameters["head.weight"])
