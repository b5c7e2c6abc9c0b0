"""Nets in both directions against a slow one in float64, finite differences, and what a user was promised."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import streamlearn as sl
from streamlearn.errors import BadShape, BadSpec
from streamlearn_client.outputs import Outputs
from tests.models.parameters import assert_same_parameters
from tests.models.test_rnn import CELLS, wave
from tests.naive.bidirectional import Net, Stream
from tests.naive.differences import differences
from tests.naive.rnn import Means, Optimizer
from tests.naive.scale import Scaler
from tests.naive.score import Score


def make(**spec: object) -> sl.BidirectionalRNN:
    return sl.BidirectionalRNN(**{"dim": 2, "hidden": 5, "chunk": (5, 2), **spec})


def slow(net: sl.BidirectionalRNN) -> Stream:
    """The slow net with the same parameters."""
    spec = net.spec
    optimizer = Optimizer(spec.optimizer, spec.learning_rate, spec.clip)  # a rate that stays
    cells = Net(dict(net.parameters), spec.cell, spec.layers, classes=spec.class_count is not None)
    return Stream(cells, optimizer, *spec.chunk)


def joined(parts: list[Outputs]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([each.arrays[name] for each in parts]) for name in parts[0].arrays}


# the oracle itself


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_the_slow_nets_gradient_is_that_of_finite_differences(cell, layers, classes):
    random = np.random.default_rng(layers)
    kind = {"loss": "cross_entropy", "classes": 3} if classes else {"outputs": 2}
    net = slow(make(hidden=2, layers=layers, cell=cell, seed=5, **kind)).net
    inputs, targets = list(random.normal(size=(6, 2))), list(random.normal(size=(4, 2)))
    if classes:
        targets = list(random.integers(0, 3, (4, 1)).astype(float))
    targets[3][-1] = np.nan
    states = [(random.uniform(-1, 1, 2), random.uniform(-1, 1, 2)) for _ in range(layers)]
    gradient = net.gradient(inputs, targets, states)
    for name, expected in differences(net.p, lambda: net.loss(inputs, targets, states)).items():
        assert np.allclose(gradient[name], expected, rtol=1e-5, atol=1e-9), name


# ours and the oracle

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
def test_says_and_learns_what_the_slow_one_does(cell, layers, chunk, rule):
    ours = make(cell=cell, layers=layers, chunk=chunk, outputs=3, seed=1, **RULES[rule])
    naive = slow(ours)
    x, y = wave(90, 2, seed=2, missing=0.15), wave(90, 3, seed=3, missing=0.3)
    y[20:45] = np.nan  # longer than a chunk: nothing to learn there
    out = ours.learn(x, y)
    pairs = zip(x.astype(float), y.astype(float), strict=True)
    told = np.array([row for pair in pairs for row in naive.learn(*pair)])
    n = len(told)
    assert n == (90 - chunk[1]) // chunk[0] * chunk[0]
    assert out.sample.tolist() == list(range(n))
    assert np.allclose(out.prediction, told, rtol=1e-3, atol=1e-4)
    assert out.present.tolist() == (~np.isnan(x)).sum(axis=1)[:n].tolist()
    difference = (out.prediction - y[:n].astype(float)) ** 2
    some = np.flatnonzero(~np.isnan(y[:n]).all(axis=1))
    assert np.allclose(out.error[some], np.sqrt(np.nanmean(difference[some], axis=1)), rtol=1e-5)
    assert np.isnan(np.delete(out.error, some)).all()
    assert_same_parameters(ours, naive.net)
    quality = ours.quality()
    assert quality["waiting"] == 90 - n == len(naive.waiting)
    assert quality["skipped_updates"] == 0


@pytest.mark.parametrize("cell", CELLS)
def test_classifies_as_the_slow_one(cell):
    ours = make(
        cell=cell, layers=2, hidden=18, loss="cross_entropy", classes=20, optimizer="sgd", learning_rate=0.1
    )
    naive = slow(ours)
    x = wave(90, 2, seed=4, missing=0.1)
    y = np.random.default_rng(5).integers(0, 20, (90, 1)).astype(np.float32)
    y[::7] = np.nan
    out = ours.learn(x, y)
    told = [row for pair in zip(x.astype(float), y.astype(float), strict=True) for row in naive.learn(*pair)]
    assert np.allclose(out.prediction, told, rtol=1e-3, atol=1e-4)
    there = ~np.isnan(y[: len(out), 0])
    of_those = np.array(told)[there, y[: len(out), 0][there].astype(int)]
    assert np.allclose(out.error[there], -np.log(of_those), rtol=1e-3)
    assert np.isnan(out.error[~there]).all()
    assert_same_parameters(ours, naive.net)


@pytest.mark.parametrize("method", ["standard", "ewma", "minmax"])
def test_scales_what_it_sees_and_speaks_in_the_targets_units(method):
    """A sample is scaled when it comes; a target when its chunk is judged, by the targets before it."""
    ours = make(
        layers=2, learning_rate=0.01, scale=method, half_life=40.0, scale_clip=2.0, outputs=2, chunk=(4, 3)
    )
    naive, score = slow(ours), Score(ours.decay)
    naive.means = Means(ours.decay, rest=method != "minmax")  # the others scale the mean to 0
    of_x, of_y = (Scaler(2, method, 2.0, ours.decay) for _ in range(2))
    x = wave(120, 2, seed=7, missing=0.1) * [1.0, 30.0] + [5.0, -100.0]
    y = np.roll(x, 3, axis=0) * 0.5
    x, y = x.astype(np.float32), y.astype(np.float32)
    out = ours.learn(x, y)
    done = 0
    for i in range(len(x)):
        complete = naive.take(np.array(of_x.scaled(x[i].tolist())), y[i])
        of_x.observe(x[i].tolist())
        if not complete:
            continue
        goals, units = [], []
        for target in y[done : done + 4].tolist():
            goals.append(np.array(of_y.scaled(target)))
            units.append([channel.offset_and_width() for channel in of_y.channels])
            of_y.observe(target)
        for told, place in zip(naive.run(goals), units, strict=True):
            back = [offset + width * value for (offset, width), value in zip(place, told, strict=True)]
            assert np.allclose(out.prediction[done], back, rtol=1e-3, atol=1e-3), done
            assert np.isclose(out.score[done], score.rank(float(out.error[done])), atol=1e-4, equal_nan=True)
            score.observe(float(out.error[done]))
            done += 1
    assert done == len(out)
    assert_same_parameters(ours, naive.net)


def test_a_decaying_learning_rate():
    """A chunk is learned at the rate of the sample that completed it."""
    ours = make(optimizer="sgd", learning_rate=sl.Decay(0.3, 0.05, 20))
    naive = slow(make(optimizer="sgd", learning_rate=0.0))
    x, y = wave(101, 2, seed=8), wave(101, 1, seed=9)
    ours.learn(x, y)
    for t in range(101):
        naive.optimizer.rate = 0.05 + 0.25 * np.exp(-t / 20)
        naive.learn(x[t].astype(float), y[t].astype(float))
    assert_same_parameters(ours, naive.net)


# what a user was promised


def test_what_is_said_comes_with_the_last_of_its_right_context():
    net = make(chunk=(3, 2))
    said = [net.learn(*pair).sample.tolist() for pair in zip(wave(12, 2, 1), wave(12, 1, 2), strict=True)]
    assert said == [[], [], [], [], [0, 1, 2], [], [], [3, 4, 5], [], [], [6, 7, 8], []]
    assert net.samples == 12


def test_sees_as_far_as_its_right_context_and_no_farther():
    x, y = wave(7, 2, seed=10), wave(7, 1, seed=11)
    plain = make().learn(x, y).prediction
    for t in range(7):
        other = x.copy()
        other[t] += 1
        changed = (make().learn(other, y).prediction != plain).any(axis=1)
        assert changed.all()  # all of the chunk and its context is seen from everywhere in the chunk
    other = np.concatenate((x, wave(3, 2, seed=12)))
    assert np.array_equal(make().learn(other, np.zeros(10)).prediction, plain)


def test_a_target_is_not_known_to_its_own_prediction():
    """Nothing of y_t, nor of what comes after it, is in what is told of t; not even its scale."""
    x, y = wave(60, 2, seed=13), wave(60, 1, seed=14)
    plain = make(scale="standard").learn(x, y)
    for t in (0, 7, 23):
        other = y.copy()
        other[t:] += 1000
        told = make(scale="standard").learn(x, other)
        assert np.array_equal(told.prediction[: t + 1], plain.prediction[: t + 1])
        assert told.prediction[t + 1] != plain.prediction[t + 1]


@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
def test_predict_says_what_learn_would_and_judges_what_has_its_target(chunk):
    net = make(chunk=chunk, scale="standard", layers=2)
    x, y = wave(120, 2, seed=15, missing=0.1), 100 + 10 * wave(120, 1, seed=16)
    net.learn(x[:40], y[:40])
    told = []
    for i in range(40, 120):
        said, learned = net.predict(x[i]), net.learn(x[i], y[i])
        for name in ("sample", "prediction", "present"):
            assert said.arrays[name].tobytes() == learned.arrays[name].tobytes()
        known = said.sample < i
        assert said.error[known].tobytes() == learned.error[known].tobytes()
        assert said.score[known].tobytes() == learned.score[known].tobytes()
        assert np.isnan(said.error[~known]).all()
        told += said.prediction.tolist()
    assert abs(np.mean(told) - 100) < 30


def test_predict_runs_on_from_chunk_to_chunk():
    still, moved = (make(learning_rate=0.0, layers=2, seed=3) for _ in range(2))
    x, y = wave(100, 2, seed=17), wave(100, 1, seed=18)
    for net in (still, moved):
        net.learn(x[:33], y[:33])
    said, learned = still.predict(x[33:]), moved.learn(x[33:], y[33:])
    assert np.array_equal(said.sample, learned.sample)
    assert np.array_equal(said.prediction, learned.prediction)


def test_learns_what_only_the_future_tells():
    """y is the sample two steps ahead. Only a net that sees it can say."""
    x = np.random.default_rng(1).normal(size=(20_000, 1)).astype(np.float32)
    y = np.roll(x, -2)
    for cell in CELLS:
        net = sl.BidirectionalRNN(dim=1, hidden=12, cell=cell, chunk=(8, 3), learning_rate=0.01)
        net.learn(x, y)
        assert net.quality()["mae"] < 0.15, cell
    alone = sl.RNN(dim=1, hidden=12, target="given", learning_rate=0.01)
    alone.learn(x, y)
    assert alone.quality()["mae"] > 0.7  # √(2/π) = 0.8 is the mean of |x|


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
    said = [pieces.learn(x[i:j], y[i:j], keys=None if key is None else key[i:j]) for i, j in pairwise(cuts)]
    assert pieces.state_hash() == whole.state_hash()
    together = joined(said)
    for name, values in expected.arrays.items():
        assert together[name].tobytes() == values.tobytes(), name


def test_a_sample_that_is_not_learned_is_told_of_and_judged_but_leaves_no_trace():
    """It may be part of a chunk that is learned. Where it completes one, that is not learned."""
    x, y = wave(105, 2, seed=36), wave(105, 1, seed=37)
    x[3::10] = np.nan  # not those that complete a chunk
    frozen, plain = (make(learning_rate=0.01, chunk=(5, 1), **more) for more in ({"freeze_missing": 0.5}, {}))
    untold = np.where(np.isnan(x[:, :1]), np.nan, y)
    out, told = frozen.learn(x[:100], y[:100]), plain.learn(x[:100], untold[:100])
    assert out.frozen.tolist() == np.isnan(x[out.sample]).all(axis=1).tolist()
    assert 0 < out.frozen.sum() < len(out)
    assert np.array_equal(out.prediction, told.prediction)
    assert np.array_equal(frozen.state["parameters"], plain.state["parameters"])
    assert np.isfinite(out.error).all()
    assert frozen.quality()["mae"] == plain.quality()["mae"]
    before = frozen.state["parameters"].copy()
    x[100] = np.nan
    assert frozen.learn(x[100], y[100]).sample.tolist() == list(range(95, 100))
    assert np.array_equal(frozen.state["parameters"], before)


# keys


def test_every_key_has_chunks_and_states_of_its_own():
    """Where nothing is learned, a key's rows are those of a net that it has for itself."""
    shared = make(keys=3, learning_rate=0.0)
    x, y = wave(150, 2, seed=22), wave(150, 1, seed=23)
    key = np.random.default_rng(24).integers(0, 3, 150)
    out = shared.learn(x, y, keys=key)
    for k in range(3):
        alone = make(learning_rate=0.0).learn(x[key == k], y[key == k])
        mine = key[out.sample] == k
        assert out.sample[mine].tolist() == np.flatnonzero(key == k)[: len(alone)].tolist()
        assert np.array_equal(out.prediction[mine], alone.prediction)
        assert np.array_equal(out.error[mine], alone.error)
    assert shared.quality()["keys"] == 3


def test_the_weights_are_shared():
    """What one key's stream teaches, another's prediction knows."""
    net = make(keys=2, chunk=(4, 0), learning_rate=0.01)
    x = wave(1000, 2, seed=25)
    net.learn(x, x[:, :1], keys=1)
    out = net.predict(x[:4], keys=2)
    assert np.abs(out.prediction - x[:4, :1]).max() < 0.3
    untaught = make(keys=2, chunk=(4, 0)).predict(x[:4], keys=2)
    assert np.abs(untaught.prediction - x[:4, :1]).max() > 0.3


def test_a_key_too_many_takes_the_place_of_the_one_heard_of_longest_ago():
    net, fresh = (make(keys=2, learning_rate=0.0) for _ in range(2))
    x, y = wave(30, 2, seed=26), wave(30, 1, seed=27)
    net.learn(x[:6], y[:6], keys="a")  # one short of a chunk and its context
    net.learn(x[6:20], y[6:20], keys="b")
    net.learn(x[20], y[20], keys="c")  # a is forgotten, and what waited with it
    assert net.learn(x[6], y[6], keys="a").sample.size == 0  # and so is b now
    assert net.quality()["forgotten_keys"] == 2
    before = net.samples
    out, alone = net.learn(x[7:13], y[7:13], keys="a"), fresh.learn(x[6:13], y[6:13], keys="a")
    assert out.sample.tolist() == [before - 1, *range(before, before + 4)]
    assert np.array_equal(out.prediction, alone.prediction)


def test_predict_of_keys_that_are_known_and_that_are_not():
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
        told = alone.predict(x[9:][keys == name]).prediction
        mine = np.concatenate((np.full(9, "known"), keys))[out.sample] == name
        assert np.array_equal(out.prediction[mine], told)
    assert net.state_hash() == before


def test_keys_must_be_there_or_not():
    for net, keys in ((make(), 1), (make(keys=2), None)):
        with pytest.raises(BadShape, match="key"):
            net.learn(wave(3, 2, 1), wave(3, 1, 2), keys=keys)


# parameters, specs, poison


def test_parameters_have_pytorchs_names_and_shapes():
    net = make(dim=3, hidden=20, cell="gru", layers=2, outputs=18)
    shapes = {name: values.shape for name, values in net.parameters.items()}
    for end in ("", "_reverse"):
        for layer, inputs in ((0, 3), (1, 40)):
            assert shapes.pop(f"weight_ih_l{layer}{end}") == (60, inputs)
            assert shapes.pop(f"weight_hh_l{layer}{end}") == (60, 20)
            assert shapes.pop(f"bias_ih_l{layer}{end}") == shapes.pop(f"bias_hh_l{layer}{end}") == (60,)
    assert shapes == {"head.weight": (18, 40), "head.bias": (18,)}


def test_loaded_parameters_start_the_states_anew_and_lose_no_sample():
    one, two = (make(learning_rate=0.01, layers=2, seed=seed) for seed in (1, 2))
    x, y = wave(200, 2, seed=30), wave(200, 1, seed=31)
    two.learn(x[:45], y[:45])  # five wait
    two.load_parameters(one.parameters)
    rest, alone = two.learn(x[45:], y[45:]), one.learn(x[40:], y[40:])
    assert rest.sample[0] == 40
    assert np.array_equal(rest.prediction, alone.prediction)
    assert np.array_equal(one.state["parameters"], two.state["parameters"])


def test_a_state_dict_without_all_of_its_reverse_direction_is_refused():
    given = dict(make(layers=2).parameters)
    del given["weight_hh_l1_reverse"]
    with pytest.raises(BadSpec, match="'weight_hh_l1_reverse' is missing"):
        sl.BidirectionalRNN.from_state_dict(given)
    with pytest.raises(BadSpec, match="'weight_hh_l1_reverse' is missing"):
        make(layers=2).load_parameters(given)


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
    ("wrong", "told"),
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
def test_wrong_specs_are_refused(wrong, told):
    with pytest.raises(BadSpec, match=told):
        make(**wrong)
