"""Recurrent nets whose targets come later, reach further, or belong to one of many streams: against the slow
net in float64, and what a user was promised."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadDtype, BadShape, BadSpec, BadValue
from tests.models.parameters import assert_same_parameters
from tests.models.test_rnn import CELLS, wave
from tests.naive.rnn import Net, Optimizer, Waiting

WINDOWS = [(1, 1), (4, 4), (3, 7)]


def one_way(**spec: object) -> sl.RNN:
    return sl.RNN(**{"dim": 1, "hidden": 3, "target": "later", **spec})


def both_ways(**spec: object) -> sl.BidirectionalRNN:
    return sl.BidirectionalRNN(**{"dim": 1, "hidden": 3, "target": "later", "chunk": (2, 1), **spec})


DIRECTIONS = pytest.mark.parametrize("make", [one_way, both_ways])


def slow(net: sl.RNN, **rule: int) -> Waiting:
    """The slow net with the same parameters."""
    spec = net.spec
    optimizer = Optimizer(spec.optimizer, spec.learning_rate, spec.clip)  # a rate that stays
    classes = spec.loss == "cross_entropy"
    return Waiting(Net(dict(net.parameters), spec.cell, spec.layers, classes), optimizer, *spec.tbptt, **rule)


def sharing(first: Waiting, **rule: int) -> Waiting:
    """Another stream that the same slow net learns."""
    another = Waiting(first.net, first.optimizer, first.k1, first.k2, **rule)
    another.means = first.means
    return another


# several samples ahead


@pytest.mark.parametrize("tbptt", WINDOWS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_forecasts_several_samples_as_the_slow_one(cell, tbptt):
    ours = sl.RNN(dim=2, hidden=5, cell=cell, tbptt=tbptt, horizon=3, seed=1, learning_rate=0.01)
    naive = slow(ours, ahead=3)
    x = wave(120, 2, seed=2, missing=0.15)
    out = ours.learn(x)
    told = np.array([naive.step(row) for row in x.astype(float)]).reshape(-1, 3, 2)
    assert np.isnan(out.prediction[0]).all()
    assert np.allclose(out.prediction[1:], told[:-1], rtol=1e-3, atol=1e-4)
    assert np.allclose(ours.predict(x[:0]).prediction.shape, (0, 3, 2))
    assert_same_parameters(ours, naive.net)


def test_the_quality_of_a_horizon_is_told_step_by_step():
    net = sl.RNN(dim=2, hidden=4, horizon=3, half_life=40.0, scale="standard", tbptt=(4, 4))
    x = wave(150, 2, seed=3, missing=0.1) * np.float32([1, 20])
    out = net.learn(x)
    expected, shares = [], []
    for h in range(3):
        steps = []
        for c in range(2):
            weighted = total = ours = naive = 0.0
            for n in range(len(x)):
                i = n - h  # the row whose forecast reached x[n] with its step h
                if i < 1 or np.isnan(x[n, c]):
                    continue
                error = abs(float(out.prediction[i, h, c]) - float(x[n, c]))
                weighted, total = weighted * net.decay + 1, total * net.decay + error
                before = x[:i, c][~np.isnan(x[:i, c])]  # what persistence knew then
                if len(before):
                    ours = ours * net.decay + error
                    naive = naive * net.decay + abs(float(before[-1]) - float(x[n, c]))
            steps.append(total / weighted)
            shares.append(ours / naive)
        expected.append(np.mean(steps))
    quality = net.quality()
    assert quality["mae_by_step"] == pytest.approx(expected)
    assert quality["mae"] == pytest.approx(np.mean(expected))
    assert quality["mase"] == pytest.approx(np.mean(shares))


def test_error_and_score_judge_the_first_step():
    net = sl.RNN(dim=2, hidden=4, horizon=4)
    x = wave(60, 2, seed=4)
    out = net.learn(x)
    wrong = np.sqrt(np.mean((out.prediction[1:, 0].astype(float) - x[1:]) ** 2, axis=1))
    assert np.allclose(out.error[1:], wrong, rtol=1e-5)


def test_a_residual_horizon_begins_as_persistence():
    net = sl.RNN(dim=2, hidden=3, horizon=3, residual=True, learning_rate=0.0)
    net.load_parameters({name: 0 * values for name, values in net.parameters.items()})
    x = wave(5, 2, seed=5)
    assert np.array_equal(net.predict(x).prediction, np.repeat(x[:, None], 3, axis=1))


def test_forecast_is_the_horizons_own_and_beyond_it_goes_on_step_by_step():
    net = sl.RNN(dim=2, hidden=4, horizon=3, tbptt=(50, 50))
    x = wave(41, 2, seed=6)
    net.learn(x[:40])
    ahead = net.forecast(5)
    assert ahead.shape == (5, 2)
    assert np.array_equal(net.forecast(2), ahead[:2])
    fed = net.forecast(1)
    while len(fed) < 5:  # its own forecasts as samples: the next ones are the first steps after each
        fed = np.concatenate((fed, net.predict(fed).prediction[-1:, 0]))
    assert np.array_equal(ahead[3:], fed[3:])
    assert not np.array_equal(ahead[1:3], fed[1:3])
    assert np.array_equal(net.learn(x[40]).prediction[0], ahead[:3])  # what had been forecast before it came


def test_one_sample_ahead_is_a_horizon_of_one():
    one, plain = (sl.RNN(dim=2, hidden=4, tbptt=(3, 7), horizon=h) for h in (1, None))
    x = wave(80, 2, seed=7, missing=0.1)
    assert np.array_equal(one.learn(x).prediction[:, 0], plain.learn(x).prediction, equal_nan=True)
    assert one.quality()["mae"] == plain.quality()["mae"]


# targets that come later


@pytest.mark.parametrize("tbptt", WINDOWS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_learns_targets_that_come_later_as_the_slow_one(cell, tbptt):
    ours = sl.RNN(
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
    naive = slow(ours, delay=6)
    random = np.random.default_rng(9)
    x, y = wave(150, 2, seed=10, missing=0.1), wave(150, 2, seed=11, missing=0.1)
    unmatched = 0
    for i, row in enumerate(x.astype(float)):
        along = y[i] if random.random() < 0.2 else None
        said = ours.learn(x[i], along, ids=1000 + i)
        told = naive.step(row, along)
        assert np.allclose(said.prediction[0], told, rtol=1e-3, atol=1e-4), i
        for back in random.permutation(9)[: random.integers(0, 4)]:  # some come too late, some out of order
            number = i - int(back)
            if number < 0 or np.isnan(y[number]).all():
                continue
            late = ours.learn_targets([1000 + number], y[number : number + 1])
            known = naive.target(number, y[number].astype(float))
            if known is None:
                unmatched += 1
                assert (late.sample[0], np.isnan(late.prediction).all()) == (-1, True)
            else:
                assert late.sample[0] == number
                assert np.allclose(late.prediction[0], known, rtol=1e-3, atol=1e-4), (i, number)
                there = ~np.isnan(y[number])
                wrong = np.sqrt(np.mean((known - y[number])[there] ** 2))
                assert np.isclose(late.error[0], wrong, rtol=1e-2, atol=1e-3)
    assert_same_parameters(ours, naive.net)
    quality = ours.quality()
    assert 0 < unmatched == quality["unmatched_targets"]
    assert quality["waiting"] == len(naive.steps) - len(naive.pairs)
    assert quality["expired_targets"] == sum(np.isnan(target).all() for _, target, _ in naive.pairs) > 5


def test_a_late_target_is_judged_by_what_was_said_then():
    """However the scaler and the parameters have moved since."""
    net = sl.RNN(dim=1, hidden=4, target="later", scale="standard", tbptt=(2, 2), delay=50)
    x = wave(60, 1, seed=12)
    net.learn(x[:20], 100 + 10 * x[:20])
    said = net.learn(x[20:30]).prediction
    net.learn(x[30:60], 100 + 10 * x[30:60])
    late = net.learn_targets(range(20, 30), 100 + 10 * x[20:30])
    assert np.array_equal(late.prediction, said)
    assert late.sample.tolist() == list(range(20, 30))
    assert np.allclose(late.error, np.abs(said - (100 + 10 * x[20:30]))[:, 0], rtol=1e-5)
    assert np.isfinite(late.score).all()


def test_targets_that_all_came_along_are_given_targets():
    later, given = (
        sl.RNN(dim=2, hidden=4, tbptt=(3, 7), target=target, outputs=2) for target in ("later", "given")
    )
    x, y = wave(80, 2, seed=13), wave(80, 2, seed=14)
    assert np.array_equal(later.learn(x, y).prediction, given.learn(x, y).prediction)
    assert all(np.array_equal(later.parameters[name], given.parameters[name]) for name in given.parameters)


@DIRECTIONS
def test_classes_may_come_later(make):
    net = make(hidden=8, classes=2, loss="cross_entropy", half_life=200.0, seed=1)
    x = wave(3000, 1, seed=15)
    y = (x > 0).astype(np.float32)
    for start in range(0, 3000, 10):
        net.learn(x[start : start + 10], ids=[f"sample {i}" for i in range(start, start + 10)])
        net.learn_targets([f"sample {i}" for i in range(start, start + 10)], y[start : start + 10])
    quality = net.quality()
    assert quality["accuracy"] > 0.9
    assert (quality["expired_targets"], quality["unmatched_targets"]) == (0, 0)


def test_what_a_late_net_refuses():
    net = sl.RNN(dim=1, hidden=2, target="later", classes=3, loss="cross_entropy")
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
        sl.RNN(dim=1, hidden=2).learn_targets([1], [[1.0]])
    with pytest.raises(BadSpec, match="delay needs target='later'"):
        sl.RNN(dim=1, hidden=2, delay=3)
    with pytest.raises(BadSpec, match="horizon needs target='next'"):
        sl.RNN(dim=1, hidden=2, target="given", horizon=3)


# missing inputs


@DIRECTIONS
@pytest.mark.parametrize("scaling", [None, "standard", "ewma", "minmax"])
def test_a_missing_input_without_a_forecast_is_the_mean_so_far(make, scaling):
    """Whatever that is in the net's own units: 0 where it scales it so, else what it has been."""
    net = make(dim=2, scale=scaling, scale_clip=1e6, learning_rate=0.0, optimizer="sgd", seed=1)
    x = (1 + 0.3 * np.random.default_rng(28).normal(size=(1000, 2))).astype(np.float32)
    net.learn(x, x[:, :1])
    ahead = np.repeat(x[:1], 5, axis=0)
    ahead[0, 1] = np.nan
    guessed = net.predict(ahead)
    ahead[0, 1] = x[:, 1].mean()
    told = net.predict(ahead)
    close = {"rtol": 5e-3, "atol": 2e-4}  # of minmax, the mean of what was scaled when less was known
    assert np.allclose(guessed.prediction, told.prediction, **close)
    ahead[0, 1] = -5  # it does depend on it
    assert not np.allclose(net.predict(ahead).prediction, told.prediction, **close)


# many streams, one net


@pytest.mark.parametrize("tbptt", WINDOWS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_learns_many_streams_as_the_slow_one(cell, tbptt):
    ours = sl.RNN(dim=2, hidden=5, cell=cell, tbptt=tbptt, keys=3, seed=16, learning_rate=0.01)
    first = slow(ours)
    streams = {0: first, 1: sharing(first), 2: sharing(first)}
    random = np.random.default_rng(17)
    keys = random.choice(3, 200, p=[0.6, 0.3, 0.1])
    x = wave(200, 2, seed=18, missing=0.1)
    out = ours.learn(x, keys=keys)
    before: dict[int, np.ndarray] = {}
    for i, key in enumerate(keys.tolist()):
        expected = before.get(key, np.full(2, np.nan))
        # What stands before x[i] was forecast with the parameters of that moment.
        assert np.allclose(out.prediction[i], expected, rtol=1e-3, atol=1e-4, equal_nan=True), i
        before[key] = streams[key].step(x[i].astype(float))
    assert_same_parameters(ours, first.net)


def test_streams_do_not_see_each_other():
    """Without learning, each of many streams is told what it would be alone."""
    spec = {"dim": 2, "hidden": 4, "learning_rate": 0.0, "optimizer": "sgd", "seed": 19}
    many = sl.RNN(**spec, keys=4)
    keys = np.random.default_rng(20).integers(0, 4, 100)
    x = wave(100, 2, seed=21)
    out, later = many.learn(x, keys=keys), many.predict(x, keys=keys)
    for key in range(4):
        alone = sl.RNN(**spec)
        mine = x[keys == key]
        assert np.array_equal(alone.learn(mine).prediction, out.prediction[keys == key], equal_nan=True)
        assert np.array_equal(alone.predict(mine).prediction, later.prediction[keys == key])
        assert np.array_equal(alone.forecast(5), many.forecast(5, key=key))


def test_the_key_heard_of_longest_ago_makes_room():
    net = sl.RNN(dim=1, hidden=3, keys=2, learning_rate=0.0, optimizer="sgd")
    x = wave(30, 1, seed=22)
    net.learn(x[:10], keys="pump")
    net.learn(x[:10], keys="fan")
    net.learn(x[10:12], keys="pump")
    assert net.quality()["keys"] == 2
    assert np.isnan(net.learn(x[:1], keys="valve").prediction[0, 0])  # in place of the fan
    assert np.isfinite(net.predict(x[:1], keys="pump").error[0])
    assert np.isnan(net.predict(x[:1], keys="fan").error[0])
    assert net.quality()["forgotten_keys"] == 1
    alone = sl.RNN(dim=1, hidden=3, learning_rate=0.0, optimizer="sgd")
    alone.learn(x[:1])
    assert np.array_equal(net.forecast(3, key="valve"), alone.forecast(3))  # nothing of the fan was left


@DIRECTIONS
def test_late_targets_find_their_own_stream(make):
    net = make(keys=2, delay=8)
    x = wave(8, 1, seed=23)
    for key in ("a", "b"):
        net.learn(x[:4], keys=key, ids=range(4))
    late = net.learn_targets([1, 2, 3, 4], x[:4], keys=["a", "b", "c", "a"])
    assert late.sample.tolist() == [1, 6, -1, -1]
    assert net.quality()["unmatched_targets"] == 2


@DIRECTIONS
def test_an_id_that_is_used_again_is_the_newest_samples(make):
    net = make(delay=8)
    x = wave(4, 1, seed=27)
    net.learn(x, ids=[7, 7, 8, 7])
    assert net.learn_targets([7, 7, 7, 7], x).sample.tolist() == [3, 1, 0, -1]


def test_a_key_is_asked_for_where_it_counts():
    keyed, plain = sl.RNN(dim=1, hidden=2, keys=2), sl.RNN(dim=1, hidden=2)
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


def test_samples_that_are_passed_by_move_the_state_and_nothing_else():
    net = sl.RNN(dim=2, hidden=4, scale="standard", tbptt=(4, 8))
    net.learn(wave(50, 2, seed=25))
    x = wave(21, 2, seed=26)
    before = net.copy_state()
    told, passed = net.predict(x), net._skip(net.validate(x))
    changed = {name for name, array in net.state.items() if array.tobytes() != before[name].tobytes()}
    assert changed == {"samples", "window", "progress", "last_values"}
    assert np.array_equal(told.error[:1], passed.error[:1])
    again = sl.RNN.from_spec(net.spec_dict())
    again.adopt(before)
    again.learn(x)
    assert not np.array_equal(again.parameters["head.weight"], net.parameters["head.weight"])
