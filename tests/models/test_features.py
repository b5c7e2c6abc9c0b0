"""Features of the spec: lags, differences, seasons and the calendar, against a plain implementation."""

from __future__ import annotations

import datetime
import json
import math
from itertools import pairwise

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.errors import BadSpec, BadValue
from streamlearn.kernels.stream.features import extract
from streamlearn.models.batch import Batch
from streamlearn.models.stream.features import Features as Selected
from streamlearn.models.stream.features import FeatureStage
from tests.naive.features import Features

FULL = {
    "lags": [1, 2, 24],
    "differences": [1, 5],
    "period": [7, 1],
    "memory": [1, 4.5, 1000],
    "calendar": ["hour", "weekday"],
}
START = 1_700_000_000_000_000_000


def stage(spec: dict, dim: int, keys: int | None = None) -> tuple[FeatureStage, np.ndarray]:
    samples = np.zeros(1, np.int64)
    return FeatureStage(Selected(**spec), dim, keys, samples), samples


def learned(spec, x, times, keys=None, slots=None, pieces=()):
    """Return the features of a stream that comes in pieces."""
    made, samples = stage(spec, x.shape[1], slots)
    found, borders = [], [0, *pieces, len(x)]
    for start, stop in pairwise(borders):
        batch = Batch(x[start:stop], keys=None if keys is None else keys[start:stop], times=times[start:stop])
        previewed = made.preview(batch).x
        inputs, streams = made.extract(batch)
        if slots is None or len(np.unique(keys)) <= slots:
            assert previewed.tobytes() == inputs.x.tobytes()
        made.advance(batch, streams, stop - start)
        samples += stop - start
        found.append(inputs.x)
    return np.concatenate(found), made


@pytest.mark.parametrize("keys", [None, 3, 2])
@pytest.mark.parametrize("offset", [0, -3.5])
def test_features_equal_their_definition(keys, offset):
    random = np.random.default_rng(4)
    x = random.normal(size=(200, 2)).astype(np.float32)
    x[random.random(x.shape) < 0.1] = np.nan
    times = START + np.cumsum(random.integers(0, 9_000_000_000_000, 200))
    names = random.integers(0, 3, 200) * random.integers(0, 2, 200) if keys else None
    spec = {**FULL, "utc_offset": offset}
    naive = Features(2, spec, keys)
    expected = [naive.next(x[i], int(times[i]), None if names is None else names[i]) for i in range(200)]
    found, _ = learned(spec, x, times, names, keys)
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert np.allclose(found, np.float32(expected), rtol=0, atol=5e-7, equal_nan=True)


@pytest.mark.parametrize("keys", [None, 2, 3])
def test_any_split_gives_the_same_bits(keys):
    random = np.random.default_rng(5)
    x = random.normal(size=(150, 3)).astype(np.float32)
    names = random.integers(0, 3, 150) if keys else None
    times = START + np.arange(150) * 10**12
    whole, made = learned(FULL, x, times, names, keys)
    for cuts in (range(1, 150), sorted(random.choice(149, 9, replace=False) + 1), [149]):
        parts, other = learned(FULL, x, times, names, keys, pieces=cuts)
        assert parts.tobytes() == whole.tobytes()
        for name, array in made.state.items():
            assert array.tobytes() == other.state[name].tobytes(), name


def test_only_the_rows_that_were_learned_enter_the_rings():
    x, names = np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10) % 3
    made, samples = stage({"lags": [1]}, 2, 2)
    batch = Batch(x, keys=names)
    _, streams = made.extract(batch)
    made.advance(batch, streams, 4)
    samples += 4
    _, other = learned({"lags": [1]}, x[:4], np.zeros(4, np.int64), names[:4], 2)
    for name, array in made.state.items():
        assert array.tobytes() == other.state[name].tobytes(), name


def test_sine_and_cosine_equal_those_of_the_library():
    times = np.random.default_rng(6).integers(-(2**62), 2**62, 20_000)
    x, none = np.zeros((len(times), 1), np.float32), np.zeros((0, 2), np.int64)
    slots, fresh = np.zeros(len(times), np.int64), np.zeros(len(times), np.bool_)
    found = np.empty((len(times), 3), np.float32)
    ring, counts = np.zeros((1, 0, 1), np.float32), np.zeros(1, np.int64)
    length = 86_400_000_000_000
    averages, gains = np.zeros((1, 1, 0)), np.zeros(0)
    extract(x, times, slots, fresh, ring, counts, averages, gains, none, np.array([[length, 5]]), 1, found)
    angles = [2 * math.pi * ((int(t) + 5) % length) / length for t in times]
    expected = np.array([[math.sin(a), math.cos(a)] for a in angles])
    assert np.abs(found[:, 1:] - expected).max() <= 2**-24


def test_the_calendar_of_a_known_hour():
    """Monday 06:00 in the zone UTC+2: a quarter of the day, and a 28th of the week, is over."""
    zone = datetime.timezone(datetime.timedelta(hours=2))
    monday = datetime.datetime(2024, 1, 1, 6, tzinfo=zone)
    made, _ = stage({"calendar": ["hour", "weekday"], "utc_offset": 2}, 1)
    nanoseconds = np.array([int(monday.timestamp()) * 10**9])
    found = made.preview(Batch(np.zeros((1, 1), np.float32), times=nanoseconds)).x[0, 1:]
    week = 2 * math.pi / 28
    assert found == pytest.approx([1, 0, math.sin(week), math.cos(week)], abs=1e-7)


def test_a_map_sees_the_features_as_channels():
    x = np.random.default_rng(7).normal(size=(80, 2)).astype(np.float32)
    features = {"lags": 1, "period": 3}
    som = sl.SOM(dim=2, grid=(3, 4), features=features, channels=["flow", "level"])
    assert (som.dim, som.inputs, som.weights.shape) == (2, 8, (3, 4, 8))
    naive, plain = Features(2, {"lags": [1], "period": [3]}), sl.SOM(dim=8, grid=(3, 4))
    wide = np.float32([naive.next(row) for row in x])
    out, expected = som.learn(x), plain.learn(wide)
    assert out.present.tolist() == expected.present.tolist()
    assert out.present[:5].tolist() == [2, 4, 4, 8, 8]
    assert np.array_equal(som.weights, plain.weights)
    assert som.spec.features.names(som.spec.channels) == [
        *("flow lag 1", "level lag 1", "flow season 3", "level season 3"),
        *("flow change of season 3", "level change of season 3"),
    ]
    assert som.spec.features.sources(2).tolist() == [0, 1] * 4
    answer = som.predict(x[:3]), plain.predict(np.float32([naive.next(row) for row in x[:3]]))
    assert answer[0].winner.tolist() == answer[1].winner.tolist()


@pytest.mark.parametrize("horizon", [None, 3])
@pytest.mark.parametrize("residual", [False, True])
def test_forecasts_are_about_the_streams_own_channels(horizon, residual):
    """A season of 60 random values: the lags hold the next three samples, the net does not know them."""
    random = np.random.default_rng(8)
    season = random.normal(size=(60, 2))
    x = np.float32(np.tile(season, (50, 1)) + 0.01 * random.normal(size=(3000, 2)))
    spec = {"readout": "adam", "dim": 2, "hidden": 12, "cell": "elman", "tbptt": (1, 1), "horizon": horizon}
    net = sl.RNN(**spec, residual=residual, features={"lags": [57, 58, 59]}, scale="standard")
    out = net.learn(x)
    assert out.prediction.shape == ((3000, 2) if horizon is None else (3000, horizon, 2))
    with_season = out.error[-120:].mean()
    without = sl.RNN(**spec, residual=residual, scale="standard").learn(x).error[-120:].mean()
    print(f"mean error with the season {with_season:.3f}, without {without:.3f}")
    assert with_season < 0.5 * without
    ahead = horizon or 1
    assert net.forecast(ahead).shape == (ahead, 2)
    assert np.abs(net.forecast(1) - season[:1]).max() < 1
    assert net.predict(x[:5]).prediction.shape[0] == 5
    assert len(net.quality().get("mae_by_step", [0])) == ahead
    longer = net.forecast(60)
    np.testing.assert_array_equal(longer[:ahead], net.forecast(ahead))
    assert np.abs(longer - season).mean() < 0.4  # its lags are the samples of a season ago, then forecasts


def test_least_squares_take_the_calendar():
    """The value depends on the hour only, and hours are missing at random, so no lag tells it."""
    random = np.random.default_rng(9)
    hours = np.sort(random.choice(9000, 3000, replace=False))
    x = np.float32(np.sin(2 * np.pi * hours / 24) + 0.05 * random.normal(size=3000))[:, None]
    spec = {"readout": "rls", "dim": 1, "hidden": 0, "lags": 4}
    times = hours * 3_600_000_000_000
    net = sl.RNN(**spec, features={"calendar": "hour"})
    with_clock, without = net.learn(x, times=times), sl.RNN(**spec).learn(x)
    errors = [out.error[-1000:].mean() for out in (with_clock, without)]
    print(f"mean error with the calendar {errors[0]:.3f}, without {errors[1]:.3f}")
    assert errors[0] < errors[1]
    assert net.state["features.times"].tolist() == [np.roll(times[-16:], 3000 % 16).tolist()]
    pieces = sl.RNN(**spec, features={"calendar": "hour"})
    for i in range(0, 3000, 7):
        pieces.learn(x[i : i + 7], times=times[i : i + 7])
    assert pieces.state_hash() == net.state_hash()
    x[::9] = np.nan
    assert np.isfinite(net.learn(x, times=times + 10**18).prediction).all()
    for features in ({"lags": [1]}, {"differences": 1}, {"period": 24}, {"memory": 100}):
        with pytest.raises(BadSpec, match="set lags, period and memory beside features"):
            sl.RNN(**spec, features=features)


HOUR = 3_600_000_000_000


@pytest.mark.parametrize("readout", ["rls", "adam"])
def test_the_calendar_of_future_times_helps_forecasts(readout):
    """The value depends on the hour only. Forecasts beyond the horizon know the hour from the usual step."""
    t = np.arange(3000)
    x = np.float32(np.sin(2 * np.pi * t / 24) + 0.05 * np.random.default_rng(9).normal(size=3000))[:, None]
    spec = {"rls": {"hidden": 0, "lags": 2}, "adam": {"hidden": 8, "readout": "adam", "tbptt": (1, 1)}}[
        readout
    ]
    net = sl.RNN(dim=1, horizon=2, features={"calendar": "hour"}, **spec)
    for _ in range(2 if readout == "adam" else 1):
        net.learn(x, times=t * HOUR)
    found, before = net.forecast_in_full(48), net.state_hash()
    assert found.time.tolist() == [(2999 + step) * HOUR for step in range(1, 49)]
    later = np.sin(2 * np.pi * np.arange(3000, 3048) / 24)
    shifted = net.forecast(48, times=(t[-1] + 7 + np.arange(48)) * HOUR)[2:, 0]
    errors = np.abs(found.forecast[2:, 0] - later[2:]).mean(), np.abs(shifted - later[2:]).mean()
    print(f"mean error with the right hours {errors[0]:.3f}, with hours six later {errors[1]:.3f}")
    assert errors[0] < 0.3 < errors[1]
    same = net.forecast(48, times=found.time)
    np.testing.assert_array_equal(same, found.forecast)
    assert net.state_hash() == before


def test_future_times_continue_by_the_usual_step():
    def learned(times, **spec):
        net = sl.RNN(dim=1, hidden=0, lags=2, features={"calendar": "hour"}, **spec)
        net.learn(np.float32(np.arange(len(times)))[:, None], times=np.array(times) * HOUR)
        return net

    one_late = [0, 1, 2, 3, 4, 90, 91, 92]
    assert learned(one_late).forecast_in_full(3).time.tolist() == [93 * HOUR, 94 * HOUR, 95 * HOUR]
    batches = [0, 0, 0, 0, 4, 4, 4, 4]  # the arrival times of two batches: the mean step
    assert learned(batches).forecast_in_full(2).time.tolist() == [
        4 * HOUR + HOUR * 4 // 7 * k for k in (1, 2)
    ]
    for times in [5], [5, 5, 5], [5, 4, 3]:
        net = learned(times)
        assert "time" not in net.forecast_in_full(1).arrays  # the forecast itself needs no times
        with pytest.raises(BadValue, match="pass times= for the steps of the forecast"):
            net.forecast(2)
        assert net.forecast(2, times=[6 * HOUR, 7 * HOUR]).shape == (2, 1)
    with pytest.raises(BadValue, match="beyond the year 2262"):
        learned([1, 2_000_000]).forecast(3)
    keyed = sl.RNN(dim=1, hidden=0, lags=2, features={"calendar": "hour"}, keys=2)
    keyed.learn(np.ones((6, 1)), keys=["a", "b"] * 3, times=np.array([0, 0, 1, 2, 2, 4]) * HOUR)
    for key, step in ("a", 1), ("b", 2):
        assert np.diff(keyed.forecast_in_full(4, key).time).tolist() == [step * HOUR] * 3


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ({}, "select at least one of lags"),
        ({"lags": [0]}, "features.lags.0"),
        ({"lags": [1.5]}, "features.lags.0"),
        ({"lags": [1, 1]}, "lags has 1 twice"),
        ({"lags": [True]}, "features.lags.0"),
        ({"lag": [1]}, "unknown parameter 'lag' of features (did you mean lags?); known: lags, differences"),
        ({"memory": [0.5]}, "features.memory.0"),
        ({"memory": [10, 10.0]}, "memory has 10.0 twice"),
        ({"calendar": ["month"]}, "features.calendar.0"),
        ({"calendar": ["hour"], "utc_offset": 25}, "features.utc_offset"),
        ([1, 2], "features"),
        ({"lags": [1 << 20], "differences": list(range(1, 400))}, "are the most"),
    ],
)
def test_wrong_features_are_refused(features, message):
    with pytest.raises(BadSpec) as caught:
        sl.SOM(dim=3000, grid=(1, 1), features=features)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "spec"),
    [
        (sl.HammingNet, {"patterns": [[1, 1, -1, 1]]}),
        (sl.Grossberg, {"layers": [[2]]}),
        (sl.Cognitron, {}),
        (sl.Malsburg, {"sheet": 1}),
    ],
)
def test_kinds_of_lines_and_activities_take_lags_only(make, spec):
    model = make(dim=2, **spec, features={"lags": [1]})
    assert model.inputs == 4
    for features in ({"differences": [1]}, {"period": 2}, {"memory": 9}, {"calendar": "hour"}):
        with pytest.raises(BadSpec, match=r"but samples are .*: select lags only"):
            make(dim=2, **spec, features=features)


def test_memory_holds_what_a_window_does_not():
    """A first-order lag of 400 samples, from an input that a GRU sees with and without its averages."""
    x = np.random.default_rng(6).normal(size=20_000)
    y, level = np.empty_like(x), 0.0
    for t, value in enumerate(x):
        level += (value - level) / 400
        y[t] = level
    spec = {"readout": "adam", "cell": "gru", "dim": 1, "hidden": 16, "target": "given", "scale": "standard"}
    errors = [
        sl.RNN(**spec, features=features).learn(x[:, None], y[:, None]).error[10_000:].std() / y.std()
        for features in (None, {"memory": [10, 100, 1000]})
    ]
    print(errors)
    assert errors[1] < errors[0] / 2


def test_symbols_have_no_features():
    with pytest.raises(BadSpec, match="features are numbers, and symbols are not"):
        sl.RNN(readout="adam", dim=1, hidden=2, symbols=3, loss="cross_entropy", features={"lags": [1]})


def test_the_spec_survives_json_and_saving(tmp_path):
    som = sl.SOM(dim=1, grid=(2,), features={"lags": 3, "calendar": "hour"})
    assert sl.SOM(**json.loads(som.spec.text)).spec == som.spec
    som.learn(np.arange(20.0), times=np.arange(20) * 10**12)
    som.save(tmp_path / "m.safetensors")
    same = sl.load(tmp_path / "m.safetensors")
    assert same.state_hash() == som.state_hash()
    assert same.learn([1.0], times=5.0).score == som.learn([1.0], times=5.0).score
    assert same.state_hash() == som.state_hash()
