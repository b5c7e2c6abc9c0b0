"""One update of ``sl.RNN`` against the float64 reference and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from tests.naive.differences import differences
from tests.naive.rnn import Net

CELLS = ["elman", "lstm", "gru"]
RATE = 2.0**20  # so large that the parameters after a step are the gradient times −RATE


def series(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def spec(cell: str, layers: int, k: int) -> dict:
    return {"cell": cell, "layers": layers, "tbptt": (k, k), "optimizer": "sgd", "learning_rate": RATE}


def gradient(net: sl.RNN, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Return ∂L/∂parameters of the window (x, y), from the update by SGD."""
    before, updates = net.parameters, net.quality()["updates"]
    net.learn(x, y)
    assert net.quality()["updates"] == updates + 1
    return {name: (before[name] - values.astype(float)) / RATE for name, values in net.parameters.items()}


def assert_same(ours: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Assert equality, with a tolerance of 1e-5 of the largest value of each array."""
    assert ours.keys() == expected.keys()
    for name, values in expected.items():
        assert np.abs(values).max() > 0, name
        assert np.abs(ours[name] - values).max() <= 1e-5 * np.abs(values).max(), name


@pytest.mark.parametrize("k", [1, 12, 40])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_one_update_equals_the_gradient_of_the_reference(cell, layers, k):
    ours = sl.RNN(
        readout="adam", dim=3, hidden=17, target="given", outputs=2, seed=1, **spec(cell, layers, k)
    )
    reference = Net(dict(ours.parameters), cell, layers)
    x, y = series(k, 3, seed=2), series(k, 2, seed=3)
    expected = reference.gradient(list(x.astype(float)), list(y.astype(float)), reference.initial_states())
    if k == 1:  # h₀ = 0: the gradient of the recurrent weights is 0
        expected = {name: values for name, values in expected.items() if "weight_hh" not in name}
    found = gradient(ours, x, y)
    assert_same({name: found[name] for name in expected}, expected)
    assert not any(found[name].any() for name in found.keys() - expected.keys())


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_one_update_after_50_windows_equals_the_gradient_of_the_reference(cell, layers):
    """Windows without targets change the hidden state and no parameter."""
    k = 7
    ours = sl.RNN(
        readout="adam", dim=3, hidden=17, target="given", outputs=2, seed=4, **spec(cell, layers, k)
    )
    reference = Net(dict(ours.parameters), cell, layers)
    x, y = series(51 * k, 3, seed=5), series(k, 2, seed=6)
    ours.learn(x[: 50 * k], np.full((50 * k, 2), np.nan))
    assert all(np.array_equal(values, reference.p[name]) for name, values in ours.parameters.items())
    states = reference.initial_states()
    for row in x[: 50 * k].astype(float):
        _, states, _ = reference.step(row, states)
    expected = reference.gradient(list(x[50 * k :].astype(float)), list(y.astype(float)), states)
    assert_same(gradient(ours, x[50 * k :], y), expected)


@pytest.mark.parametrize(
    ("loss", "biases"), [("mse", True), ("huber", True), ("cross_entropy", True), ("mse", False)]
)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_one_update_equals_finite_differences(cell, layers, loss, biases):
    """Finite differences of the loss as defined, from forecasts only. Uses no backward pass."""
    k, cross_entropy = 5, loss == "cross_entropy"
    shape = {"dim": 2, "hidden": 4, "target": "given", **spec(cell, layers, k)}
    shape |= {"classes": 4} if cross_entropy else {"outputs": 2}
    ours = sl.RNN(readout="adam", loss=loss, delta=0.5, seed=7, bias=biases, head_bias=biases, **shape)
    zeros = {
        name: 0 * values for name, values in sl.RNN(readout="adam", loss=loss, **shape).parameters.items()
    }
    reference = Net(zeros | dict(ours.parameters), cell, layers, classes=cross_entropy)
    x = series(k, 2, seed=8)
    y = np.array([[0], [3], [1], [1], [2]], np.float32) if cross_entropy else series(k, 2, seed=9)

    def loss_value() -> float:
        states, forecasts = reference.initial_states(), []
        for row in x.astype(float):
            forecast, states, _ = reference.step(row, states)
            forecasts.append(forecast)
        if cross_entropy:
            return float(-np.mean([np.log(p[int(code)]) for p, code in zip(forecasts, y[:, 0], strict=True)]))
        errors = np.abs(np.array(forecasts) - y)
        if loss == "mse":
            return float((errors**2).mean())
        assert 0 < (errors > 0.5).mean() < 1  # errors on both sides of delta
        return float(np.where(errors <= 0.5, errors**2 / 2, 0.5 * (errors - 0.25)).mean())

    learned = {name: reference.p[name] for name in ours.parameters}
    assert_same(gradient(ours, x, y), differences(learned, loss_value))
