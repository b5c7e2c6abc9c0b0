"""The gradient of one update against backpropagation in float64 and against finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from tests.naive.differences import differences
from tests.naive.rnn import Net

CELLS = ["elman", "lstm", "gru"]
RATE = 2.0**20  # one such step leaves nothing of the parameters but the gradient


def series(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def spec(cell: str, layers: int, k: int) -> dict:
    return {"cell": cell, "layers": layers, "tbptt": (k, k), "optimizer": "sgd", "learning_rate": RATE}


def gradient(net: sl.RNN, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """∂L/∂parameters of the window (x, y), by the step that it makes."""
    before, updates = net.parameters, net.quality()["updates"]
    net.learn(x, y)
    assert net.quality()["updates"] == updates + 1
    return {name: (before[name] - values.astype(float)) / RATE for name, values in net.parameters.items()}


def assert_same(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    """To 1e-5 of the largest of each parameter's."""
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        assert np.abs(values).max() > 0, name
        assert np.abs(ours[name] - values).max() <= 1e-5 * np.abs(values).max(), name


@pytest.mark.parametrize("k", [1, 12, 40])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_the_slow_nets_gradient(cell, layers, k):
    ours = sl.RNN(dim=3, hidden=17, target="given", outputs=2, seed=1, **spec(cell, layers, k))
    slow = Net(dict(ours.parameters), cell, layers)
    x, y = series(k, 3, seed=2), series(k, 2, seed=3)
    theirs = slow.gradient(list(x.astype(float)), list(y.astype(float)), slow.start())
    if k == 1:  # nothing came before: the recurrent weights saw only zeros
        theirs = {name: values for name, values in theirs.items() if "weight_hh" not in name}
    found = gradient(ours, x, y)
    assert_same({name: found[name] for name in theirs}, theirs)
    assert not any(found[name].any() for name in found.keys() - theirs.keys())


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_from_a_state_carried_over_50_windows_is_the_slow_nets_gradient(cell, layers):
    """Nothing is learned where no target is given, and the state goes on."""
    k = 7
    ours = sl.RNN(dim=3, hidden=17, target="given", outputs=2, seed=4, **spec(cell, layers, k))
    slow = Net(dict(ours.parameters), cell, layers)
    x, y = series(51 * k, 3, seed=5), series(k, 2, seed=6)
    ours.learn(x[: 50 * k], np.full((50 * k, 2), np.nan))
    assert all(np.array_equal(values, slow.p[name]) for name, values in ours.parameters.items())
    states = slow.start()
    for row in x[: 50 * k].astype(float):
        _, states, _ = slow.step(row, states)
    theirs = slow.gradient(list(x[50 * k :].astype(float)), list(y.astype(float)), states)
    assert_same(gradient(ours, x[50 * k :], y), theirs)


@pytest.mark.parametrize(
    ("loss", "biases"), [("mse", True), ("huber", True), ("cross_entropy", True), ("mse", False)]
)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_the_gradient_by_finite_differences(cell, layers, loss, biases):
    """Of the loss as it is defined, from forecasts alone: nobody's way back is asked."""
    k, probable = 5, loss == "cross_entropy"
    shape = {"dim": 2, "hidden": 4, "target": "given", **spec(cell, layers, k)}
    shape |= {"classes": 4} if probable else {"outputs": 2}
    ours = sl.RNN(loss=loss, delta=0.5, seed=7, bias=biases, head_bias=biases, **shape)
    none = {name: 0 * values for name, values in sl.RNN(loss=loss, **shape).parameters.items()}
    slow = Net(none | dict(ours.parameters), cell, layers, classes=probable)
    x = series(k, 2, seed=8)
    y = np.array([[0], [3], [1], [1], [2]], np.float32) if probable else series(k, 2, seed=9)

    def value() -> float:
        states, said = slow.start(), []
        for row in x.astype(float):
            forecast, states, _ = slow.step(row, states)
            said.append(forecast)
        if probable:
            return float(-np.mean([np.log(p[int(code)]) for p, code in zip(said, y[:, 0], strict=True)]))
        wrong = np.abs(np.array(said) - y)
        if loss == "mse":
            return float((wrong**2).mean())
        assert 0 < (wrong > 0.5).mean() < 1  # either side of delta
        return float(np.where(wrong <= 0.5, wrong**2 / 2, 0.5 * (wrong - 0.25)).mean())

    learned = {name: slow.p[name] for name in ours.parameters}
    assert_same(gradient(ours, x, y), differences(learned, value))
