"""What is not learned: against a plain model that is simply not shown it, one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models
from streamlearn.errors import BadSpec, BadValue
from streamlearn.models.batch import Batch, Targets
from streamlearn.models.outputs import TargetOutputs
from streamlearn.models.stream.drift import Drift, DriftDetector
from streamlearn.models.stream.freeze import LEFT
from streamlearn_client.outputs import NamedArrays

DIM = 4
KINDS: dict[str, dict[str, Any]] = {
    "som": {"grid": (4, 5), "learning_rate": 0.2, "sigma": 1.0, "scale": "standard"},
    "competitive": {"units": 9, "learning_rate": 0.2, "scale": "ewma"},
    "gng": {"max_units": 15, "insert_every": 5},
    "grossberg": {"layers": [[3, 4], [2]], "threshold": 0.5},
    "malsburg": {"sheet": 1},
    "cognitron": {},
}
WATCHED = {"drift": "blocks", "drift_block": 2, "drift_rest": 3, "drift_threshold": 1.5}
REASONS: dict[str, dict[str, Any]] = {
    "drift": {**WATCHED, "on_drift": "freeze", "freeze_for": 37},
    "missing": {"freeze_missing": 0.25},
    "both": {**WATCHED, "on_drift": "freeze", "freeze_for": 20, "freeze_missing": 0.5},
    "an alarm at a time": {**WATCHED, "drift_threshold": 0.5, "on_drift": "freeze", "freeze_for": 1},
}
N = 900
HEAT = 0.25


def stream(seed: int = 1) -> np.ndarray:
    """It jumps every 150 samples, and has holes."""
    random = np.random.default_rng(seed)
    x = np.abs(random.normal(size=(N, DIM)) * (1 + 4 * (np.arange(N) // 150 % 2))[:, None])
    x[random.random(x.shape) < 0.15] = np.nan
    return x.astype(np.float32)


class Naive:
    """A model without any such option, shown what is to be learned and asked about the rest."""

    def __init__(self, kind: str, spec: dict[str, Any]) -> None:
        options = {name: spec.get(name) for name in ("on_drift", "freeze_missing", "freeze_for")}
        watched = {name: value for name, value in spec.items() if name.startswith("drift")}
        plain = {name: value for name, value in spec.items() if name not in options | watched}
        self.model = models.create(kind, plain)
        rule = Drift("blocks", None, spec.get("drift_threshold"), False, 2, 3)
        self.watch = DriftDetector(rule) if watched else None
        self.options = options
        self.left = self.seen = self.count = 0

    def learn(self, sample: np.ndarray) -> tuple[NamedArrays, bool, bool]:
        """Return the outputs of one sample, whether it was frozen, and whether there was an alarm."""
        most = self.options["freeze_missing"]
        poor = most is not None and np.isnan(sample).mean() > most
        frozen = self.left > 0 or bool(poor)
        out = self.model.predict(sample) if frozen else self.model.learn(sample)
        self.left -= self.left > 0
        self.count += frozen
        alarm = self.watch is not None and bool(self.watch.detect(out.distance, np.array([self.seen]))[0])
        if alarm:
            assert self.watch is not None
            assert self.watch.take_rise()
        if alarm and self.options["on_drift"] == "freeze":
            self.left = self.options["freeze_for"]
        elif alarm and self.options["on_drift"] == "reheat":
            self.model.reheat(HEAT)
        self.seen += 1
        return out, frozen, alarm


def in_pieces(model: models.Model, x: np.ndarray, seed: int) -> NamedArrays:
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(x), 12))
    responses = [model.learn(piece) for piece in np.split(x, cuts)]
    return NamedArrays(
        **{name: np.concatenate([out.arrays[name] for out in responses]) for name in responses[0].arrays}
    )


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_frozen_is_as_if_it_were_only_asked_about(kind, reason):
    spec = {"dim": DIM, "seed": 2, "half_life": 200.0, **KINDS[kind], **REASONS[reason]}
    ours, naive, x = models.create(kind, spec), Naive(kind, spec), stream()
    out = in_pieces(ours, x, seed=3)
    frozen, alarms = [], []
    for i in range(N):
        responses, was_frozen, alarm = naive.learn(x[i])
        for name, values in responses.arrays.items():
            assert values[0].tobytes() == out.arrays[name][i].tobytes(), (i, name)
        frozen.append(was_frozen)
        alarms.append(alarm)
    assert out.frozen.tolist() == frozen
    assert 0 < sum(frozen) < N
    if naive.watch is not None:
        assert out.drift.tolist() == alarms
        assert sum(alarms) > 1
        for name, array in naive.watch.state.items():
            assert np.array_equal(array, ours.state[name]), name
    for name, array in naive.model.state.items():
        if name not in ("samples", "schedule.clock"):
            assert np.array_equal(array, ours.state[name], equal_nan=True), name
    reported = ours.quality()
    assert (reported["frozen"], reported["frozen_samples"]) == (naive.left, sum(frozen))
    assert ours.samples == N


@pytest.mark.parametrize("reason", REASONS)
def test_any_split_is_the_same_model(reason):
    spec = {"dim": DIM, "units": 9, "scale": "standard", **REASONS[reason]}
    x = stream(seed=4)
    whole = sl.Competitive(**spec)
    expected = whole.learn(x)
    for seed in range(5):
        pieces = sl.Competitive(**spec)
        out = in_pieces(pieces, x, seed)
        assert pieces.state_hash() == whole.state_hash()
        for name, values in out.arrays.items():
            assert np.array_equal(values, expected.arrays[name], equal_nan=values.dtype.kind == "f"), name


def test_the_clock_of_the_schedules_goes_on():
    decay = sl.Decay(0.5, 0.1, 300.0)
    net = sl.Competitive(dim=DIM, units=3, learning_rate=decay, freeze_missing=0.0)
    out = net.learn(stream())
    assert 0 < out.frozen.sum() < N
    assert net.schedules["learning_rate"] == pytest.approx(0.1 + 0.4 * np.exp(-N / 300), rel=1e-6)


def test_on_drift_the_schedules_are_reheated():
    rule = {"units": 9, "learning_rate": sl.Decay(0.5, 0.01, 20.0), "freeze_missing": 0.5, "drift_heat": HEAT}
    spec = {"dim": DIM, "seed": 2, "half_life": 200.0, **rule, **WATCHED, "on_drift": "reheat"}
    ours, x = sl.Competitive(**spec), stream(seed=5)
    out = in_pieces(ours, x, seed=6)
    alarms = np.flatnonzero(out.drift)
    assert alarms.size > 1
    t = N - 1 - alarms[-1]
    assert ours.schedules["learning_rate"] == pytest.approx(0.01 + HEAT * 0.49 * np.exp(-t / 20), rel=1e-5)
    assert ours.quality()["frozen"] == 0
    one_by_one = sl.Competitive(**spec)
    for sample in x:
        one_by_one.learn(sample)
    assert one_by_one.state_hash() == ours.state_hash()
    plain = Naive("competitive", {**spec, "freeze_missing": None, "drift_heat": None})
    ours = sl.Competitive(**{**spec, "freeze_missing": None})
    ours.learn(x)
    for sample in x:
        plain.learn(sample)
    for name, array in plain.model.state.items():
        assert np.array_equal(array, ours.state[name]), name


def test_a_schedule_that_is_higher_is_not_reheated():
    spec = {"dim": DIM, "units": 9, "learning_rate": sl.Decay(0.5, 0.01, 1e6), **WATCHED}
    ours, plain = sl.Competitive(**spec, on_drift="reheat", drift_heat=HEAT), sl.Competitive(**spec)
    assert ours.learn(stream()).drift.any()
    plain.learn(stream())
    assert ours.schedules == plain.schedules


def test_a_map_that_froze_at_a_disturbance_knows_what_it_knew():
    random = np.random.default_rng(7)
    usual, strange = random.normal(size=(4000, 3)), 5 + 0.1 * random.normal(size=(2500, 3))
    rates = {"learning_rate": 0.05, "sigma": 1.0}
    spec = {"dim": 3, "grid": (5, 5), **rates, "drift_block": 4, "half_life": 500.0}
    frozen, plain = sl.SOM(**spec, on_drift="freeze", freeze_for=2500), sl.SOM(**spec)
    for som in (frozen, plain):
        som.learn(usual)
        som.learn(strange)
    assert frozen.quality()["frozen_samples"] > 2400
    reported = [som.predict(usual).distance.mean() for som in (frozen, plain)]
    assert reported[0] < 0.7 * reported[1]


def test_reheating_ends_a_freeze():
    net = sl.Competitive(dim=DIM, units=9, learning_rate=0.3, **REASONS["drift"])
    x = stream()
    out = net.learn(x)
    stop = int(np.flatnonzero(out.drift)[0]) + 5
    net = sl.Competitive(dim=DIM, units=9, learning_rate=0.3, **REASONS["drift"])
    net.learn(x[:stop])
    assert net.quality()["frozen"] == 37 - 4
    net.reheat()
    assert net.quality()["frozen"] == 0
    assert not net.learn(x[stop]).frozen[0]
    with pytest.raises(BadValue, match="heat"):
        net.reheat(2.0)


def test_saved_frozen_it_goes_on_frozen(tmp_path):
    net, x = sl.SOM(dim=DIM, grid=(3, 3), **REASONS["both"]), stream()
    stop = int(np.flatnonzero(net.learn(x).drift)[-1]) + 3
    net = sl.SOM(dim=DIM, grid=(3, 3), **REASONS["both"])
    net.learn(x[:stop])
    net.save(tmp_path / "net")
    loaded = sl.load(tmp_path / "net")
    assert loaded.quality() == net.quality()
    assert loaded.quality()["frozen"] > 0
    for each in (net, loaded):
        each.learn(x[stop:])
    assert loaded.state_hash() == net.state_hash()


class Late(sl.GrowingNeuralGas):
    """It learns what comes as a target, too, and says of which sample that was."""

    accepts_late_targets, target_dim = True, DIM

    def _learn_late_targets(self, targets: Targets, learning: bool) -> TargetOutputs:
        if learning:
            out = self._learn(Batch(targets.y))
            self.state["samples"] -= targets.rows
        else:
            out = self.predict_validated(Batch(targets.y))
        out.arrays["sample"] = targets.ids
        return out


def test_targets_that_come_during_a_freeze_are_answered_only():
    x = stream()
    spec = {"dim": DIM, "max_units": 9, **REASONS["drift"]}
    alarm = int(np.flatnonzero(Late(**spec).learn(x).drift)[0])
    net, whole, pieces = (Late(**spec) for _ in range(3))
    for each in (net, whole, pieces):
        each.learn(x[: alarm + 1])
    before = net.copy_state()
    assert net.learn_targets(np.arange(5), x[:5]).frozen.all()
    assert net.quality()["frozen"] == 37
    changed = {name for name, array in net.state.items() if array.tobytes() != before[name].tobytes()}
    assert changed <= {"drift.block", "drift.reference", "drift.alarms"}
    net.reheat()
    assert not net.learn_targets(np.arange(5), x[:5]).frozen.any()
    for each in (whole, pieces):
        each.learn(x[alarm + 1 : alarm + 31])
    expected = whole.learn_targets(np.arange(alarm), x[:alarm])
    responses = [pieces.learn_targets([i], x[i]) for i in range(alarm)]
    assert pieces.state_hash() == whole.state_hash()
    assert [bool(out.frozen[0]) for out in responses] == expected.frozen.tolist()
    assert expected.frozen.any()


@pytest.mark.parametrize("tbptt", [(4, 4), (4, 7)], ids=str)
def test_a_recurrent_net_takes_no_target_from_a_frozen_sample(tbptt):
    """A sample without any value teaches nothing either way, unless an update falls on it."""
    x = np.random.default_rng(8).normal(size=(80, 2)).astype(np.float32)
    x[[9, 10, 23, 37, 50]] = np.nan  # updates fall on every fourth
    spec = {"dim": 2, "hidden": 5, "tbptt": tbptt, "learning_rate": 0.01}
    plain, frozen = sl.RNN(readout="adam", **spec), sl.RNN(readout="adam", **spec, freeze_missing=0.5)
    plain.learn(x)
    assert frozen.learn(x).frozen.sum() == 5
    for name, values in plain.parameters.items():
        assert np.array_equal(values, frozen.parameters[name]), name


def test_a_frozen_sample_waits_for_no_label():
    net = sl.Competitive(dim=2, units=3, labels=2, delay=4, freeze_missing=0.0)
    hole, sample = [[0.0, np.nan]], [[0.0, 0.0]]
    net.learn(hole)
    assert net.learn_targets([0], [1]).sample[0] == -1
    net.learn(np.repeat(sample, 4, axis=0))  # numbers 1 … 4
    net.learn(np.repeat(hole, 2, axis=0))  # in the places of 1 and 2
    assert net.learn_targets([1, 2, 5, 6, 3, 4], [1] * 6).sample.tolist() == [-1, -1, -1, -1, 3, 4]
    assert net.quality()["unmatched_targets"] == 5


@pytest.mark.parametrize(
    "make_late",
    [
        lambda **how: sl.Competitive(dim=DIM, units=5, labels=2, **how),
        lambda **how: sl.RNN(
            readout="adam", dim=DIM, hidden=3, target="later", classes=2, loss="cross_entropy", **how
        ),
    ],
    ids=["labels", "rnn"],
)
def test_targets_go_on_waiting_while_samples_are_frozen(make_late):
    net = make_late(on_drift="freeze")
    net.learn(stream()[:20], ids=np.arange(100, 120))
    net.state["freeze"][LEFT] = 50
    before, asked = net.copy_state(), [105, 102, 105, -1]
    responses = net.learn_targets(asked, [0, 1, 1, 0])
    assert responses.frozen.all()
    assert responses.sample.tolist() == [5, 2, 5, -1]
    changed = {name for name, array in net.state.items() if array.tobytes() != before[name].tobytes()}
    assert changed <= {"drift.block", "drift.reference"}
    net.reheat()
    learned = net.learn_targets(asked, [0, 1, 1, 0])
    assert learned.sample.tolist() == [5, 2, -1, -1]
    assert not learned.frozen.any()


def test_nobody_is_asked_for_a_freeze_without_an_option():
    net = sl.Competitive(dim=DIM, units=2, **WATCHED)
    assert "frozen" not in net.learn(stream()).arrays
    assert "frozen" not in net.quality()


MISTAKES = {
    "reheat what stays": ({"on_drift": "reheat", "drift": "adwin", "learning_rate": 0.1}, "constant"),
    "no heat": ({"on_drift": "reheat", "drift_heat": 0.0}, "greater than 0"),
    "all missing": ({"freeze_missing": 1.0}, "less than 1"),
    "none at all": ({"freeze_missing": -0.1}, "greater than or equal to 0"),
    "no samples": ({"freeze_for": 0}, "greater than or equal to 1"),
    "another word": ({"on_drift": "panic", "drift": "adwin"}, "'freeze', 'reheat', 'reseed' or 'adapt'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(mistake):
    given, reported = MISTAKES[mistake]
    with pytest.raises(BadSpec, match=reported):
        sl.Competitive(dim=DIM, units=3, **given)
