"""One model used by several threads: each call is whole, as if the calls came one after another."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.models import Model
from tests.conformance.examples import USUAL, make, outputs_hash, predict_arguments, stream

ROWS, ROUNDS = 300, 8


def run_all(*calls: Callable[[], object]) -> None:
    """Run each call in a thread of its own, begun at the same moment. Raise the first error."""
    barrier, errors = threading.Barrier(len(calls)), []

    def run(call: Callable[[], object]) -> None:
        barrier.wait(30)
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def learn_batches(name: str, seeds: list[int]) -> Model:
    model = make(name)
    for seed in seeds:
        model.learn(**stream(model, ROWS, seed))
    return model


@pytest.mark.parametrize("name", USUAL)
def test_two_batches_of_two_threads_are_learned_one_after_the_other(name):
    orders = {learn_batches(name, order).state_hash() for order in ([1, 2], [2, 1])}
    for _ in range(ROUNDS):
        model = make(name)
        batches = [stream(model, ROWS, seed) for seed in (1, 2)]
        run_all(*(partial(model.learn, **batch) for batch in batches))
        assert model.samples == 2 * ROWS
        assert model.state_hash() in orders


@pytest.mark.parametrize("name", USUAL)
def test_calls_during_learning_see_a_whole_state(name, tmp_path):
    """Every result is that of the state before some batch."""
    seeds = list(range(1, 13))
    states, predictions, later, model = set(), set(), [], make(name)
    queries = predict_arguments(stream(model, 5, seed=99))
    for seed in seeds:
        later.append(stream(model, ROWS, seed))
        states.add(model.state_hash())
        predictions.add(outputs_hash(model.predict(**queries)))
        model.learn(**later[-1])
    states.add(model.state_hash())
    predictions.add(outputs_hash(model.predict(**queries)))

    shared = make(name)
    ended = threading.Event()

    def learn() -> None:
        for batch in later:
            shared.learn(**batch)
        ended.set()

    def predict() -> None:
        while not ended.is_set():
            assert outputs_hash(shared.predict(**queries)) in predictions

    def save() -> None:
        while not ended.is_set():
            shared.save(tmp_path / "model")
            assert sl.load(tmp_path / "model").state_hash() in states

    def copy_and_hash() -> None:
        while not ended.is_set():
            assert shared.state_hash() in states
            assert copy.copy(shared).state_hash() in states
            assert copy.deepcopy(shared).state_hash() in states
            assert pickle.loads(pickle.dumps(shared)).state_hash() in states  # noqa: S301
            shared.quality()

    try:
        run_all(learn, predict, save, copy_and_hash)
    finally:
        ended.set()
    assert shared.state_hash() == model.state_hash()


def test_many_threads_lose_no_sample():
    som = sl.SOM(dim=4, grid=(6, 6), scale="standard", drift="adwin")
    # Uniform values: none is cut before it joins the statistics
    batches = [np.random.default_rng(seed).uniform(-1, 1, (50, 4)) for seed in range(40)]
    parts = [batches[first::4] for first in range(4)]
    run_all(*(lambda part=part: [som.learn(batch) for batch in part] for part in parts))
    assert som.samples == 2000
    assert som.state["scale.statistics"][0].tolist() == [2000] * 4
    means = np.concatenate(batches).astype(np.float32).mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(som.state["scale.statistics"][1], means, rtol=1e-9)


def test_weights_that_are_set_during_learning_are_set_as_a_whole():
    """With a learning rate of 0 the weights are those of one assignment, never a mixture."""
    net = sl.Competitive(dim=64, units=256, learning_rate=0.0)
    batch = np.random.default_rng(1).normal(size=(200, 64))
    ended = threading.Event()
    values = [np.full((256, 64), value, np.float32) for value in (1.0, 2.0)]
    net.weights = values[0]

    def assign() -> None:
        for turn in range(100):
            net.weights = values[turn % 2]
        ended.set()

    def read() -> None:
        while not ended.is_set():
            weights = net.weights
            assert (weights == weights[0, 0]).all()

    def predict() -> None:
        while not ended.is_set():
            out = net.predict(batch)
            assert (out.winner == 0).all()

    def learn() -> None:
        while not ended.is_set():
            assert (net.learn(batch).winner == 0).all()

    try:
        run_all(assign, read, predict, learn)
    finally:
        ended.set()


def test_parameters_that_are_loaded_during_learning_are_loaded_as_a_whole():
    """With a learning rate of 0 the parameters are those of one of two nets."""
    spec = {"dim": 2, "hidden": 48, "learning_rate": 0.0}
    nets = [sl.RNN(readout="adam", **spec, seed=seed) for seed in (1, 2)]
    parameters = [dict(net.parameters) for net in nets]
    net, ended = sl.RNN(readout="adam", **spec, seed=1), threading.Event()
    batch = np.random.default_rng(1).normal(size=(100, 2))

    def load() -> None:
        for turn in range(60):
            net.load_parameters(parameters[turn % 2])
        ended.set()

    def read() -> None:
        while not ended.is_set():
            found = net.parameters
            assert any(all((found[n] == given[n]).all() for n in given) for given in parameters)

    def learn() -> None:
        while not ended.is_set():
            net.learn(batch)

    try:
        run_all(load, read, learn)
    finally:
        ended.set()


def test_reheat_and_learn_from_two_threads():
    som = sl.SOM(dim=2, grid=(3, 3))
    batch = np.zeros((20, 2), np.float32)
    run_all(
        lambda: [som.learn(batch) for _ in range(50)],
        lambda: [som.reheat(0.5) for _ in range(50)],
    )
    assert som.samples == 1000
    assert som.state["schedule.clock"][0] % 20 == 0


def test_a_file_that_is_replaced_by_two_threads_is_always_whole(tmp_path: Path):
    models = [learn_batches("som", [seed]) for seed in (1, 2)]
    hashes = {model.state_hash() for model in models}
    run_all(*(lambda model=model: [model.save(tmp_path / "model") for _ in range(20)] for model in models))
    assert sl.load(tmp_path / "model").state_hash() in hashes
