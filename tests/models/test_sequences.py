"""Alarms of the order and the pace of winners: on streams of machine states, in any split, for every kind."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models
from streamlearn.cli.alarms import line
from streamlearn.errors import BadSpec
from streamlearn_client import AlarmEvent
from streamlearn_client.alarms import alarm_arrays, check_alarms, read_alarms
from streamlearn_client.outputs import Outputs
from streamlearn_client.results import Event
from tests.conformance.examples import EXAMPLES, make_valid

ALARMS = {"transitions": True, "dwell": True, "cycle": True}
STATES, MEAN = 5, 40
CENTRES = 3 * np.random.default_rng(7).normal(size=(STATES, 4))
WITH_WINNERS = ("som", "competitive", "gng", "hamming", "malsburg", "cognitron")


def machine(
    n: int, seed: int, faults: dict[int, str] | None = None
) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Return samples and states of a machine, and when the ``faults``, by number of the visit, begin."""
    random = np.random.default_rng(seed)
    states: list[int] = []
    begins, state, visit = [], 0, 0
    slow = 0
    while len(states) < n:
        stay = int(MEAN * random.uniform(0.7, 1.3))
        fault = (faults or {}).get(visit)
        if fault is not None:
            begins.append(len(states))
        if fault == "skip":
            state = (state + 1) % STATES
        elif fault == "stuck":
            stay = 6 * MEAN
        elif fault == "slow":
            slow = STATES
        if slow > 0:
            stay, slow = 2 * stay, slow - 1
        states += [state] * stay
        state, visit = (state + 1) % STATES, visit + 1
    labels = np.array(states[:n])
    x = CENTRES[labels] + 0.3 * random.normal(size=(n, 4))
    return x.astype(np.float32), labels, begins


def sequence_events(out: Any) -> list[AlarmEvent]:
    return [event for event in out.events if event.cause in ("transition", "dwell", "cycle")]


def som(**alarm: Any) -> sl.SOM:
    return sl.SOM(dim=4, grid=(5, 5), scale="standard", seed=1, alarm=alarm or ALARMS)


@pytest.mark.parametrize("cause", ["transition", "dwell"])
def test_a_skipped_state_and_a_stay(cause):
    fault = {"transition": "skip", "dwell": "stuck"}[cause]
    x, states, begins = machine(20_000, seed=4, faults={400: fault})
    out = som().learn(x)
    begin, end = sequence_events(out)
    assert (begin.state, begin.cause, end.state, end.cause) == ("begin", cause, "end", cause)
    assert begins[0] <= begin.sample <= begins[0] + (20 if cause == "transition" else 3 * MEAN)
    winners = out.winner
    assert states[begins[0] - 1] != states[begins[0]]
    if cause == "transition":
        of_unit = {unit: np.bincount(states[winners == unit]).argmax() for unit in np.unique(winners)}
        skipped = (of_unit[begin.from_unit] + 2) % STATES
        assert of_unit[begin.to_unit] == skipped
        assert begin.probability == begin.usual == 0
    else:
        assert begin.from_unit == begin.to_unit == winners[begin.sample]
        assert 0.8 * MEAN < begin.usual < 1.2 * MEAN
        assert abs(begin.samples - (begin.sample + 1 - begins[0])) < 10
        assert 5 * MEAN < end.samples < 7 * MEAN
    code = {"transition": 1, "dwell": 2}[cause]
    on = np.flatnonzero(out.sequence)
    assert (on == np.arange(begin.sample, end.sample)).all()
    assert set(out.sequence[on]) == {code}


def test_a_long_cycle():
    x, _, begins = machine(20_000, seed=4, faults={400: "slow"})
    begin, end = sequence_events(som(cycle=True).learn(x))
    assert begins[0] < begin.sample < begins[0] + 3 * STATES * MEAN
    assert begin.cause == end.cause == "cycle"
    assert 0.9 * STATES * MEAN < begin.usual < 1.1 * STATES * MEAN
    assert begin.samples > begin.usual


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_quiet_without_faults_and_without_an_order(seed):
    random = np.random.default_rng(seed)
    for x in (
        machine(20_000, seed)[0],
        CENTRES[random.integers(0, STATES, 20_000)] + 0.3 * random.normal(size=(20_000, 4)),
        random.normal(size=(20_000, 4)),
    ):
        assert sequence_events(som().learn(x)) == []


def test_only_what_is_asked_for():
    x = np.vstack([machine(15_000, 5, {300: "skip"})[0], machine(15_000, 6, {300: "stuck"})[0]])
    found = {name: {e.cause for e in sequence_events(som(**{name: True}).learn(x))} for name in ALARMS}
    assert found["transitions"] == {"transition"}
    assert found["dwell"] == {"dwell"}
    assert found["cycle"] <= {"cycle"}
    plain = som(quiet=200).learn(x)
    assert sequence_events(plain) == []
    assert "sequence" not in plain.arrays


def kind_with_alarms(kind: str) -> Any:
    spec = {**EXAMPLES[kind].usual, "alarm": ALARMS}
    spec |= {"dim": 16} if kind in ("cognitron", "malsburg") else {}
    return models.create(kind, spec)


@pytest.mark.parametrize("kind", WITH_WINNERS)
def test_any_split_gives_the_same_alarms(kind):
    """Streams in which the searches for regions, limits and alarms happen."""
    random = np.random.default_rng(8)
    whole, pieces = kind_with_alarms(kind), kind_with_alarms(kind)
    centres = np.random.default_rng(2).normal(size=(4, whole.dim)) * 3
    states = np.arange(5000) // 6 % 4
    states[4000:4030] = states[4000]
    x = centres[states] + 0.2 * random.normal(size=(5000, whole.dim))
    x = make_valid(whole, {"X": x.astype(np.float32)})["X"]
    expected = whole.learn(x)
    cuts = [0, *sorted(random.integers(0, 5000, 60).tolist()), 1023, 1024, 1025, 5000]
    outs = [pieces.learn(x[start:stop]) for start, stop in pairwise(sorted(cuts)) if stop > start]
    assert pieces.state_hash() == whole.state_hash()
    assert np.array_equal(np.concatenate([out.sequence for out in outs]), expected.sequence)
    events = [event for out in outs for event in sequence_events(out)]
    assert [repr(event) for event in events] == [repr(event) for event in sequence_events(expected)]
    assert whole.quality()["regions"] >= 1


@pytest.mark.parametrize("kind", sorted(models.kinds().keys() - set(WITH_WINNERS)))
def test_kinds_without_one_winner_refuse_them(kind):
    with pytest.raises(BadSpec, match="need one winning unit for each sample"):
        models.create(kind, {**EXAMPLES[kind].usual, "alarm": {"dwell": True}})


def test_watched_samples_teach_nothing():
    x, _, _ = machine(12_000, seed=6)
    model = som()
    model.learn(x[:8000])
    before = {name: array.copy() for name, array in model.state.items() if name.startswith("sequence.")}
    model.pause()
    model.learn(x[8000:])
    for name in ("flow", "regions", "table", "visits", "recent", "kept", "limits"):
        assert np.array_equal(before[f"sequence.{name}"], model.state[f"sequence.{name}"]), name


def test_a_reheat_begins_anew():
    x, _, _ = machine(6000, seed=6)
    model = som()
    model.learn(x)
    assert model.quality()["regions"] == STATES
    model.reheat()
    assert model.quality()["regions"] == 0
    fresh = som()
    for name, array in fresh.state.items():
        if name.startswith("sequence."):
            assert np.array_equal(array, model.state[name]), name


def test_events_have_the_labels_of_the_units_and_are_read_again():
    x, states, _ = machine(20_000, seed=3, faults={400: "skip"})
    names = ["idle", "heat", "hold", "cool", "rinse"]
    model = sl.SOM(dim=4, grid=(5, 5), scale="standard", seed=1, alarm=ALARMS, labels=names)
    out = model.learn(x, states)
    begin, _ = sequence_events(out)
    before = names.index(begin.from_label)
    assert begin.to_label == names[(before + 2) % STATES]
    arrays = alarm_arrays(out.events)
    check_alarms(arrays)
    read = read_alarms(arrays)
    assert [(e.from_label, e.to_label, e.from_unit, e.to_unit) for e in read] == [
        (e.from_label, e.to_label, e.from_unit, e.to_unit) for e in out.events
    ]
    event = Event("alarm", "pump", 1, 0, 1, 0, Outputs())
    text = line(event, begin, None)
    assert f"unit {begin.from_unit} ({begin.from_label}) → {begin.to_unit} ({begin.to_label})" in text
