"""Alarms: against a naive implementation, on generated faults, and in any split."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models
from streamlearn.errors import BadSpec
from streamlearn.models.judged import Judged
from streamlearn_client.alarms import ALARM_CODES, alarm_arrays, read_alarms
from tests.conformance.examples import EXAMPLES
from tests.naive import alarm as naive

CODES = {code: name for name, code in ALARM_CODES.items()}
EARLY = {"above": 5.0, "for": (2, 3), "clear": 3.0, "quiet": 20, "after": 100}


def stream(n: int, dim: int = 3, seed: int = 1) -> np.ndarray:
    """Noise with missing values, and every 400 samples a fault of 40 samples in one channel."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, dim))
    for number, start in enumerate(range(300, n, 400)):
        channel = number % dim
        if number % 3 == 2:
            x[start : start + 40, channel] = 0.5
        else:
            x[start : start + 40, channel] += 6
    x[random.random(x.shape) < 0.02] = np.nan
    x[500:503] = np.nan
    return x.astype(np.float32)


@pytest.fixture
def explained(monkeypatch):
    """What models expected of the samples that they learned, a list of arrays (n, dim)."""
    found = []
    take = Judged._take_expected

    def keep(self, arrays):
        expected = take(self, arrays)
        found.append(None if expected is None else expected.copy())
        return expected

    monkeypatch.setattr(Judged, "_take_expected", keep)
    return found


def compare(
    out: Any,
    x: np.ndarray,
    values: np.ndarray,
    expecting: np.ndarray,
    above: float | None,
    clear: float,
    **settings: Any,
) -> int:
    """Compare a whole stream's outputs and events with the naive ones. Return the number of events.

    ``expecting``: what the model expected of the samples.
    """
    oracle = naive.Alarm(above, clear=clear, channels=x.shape[1], **settings)
    deviations = naive.Deviations(x.shape[1])
    runs = [naive.Runs() for _ in range(x.shape[1])]
    expected: list[tuple[Any, ...]] = []
    for n in range(len(out)):
        changes = [run.observe(float(value)) for run, value in zip(runs, x[n], strict=True)]
        for state in ("end", "begin"):
            channels = [d for d, change in enumerate(changes) if change == state]
            if channels:
                expected.append((state, "stuck", n, channels[0]))
        u = None if np.isnan(out.score[n]) else deviations(x[n], expecting[n])
        state, alarm = oracle.observe(float(values[n]), float(out.score[n]), n, u=u)
        near = min(abs(oracle.evidence - limit) for limit in (oracle.limit, clear))
        assert not near < 1e-4, f"sample {n} is a near-tie: choose another seed"
        assert CODES[int(out.alarm[n])] == state, n
        assert out.evidence[n] == pytest.approx(oracle.evidence, abs=1e-3, nan_ok=True)
        if alarm is not None:
            facts = [alarm[name] for name in ("first", "last", "peak", "samples")]
            expected.append((state, "score", n, *facts))
            event = next(each for each in out.events if each.sample == n and each.cause == "score")
            assert event.evidence == pytest.approx(alarm["evidence"], abs=1e-3)
            assert event.score == pytest.approx(alarm["score"])
    found = [
        (e.state, e.cause, e.sample, e.channel)
        if e.cause == "stuck"
        else (e.state, e.cause, e.sample, e.first, e.last, e.peak, e.samples)
        for e in out.events
    ]
    assert found == expected
    return len(found)


@pytest.mark.parametrize(
    "alarm",
    [EARLY, {"above": 8.0, "for": 1, "clear": 8.0, "quiet": 0, "after": 0}, {}, {"false_alarms": 20}],
    ids=str,
)
def test_as_the_naive_alarm(alarm, explained):
    som = sl.SOM(dim=3, grid=(3, 4), scale="standard", alarm=alarm, seed=1)
    x = stream(6000, seed=2)
    out = som.learn(x)
    spec = som.spec.alarm
    settings = {"times": spec.counts, "quiet": spec.quiet, "after": spec.after}
    settings["false_alarms"] = spec.false_alarms
    assert compare(out, x, out.distance, explained[0], spec.above, spec.clear, **settings) > 1


def test_as_the_naive_alarm_of_a_forecast(explained):
    net = sl.RNN(dim=2, hidden=4, cell="elman", alarm=EARLY, seed=1)
    x = stream(6000, dim=2, seed=3)
    out = net.learn(x)
    assert compare(out, x, out.distance, explained[0], 5.0, 3.0, times=(2, 3), quiet=20, after=100) > 4


def test_each_key_has_alarms_of_its_own(explained):
    net = sl.RNN(dim=1, hidden=4, cell="elman", keys=3, alarm=EARLY, seed=1)
    random = np.random.default_rng(4)
    keys = random.integers(0, 3, 6000)
    x = random.normal(size=(6000, 1)).astype(np.float32)
    x[np.flatnonzero(keys == 1)[1500:1560]] += 9
    out = net.learn(x, keys=keys)
    pooled, deviations = naive.Pooled(), naive.Deviations(1)
    oracles = [naive.Alarm(5.0, (2, 3), 3.0, 20, 100, pooled=pooled, channels=1) for _ in range(3)]
    for n in range(len(out)):
        u = None if np.isnan(out.score[n]) else deviations(x[n], explained[0][n])
        state, _ = oracles[keys[n]].observe(float(out.distance[n]), float(out.score[n]), n, u=u)
        assert CODES[int(out.alarm[n])] == state, n
    assert 1 in {keys[event.sample] for event in out.events}


def test_keys_in_turn_all_teach_the_deviations():
    """One sample in four teaches them. Of four keys in turn, that is not always the same one."""
    net = sl.RNN(dim=2, hidden=4, keys=4, alarm=True, seed=1)
    random = np.random.default_rng(5)
    x = random.normal(size=(16_000, 2)).astype(np.float32)
    keys = np.arange(16_000) % 4
    x[keys == 3, 1] = x[keys == 3, 0]  # what one key in four does
    net.learn(x, keys=keys)
    (covariance,) = net.state["alarm.covariance"]
    correlation = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert correlation == pytest.approx(0.25, abs=0.1)


def hourly(n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A daily rhythm of one channel, every 10 minutes; then a while of the value of twelve hours later."""
    random = np.random.default_rng(seed)
    hours = np.arange(n) / 6
    x = 3 * np.sin(2 * np.pi * hours / 24) + 0.2 * random.normal(size=n)
    x[4475:4481] *= -1
    return x[:, None].astype(np.float32), (hours * 3.6e12).astype(np.int64)


def test_one_channel_with_times_is_compared_with_its_hour(explained):
    x, times = hourly(5000)
    alarm = {"above": 9, "clear": 4, "quiet": 20, "after": 300}
    som = sl.SOM(dim=1, grid=(6,), scale="standard", alarm=alarm, seed=1)
    out = som.learn(x, times=times)
    oracle = naive.Alarm(9, clear=4, quiet=20, after=300, channels=1)
    hours, deviations = naive.Hours(), naive.Deviations(1)
    for n in range(len(x)):
        other = hours(float(x[n, 0]), int(times[n])) if not np.isnan(out.score[n]) else 0.0
        u = None if np.isnan(out.score[n]) else deviations(x[n], explained[0][n])
        state, _ = oracle.observe(float(out.distance[n]), float(out.score[n]), n, other=other, u=u)
        assert CODES[int(out.alarm[n])] == state, n
        assert out.evidence[n] == pytest.approx(oracle.evidence, abs=1e-3, nan_ok=True)
    assert (out.alarm[4475:4481] == ALARM_CODES["begin"]).any()
    without = sl.SOM(dim=1, grid=(6,), scale="standard", alarm=alarm, seed=1).learn(x)
    assert not (without.alarm[4475:4481] == ALARM_CODES["begin"]).any()
    pieces = sl.SOM(dim=1, grid=(6,), scale="standard", alarm=alarm, seed=1)
    for start in range(0, 5000, 37):
        pieces.learn(x[start : start + 37], times=times[start : start + 37])
    assert pieces.state_hash() == som.state_hash()


@pytest.mark.parametrize("kind", ["som", "rnn", "birnn"])
def test_any_split_gives_the_same_alarms(kind):
    rule: dict[str, Any] = {
        "som": {"grid": (3, 3), "scale": "standard"},
        "rnn": {"hidden": 3, "cell": "elman", "tbptt": (2, 2)},
        "birnn": {"hidden": 3, "cell": "elman", "chunk": (4, 2), "target": "given"},
    }[kind]
    spec = {"dim": 3, "alarm": {**EARLY, "above": 3.0, "clear": 2.0}, "seed": 1, **rule}
    whole, x = models.create(kind, spec), stream(2000, seed=5)
    y = {"y": np.nan_to_num(x[:, :1])} if whole.target_dim else {}
    expected = whole.learn(x, **y)
    assert len(expected.events) > 3
    for seed in range(3):
        cuts = np.sort(np.random.default_rng(seed).integers(0, len(x), 40 * (1 + seed)))
        pieces, events, codes = models.create(kind, spec), [], []
        for start, stop in pairwise([0, *cuts, len(x)]):
            out = pieces.learn(x[start:stop], **{name: values[start:stop] for name, values in y.items()})
            events += out.events
            codes.append(out.alarm)
        assert pieces.state_hash() == whole.state_hash()
        assert np.array_equal(np.concatenate(codes), expected.alarm)
        assert sorted(map(repr, events)) == sorted(map(repr, expected.events))
        if kind != "birnn":
            assert list(map(repr, events)) == list(map(repr, expected.events))


FAULTS = {
    "offset": lambda x, at, d: x[at : at + 150, d].__iadd__(4),
    "noise": lambda x, at, d: x[at : at + 150, d].__imul__(3),
    "spike": lambda x, at, d: x[at : at + 1, d].__iadd__(8),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_daily_rhythm_is_one_alarm(fault):
    """Not a storm, within 20 samples, and with its channel: in at least 9 of 10 streams."""
    n, good = np.arange(9000)[:, None], 0
    slow = {"sigma": sl.Decay(3.0, 1.5), "learning_rate": sl.Decay(0.5, 0.02)}  # the map unfolds over days
    for seed in range(10):
        x = 3 * np.sin(2 * np.pi * n / 1440 + np.arange(4))
        x += 0.3 * np.random.default_rng(seed).normal(size=x.shape)
        FAULTS[fault](x, 8000, 2)
        out = sl.SOM(dim=4, grid=(6, 6), scale="standard", alarm=True, seed=1, **slow).learn(x)
        begins = [event for event in out.events if event.state == "begin" and event.sample >= 8000]
        good += len(begins) == 1 and begins[0].sample < 8020 and begins[0].channel == 2
    assert good >= 9


def test_a_coarse_map_finds_a_channel_that_contradicts_the_others():
    """Four channels follow one load, which the units resolve; in a fault one has an offset of 6 widths."""
    found, channels = 0, 0
    widths = np.array([0.1, 3, 0.05, 0.4])
    for side in (5, 6, 10):
        for seed in range(3):
            random = np.random.default_rng(seed)
            load = np.zeros(3040)
            for t in range(1, len(load)):
                load[t] = 0.95 * load[t - 1] + random.normal(0, 0.3)
            x = np.outer(load, [1, 30, -0.5, 4]) + widths * random.normal(size=(len(load), 4))
            x[3000:, 2] += 6 * widths[2]
            events = sl.SOM(dim=4, grid=(side, side), scale="standard", alarm=True, seed=1).learn(x).events
            begun = [event for event in events if event.state == "begin" and event.sample >= 3000]
            found += bool(begun)
            channels += begun[:1] != [] and begun[0].channel == 2
    assert found >= 8, found
    assert channels >= 8, channels


def test_a_sensor_that_freezes_is_named():
    """In a daily sine, in noise; and not a channel that repeats by nature."""
    random = np.random.default_rng(1)
    n = np.arange(12_000)
    x = np.stack(
        [
            np.sin(2 * np.pi * n / 1440) + 0.1 * random.normal(size=n.size),
            random.random(n.size) < 0.01,
            np.round(2 * random.normal(size=n.size)),
            np.sin(2 * np.pi * n / 1440),
        ],
        axis=1,
    ).astype(np.float32)
    x[9000:9400, 0] = x[9000, 0]
    x[10_000:10_500, 3] = x[10_000, 3]
    out = sl.SOM(dim=4, grid=(4, 4), scale="standard", alarm=True).learn(x)
    stuck = [event for event in out.events if event.cause == "stuck"]
    assert [(event.state, event.channel) for event in stuck] == [
        ("begin", 0),
        ("end", 0),
        ("begin", 3),
        ("end", 3),
    ]
    assert [event.first for event in stuck[::2]] == [event.first for event in stuck[1::2]]
    assert stuck[0].sample == 9016
    assert [event.samples for event in stuck[1::2]] == [400, 500]
    assert stuck[0].contribution.tolist() == [1, 0, 0, 0]


def test_channels_that_freeze_together_are_one_alarm():
    x = np.random.default_rng(2).normal(size=(600, 3)).astype(np.float32)
    x[400:500, 1:] = x[400, 1:]
    events = sl.SOM(dim=3, grid=(2, 2), alarm=True).learn(x).events
    assert [(event.state, event.channel) for event in events] == [("begin", 1), ("end", 1)]
    assert events[0].contribution.tolist() == [0, 0.5, 0.5]
    assert sl.SOM(dim=3, grid=(2, 2), alarm={"stuck": False}).learn(x).events == []


def test_features_are_no_channels():
    """Runs and patterns are those of the channels, also if the learner has features beside them."""
    x = stream(2000)
    som = sl.SOM(dim=3, grid=(3, 3), scale="standard", features={"lags": 2}, alarm=True)
    plain = sl.SOM(dim=3, grid=(3, 3), scale="standard", alarm=True)
    for model in (som, plain):
        model.learn(x)
    for name in ("alarm.runs", "alarm.channels"):
        assert np.array_equal(som.state[name], plain.state[name])


def test_samples_too_few_for_an_alarm_delay_no_alarm():
    """With ``for`` 3, the first two high samples of a fault are not the fault that ``quiet`` keeps quiet."""
    x = np.random.default_rng(3).normal(size=(3000, 2)).astype(np.float32)
    x[2500:2520] += 12
    out = sl.SOM(dim=2, grid=(3, 3), scale="standard", alarm={"for": 3, "above": 5}).learn(x)
    begins = [event.sample for event in out.events if event.state == "begin" and event.sample >= 2500]
    assert begins == [2502]


def test_the_state_of_alarms_is_small():
    spec: dict[str, Any] = {"dim": 8, "grid": (10, 10)}
    with_alarms, without = sl.SOM(**spec, alarm=True), sl.SOM(**spec, alarm=None)
    size = [sum(array.nbytes for array in model.state.values()) for model in (with_alarms, without)]
    assert size[0] - size[1] < 4608


def test_the_quality_has_the_alarms_of_now():
    som = sl.SOM(dim=3, grid=(2, 2), scale="standard", alarm={"after": 100})
    x = stream(1000)
    x[900:, 1] = 4.0
    som.learn(x)
    assert som.quality()["stuck"] == [1]
    assert som.quality()["alarms_on"] in (0, 1)


def test_alarms_survive_the_message():
    som = sl.SOM(dim=3, grid=(2, 2), scale="standard", alarm=EARLY)
    events = som.learn(stream(2000)).events
    assert events
    keyed = alarm_arrays(events[:2]) | {"key": np.array([4, 9])}
    assert [alarm.key for alarm in read_alarms(keyed, {9: "pump"})] == [4, "pump"]
    again = read_alarms(alarm_arrays(events))
    for one, other in zip(events, again, strict=True):
        for name in ("state", "cause", "sample", "first", "last", "peak", "samples", "channel"):
            assert getattr(one, name) == getattr(other, name)
        assert one.score == other.score or math.isnan(one.score)
        assert np.array_equal(one.contribution, other.contribution, equal_nan=True)
        assert np.array_equal(one.expected, other.expected, equal_nan=True)


def test_the_spec_has_the_name_for():
    som = sl.SOM(dim=1, grid=(2, 2), alarm={"for": [2, 5]})
    assert som.spec.alarm == sl.Alarm(for_=(2, 5))
    assert som.spec_dict()["alarm"]["for"] == [2, 5]
    assert sl.SOM.from_spec(som.spec_dict()).spec == som.spec


@pytest.mark.parametrize(
    ("alarm", "message"),
    [
        ({"for": [3, 2]}, "at most 2 of 2"),
        ({"above": 2}, "clear is 3"),
        ({"for": 63}, "alarm.for"),
        ({"abov": 3}, "did you mean above"),
    ],
)
def test_a_wrong_alarm_is_refused(alarm, message):
    with pytest.raises(BadSpec, match=message):
        sl.SOM(dim=1, grid=(2, 2), alarm=alarm)


@pytest.mark.parametrize(
    "kind", ["som", "competitive", "gng", "rnn", "hamming", "grossberg", "malsburg", "cognitron"]
)
def test_an_alarm_has_what_the_model_expected_of_its_peak(kind):
    """What ``explain`` gives for the peak before the model learns it. Scaling has seen the peak."""
    usual = EXAMPLES[kind].usual
    model = models.create(kind, {**usual, "alarm": {"above": 2.0, "clear": 1.5, "quiet": 0}})
    x, checked = np.abs(3 + stream(1500, dim=model.dim, seed=7)), 0
    for n in range(len(x)):
        explanation = model.explain(x[n : n + 1]) if n > 500 else None
        for event in model.learn(x[n : n + 1]).events:
            if explanation is not None and event.cause == "score" and event.peak == n:
                checked += not np.isnan(event.expected).all()
                expected = explanation.expected[0]
                assert event.expected == pytest.approx(expected, rel=1e-2, abs=0.05, nan_ok=True)
    assert checked
