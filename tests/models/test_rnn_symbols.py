"""Recurrent nets: symbols and classes, going on without samples, and how far back the gradient reaches."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadValue
from tests.models.parameters import assert_same_parameters
from tests.models.test_rnn import CELLS, wave
from tests.naive.rnn import Net, Optimizer, Stream

# how far back


def remembered(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Now and then a marker says that the value beside it is to be remembered until the next one."""
    random = np.random.default_rng(seed)
    value, marker = random.choice([-1.0, 1.0], n), random.random(n) < 1 / 40
    marker[0] = True
    told = value[np.maximum.accumulate(np.where(marker, np.arange(n), 0))]
    return np.stack((value, marker), axis=1), told[:, None]


def test_an_elman_nets_gradient_vanishes_and_an_lstms_carries():
    carried = {}
    for cell in ("elman", "lstm"):
        net = sl.RNN(
            dim=2, hidden=16, cell=cell, target="given", tbptt=(16, 64), learning_rate=0.003, clip=1.0,
            lags=True, half_life=5000.0, seed=1,
        )  # fmt: skip
        net.learn(*remembered(60_000, seed=1))
        norms = net.quality()["gradient_by_lag"]
        assert len(norms) == 64
        carried[cell] = norms[60] / norms[0]
    assert carried["elman"] < 0.01
    assert carried["lstm"] > 0.1


def test_lags_change_nothing_but_what_they_tell():
    plain, seen = (sl.RNN(dim=2, hidden=5, tbptt=(4, 7), lags=lags) for lags in (False, True))
    x = wave(60, 2, seed=21)
    assert plain.learn(x).prediction.tobytes() == seen.learn(x).prediction.tobytes()
    assert np.array_equal(plain.state["parameters"], seen.state["parameters"])
    assert plain.gradient_by_lag.size == 0
    assert "gradient_by_lag" not in plain.quality()


# symbols and classes


def symbolic(**more: object) -> sl.RNN:
    return sl.RNN(**{"dim": 1, "hidden": 12, "symbols": 5, "loss": "cross_entropy", **more})


def test_learns_a_cycle_of_symbols_and_goes_on_with_it():
    net = symbolic(tbptt=(8, 8), learning_rate=0.02)
    cycle = np.array([0, 1, 1, 3, 4, 2])
    out = net.learn(np.tile(cycle, 500).astype(np.float32))
    assert np.allclose(out.prediction[1:].sum(axis=1), 1, atol=1e-5)
    assert np.isnan(out.prediction[0]).all()
    came = np.tile(cycle, 500)[1:]
    assert np.allclose(
        out.error[1:], -np.log(out.prediction[1:][np.arange(2999), came]), rtol=1e-4, atol=1e-6
    )
    assert net.quality()["log_loss"] < 0.5
    assert net.quality()["accuracy"] > 0.8
    before = net.state_hash()
    for temperature in (0.0, 0.3):
        assert net.sample(12, temperature, seed=3).tolist() == [*cycle, *cycle]
    assert np.array_equal(net.forecast(6).argmax(axis=1), cycle)
    assert net.state_hash() == before


def test_symbols_are_drawn_by_their_probabilities():
    net = symbolic(seed=4)
    net.learn([[2.0]])
    said = net.forecast(1)[0]
    first = [int(net.sample(1, seed=seed)[0]) for seed in range(4000)]
    assert np.allclose(np.bincount(first, minlength=5) / 4000, said, atol=0.03)
    assert net.sample(20, seed=5).tolist() == net.sample(20, seed=5).tolist()
    assert net.sample(20, seed=5).tolist() != net.sample(20, seed=6).tolist()


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("tbptt", [(4, 4), (3, 7)], ids=str)
def test_classes_as_the_slow_one(cell, tbptt):
    ours = sl.RNN(
        dim=2, hidden=18, cell=cell, tbptt=tbptt, target="given", loss="cross_entropy", classes=19, seed=3,
        learning_rate=0.01,
    )  # fmt: skip
    optimizer = Optimizer("adam", 0.01, None)
    naive = Stream(Net(dict(ours.parameters), cell, 1, classes=True), optimizer, *tbptt)
    x = wave(100, 2, seed=4, missing=0.1)
    y = np.random.default_rng(5).integers(0, 19, (100, 1)).astype(np.float32)
    y[20:35] = np.nan
    y[::7] = np.nan
    out = ours.learn(x, y)
    told = np.array([naive.learn(*pair) for pair in zip(x.astype(float), y.astype(float), strict=True)])
    assert np.allclose(out.prediction, told, rtol=1e-3, atol=1e-5)
    assert np.array_equal(np.isnan(out.error), np.isnan(y[:, 0]))
    assert_same_parameters(ours, naive.net)


@pytest.mark.parametrize("value", [-1, 5, 0.5, 1e30])
def test_what_is_no_symbol_or_class_is_refused(value):
    net, told = symbolic(), sl.RNN(dim=1, hidden=2, target="given", loss="cross_entropy", classes=5)
    before = net.state_hash()
    for refuse in (net.learn, net.predict, lambda x: told.learn(np.zeros(3), x)):
        with pytest.raises(BadValue, match="whole number from 0 to 4") as caught:
            refuse(np.array([[0.0], [value], [np.nan]]))
        assert (caught.value.detail["row"], caught.value.detail["column"]) == (1, 0)
    assert net.state_hash() == before


def test_what_cannot_go_on_says_so():
    with pytest.raises(BadValue, match="at least one learned sample"):
        symbolic().sample(3)
    with pytest.raises(BadValue, match="needs a network that forecasts symbols"):
        sl.RNN(dim=1, hidden=2).sample(3)
    net = symbolic()
    net.learn([1.0])
    wrong = [{"temperature": value} for value in (-1.0, np.inf, np.nan, "hot")]
    wrong += [{"seed": value} for value in (-1, 2**64, 0.5)] + [
        {"n": value} for value in (-1, 2.5, True, "a")
    ]
    for how in wrong:
        with pytest.raises(BadValue, match=next(iter(how))):
            net.sample(**{"n": 3, **how})
    for steps in (-1, 2.5, True):
        with pytest.raises(BadValue, match="steps"):
            net.forecast(steps)
    assert net.sample(40, temperature=1e300, seed=2).tolist() == net.sample(40, 1e38, seed=2).tolist()


@pytest.mark.parametrize("scale", [None, "standard"])
def test_a_forecast_is_what_missing_samples_are_replaced_by(scale):
    net = sl.RNN(dim=2, hidden=6, scale=scale, tbptt=(8, 8))
    net.learn(wave(100, 2, seed=22))
    told = net.forecast(5)
    assert np.array_equal(told[1:], net.predict(np.full((5, 2), np.nan)).prediction[:-1])
    later = net.learn(np.full((2, 2), np.nan)).prediction
    assert np.array_equal(told[:1], later[:1])
