"""Nets in both directions whose targets come later: against the slow net in float64, and what a user was
promised."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from tests.models.parameters import assert_same_parameters
from tests.models.test_bidirectional import make
from tests.models.test_rnn import CELLS, wave
from tests.naive.bidirectional import Net, Waiting
from tests.naive.rnn import Optimizer

CHUNKS = [(1, 0), (1, 3), (4, 0), (5, 2), (3, 7)]


def slow(net: sl.BidirectionalRNN) -> Waiting:
    """The slow net with the same parameters."""
    spec = net.spec
    optimizer = Optimizer(spec.optimizer, spec.learning_rate, spec.clip)  # a rate that stays
    cells = Net(dict(net.parameters), spec.cell, spec.layers, classes=spec.class_count is not None)
    return Waiting(cells, optimizer, *spec.chunk, delay=spec.delay)


@pytest.mark.parametrize("delay", [1, 6, 11])
@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_learns_targets_that_come_later_as_the_slow_one(cell, chunk, delay):
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
    naive = slow(ours)
    random = np.random.default_rng(9)
    x, y = wave(150, 2, seed=10, missing=0.1), wave(150, 2, seed=11, missing=0.1)
    unmatched = early = 0
    for i, row in enumerate(x.astype(float)):
        along = y[i] if random.random() < 0.2 else None
        said = ours.learn(x[i], along, ids=1000 + i)
        told = naive.step(row, along)
        assert said.sample.tolist() == list(range(len(naive.said) - len(told), len(naive.said)))
        assert np.allclose(said.prediction, np.reshape(told, (-1, 2)), rtol=1e-3, atol=1e-4), i
        for back in random.permutation(25)[: random.integers(0, 9)]:  # some come too late, some out of order
            number = i - int(back)
            if number < 0 or np.isnan(y[number]).all():
                continue
            late = ours.learn_targets([1000 + number], y[number : number + 1])
            known = naive.target(number, y[number].astype(float))
            assert late.sample.tolist() == [-1 if known is None else number]
            if known is None:
                unmatched += 1
                known = np.full(2, np.nan)
            early += number >= len(naive.said)
            assert np.allclose(late.prediction[0], known, rtol=1e-3, atol=1e-4, equal_nan=True), (i, number)
            there = ~np.isnan(y[number])
            wrong = np.sqrt(np.mean((known - y[number])[there] ** 2))
            assert np.isclose(late.error[0], wrong, rtol=1e-2, atol=1e-3, equal_nan=True)
    assert_same_parameters(ours, naive.net)
    quality = ours.quality()
    assert 0 < unmatched == quality["unmatched_targets"]
    assert early > 0 or sum(chunk) == 1
    assert quality["waiting"] == naive.number - naive.done
    assert quality["expired_targets"] == naive.done - sum(i < naive.done for i in naive.came)
    assert quality["updates"] > 5


def test_a_late_target_is_judged_by_what_was_said_then():
    """However the scaler and the parameters have moved since."""
    net = make(dim=1, target="later", scale="standard", chunk=(2, 3), delay=50)
    x = wave(60, 1, seed=12)
    net.learn(x[:20], 100 + 10 * x[:20])
    told = net.learn(x[20:30])
    said = dict(zip(told.sample.tolist(), told.prediction.tolist(), strict=True))
    net.learn(x[30:60], 100 + 10 * x[30:60])
    late = net.learn_targets(range(20, 26), 100 + 10 * x[20:26])
    assert late.sample.tolist() == list(range(20, 26))
    assert late.prediction.tolist() == [said[i] for i in range(20, 26)]
    assert np.allclose(late.error, np.abs(late.prediction - (100 + 10 * x[20:26]))[:, 0], rtol=1e-5)
    assert np.isfinite(late.score).all()


def test_a_target_that_comes_before_its_sample_is_told_of_is_judged_with_it():
    net = make(dim=1, chunk=(2, 3), target="later")
    x = wave(5, 1, seed=21)
    net.learn(x[:4])
    answer = net.learn_targets([1], [[7.0]])
    assert answer.sample.tolist() == [1]
    assert np.isnan([answer.prediction[0, 0], answer.error[0], answer.score[0]]).all()
    told = net.learn(x[4])
    assert told.sample.tolist() == [0, 1]
    assert np.isnan(told.error[0])
    assert told.error[1] == abs(told.prediction[1, 0] - 7)


@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
def test_targets_that_all_came_along_are_given_targets(chunk):
    later, given = (make(chunk=chunk, scale="ewma", target=target) for target in ("later", "given"))
    x, y = wave(80, 2, seed=13, missing=0.1), wave(80, 1, seed=14)
    ours, theirs = later.learn(x, y), given.learn(x, y)
    for name, values in theirs.arrays.items():
        assert ours.arrays[name].tobytes() == values.tobytes(), name
    assert np.array_equal(later.state["parameters"], given.state["parameters"])
    assert np.array_equal(later.predict(x).prediction, given.predict(x).prediction)


def test_predict_counts_no_target_as_expired():
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


def test_a_forgotten_keys_samples_wait_no_more():
    net = make(dim=1, keys=2, target="later", chunk=(2, 1))
    x = wave(8, 1, seed=17)
    for key in ("a", "b"):
        net.learn(x[:4], keys=key, ids=range(4))
    net.learn(x[4:], keys="c", ids=range(4))  # in place of a, and what waited there
    assert net.learn_targets([0, 1], x[:2], keys=["a", "c"]).sample.tolist() == [-1, 9]


def test_a_target_that_comes_while_nothing_is_learned_is_answered_and_leaves_no_trace():
    net = make(target="later", chunk=(2, 1), drift="page_hinkley", on_drift="freeze")
    x, y = wave(9, 2, seed=19), wave(9, 1, seed=20)
    net.learn(x)
    before = net.state_hash()
    answer = net._learn_late_targets(net.validate_targets([3, 100], y[:2]), learning=False)
    assert answer.sample.tolist() == [3, -1]
    assert np.isfinite(answer.error[0])
    assert net.state_hash() == before
