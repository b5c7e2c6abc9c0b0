"""``sl.BidirectionalRNN`` with late targets, against the float64 reference; documented behaviour."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from tests.models.parameters import assert_same_parameters
from tests.models.test_bidirectional import make
from tests.models.test_rnn import CELLS, wave
from tests.naive.bidirectional import DelayedStream, Net
from tests.naive.rnn import Optimizer

CHUNKS = [(1, 0), (1, 3), (4, 0), (5, 2), (3, 7)]


def reference_of(net: sl.BidirectionalRNN) -> DelayedStream:
    """Return the reference with the same parameters."""
    spec = net.spec
    optimizer = Optimizer(spec.optimizer, spec.learning_rate, spec.clip)  # a constant rate
    cells = Net(dict(net.parameters), spec.cell, spec.layers, classes=spec.class_count is not None)
    return DelayedStream(cells, optimizer, *spec.chunk, delay=spec.delay)


@pytest.mark.parametrize("delay", [1, 6, 11])
@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_learning_from_late_targets_equals_the_reference(cell, chunk, delay):
    ours = make(
        cell=cell,
        chunk=chunk,
        delay=delay,
        layers=2,
        target="later",
        outputs=2,
        seed=8,
        optimizer="sgd",
        learning_rate=0.03,
    )
    reference = reference_of(ours)
    random = np.random.default_rng(9)
    x, y = wave(150, 2, seed=10, missing=0.1), wave(150, 2, seed=11, missing=0.1)
    unmatched = early = 0
    for i, row in enumerate(x.astype(float)):
        target = y[i] if random.random() < 0.2 else None
        out = ours.learn(x[i], target, ids=1000 + i)
        expected = reference.step(row, target)
        predicted = len(reference.predictions)
        assert out.sample.tolist() == list(range(predicted - len(expected), predicted))
        assert np.allclose(out.prediction, np.reshape(expected, (-1, 2)), rtol=1e-3, atol=1e-4), i
        for lag in random.permutation(25)[: random.integers(0, 9)]:  # some are too late, some out of order
            number = i - int(lag)
            if number < 0 or np.isnan(y[number]).all():
                continue
            late = ours.learn_targets([1000 + number], y[number : number + 1])
            expected = reference.target(number, y[number].astype(float))
            assert late.sample.tolist() == [-1 if expected is None else number]
            if expected is None:
                unmatched += 1
                expected = np.full(2, np.nan)
            early += number >= predicted
            assert np.allclose(late.prediction[0], expected, rtol=1e-3, atol=1e-4, equal_nan=True), (
                i,
                number,
            )
            present = ~np.isnan(y[number])
            error = np.sqrt(np.mean((expected - y[number])[present] ** 2))
            assert np.isclose(late.error[0], error, rtol=1e-2, atol=1e-3, equal_nan=True)
    assert_same_parameters(ours, reference.net)
    quality = ours.quality()
    assert 0 < unmatched == quality["unmatched_targets"]
    assert early > 0 or sum(chunk) == 1
    assert quality["waiting"] == reference.samples - reference.learned
    assert quality["expired_targets"] == reference.learned - sum(
        i < reference.learned for i in reference.targets
    )
    assert quality["updates"] > 5


def test_the_error_of_a_late_target_is_that_of_the_first_prediction():
    """Also if the scaling statistics and the parameters have changed since."""
    net = make(dim=1, target="later", scale="standard", chunk=(2, 3), delay=50)
    x = wave(60, 1, seed=12)
    net.learn(x[:20], 100 + 10 * x[:20])
    out = net.learn(x[20:30])
    predictions = dict(zip(out.sample.tolist(), out.prediction.tolist(), strict=True))
    net.learn(x[30:60], 100 + 10 * x[30:60])
    late = net.learn_targets(range(20, 26), 100 + 10 * x[20:26])
    assert late.sample.tolist() == list(range(20, 26))
    assert late.prediction.tolist() == [predictions[i] for i in range(20, 26)]
    assert np.allclose(late.error, np.abs(late.prediction - (100 + 10 * x[20:26]))[:, 0], rtol=1e-5)
    assert np.isfinite(late.score).all()


def test_a_target_before_the_prediction_gets_its_error_with_the_prediction():
    net = make(dim=1, chunk=(2, 3), target="later")
    x = wave(5, 1, seed=21)
    net.learn(x[:4])
    answer = net.learn_targets([1], [[7.0]])
    assert answer.sample.tolist() == [1]
    assert np.isnan([answer.prediction[0, 0], answer.error[0], answer.score[0]]).all()
    out = net.learn(x[4])
    assert out.sample.tolist() == [0, 1]
    assert np.isnan(out.error[0])
    assert out.error[1] == abs(out.prediction[1, 0] - 7)


@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
def test_late_targets_that_come_with_their_samples_equal_given_targets(chunk):
    later, given = (make(chunk=chunk, scale="ewma", target=target) for target in ("later", "given"))
    x, y = wave(80, 2, seed=13, missing=0.1), wave(80, 1, seed=14)
    out, expected = later.learn(x, y), given.learn(x, y)
    for name, values in expected.arrays.items():
        assert out.arrays[name].tobytes() == values.tobytes(), name
    assert np.array_equal(later.state["parameters"], given.state["parameters"])
    assert np.array_equal(later.predict(x).prediction, given.predict(x).prediction)


def test_predict_does_not_count_expired_targets():
    net = make(target="later", delay=3, chunk=(2, 1))
    x = wave(30, 2, seed=15)
    net.learn(x[:4])
    before = net.state_hash()
    assert net.predict(x[4:]).sample.tolist() == list(range(2, 28))
    assert net.state_hash() == before
    assert net.quality()["expired_targets"] == 0
    net.learn(x[5:])
    assert net.quality()["expired_targets"] == 26
    assert net.quality()["updates"] == 0


def test_samples_of_a_forgotten_key_stop_waiting():
    net = make(dim=1, keys=2, target="later", chunk=(2, 1))
    x = wave(8, 1, seed=17)
    for key in ("a", "b"):
        net.learn(x[:4], keys=key, ids=range(4))
    net.learn(x[4:], keys="c", ids=range(4))  # replaces a and its waiting samples
    assert net.learn_targets([0, 1], x[:2], keys=["a", "c"]).sample.tolist() == [-1, 9]


def test_a_late_target_without_learning_is_answered_and_changes_no_state():
    net = make(target="later", chunk=(2, 1), drift="page_hinkley", on_drift="watch")
    x, y = wave(9, 2, seed=19), wave(9, 1, seed=20)
    net.learn(x)
    before = net.state_hash()
    answer = net._learn_late_targets(net.validate_targets([3, 100], y[:2]), learning=False)
    assert answer.sample.tolist() == [3, -1]
    assert np.isfinite(answer.error[0])
    assert net.state_hash() == before
