"""A map that learns one sample in one call has the state and the outputs of one that learns batches."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.models import one_sample
from streamlearn.models.one_sample import GENERAL_WAY, OneSample

USUAL = {"dim": 4, "grid": (5, 4), "seed": 3}
UNITS = {"dim": 4, "units": 20, "seed": 3, "init": "random"}
SPECS = {
    "usual": USUAL,
    "scaled": USUAL | {"scale": "standard", "topology": "hexagonal"},
    "chain": USUAL | {"grid": 6, "drift": None},
    "without alarms": USUAL | {"alarm": None},
    "one channel": USUAL | {"dim": 1},
    "adwin": USUAL | {"drift": "adwin", "rare_below": 0.0},
    "limit": USUAL | {"learn_below": 0.9},
    "nothing judged": USUAL | {"alarm": None, "drift": None},
    "competitive": UNITS | {"conscience": 2.5},
    "soft": UNITS | {"mode": "soft", "scale": "standard"},
    "gas": UNITS | {"mode": "gas", "learn_below": 0.95},
    "leak": UNITS | {"learning_rate": 0.1, "leak": sl.Decay(0.01, 0.0), "alarm": None},
    "bubble": USUAL | {"neighbourhood": "bubble", "sigma": 2.0, "distance": "manhattan"},
}
SCRATCH = ["adwin", "soft", "gas", "leak"]  # whose models have arrays of their own that are no state
GENERAL = {  # learned by the general way
    "features": USUAL | {"features": {"lags": [1]}},
    "first samples": USUAL | {"init": "samples"},
    "labels": USUAL | {"labels": 2},
    "reaction": USUAL | {"on_drift": "watch"},
    "order": USUAL | {"alarm": sl.Alarm(transitions=True)},
    "reseeding": UNITS | {"on_drift": "reseed"},
}


def create(spec):
    return (sl.Competitive if "units" in spec else sl.SOM)(**spec)


def stream(dim, n=900):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(n, dim)).astype(np.float32)
    x[rng.random(x.shape) < 0.03] = np.nan
    x[n // 2 : n // 2 + 60] += 9.0  # alarms, and a drift
    x[-80:, 0] = 0.5  # a stuck channel
    return x


def assert_equal(whole, parts):
    assert list(whole.arrays) == list(parts[0].arrays)
    for name, array in whole.arrays.items():
        joined = np.concatenate([part.arrays[name] for part in parts])
        assert joined.dtype == array.dtype
        np.testing.assert_array_equal(joined, array, err_msg=name)
    assert [facts(event) for part in parts for event in part.events] == list(map(facts, whole.events))


def facts(event):
    """What an event says, as text: a score may be NaN."""
    return str((event.state, event.cause, event.sample, event.first, event.peak, event.score, event.fault))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_state_and_outputs_are_those_of_a_batch(spec):
    x = stream(spec["dim"])
    batches, single = create(spec), create(spec)
    whole = batches.learn(x)
    parts = [single.learn(sample) for sample in x]
    assert isinstance(single._one_sample, OneSample)
    assert single.state_hash() == batches.state_hash()
    assert_equal(whole, parts)
    assert whole.events or spec.get("alarm", True) is None


@pytest.mark.parametrize("spec", GENERAL.values(), ids=GENERAL)
def test_other_specs_take_the_general_way(spec):
    single = create(spec)
    single.learn(stream(4)[0], **({"y": [1]} if "labels" in spec else {}))
    assert single._one_sample is GENERAL_WAY


def test_outputs_stay_when_the_next_sample_is_learned():
    x, model = stream(4), sl.SOM(**USUAL)
    outputs = [model.learn(sample) for sample in x[:50]]
    np.testing.assert_array_equal(
        np.concatenate([out.coords for out in outputs]), sl.SOM(**USUAL).learn(x[:50]).coords
    )
    before = np.concatenate([out.winner for out in outputs])
    model.learn(x[50:])
    np.testing.assert_array_equal(np.concatenate([out.winner for out in outputs]), before)
    assert len(set(before.tolist())) > 3
    outputs[0].winner[:] = 99
    assert isinstance(outputs[0], sl.SOM.outputs_class)


def test_what_happens_between_two_samples_counts():
    """A pause, labels by hand, feedback, reheat and an adopted state, between samples that come alone."""
    x = stream(4)
    batches, single = sl.SOM(**USUAL), sl.SOM(**USUAL)

    def both(*samples):
        whole = batches.learn(x[slice(*samples)])
        assert_equal(whole, [single.learn(sample) for sample in x[slice(*samples)]])
        assert single.state_hash() == batches.state_hash()
        return whole

    both(0, 100)
    for model in (batches, single):
        model.pause()
    assert both(100, 150).watched.all()
    for model in (batches, single):
        model.resume()
        model.reheat(0.5)
        model.feedback(x[460], "fault", "leak")
    assert single.quality()["watched_samples"] == 50
    assert not both(150, 500).watched.any()
    for model in (batches, single):
        model.apply_label(model.validate_label("idle", 3, None, None))
    assert "label" in both(500, 600).arrays
    earlier = copy.deepcopy(batches)
    both(600, 700)
    for model in (batches, single):
        model.adopt(earlier.copy_state())
    both(600, 900)
    twin = copy.deepcopy(single)
    twin.learn(x[5])
    assert twin.state_hash() != single.state_hash() == batches.state_hash()


@pytest.mark.parametrize("spec", [SPECS[name] for name in SPECS if name not in SCRATCH])
def test_the_third_model_of_a_spec_converts_no_arguments(spec, monkeypatch):
    x = stream(spec["dim"])
    batches, *others, single = (create(spec) for _ in range(4))
    whole, *_ = batches.learn(x), *(model.learn(x[0]) for model in others)
    before = [model.state_hash() for model in others]
    monkeypatch.setattr(one_sample, "_converted", None)
    parts = [single.learn(sample) for sample in x]
    assert single.state_hash() == batches.state_hash()
    assert_equal(whole, parts)
    assert [model.state_hash() for model in others] == before


@pytest.mark.parametrize("spec", [SPECS[name] for name in SCRATCH], ids=SCRATCH)
def test_models_with_scratch_memory_convert_their_arguments(spec, monkeypatch):
    models = [create(spec) for _ in range(3)]
    converted = []
    convert = one_sample._converted
    monkeypatch.setattr(one_sample, "_converted", lambda *args: converted.append(args) or convert(*args))
    for model in models:
        model.learn(stream(4)[0])
    assert [model for model, _ in converted] == models
    assert len({model.state_hash() for model in models}) == 1
