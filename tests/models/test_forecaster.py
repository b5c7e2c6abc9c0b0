"""The forecaster by least squares against float64, against batch least squares, and by what it promises."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec, BadValue, TooLarge
from tests.naive.forecaster import Forecaster


def daily(n: int, seed: int = 1, noise: float = 0.3) -> np.ndarray:
    """A noisy season of 12 samples that drifts, (n, 1)."""
    random, t = np.random.default_rng(seed), np.arange(n)
    x = 3 * np.sin(2 * np.pi * t / 12) + np.cumsum(random.normal(0, 0.05, n)) + random.normal(0, noise, n)
    return x.astype(np.float32)[:, None]


def make(**spec) -> sl.RNN:
    return sl.RNN(**{"readout": "rls", "dim": 1, "horizon": 4, "hidden": 0, "lags": 8, **spec})


# The oracle's names of parameters
NAMES = {name: name for name in ("half_life", "ridge", "residual", "coverage", "clip")}
RULES = {
    "default": {},
    "season within the lags": {"period": 6},
    "two seasons": {"period": (12, 30), "half_life": 200.0},
    "season shorter than the horizon": {"period": 3, "ridge": 1.0},
    "mean": {"clip": None, "coverage": 0.5},
    "levels": {"residual": False, "period": 12},
    "one step": {"horizon": 1, "lags": 1},
}


@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("rule", RULES)
def test_forecasts_and_bands_are_those_of_the_formulas(rule, missing):
    x = daily(700)
    x[300], x[400:420] = 40.0, x[399]
    x[np.random.default_rng(2).random(x.shape) < missing] = np.nan
    ours = make(**RULES[rule])
    given = {NAMES[name]: value for name, value in RULES[rule].items() if name in NAMES}
    periods = ours.spec.period
    oracle = Forecaster(ours.spec.horizon or 1, ours.spec.lags, periods, **given)
    made = [oracle.learn(value) for value in x[:, 0].astype(float)]
    out = ours.learn(x)
    expected = np.array([each[0] for each in made[:-1]])
    half = np.array([each[1] for each in made[:-1]])
    assert np.isnan(out.prediction[0]).all()
    np.testing.assert_allclose(out.prediction[1:, :, 0], expected, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(np.isnan(out.lower[1:, :, 0]), np.isnan(half))
    # A difference in rounding may move an error across a band once, and then a_t by η: one place in the ring
    same = np.isclose(out.upper[1:, :, 0], expected + half, rtol=1e-3, atol=1e-3, equal_nan=True)
    assert same.mean() > 0.99
    np.testing.assert_allclose(out.upper - out.prediction, out.prediction - out.lower, atol=1e-4)


def test_the_read_out_is_batch_least_squares():
    x = np.random.default_rng(3).normal(size=(300, 1)).cumsum(axis=0).astype(np.float32)
    ours = make(horizon=2, lags=4, clip=None, half_life=500.0, ridge=2.0)
    oracle = Forecaster(2, 4, half_life=500.0, ridge=2.0, clip=None)
    for value in x[:, 0].astype(float):
        oracle.learn(value)
    ours.learn(x)
    pairs = [t for t in range(len(x) - 2) if oracle.scale[t] > 0]
    z = np.array([oracle.z[t] for t in pairs])
    y = np.array([(x[t + 1 : t + 3, 0].astype(float) - x[t, 0]) / oracle.scale[t] for t in pairs])
    forgetting = 0.5 ** (1 / 500)
    weight = forgetting ** np.arange(len(pairs) - 1, -1, -1)
    # trace(P) is at its bound in the first step only, in which nothing is forgotten
    prior = 2.0 * forgetting ** (len(pairs) - 1) * np.eye(z.shape[1])
    expected = np.linalg.solve(z.T @ (weight[:, None] * z) + prior, z.T @ (weight[:, None] * y))
    np.testing.assert_allclose(ours.state["readout.weights"][0], expected, rtol=0, atol=1e-9)


def test_p_stays_symmetric_and_bounded_on_a_flat_stream():
    x = daily(3000)
    x[500:] = x[500]
    net = make(hidden=4, period=12)
    net.learn(x)
    covariance = net.state["readout.covariance"][0]
    assert (covariance == covariance.T).all()
    assert np.trace(covariance) < 1.01 * len(covariance) / net.spec.strength
    assert net.quality()["restarts"] == 0
    assert abs(net.forecast(4) - x[500]).max() < 0.05


def test_it_begins_as_the_naive_forecast():
    net = make(period=12)
    x = daily(3)
    out = net.learn(x)
    np.testing.assert_allclose(out.prediction[1:, :, 0], np.repeat(x[:-1], 4, axis=1), rtol=1e-6)


def test_a_spike_does_no_lasting_harm():
    x = daily(4000, noise=0.1)
    spiked = x.copy()
    spiked[2000] = 1000.0
    errors = []
    for values in x, spiked:
        net = make(period=12, hidden=8)
        errors.append(net.learn(values).error[2100:].mean())
    assert errors[1] < 1.1 * errors[0]


@pytest.mark.parametrize("hidden", [0, 6])
def test_channels_are_independent(hidden):
    a, b = daily(200, seed=4), 100 * daily(200, seed=5)
    together = sl.RNN(readout="rls", dim=2, horizon=3, hidden=hidden, lags=6, period=12)
    out = together.learn(np.hstack([a, b]))
    alone = sl.RNN(readout="rls", dim=1, horizon=3, hidden=hidden, lags=6, period=12)
    np.testing.assert_array_equal(out.prediction[:, :, :1], alone.learn(a).prediction)
    if hidden == 0:
        other = sl.RNN(readout="rls", dim=1, horizon=3, hidden=0, lags=6, period=12)
        np.testing.assert_array_equal(out.upper[:, :, 1:], other.learn(b).upper)


def test_without_a_horizon_there_is_no_axis_for_the_step():
    one, plain = (sl.RNN(readout="rls", dim=2, horizon=h, hidden=3, seed=5) for h in (1, None))
    x = np.hstack([daily(150), daily(150, seed=2)])
    first, second = one.learn(x), plain.learn(x)
    assert second.prediction.shape == second.lower.shape == second.upper.shape == (150, 2)
    for name in "prediction", "lower", "upper":
        np.testing.assert_array_equal(getattr(first, name)[:, 0], getattr(second, name))


@pytest.mark.parametrize("hidden", [0, 3])
def test_a_forecast_is_that_of_the_horizon_and_then_its_own(hidden):
    net = make(hidden=hidden, period=12)
    net.learn(daily(500))
    before = net.state_hash()
    first = net.forecast(4)
    np.testing.assert_array_equal(net.forecast(2), first[:2])
    longer = net.forecast(60)
    np.testing.assert_array_equal(longer[:4], first)
    np.testing.assert_array_equal(longer[4], net.predict(first).prediction[-1, 0])
    t = np.arange(500, 560)
    assert abs(longer[:, 0] - net.forecast(1)[0, 0]).max() < 12  # the season, and no divergence
    assert np.corrcoef(longer[:, 0], np.sin(2 * np.pi * t / 12))[0, 1] > 0.9
    assert net.state_hash() == before
    with pytest.raises(TooLarge, match="fewer steps"):
        net.forecast(1 << 30)
    with pytest.raises(BadValue, match="needs one learned sample"):
        make().forecast(1)


def test_predict_continues_from_the_live_state():
    net = make(hidden=5, period=12)
    x = daily(300)
    net.learn(x[:250])
    ahead, before = net.predict(x[250:251]), net.state_hash()
    out = net.learn(x[250:252])
    assert net.state_hash() != before
    np.testing.assert_array_equal(ahead.error, out.error[:1])
    # The sample itself changes the weights a little before the forecast that learn makes after it
    assert abs(ahead.prediction[0] - out.prediction[1]).max() < 0.5


def test_each_key_has_values_and_the_read_out_is_shared():
    x, keys = np.vstack([daily(400, seed=6), 1000 + 50 * daily(400, seed=7)]), ["a"] * 400 + ["b"] * 400
    order = np.arange(800).reshape(2, 400).T.ravel()
    net = make(keys=2, period=12)
    out = net.learn(x[order], keys=np.array(keys)[order])
    mae = {}
    for key, rows in ("a", order < 400), ("b", order >= 400):
        errors = out.error[rows][200:]
        alone = make(period=12)
        mae[key] = errors.mean() / alone.learn(x[order][rows]).error[200:].mean()
    assert max(mae.values()) < 1.05  # twice the samples teach the shared read-out
    assert net.forecast(2, key="b").min() > 500
    assert net.forecast(2, key="a").max() < 100
    assert net.quality()["pairs"] == 2 * (400 - 4 - 1)  # the first value of a key has no change yet


@pytest.mark.parametrize("name", ["stationary", "noise grows", "level drifts"])
def test_bands_cover_what_they_state(name):
    random, n = np.random.default_rng(8), 20_000
    t = np.arange(n)
    noise = random.normal(size=n) * {"noise grows": 1 + 3 * t / n}.get(name, 1.0)
    x = 2 * np.sin(2 * np.pi * t / 24) + noise
    if name == "level drifts":
        x = x + np.cumsum(random.normal(0, 0.2, n))
    horizon = 6
    net = make(horizon=horizon, period=24, lags=24)
    out = net.learn(x.astype(np.float32)[:, None])
    for h in range(horizon):
        lower, upper = (band[5000 : n - h, h, 0] for band in (out.lower, out.upper))
        values = x[5000 + h :].astype(np.float32)
        assert abs(((lower <= values) & (values <= upper)).mean() - 0.9) < 0.01, h


@pytest.mark.parametrize("readout", ["rls", "adam"])
def test_bands_after_a_flat_stretch(readout):
    """The errors before were near 0. A band relative to them must not be wrong for long."""
    random = np.random.default_rng(1)
    x = np.concatenate([random.normal(size=1000), np.full(3000, 0.5), random.normal(size=1500)])
    net = sl.RNN(dim=1, readout=readout, coverage=0.9, **({"scale": "standard"} if readout == "adam" else {}))
    out = net.learn(x.astype(np.float32)[:, None])
    width = (out.upper - out.lower)[:, 0]
    usual, after = np.median(width[500:1000]), width[4000:]
    inside = ((out.lower[4000:, 0] <= x[4000:]) & (x[4000:] <= out.upper[4000:, 0])).mean()
    print(f"usual width {usual:.2f}; later {np.median(after):.2f}, at most {after.max():.2f}; {inside:.3f}")
    assert after.max() < 40 * usual
    assert (after > 3 * usual).mean() < 0.1
    assert 0.8 < np.median(after) / usual < 1.3
    assert inside > 0.85


STREAMS = {
    "random walk": lambda random, t: np.cumsum(random.normal(size=len(t))),
    "white noise": lambda random, t: random.normal(size=len(t)),
    "level shifts": lambda random, t: (
        np.repeat(5 * random.normal(size=20), len(t) // 20) + 0.5 * random.normal(size=len(t))
    ),
    "season": lambda random, t: np.sin(2 * np.pi * t / 12) + 0.2 * random.normal(size=len(t)),
    "intermittent": lambda random, t: (random.random(len(t)) < 0.1) * random.gamma(2, 2, len(t)),
    "trend": lambda random, t: 0.01 * t + random.normal(size=len(t)),
}


@pytest.mark.parametrize("name", STREAMS)
def test_no_forecast_is_worse_than_the_best_naive_one(name):
    t, horizon = np.arange(4000), 6
    x = STREAMS[name](np.random.default_rng(9), t).astype(np.float32)
    net = sl.RNN(readout="rls", dim=1, horizon=horizon, hidden=0, period=12)
    out = net.learn(x[:, None])
    for h in 1, horizon:
        errors = {
            "ours": out.prediction[20 : len(x) - h + 1, h - 1, 0] - x[20 + h - 1 :],
            "persistence": x[19 : len(x) - h] - x[19 + h :],
            "seasonal": x[19 + h - 12 : len(x) - 12] - x[19 + h :],
        }
        size = {each: np.abs(error).mean() for each, error in errors.items()}
        assert size["ours"] < 1.03 * min(size.values()), (h, size)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cell": "gru"}, "readout='rls' has no cell: remove it"),
        ({"optimizer": "sgd", "layers": 2}, "no layers and no optimizer: remove them, or set readout='adam'"),
        ({"target": "later"}, "has no target"),
        ({"readout": "adam", "hidden": 4, "lags": "auto", "period": 3}, "readout='adam' has no period"),
        ({"readout": "adam", "lags": "auto"}, "hidden=0 needs readout='rls'"),
        ({"period": 0}, "period"),
        ({"coverage": 1.0}, "coverage"),
        (
            {"keys": 1 << 16, "period": 1 << 15},
            "use a smaller hidden, horizon, period, lags, memory, outputs",
        ),
    ],
)
def test_wrong_parameters(wrong, message):
    with pytest.raises(BadSpec, match=message):
        make(**wrong)


@pytest.mark.parametrize("scale", ["standard", "ewma", "minmax"])
def test_scale_has_no_effect(scale):
    x = daily(200)
    plain, scaled = make(hidden=3), make(hidden=3, scale=scale)
    np.testing.assert_array_equal(plain.learn(x).prediction, scaled.learn(x).prediction)


def test_without_a_mix_the_forecast_is_that_of_the_read_out():
    x = daily(400)
    net, mixed = make(mix=False), make()
    out = net.learn(x)
    made = net.state["stream.forecasts"][0, 0]  # (origin, kind, step)
    np.testing.assert_array_equal(made[:, 0], made[:, 1])
    assert (out.prediction[100:] != mixed.learn(x).prediction[100:]).any()
    weights = mixed.quality()["mix"]
    np.testing.assert_allclose(np.sum(weights, axis=1), 1, rtol=1e-12)
    assert np.shape(weights) == (4, len(mixed.quality()["mix_of"]))


@pytest.mark.parametrize("horizon", [None, 4])
def test_forecasts_come_with_bands_and_weights(horizon):
    x = np.hstack([daily(400), daily(400, seed=3)])
    net = sl.RNN(dim=2, horizon=horizon, hidden=2, period=12)
    net.learn(x)
    ahead, found = horizon or 1, net.forecast_in_full(6)
    np.testing.assert_array_equal(found.forecast, net.forecast(6))
    assert found.mix_of == tuple(net.quality()["mix_of"])
    assert found.mix.shape == (6, 2, len(found.mix_of))
    np.testing.assert_allclose(found.mix[:ahead].sum(axis=-1), 1, rtol=1e-6)
    weights, facts = net.read_parts(["mix"])
    np.testing.assert_array_equal(weights["mix"], found.mix[:ahead])
    assert tuple(facts["mix_of"]) == found.mix_of
    np.testing.assert_allclose(found.mix[:ahead].mean(axis=1), net.quality()["mix"], rtol=1e-5)
    for name in "lower", "upper", "mix":
        assert np.isnan(found.arrays[name][ahead:]).all()
    before = net.learn(x[:1])  # the outputs of the next sample are what was forecast
    for name, of_learn in ("forecast", "prediction"), ("lower", "lower"), ("upper", "upper"):
        made = before.arrays[of_learn].reshape(ahead, 2)
        np.testing.assert_allclose(found.arrays[name][:ahead], made, rtol=1e-5, err_msg=name)
    alone = make(mix=False)
    alone.learn(x[:, :1])
    assert not alone.mix_of
    assert "mix" not in alone.forecast_in_full(2).arrays
    with pytest.raises(BadValue, match="mix=True"):
        alone.read_parts(["mix"])


def test_weights_of_a_given_target_are_read():
    net = sl.RNN(dim=1, target="given", outputs=2, horizon=3, hidden=0)
    x = daily(300)
    net.learn(x, np.hstack([x, 2 * x]))
    weights, facts = net.read_parts(["mix"])
    assert weights["mix"].shape == (3, 2, 3)
    assert facts["mix_of"] == ["last target", "mean target", "read-out"]
    np.testing.assert_allclose(weights["mix"].reshape(6, 3), net.quality()["mix"], rtol=1e-6)


def test_running_averages_are_features():
    """The best forecast of a slow random walk with noise is an average of about 10 samples, not of 2."""
    random = np.random.default_rng(3)
    x = (np.cumsum(random.normal(0, 0.1, 6000)) + random.normal(size=6000)).astype(np.float32)[:, None]
    errors = [make(horizon=1, lags=2, memory=memory).learn(x).error[3000:].mean() for memory in (0, 6)]
    print(f"mean error without averages {errors[0]:.3f}, with them {errors[1]:.3f}")
    assert errors[1] < 0.95 * errors[0]


def test_an_alarm_with_adapt_starts_the_score_again():
    x = np.random.default_rng(4).normal(size=(12_000, 1)).astype(np.float32)
    x[8000:] *= 5
    net, other = (make(horizon=1, on_drift=reaction) for reaction in ("adapt", None))
    out, unmoved = net.learn(x), other.learn(x)
    assert out.drift.any()
    np.testing.assert_array_equal(out.prediction, unmoved.prediction)
    assert (out.score[8000:] != unmoved.score[8000:]).any()


def test_it_has_no_parameters_of_pytorch():
    assert not make().parameters
    with pytest.raises(BadSpec, match="readout='adam'"):
        make().load_parameters({})
