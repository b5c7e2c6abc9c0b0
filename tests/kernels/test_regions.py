"""Regions of units and limits of durations, against the naive ones."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
import pytest

from streamlearn.kernels import compiler
from streamlearn.kernels.stream import durations, regions, sequences
from streamlearn.kernels.stream import sequence_state as state
from streamlearn.models.stream.alarm_spec import Alarm
from streamlearn.models.stream.sequences import SequenceDetector
from tests.naive import regions as naive


def flow_of(winners: np.ndarray, units: int) -> np.ndarray:
    flow = np.zeros((units, units), np.float32)
    np.add.at(flow, (winners[:-1], winners[1:]), 1)
    return flow


def search(flow: np.ndarray) -> np.ndarray:
    """Return the regions of the nodes, found by the kernel."""
    compiler.ready(sequences)
    detector = SequenceDetector(Alarm(transitions=True), len(flow), 1)
    detector.state["sequence.flow"][...] = flow
    detector.state["sequence.numbers"][[state.LEARNED, state.NEXT]] = 1024
    sequences.search(*detector._arguments)
    return detector.state["sequence.regions"]


def winners_of(states: np.ndarray, units: int, random: np.random.Generator) -> np.ndarray:
    """Return winners: each state has units of its own, and one of them wins at random."""
    return states * units + random.integers(0, units, len(states))


@pytest.mark.parametrize("seed", range(4))
def test_as_the_naive_regions(seed):
    random = np.random.default_rng(seed)
    stays = random.integers(1, (4, 20, 60, 9)[seed], 600)
    states = np.repeat(random.integers(0, 5, 600), stays)[:4000]
    flow = flow_of(winners_of(states, 4, random), 22)
    flow[20, 21] = 3  # nodes with few samples
    expected = naive.find(flow.astype(np.float64))
    found = search(flow)
    assert [set(np.flatnonzero(found == r).tolist()) for r in range(found.max() + 1)] == expected
    used = flow.sum(axis=0) + flow.sum(axis=1) > 0
    assert ((found >= 0) == used).all()


def test_the_states_of_a_machine_are_regions_and_noise_is_one():
    random = np.random.default_rng(1)
    states = np.repeat(np.arange(600) % 6, random.integers(20, 60, 600))[:8000]
    found = search(flow_of(winners_of(states, 5, random), 30))
    assert found.tolist() == np.repeat(np.arange(6), 5).tolist()
    assert set(search(flow_of(random.integers(0, 30, 8000), 30))) == {0}


def test_no_more_regions_than_there_is_room_for():
    flow = flow_of(np.arange(8000) % 60, 60)  # every unit comes after one other
    assert search(flow).max() + 1 == regions.REGIONS


@nb.njit(error_model="numpy")
def observe(room, given, factor, beyond):
    """Learn the stays ``given`` ``(n,)``. Write which were beyond the limit when they came."""
    for n in range(given.size):
        beyond[n] = durations.is_beyond(room, durations.DWELL, 0, given[n])
        durations.observe(room, durations.DWELL, 0, given[n], factor)


def new_room() -> durations.Durations:
    recent = np.zeros((2, 1, durations.RECENT), np.float32)
    limits = np.zeros((2, 1, durations.COLUMNS))
    return durations.Durations(recent, np.zeros((2, 1), np.int64), limits, np.zeros(durations.RECENT))


@pytest.mark.parametrize("count", [20, 63, 64, 200])
def test_limits_as_the_naive_ones(count):
    random = np.random.default_rng(count)
    given = np.floor(random.gamma(9, 5, count)) + 1
    given[12] = 60.0
    room, beyond = new_room(), np.zeros(count, np.bool_)
    visits, rate = 2000.0, 2.0
    observe(room, given, math.log(visits / rate / 5), beyond)
    usual = given[~beyond].tolist()
    assert len(usual) > 0.9 * count
    last = max(20, len(usual) // 8 * 8)  # the limit is computed every eighth time
    limits = room.limits[durations.DWELL, 0]
    assert limits[durations.LIMIT] == pytest.approx(naive.limit(usual[:last], visits, rate))
    assert limits[durations.USUAL] == sorted(usual[:last][-64:])[min(last, 64) // 2]
    assert not room.limits[durations.CYCLE].any()


def test_a_duration_beyond_the_limit_is_usual_after_four():
    room, beyond = new_room(), np.zeros(105, np.bool_)
    given = np.array([40.0 + n % 5 for n in range(100)] + [200.0] * 4 + [249.0])
    observe(room, given, 6.0, beyond)
    assert beyond.tolist() == [False] * 100 + [True] * 4 + [False]
