"""``sl.RNN(cell="rtu")``: gradients against finite differences, learning against the oracle, memory."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec
from tests.naive.differences import differences
from tests.naive.rtu import TraceUnits, loss


def series(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


def units(dim: int = 3, hidden: int = 5, **parameters) -> sl.RNN:
    return sl.RNN(readout="adam", cell="rtu", dim=dim, hidden=hidden, seed=1, **parameters)


FROZEN = {"optimizer": "momentum", "momentum": 0.0, "learning_rate": 1e-30}  # m is the last gradient


def last_gradient(net: sl.RNN) -> dict[str, np.ndarray]:
    return {name: block.unpack(net.state["moments.mean"]) for name, block in net._blocks.items()}


def assert_same(ours: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float) -> None:
    assert ours.keys() == expected.keys()
    for name, values in expected.items():
        assert np.abs(values).max() > 0, name
        assert np.abs(ours[name] - values).max() <= tolerance * np.abs(values).max(), name


@pytest.mark.parametrize("hidden", [1, 5, 19])
def test_the_gradient_of_a_whole_history_is_that_of_finite_differences(hidden):
    """One update after n samples: the loss of all n steps, from the first sample on."""
    n = 60
    net = units(hidden=hidden, target="given", outputs=2, tbptt=(n, n), **FROZEN)
    x, y = series(n, 3, seed=2), series(n, 2, seed=3)
    y[::7, 0] = np.nan
    before = net.parameters
    net.learn(x, y)
    assert net.quality()["updates"] == 1
    assert all(
        np.allclose(before[name], values, rtol=0, atol=1e-25) for name, values in net.parameters.items()
    )
    parameters = {name: values.astype(float) for name, values in before.items()}
    expected = differences(parameters, lambda: loss(parameters, x.astype(float), y.astype(float)))
    if hidden == 1:  # one time constant
        assert parameters["nu_phi_l0"][0] == 0
    assert_same(last_gradient(net), expected, 2e-5)


@pytest.mark.parametrize("k", [1, 3])
def test_the_gradient_of_the_last_pairs_reaches_back_to_the_first_sample(k):
    """An update looks at the last k pairs only; its gradient is that of all samples before them."""
    n = 90
    net = units(target="given", outputs=2, tbptt=(k, k), **FROZEN)
    x, y = series(n, 3, seed=4), series(n, 2, seed=5)
    net.learn(x, y)
    assert net.quality()["updates"] == n // k
    parameters = {name: values.astype(float) for name, values in net.parameters.items()}
    late = np.where(np.arange(n)[:, None] >= n - k, y, np.nan)
    expected = differences(parameters, lambda: loss(parameters, x.astype(float), late))
    assert_same(last_gradient(net), expected, 1e-4)
    forgotten = differences(parameters, lambda: loss(parameters, x[-k:].astype(float), y[-k:].astype(float)))
    with pytest.raises(AssertionError):
        assert_same(last_gradient(net), forgotten, 1e-2)


def test_a_horizon_learns_the_pair_whose_last_target_arrives():
    n, ahead = 50, 4
    net = units(dim=2, horizon=ahead, **FROZEN)
    x = series(n, 2, seed=6)
    net.learn(x)
    parameters = {name: values.astype(float) for name, values in net.parameters.items()}
    targets = np.full((n, 2 * ahead), np.nan)
    targets[n - 1 - ahead] = x[n - ahead :].ravel()
    expected = differences(parameters, lambda: loss(parameters, x.astype(float), targets))
    assert_same(last_gradient(net), expected, 1e-4)


def test_learning_follows_the_oracle():
    """SGD on every sample: forecasts and parameters of 300 steps. The traces outlive the changes."""
    rate, n = 0.02, 300
    net = units(target="given", outputs=2, optimizer="sgd", learning_rate=rate)
    oracle = TraceUnits(dict(net.parameters))
    x, y = series(n, 3, seed=7), series(n, 2, seed=8)
    out = net.learn(x, y)
    forecasts = []
    for row, target in zip(x.astype(float), y.astype(float), strict=True):
        forecasts.append(oracle.step(row))
        for name, values in oracle.gradient(2 * (forecasts[-1] - target) / 2).items():
            oracle.p[name] -= rate * values
    assert np.abs(out.prediction - forecasts).max() < 1e-4
    for name, values in net.parameters.items():
        assert np.abs(values - oracle.p[name]).max() < 1e-4, name
        assert np.abs(oracle.p[name] - units(target="given", outputs=2).parameters[name]).max() > 1e-2, name


def test_each_key_has_its_own_traces():
    """The gradient of a key's last pair is that of its own samples, whatever comes between them."""
    x, y = series(80, 3, seed=9), series(80, 2, seed=10)
    keys = np.where(np.arange(80) % 3 == 0, 7, 8)
    both = units(target="given", outputs=2, keys=2, **FROZEN)
    alone = units(target="given", outputs=2, **FROZEN)
    last = np.flatnonzero(keys == 7)[-1]
    both.learn(x[: last + 1], y[: last + 1], keys=keys[: last + 1])
    alone.learn(x[keys == 7], y[keys == 7])
    assert_same(last_gradient(both), last_gradient(alone), 0)


def test_time_constants_span_1_to_10000_samples():
    nu, phi = np.split(units(hidden=16).parameters["nu_phi_l0"], 2)
    constants = np.exp(-nu.astype(float))
    assert constants[0] == 1
    assert np.isclose(constants[-1], 1e4, rtol=1e-5)
    assert np.allclose(constants[1:] / constants[:-1], 10 ** (4 / 15), rtol=1e-5)
    assert 0 <= phi.min() < phi.max() <= 1


def lag(x: np.ndarray, constant: float) -> np.ndarray:
    """A first-order lag: y ← y + (x − y)/constant."""
    y, level = np.empty_like(x), 0.0
    for t, value in enumerate(x):
        level += (value - level) / constant
        y[t] = level
    return y / y.std()


def relative_error(net: sl.RNN, x: np.ndarray, y: np.ndarray) -> float:
    """Return the root mean square error ÷ the width of y, over the last quarter."""
    last = 3 * len(x) // 4
    error = net.learn(x[:, None], y[:, None]).error[last:]
    return float(np.sqrt(np.mean(error.astype(float) ** 2)) / y[last:].std())


def test_it_learns_lags_that_a_window_does_not_hold_and_loses_a_delay():
    x = np.random.default_rng(11).normal(size=30_000)
    tasks = {"lag of 400": lag(x, 400), "two lags": lag(x, 30) + lag(x, 1500), "delay": np.roll(x, 3)}
    found = {
        (cell, task): relative_error(
            sl.RNN(readout="adam", cell=cell, dim=1, hidden=16, target="given", scale="standard", seed=1),
            x,
            y,
        )
        for cell in ("rtu", "gru")
        for task, y in tasks.items()
    }
    print(found)
    for task in ("lag of 400", "two lags"):
        assert found["rtu", task] < found["gru", task] / 5
    assert found["rtu", "delay"] > found["gru", "delay"]


def test_predict_and_forecast_continue_from_the_live_state():
    x = series(400, 2, seed=12)
    net, twin = (units(dim=2, learning_rate=0.003) for _ in range(2))
    net.learn(x)
    twin.learn(x[:300])
    twin_ahead = twin.predict(x[300:]).prediction
    oracle = TraceUnits(dict(twin.parameters))
    oracle.h = _live_states(twin)
    expected = np.array([oracle.step(row) for row in x[300:].astype(float)])
    assert np.abs(twin_ahead - expected).max() < 1e-4
    oracle = TraceUnits(dict(net.parameters))
    oracle.h = _live_states(net)
    row = net.forecast(1)[0].astype(float)
    ahead = [row]
    for _ in range(4):
        row = oracle.step(row)
        ahead.append(row)
    assert np.abs(net.forecast(5) - ahead).max() < 1e-5


def _live_states(net: sl.RNN) -> np.ndarray:
    """The complex states after the last sample: the slot after the waiting one."""
    slot = net.state["window"][0, net.state["progress"][0].sum()]
    states = slot[net._matrices[-1, 8] :].ravel()[: 2 * 16].reshape(2, 16)[:, : net.spec.hidden]
    return states[0] + 1j * states[1].astype(float)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tbptt": (4, 8)}, "cell='rtu' has no window"),
        ({"layers": 2}, "cell='rtu' has one layer"),
        ({"dim": 1, "symbols": 5, "loss": "cross_entropy"}, "cell='rtu' has one layer"),
        ({"record_lags": True}, "cell='rtu' has one layer"),
    ],
)
def test_what_it_has_not_is_refused(parameters, message):
    with pytest.raises(BadSpec, match=message):
        units(**parameters)
