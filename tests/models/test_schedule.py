"""Schedules against their formulas in float64: in samples and seconds, by τ or half-life, heated again."""

from __future__ import annotations

import json
import math
import time
from dataclasses import fields

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models
from streamlearn.errors import BadDtype, BadShape, BadSpec, BadValue
from streamlearn_client.json_conversion import to_json

FORMS = {"exponential": lambda t, tau: math.exp(-t / tau), "inverse": lambda t, tau: 1 / (1 + t / tau)}
DECAYS = {
    "by τ": sl.Decay(0.5, 0.02, 30.0),
    "rising": sl.Decay(0.1, 0.9, tau=12.0),
    "by half-life": sl.Decay(0.5, 0.02, half_life=20.0),
    "inverse": sl.Decay(0.5, 0.0, 30.0, form="inverse"),
    "inverse, by half-life": sl.Decay(0.5, 0.02, half_life=20.0, form="inverse"),
    "in seconds": sl.Decay(0.5, 0.02, 30.0, unit="seconds"),
    "inverse, in seconds": sl.Decay(0.5, 0.02, 7.0, unit="seconds", form="inverse"),
    "by half-life, in seconds": sl.Decay(0.9, 0.0, half_life=11.0, unit="seconds"),
    "constant": 0.3,
    "never changing": sl.Decay(0.2, 0.2, 30.0, unit="seconds"),
}


def formula(decay: sl.Decay | float, t: float, heat: float = 1.0) -> float:
    if not isinstance(decay, sl.Decay):
        return decay
    tau = decay.tau
    if decay.half_life is not None:
        tau = decay.half_life if decay.form == "inverse" else decay.half_life / math.log(2)
    return decay.end + (decay.start - decay.end) * heat * FORMS[decay.form](t, tau)


def arrivals(n: int, seed: int = 1) -> np.ndarray:
    """Arrival times, seconds since the epoch: in bursts, some equal, some earlier than the one before."""
    random = np.random.default_rng(seed)
    return (
        1.7e9 + np.cumsum(random.exponential(2.0, n).round(3) * (random.random(n) < 0.7)) - random.random(n)
    )


def elapsed(times: np.ndarray) -> list[float]:
    """Since the first of them, and never less than before."""
    return [max(times[: i + 1]) - times[0] for i in range(len(times))]


def one_unit(decay: sl.Decay | float) -> sl.Competitive:
    return sl.Competitive(dim=1, units=1, learning_rate=decay)


@pytest.mark.parametrize("name", DECAYS)
def test_what_is_learned_is_the_formula(name):
    """With one unit and samples 1 on weight 0, what is left is Π (1 − ε(t))."""
    decay, times = DECAYS[name], arrivals(150)
    net = one_unit(decay)
    net.weights = [[0.0]]
    seconds = getattr(decay, "unit", "samples") == "seconds"
    assert net.uses_time == seconds
    left = 1.0
    for i, t in enumerate(elapsed(times) if seconds else range(150)):
        net.learn([1.0], times=times[i])
        left *= 1 - formula(decay, t)
        assert float(net.weights[0, 0]) == pytest.approx(1 - left, abs=2e-6)


@pytest.mark.parametrize("name", DECAYS)
def test_a_model_tells_where_its_schedules_stand(name):
    decay, times = DECAYS[name], arrivals(60)
    net = one_unit(decay)
    assert net.schedules == pytest.approx({"learning_rate": formula(decay, 0), "beta": 1.0, "leak": 0.0})
    net.learn(np.zeros((60, 1)), times=times)
    t = elapsed(times)[-1] if getattr(decay, "unit", "samples") == "seconds" else 60
    assert net.schedules["learning_rate"] == pytest.approx(formula(decay, t), rel=1e-5)
    assert net.quality()["schedules"] == net.schedules


def test_every_schedule_of_a_model_is_told():
    som = sl.SOM(dim=1, grid=(8, 8))
    assert som.schedules == {"learning_rate": 0.5, "sigma": 4.0}
    assert sl.Competitive(dim=1, units=16, mode="gas").schedules["spread"] == 4.0
    assert "schedules" not in sl.Cognitron(dim=4).quality()


def test_half_of_the_way_is_gone_after_a_half_life():
    for form in FORMS:
        net = one_unit(sl.Decay(0.8, 0.2, half_life=100.0, form=form))
        net.learn(np.zeros((100, 1)))
        assert net.schedules["learning_rate"] == pytest.approx(0.5, rel=1e-6)


def test_a_half_life_is_a_tau_to_the_bit():
    by_half_life, by_tau = (one_unit(sl.Decay(0.8, 0.2, **{name: value})) for name, value in
                            (("half_life", 100.0), ("tau", 144.26950408889634)))  # fmt: skip
    for net in (by_half_life, by_tau):
        net.learn(np.random.default_rng(1).normal(size=(300, 1)))
    assert by_half_life.state_hash() == by_tau.state_hash()


TIMED = {
    "som": {"dim": 3, "grid": (3, 3), "sigma": sl.Decay(2, 0.5, 20, unit="seconds")},
    "competitive": {"dim": 3, "units": 5, "mode": "gas", "spread": sl.Decay(2, 0.5, 20, unit="seconds")},
    "gng": {"dim": 3, "learning_rate": sl.Decay(0.5, 0.1, 20, unit="seconds"), "insert_every": 5},
    "rnn": {
        "readout": "adam",
        "dim": 3,
        "hidden": 4,
        "tbptt": (2, 3),
        "learning_rate": sl.Decay(0.1, 0.0, 20, unit="seconds"),
    },
    "grossberg": {
        "dim": 3,
        "layers": [[3, 3], [2]],
        "threshold": 0.0,
        "leak": sl.Decay(0.1, 0.0, 20, unit="seconds"),
    },
    "hamming": {
        "dim": 3,
        "units": 4,
        "threshold": 0.0,
        "learning_rate": sl.Decay(0.5, 0.0, 20, unit="seconds"),
    },
    "malsburg": {"dim": 3, "sheet": 1, "h": sl.Decay(0.5, 0.0, 20, unit="seconds")},
}


@pytest.mark.parametrize("kind", TIMED)
def test_at_a_sample_a_second_seconds_are_samples(kind):
    spec = models.create(kind, TIMED[kind]).spec_dict()
    in_seconds = models.create(kind, spec)
    in_samples = models.create(kind, json.loads(json.dumps(spec).replace('"seconds"', '"samples"')))
    x = np.abs(np.random.default_rng(2).normal(size=(90, 3)))
    assert (in_seconds.uses_time, in_samples.uses_time) == (True, False)
    responses = [model.learn(x, times=5e8 + np.arange(90)) for model in (in_seconds, in_samples)]
    for name, values in responses[0].arrays.items():
        assert values.tobytes() == responses[1].arrays[name].tobytes(), name
    learned = [{**model.state, "schedule.clock": None} for model in (in_seconds, in_samples)]
    for name, array in learned[0].items():
        assert np.array_equal(array, learned[1][name], equal_nan=array is not None), name
    assert in_seconds.schedules != models.create(kind, spec).schedules


def test_any_split_of_a_stream_in_seconds_is_the_same_model():
    decay, times = sl.Decay(0.9, 0.1, 20.0, unit="seconds", form="inverse"), arrivals(80)
    x = np.random.default_rng(3).normal(size=(80, 1))
    whole, pieces = one_unit(decay), one_unit(decay)
    whole.learn(x, times=times)
    for start, stop in ((0, 0), (0, 1), (1, 2), (2, 30), (30, 30), (30, 80)):
        pieces.learn(x[start:stop], times=times[start:stop])
    assert pieces.state_hash() == whole.state_hash()


def test_samples_arrive_now_unless_it_is_said_otherwise():
    net = one_unit(sl.Decay(0.9, 0.1, 3600.0, unit="seconds"))
    before = time.time()
    net.learn([[1.0], [2.0]])
    latest = net.state["schedule.clock"][2]
    assert before <= latest <= time.time()
    net.learn([3.0], times=latest + 3600)
    assert net.schedules["learning_rate"] == pytest.approx(0.1 + 0.8 / math.e, rel=1e-6)


def test_times_that_are_none_are_refused():
    net = one_unit(sl.Decay(0.9, 0.1, unit="seconds"))
    before = net.state_hash()
    for times, error in (("now", BadDtype), ([1.0, 2.0], BadShape), (math.nan, BadValue)):
        with pytest.raises(error, match="times"):
            net.learn([1.0], times=times)
    assert net.state_hash() == before


# heated again


@pytest.mark.parametrize("heat", [1.0, 0.25, 1e-9])
@pytest.mark.parametrize("name", [name for name in DECAYS if name not in ("constant", "never changing")])
def test_reheated_the_schedules_begin_again(name, heat):
    decay, times = DECAYS[name], arrivals(120)
    net = one_unit(decay)
    net.learn(np.zeros((50, 1)), times=times[:50])
    net.reheat(heat)
    assert net.schedules["learning_rate"] == pytest.approx(formula(decay, 0, heat), rel=1e-6)
    for i in range(50, 120):
        net.learn([0.0], times=times[i])
        t = elapsed(times[50:])[i - 50] if decay.unit == "seconds" else i - 49
        assert net.schedules["learning_rate"] == pytest.approx(formula(decay, t, heat), rel=1e-5)
    assert net.samples == 120


def test_heat_is_the_last_one_and_not_a_share_of_a_share():
    net = one_unit(sl.Decay(0.5, 0.1, 10.0))
    net.reheat(0.5)
    net.reheat(0.5)
    assert net.schedules["learning_rate"] == pytest.approx(0.3)
    net.reheat()
    assert net.state_hash() == one_unit(sl.Decay(0.5, 0.1, 10.0)).state_hash()


def test_a_map_reheated_finds_a_stream_that_has_moved():
    random = np.random.default_rng(4)
    maps = [sl.SOM(dim=2, grid=(5, 5), learning_rate=sl.Decay(0.5, 0.0, 200), seed=1) for _ in range(2)]
    moved = random.normal(size=(1500, 2)) + 6
    for som in maps:
        som.learn(random.normal(size=(1500, 2)))
    maps[0].reheat(0.5)
    reheated, cold = (som.learn(moved).distance[-500:].mean() for som in maps)
    assert reheated < 1 < 4 < cold


@pytest.mark.parametrize("heat", [0, -0.5, 1.0001, math.nan, math.inf, "hot", None])
def test_no_heat_but_a_share_above_0(heat):
    net = one_unit(sl.Decay(0.5, 0.1, 10.0))
    net.learn(np.zeros((5, 1)))
    before = net.state_hash()
    for refuse in (net.reheat, net.validate_heat):
        with pytest.raises(BadValue, match="heat"):
            refuse(heat)
    assert net.state_hash() == before


@pytest.mark.parametrize("net", [one_unit(0.3), one_unit(sl.Decay(0.3, 0.3)), sl.Cognitron(dim=4)])
def test_what_never_cools_is_not_reheated(net):
    with pytest.raises(BadValue, match="nothing to reheat"):
        net.reheat()


def test_heat_is_kept_in_a_file(tmp_path):
    decay, times = sl.Decay(0.9, 0.1, 20.0, unit="seconds"), arrivals(90)
    x = np.random.default_rng(5).normal(size=(90, 1))
    net = one_unit(decay)
    net.learn(x[:40], times=times[:40])
    net.reheat(0.5)
    net.learn(x[40:60], times=times[40:60])
    net.save(tmp_path / "net")
    loaded = sl.load(tmp_path / "net")
    for each in (net, loaded):
        each.learn(x[60:], times=times[60:])
    assert loaded.state_hash() == net.state_hash()
    assert loaded.schedules == net.schedules


# as parameters


@pytest.mark.parametrize("name", DECAYS)
def test_a_schedule_goes_round_as_json(name):
    net = one_unit(DECAYS[name])
    again = models.create("competitive", json.loads(json.dumps(net.spec_dict())))
    assert again.spec == net.spec
    assert again.spec_dict() == net.spec_dict()
    assert again.state_hash() == net.state_hash()


def test_a_map_of_start_end_and_tau_is_a_decay_in_samples():
    given = models.create("som", {"dim": 1, "grid": [2], "sigma": {"start": 1, "end": 0.5, "tau": 40}})
    assert given.spec.sigma == sl.Decay(1.0, 0.5, 40.0, unit="samples", form="exponential")
    assert sl.Decay(1, 0.5) == sl.Decay(1, 0.5, tau=5000)


MISTAKES = {
    "both": ({"tau": 10, "half_life": 5}, "tau or half_life"),
    "no time at all": ({"tau": 0}, "greater than 0"),
    "a negative half-life": ({"half_life": -1}, "greater than 0"),
    "an endless one": ({"half_life": math.inf}, "finite"),
    "hours": ({"unit": "hours"}, "'samples' or 'seconds'"),
    "a line": ({"form": "linear"}, "'exponential' or 'inverse'"),
    "another word": ({"halflife": 5}, "halflife"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(mistake):
    given, reported = MISTAKES[mistake]
    with pytest.raises(BadSpec, match=reported):
        models.create("som", {"dim": 1, "grid": [2], "sigma": {"start": 1, "end": 0.5, **given}})


# steps of the clock


def counted(times: np.ndarray, max_gap: float) -> float:
    """Seconds that a schedule counts, from the definition in docs/models/common.md."""
    latest, total = times[0], 0.0
    for arrival in times[1:]:
        if arrival < latest - max_gap:  # the clock was set back
            latest = arrival
        total += min(max(arrival - latest, 0.0), max_gap)
        latest = max(latest, arrival)
    return total


@pytest.mark.parametrize("max_gap", [5.0, 3600.0])
@pytest.mark.parametrize("step", [-1e9, -7200.0, -3.0, 3.0, 7200.0, 1e9])
def test_a_step_of_the_clock_counts_as_max_gap_at_most(step, max_gap):
    decay = sl.Decay(0.9, 0.1, 20_000.0, unit="seconds", max_gap=max_gap)
    steady = 1.7e9 + np.arange(100.0)
    times = steady + np.where(np.arange(100) < 50, 0.0, step)
    net = one_unit(decay)
    net.learn(np.zeros((100, 1)), times=times)
    seconds = counted(times, max_gap)
    assert abs(seconds - 99) <= max_gap
    assert net.schedules["learning_rate"] == pytest.approx(formula(decay, seconds), rel=1e-5)
    pieces = one_unit(decay)
    for i in range(100):
        pieces.learn([0.0], times=times[i])
    assert pieces.state_hash() == net.state_hash()


def test_several_steps_count_each():
    decay = sl.Decay(0.9, 0.1, 20_000.0, unit="seconds")
    random = np.random.default_rng(8)
    times = 1.7e9 + np.cumsum(random.choice([-1e6, -2.0, 0.0, 1.0, 900.0, 1e6], 300))
    net = one_unit(decay)
    net.learn(np.zeros((300, 1)), times=times)
    assert net.schedules["learning_rate"] == pytest.approx(formula(decay, counted(times, 3600.0)), rel=1e-5)


def test_the_smallest_max_gap_of_a_model_counts():
    slow, fast = (sl.Decay(0.9, 0.1, 50.0, unit="seconds", max_gap=gap) for gap in (100.0, 10.0))
    som = sl.SOM(dim=1, grid=(2,), learning_rate=slow, sigma=fast)
    som.learn(np.zeros((2, 1)), times=[0.0, 1000.0])
    assert som.schedules["learning_rate"] == pytest.approx(formula(slow, 10.0), rel=1e-5)


def test_a_client_sends_every_field_of_a_schedule() -> None:
    decay = sl.Decay(0.5, 0.02, half_life=60.0, unit="seconds", form="inverse", max_gap=5.0)
    sent = to_json(decay)
    assert sl.Decay(**sent) == decay
    assert sent.keys() == {field.name for field in fields(decay)} - {"tau"}  # `half_life` has its place
