"""What is watched: against a plain model that is asked about it and does not learn it, sample by sample."""

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
from streamlearn.models.stream.watching import LEFT
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
    "drift": {**WATCHED, "on_drift": "watch", "watch_for": 37},
    "missing": {"watch_missing": 0.25},
    "both": {**WATCHED, "on_drift": "watch", "watch_for": 20, "watch_missing": 0.5},
    "an alarm at a time": {**WATCHED, "drift_threshold": 0.5, "on_drift": "watch", "watch_for": 1},
}
COUNTED = ("watch", "gate", "quality", "hits")  # watched samples count in these
ALARMS = tuple(  # these go on; what alarms compare with does not
    f"alarm.{name}"
    for name in ("numbers", "levels", "lasting", "shares", "expected", "runs", "last", "kept", "kept_numbers")
)
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
        options = {name: spec.get(name) for name in ("on_drift", "watch_missing", "watch_for")}
        detector = {name: value for name, value in spec.items() if name.startswith("drift")}
        plain = {name: value for name, value in spec.items() if name not in options | detector}
        self.model = models.create(kind, {**plain, "drift": None})
        rule = Drift("blocks", None, spec.get("drift_threshold"), False, 2, 3)
        self.watch = DriftDetector(rule) if detector else None
        self.options = options
        self.left = self.seen = self.count = 0

    def learn(self, sample: np.ndarray) -> tuple[NamedArrays, bool, bool]:
        """Return the outputs of one sample, whether it was watched, and whether there was an alarm."""
        most = self.options["watch_missing"]
        poor = most is not None and np.isnan(sample).mean() > most
        watched = self.left > 0 or bool(poor)
        out = self.model.predict(sample) if watched else self.model.learn(sample)
        self.left -= self.left > 0
        self.count += watched
        alarm = self.watch is not None and bool(self.watch.detect(out.distance, np.array([self.seen]))[0])
        if alarm:
            assert self.watch is not None
            assert self.watch.take_rise()
        if alarm and self.options["on_drift"] == "watch":
            self.left = self.options["watch_for"]
        elif alarm and self.options["on_drift"] == "reheat":
            self.model.reheat(HEAT)
        self.seen += 1
        return out, watched, alarm


def in_pieces(model: models.Model, x: np.ndarray, seed: int) -> NamedArrays:
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(x), 12))
    responses = [model.learn(piece) for piece in np.split(x, cuts)]
    return NamedArrays(
        **{name: np.concatenate([out.arrays[name] for out in responses]) for name in responses[0].arrays}
    )


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_watched_sample_has_outputs_and_changes_nothing_else(kind, reason):
    """Alarms go on with watched samples, so the models here have none."""
    spec = {"dim": DIM, "seed": 2, "half_life": 200.0, "alarm": None, **KINDS[kind], **REASONS[reason]}
    ours, naive, x = models.create(kind, spec), Naive(kind, spec), stream()
    out = in_pieces(ours, x, seed=3)
    watched, alarms = [], []
    for i in range(N):
        responses, was_watched, alarm = naive.learn(x[i])
        for name, values in responses.arrays.items():
            assert values[0].tobytes() == out.arrays[name][i].tobytes(), (i, name)
        watched.append(was_watched)
        alarms.append(alarm)
    assert out.watched.tolist() == watched
    assert 0 < sum(watched) < N
    if naive.watch is not None:
        assert out.drift.tolist() == alarms
        assert sum(alarms) > 1
        for name, array in naive.watch.state.items():
            assert np.array_equal(array, ours.state[name]), name
    for name, array in naive.model.state.items():
        if name not in ("samples", "schedule.clock", *COUNTED):
            assert np.array_equal(array, ours.state[name], equal_nan=True), name
    reported = ours.quality()
    assert (reported["watched"], reported["watched_samples"]) == (naive.left, sum(watched))
    assert ours.samples == N


@pytest.mark.parametrize("reason", [*REASONS, "scores"])
def test_any_split_is_the_same_model(reason):
    limit = {"learn_below": 0.8, "learning_rate": 0.1}
    spec = {"dim": DIM, "units": 9, "scale": "standard", **REASONS.get(reason, limit)}
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
    net = sl.Competitive(dim=DIM, units=3, learning_rate=decay, watch_missing=0.0)
    out = net.learn(stream())
    assert 0 < out.watched.sum() < N
    assert net.schedules["learning_rate"] == pytest.approx(0.1 + 0.4 * np.exp(-N / 300), rel=1e-6)


def test_on_drift_the_schedules_are_reheated():
    rule = {"units": 9, "learning_rate": sl.Decay(0.5, 0.01, 20.0), "watch_missing": 0.5, "drift_heat": HEAT}
    spec = {"dim": DIM, "seed": 2, "half_life": 200.0, **rule, **WATCHED, "on_drift": "reheat"}
    ours, x = sl.Competitive(**spec), stream(seed=5)
    out = in_pieces(ours, x, seed=6)
    alarms = np.flatnonzero(out.drift)
    assert alarms.size > 1
    t = N - 1 - alarms[-1]
    assert ours.schedules["learning_rate"] == pytest.approx(0.01 + HEAT * 0.49 * np.exp(-t / 20), rel=1e-5)
    assert ours.quality()["watched"] == 0
    one_by_one = sl.Competitive(**spec)
    for sample in x:
        one_by_one.learn(sample)
    assert one_by_one.state_hash() == ours.state_hash()
    plain = Naive("competitive", {**spec, "watch_missing": None, "drift_heat": None})
    ours = sl.Competitive(**{**spec, "watch_missing": None})
    ours.learn(x)
    for sample in x:
        plain.learn(sample)
    for name, array in plain.model.state.items():
        assert name in COUNTED or np.array_equal(array, ours.state[name]), name


def test_a_schedule_that_is_higher_is_not_reheated():
    spec = {"dim": DIM, "units": 9, "learning_rate": sl.Decay(0.5, 0.01, 1e6), **WATCHED}
    ours, plain = sl.Competitive(**spec, on_drift="reheat", drift_heat=HEAT), sl.Competitive(**spec)
    assert ours.learn(stream()).drift.any()
    plain.learn(stream())
    assert ours.schedules == plain.schedules


def test_a_map_that_watched_a_disturbance_knows_what_it_knew():
    random = np.random.default_rng(7)
    usual, strange = random.normal(size=(4000, 3)), 5 + 0.1 * random.normal(size=(2500, 3))
    rates = {"learning_rate": 0.05, "sigma": 1.0}
    spec = {"dim": 3, "grid": (5, 5), **rates, "drift_block": 4, "half_life": 500.0}
    watched, plain = sl.SOM(**spec, on_drift="watch", watch_for=2500), sl.SOM(**spec)
    for som in (watched, plain):
        som.learn(usual)
        som.learn(strange)
    assert watched.quality()["watched_samples"] > 2400
    reported = [som.predict(usual).distance.mean() for som in (watched, plain)]
    assert reported[0] < 0.7 * reported[1]


def test_reheating_ends_the_reaction():
    net = sl.Competitive(dim=DIM, units=9, learning_rate=0.3, **REASONS["drift"])
    x = stream()
    out = net.learn(x)
    stop = int(np.flatnonzero(out.drift)[0]) + 5
    net = sl.Competitive(dim=DIM, units=9, learning_rate=0.3, **REASONS["drift"])
    net.learn(x[:stop])
    assert net.quality()["watched"] == 37 - 4
    net.reheat()
    assert net.quality()["watched"] == 0
    assert not net.learn(x[stop]).watched[0]
    with pytest.raises(BadValue, match="heat"):
        net.reheat(2.0)


def test_a_saved_model_goes_on_watching(tmp_path):
    net, x = sl.SOM(dim=DIM, grid=(3, 3), **REASONS["both"]), stream()
    stop = int(np.flatnonzero(net.learn(x).drift)[-1]) + 3
    net = sl.SOM(dim=DIM, grid=(3, 3), **REASONS["both"])
    net.learn(x[:stop])
    net.save(tmp_path / "net")
    loaded = sl.load(tmp_path / "net")
    assert loaded.quality() == net.quality()
    assert loaded.quality()["watched"] > 0
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


def test_targets_that_come_during_a_reaction_are_answered_only():
    x = stream()
    spec = {"dim": DIM, "max_units": 9, **REASONS["drift"]}
    alarm = int(np.flatnonzero(Late(**spec).learn(x).drift)[0])
    net, whole, pieces = (Late(**spec) for _ in range(3))
    for each in (net, whole, pieces):
        each.learn(x[: alarm + 1])
    before = net.copy_state()
    assert net.learn_targets(np.arange(5), x[:5]).watched.all()
    assert net.quality()["watched"] == 37
    changed = {name for name, array in net.state.items() if array.tobytes() != before[name].tobytes()}
    assert changed <= {"drift.block", "drift.reference", "drift.alarms", *ALARMS}
    net.reheat()
    assert not net.learn_targets(np.arange(5), x[:5]).watched.any()
    for each in (whole, pieces):
        each.learn(x[alarm + 1 : alarm + 31])
    expected = whole.learn_targets(np.arange(alarm), x[:alarm])
    responses = [pieces.learn_targets([i], x[i]) for i in range(alarm)]
    assert pieces.state_hash() == whole.state_hash()
    assert [bool(out.watched[0]) for out in responses] == expected.watched.tolist()
    assert expected.watched.any()


@pytest.mark.parametrize("tbptt", [(4, 4), (4, 7)], ids=str)
def test_a_recurrent_net_takes_no_target_from_a_watched_sample(tbptt):
    """A sample without any value teaches nothing either way, unless an update falls on it."""
    x = np.random.default_rng(8).normal(size=(80, 2)).astype(np.float32)
    x[[9, 10, 23, 37, 50]] = np.nan  # updates fall on every fourth
    spec = {"dim": 2, "hidden": 5, "tbptt": tbptt, "learning_rate": 0.01}
    plain, watched = sl.RNN(readout="adam", **spec), sl.RNN(readout="adam", **spec, watch_missing=0.5)
    plain.learn(x)
    assert watched.learn(x).watched.sum() == 5
    for name, values in plain.parameters.items():
        assert np.array_equal(values, watched.parameters[name]), name


def test_a_watched_sample_waits_for_no_label():
    net = sl.Competitive(dim=2, units=3, labels=2, delay=4, watch_missing=0.0)
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
def test_targets_go_on_waiting_while_samples_are_watched(make_late):
    net = make_late(on_drift="watch")
    net.learn(stream()[:20], ids=np.arange(100, 120))
    net.state["watch"][LEFT] = 50
    before, asked = net.copy_state(), [105, 102, 105, -1]
    responses = net.learn_targets(asked, [0, 1, 1, 0])
    assert responses.watched.all()
    assert responses.sample.tolist() == [5, 2, 5, -1]
    changed = {name for name, array in net.state.items() if array.tobytes() != before[name].tobytes()}
    assert changed <= {"drift.block", "drift.reference"}
    net.reheat()
    learned = net.learn_targets(asked, [0, 1, 1, 0])
    assert learned.sample.tolist() == [5, 2, -1, -1]
    assert not learned.watched.any()


def test_without_an_option_every_sample_is_learned():
    net = sl.Competitive(dim=DIM, units=2, **WATCHED)
    assert not net.learn(stream()).watched.any()
    assert net.quality()["watched_samples"] == 0
    assert not net.paused


ALL = {
    **KINDS,
    "hamming": {"units": 6, "threshold": 0.5, "learning_rate": 0.1},
    "rnn": {"readout": "adam", "hidden": 4, "learning_rate": 0.01},
    "birnn": {"hidden": 3, "chunk": (3, 1)},
}


def learnable(model: models.Model, x: np.ndarray) -> dict[str, Any]:
    return {"X": x, "y": x[:, :1]} if model.target_dim else {"X": x}


def unlearned(model: models.Model) -> dict[str, bytes]:
    """The state that a watched sample must not change."""
    goes_on = (
        "samples",
        "schedule",
        "waiting",
        "window",
        "activations",
        "progress",
        "states",
        "last_values",
        "recent",
        "drift",
    )
    names = (*COUNTED, *ALARMS, "bands.waiting", "bands.position")
    return {
        name: array.tobytes()
        for name, array in model.copy_state().items()
        if name not in names and name.split(".")[0] not in goes_on
    }


@pytest.mark.parametrize("kind", ALL)
def test_only_the_first_samples_are_learned(kind):
    x, spec = stream(), {"dim": DIM, "half_life": 200.0, **ALL[kind]}
    ours, first = (models.create(kind, {**spec, **rule}) for rule in ({"learn_for": 400}, {}))
    out = ours.learn(**learnable(ours, x))
    first.learn(**learnable(first, x[:400]))
    late = out.arrays.get("sample", np.arange(N)) >= 400
    assert out.watched[late].all()
    assert not out.watched[~late][: 400 - 4].any()
    assert unlearned(ours) == unlearned(first)
    assert ours.samples == N
    assert ours.quality()["watched_samples"] == out.watched.sum()


@pytest.mark.parametrize("kind", ALL)
def test_a_paused_model_learns_nothing_until_it_is_resumed(kind):
    x, spec = stream(), {"dim": DIM, "half_life": 200.0, **ALL[kind]}
    model = models.create(kind, spec)
    model.learn(**learnable(model, x[:300]))
    before = unlearned(model)
    model.pause()
    assert model.learn(**learnable(model, x[300:600])).watched.all()
    assert model.paused
    assert model.quality()["paused"]
    assert unlearned(model) == before
    model.resume()
    assert not model.learn(**learnable(model, x[600:])).watched[-1]
    assert unlearned(model) != before


MISTAKES = {
    "reheat what stays": ({"on_drift": "reheat", "drift": "adwin", "learning_rate": 0.1}, "constant"),
    "no heat": ({"on_drift": "reheat", "drift_heat": 0.0}, "greater than 0"),
    "all missing": ({"watch_missing": 1.0}, "less than 1"),
    "none at all": ({"watch_missing": -0.1}, "greater than or equal to 0"),
    "no samples": ({"watch_for": 0}, "greater than or equal to 1"),
    "a limit of nothing": ({"learn_below": 0.0}, "greater than 0"),
    "a limit of everything": ({"learn_below": 1.0}, "less than 1"),
    "no patience": ({"learn_below": 0.9, "patience": 0}, "greater than or equal to 1"),
    "nothing to learn": ({"learn_for": 0}, "greater than or equal to 1"),
    "another word": ({"on_drift": "panic", "drift": "adwin"}, "'watch', 'reheat', 'reseed' or 'adapt'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told(mistake):
    given, reported = MISTAKES[mistake]
    with pytest.raises(BadSpec, match=reported):
        sl.Competitive(dim=DIM, units=3, **given)
