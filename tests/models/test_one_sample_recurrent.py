"""A recurrent network that learns one sample in one call does what the general way does, bit for bit."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.models.one_sample import GENERAL_WAY, OneSample

Spec = dict[str, Any]
SMALL = {"readout": "adam", "hidden": 6, "tbptt": (4, 4), "seed": 3}
ALARM = sl.Alarm(above=4.0, after=100, quiet=20)
SPECS: dict[str, Spec] = {
    "least squares": {"dim": 3, "lags": 8, "alarm": ALARM},
    "horizon and season": {"dim": 2, "lags": 6, "horizon": 3, "period": 5, "replay": 1, "alarm": ALARM},
    "without units": {"dim": 1, "hidden": 0, "lags": 6, "alarm": None, "drift": "adwin"},
    "limit": {"dim": 2, "lags": 6, "learn_below": 0.9, "alarm": ALARM},
    "target": {"dim": 2, "target": "given", "outputs": 2, "lags": 4, "alarm": ALARM},
    "target of steps": {
        "dim": 2,
        "target": "given",
        "lags": 4,
        "horizon": 2,
        "learn_below": 0.95,
        "alarm": ALARM,
    },
    "keys": {"dim": 2, "lags": 4, "keys": 3, "alarm": ALARM},
    "keys of a target": {"dim": 2, "target": "given", "lags": 4, "keys": 3, "alarm": None},
    "keys and limit": {"dim": 2, **SMALL, "keys": 4, "learn_below": 0.9, "alarm": ALARM},
    "lstm": {"dim": 3, **SMALL},
    "deep gru": {"dim": 2, **SMALL, "cell": "gru", "layers": 2, "tbptt": (1, 5), "drift": None},
    "elman with alarms": {"dim": 2, **SMALL, "cell": "elman", "horizon": 2, "alarm": ALARM},
    "rtu": {"dim": 2, "cell": "rtu", "hidden": 6, "learn_below": 0.9},
    "lags of the gradient": {"dim": 2, **SMALL, "record_lags": True, "optimizer": "rmsprop"},
    "given target": {"dim": 2, **SMALL, "target": "given", "outputs": 2, "alarm": ALARM},
    "classes": {"dim": 2, **SMALL, "target": "given", "loss": "cross_entropy", "classes": 3},
    "symbols": {"dim": 1, **SMALL, "symbols": 4, "loss": "cross_entropy"},
}
GENERAL: dict[str, Spec] = {  # learned by the general way
    "features": {"dim": 2, **SMALL, "features": {"lags": [1]}},
    "first samples": {"dim": 2, "learn_for": 100},
    "missing values": {"dim": 2, "watch_missing": 0.5},
    "reaction": {"dim": 2, "on_drift": "watch"},
    "late targets": {"dim": 2, **SMALL, "target": "later"},
    "bands": {"dim": 2, **SMALL, "coverage": 0.9},
    "alarms of symbols": {"dim": 1, **SMALL, "symbols": 4, "loss": "cross_entropy", "alarm": True},
    "seconds": {"dim": 2, **SMALL, "learning_rate": sl.Decay(0.02, 0.01, unit="seconds")},
}


def stream(spec: Spec, n: int = 700) -> tuple[np.ndarray, np.ndarray | None]:
    """Return samples with missing values, a gap and a change; and their targets, if the model takes any."""
    rng = np.random.default_rng(7)
    if "symbols" in spec:
        x = rng.integers(0, 4, (n, 1)).astype(np.float32)
        x[n // 2 :] = np.arange(n - n // 2)[:, None] % 4
    else:
        phase = np.arange(n)[:, None] / rng.uniform(1, 4, spec["dim"])
        x = (np.sin(phase) + rng.normal(0, 0.1, phase.shape)).astype(np.float32)
        x[n // 2 : n // 2 + 40] += 9.0
    x[rng.random(x.shape) < 0.03] = np.nan
    x[90:110] = np.nan
    if spec.get("target") != "given":
        return x, None
    y = np.nan_to_num(x).sum(1, keepdims=True) * np.arange(1, 1 + spec.get("outputs", 1))
    if "classes" in spec:
        y = np.clip(np.round(y), 0, 2)
    y[rng.random(y.shape) < 0.1] = np.nan
    return x, y.astype(np.float32)


class Pair:
    """A model that learns single samples, and one that learns all by the general way."""

    def __init__(self, spec: Spec) -> None:
        self.single, self.general = sl.RNN(**spec), sl.RNN(**spec)
        self.general._one_sample = GENERAL_WAY
        self.x, self.y = stream(spec)
        self.events = 0
        keys = np.random.default_rng(5).integers(0, 5, len(self.x)) // 2 * 2 - 1  # some more often
        keys[::50] = 7  # a new one, in place of another
        self.keys = keys if "keys" in spec else None

    def learn(self, begin: int, end: int, cuts: np.random.Generator | None = None) -> None:
        """Learn samples by both, and compare. ``cuts``: the other model gets batches, too."""
        whole, parts = self._learn(self.general, begin, end), []
        while begin < end:
            rows = 1 if cuts is None else min(int(cuts.choice([1, 1, 1, 2, 7])), end - begin)
            parts.append(self._learn(self.single, begin, begin + rows))
            begin += rows
        assert isinstance(self.single._one_sample, OneSample)
        assert self.single.state_hash() == self.general.state_hash()
        assert list(whole.arrays) == list(parts[0].arrays)
        for name, array in whole.arrays.items():
            joined = np.concatenate([part.arrays[name] for part in parts])
            assert (joined.dtype, joined.shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(joined, array, err_msg=name)
        events = [str(facts(event)) for part in parts for event in part.events]
        assert events == [str(facts(event)) for event in whole.events]
        self.events += len(events)

    def _learn(self, model: sl.RNN, begin: int, end: int) -> Any:
        targets = () if self.y is None else (self.y[begin:end],)
        keys = None if self.keys is None else self.keys[begin:end]
        return model.learn(self.x[begin:end], *targets, keys=keys)

    def both(self, name: str, *arguments: Any) -> None:
        """Call a method of both models."""
        for model in (self.single, self.general):
            getattr(model, name)(*arguments)


def facts(event: Any) -> tuple[Any, ...]:
    contribution, expected = event.contribution.tolist(), event.expected.tolist()
    return (
        event.state,
        event.cause,
        event.sample,
        event.first,
        event.peak,
        event.score,
        contribution,
        expected,
    )


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_state_and_outputs_are_those_of_the_general_way(spec: Spec) -> None:
    """Also with a pause, feedback, a reheat and an adopted state between samples, and random batches."""
    pair = Pair(spec)
    pair.learn(0, 200)
    pair.both("pause")
    pair.learn(200, 260)
    assert pair.single.quality()["watched_samples"] >= 60
    pair.both("resume")
    earlier = pair.general.copy_state()
    pair.learn(260, 400, np.random.default_rng(1))
    if pair.single.spec.can_reheat:
        pair.both("reheat", 0.5)
    if pair.single.spec.alarm is not None:
        pair.both("feedback", pair.x[355], "fault", "leak")
    pair.learn(400, 550)
    pair.both("adopt", earlier)
    pair.learn(260, 400)
    pair.both("pause")
    pair.learn(400, 420, np.random.default_rng(2))
    pair.both("resume")
    pair.learn(420, 700, np.random.default_rng(3))
    assert pair.events or pair.single.spec.alarm is None
    twin = copy.deepcopy(pair.single)
    twin._one_sample, before = None, pair.single.state_hash()
    pair._learn(twin, 5, 6)
    assert twin.state_hash() != pair.single.state_hash() == before


@pytest.mark.parametrize("spec", GENERAL.values(), ids=GENERAL)
def test_other_specs_take_the_general_way(spec: Spec) -> None:
    single = sl.RNN(**spec)
    x = np.zeros((1, spec["dim"]), np.float32)
    single.learn(x)
    assert single._one_sample in (None, GENERAL_WAY)


@pytest.mark.parametrize("name", ["least squares", "target", "lstm", "keys and limit"])
def test_many_models_of_one_spec_learn_in_turn(name: str) -> None:
    """Each has arrays of its own; models that are deleted leave none behind."""
    pairs = [Pair(SPECS[name]) for _ in range(5)]
    rng = np.random.default_rng(11)
    for pair in pairs:
        pair.x = pair.x + rng.normal(0, 0.1, pair.x.shape).astype(np.float32)
    for n in range(60):
        if n in (2, 30):
            pairs[n // 10] = Pair(SPECS[name])
            pairs[n // 10].learn(0, n)
        for pair in pairs:
            pair.learn(n, n + 1)
    assert len({pair.single.state_hash() for pair in pairs}) >= 4  # two have the same samples


def test_outputs_stay_and_can_be_copied() -> None:
    """They are made when they are read, of the sample for which they were returned."""
    pair = Pair(SPECS["least squares"])
    outputs = [pair._learn(pair.single, n, n + 1) for n in range(30)]
    whole = pair._learn(pair.general, 0, 30)
    for n, out in enumerate(outputs):
        assert isinstance(out, sl.RNN.outputs_class)
        assert (type(out).__name__, len(out)) == ("RNNOutputs", 1)
        for copied in (out[:1], copy.deepcopy(out), pickle.loads(pickle.dumps(out)), out):  # noqa: S301
            assert isinstance(copied, sl.RNN.outputs_class)
            np.testing.assert_array_equal(copied.prediction, whole.prediction[n : n + 1])
        assert len(out[1:]) == 0
    outputs[0].prediction[:] = 7.0
    assert outputs[0].prediction[0, 0] == 7.0
    with pytest.raises(AttributeError, match="no output 'winner'"):
        _ = outputs[0].winner


def test_outputs_are_of_the_own_sample_if_another_thread_learns_the_next() -> None:
    pair = Pair(SPECS["least squares"])
    pair.learn(0, 40)
    lock, model = pair.single._lock, pair.single

    class Other:
        """Learns the next sample as soon as the lock is free."""

        def __enter__(self) -> None:
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()
            model.learn_validated(model.validate(pair.x[41:42]))

    model._lock = Other()  # type: ignore[assignment]
    out, expected = model.learn(pair.x[40:41]), pair._learn(pair.general, 40, 41)
    np.testing.assert_array_equal(out.prediction, expected.prediction)
    np.testing.assert_array_equal(out.error, expected.error)


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_an_infinite_value_is_refused(value: float) -> None:
    single = sl.RNN(**SPECS["lstm"])
    single.learn(np.zeros((1, 3), np.float32))
    before = single.state_hash()
    with pytest.raises(sl.errors.BadValue):
        single.learn(np.array([[0.0, value, 1.0]], np.float32))
    with pytest.raises(sl.errors.BadShape):
        single.learn(np.zeros((1, 4), np.float32))
    assert single.state_hash() == before


def test_a_symbol_that_does_not_exist_is_refused() -> None:
    single = sl.RNN(**SPECS["symbols"])
    single.learn([[1.0]])
    with pytest.raises(sl.errors.BadValue):
        single.learn(np.array([[7.0]], np.float32))
    assert single.samples == 1


def test_samples_of_other_types_are_converted() -> None:
    pair = Pair(SPECS["lstm"])
    wide = np.ascontiguousarray(np.repeat(pair.x, 2, axis=1))
    read_only = pair.x.copy()
    read_only.flags.writeable = False
    forms = [
        lambda n: pair.x[n : n + 1].astype(float),
        lambda n: pair.x[n],
        lambda n: pair.x[n].tolist(),
        lambda n: read_only[n : n + 1],
        lambda n: wide[n : n + 1, ::2],
        lambda n: pair.x[n : n + 1].astype(">f4"),
    ]
    for n in range(60):
        pair.single.learn(forms[n % len(forms)](n))
    pair._learn(pair.general, 0, 60)
    assert pair.single.state_hash() == pair.general.state_hash()
