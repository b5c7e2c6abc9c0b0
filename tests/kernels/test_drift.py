"""Drift detectors: the same alarms as in river and as the oracle; alarms of models."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from river import drift

import streamlearn as sl
from streamlearn.kernels.stream import drift as kernels
from streamlearn.models.stream.drift import Drift, DriftDetector
from tests.naive.drift import Blocks


@nb.njit(error_model="numpy")
def run(values, settings, page, window, buckets, sizes):
    """Return whether each value raises an alarm, ``(n,)``."""
    none, alarms = np.zeros(0), np.zeros(3, np.int64)
    detector = kernels.Detector(settings, none, none, page, window, buckets, sizes, alarms)
    found = np.zeros(values.size, np.bool_)
    for n in range(values.size):
        if settings[kernels.KIND] == kernels.PAGE_HINKLEY:
            found[n] = kernels.page_hinkley(detector, np.float64(values[n]))
        else:
            found[n] = kernels.adwin(detector, np.float64(values[n]))
    return found


def kernel_alarms(name: str, values: np.ndarray, delta: float, threshold: float, both: bool) -> list[int]:
    """Alarms of the kernel of Page–Hinkley or ADWIN on these values."""
    page = np.array([0.0, 0.0, 0.0, 0.0, np.inf, -np.inf])
    buckets, sizes = np.zeros((kernels.ROWS, kernels.MOST + 1, 2)), np.zeros(kernels.ROWS, np.int64)
    settings = np.array([kernels.DETECTORS[name], delta, threshold, both, 0, 0, 0, 0], np.float64)
    found = run(values, settings, page, np.zeros(3), buckets, sizes)
    return np.flatnonzero(found).tolist()


def alarms_of(values: np.ndarray, **options) -> list[int]:
    rule = {"detector": "blocks", "delta": None, "threshold": None, "both": False, "block": 64, "rest": 64}
    detector = DriftDetector(Drift(**{**rule, **options}))
    return np.flatnonzero(detector.detect(values, np.zeros(0, np.int64))).tolist()


def scores(seed: int) -> np.ndarray:
    """Return a stream with changes of level and spread, a constant part, and stationary parts."""
    random = np.random.default_rng(seed)
    parts = [
        random.beta(2, 5, random.integers(300, 3000)),
        random.beta(5, 2, 1500),
        random.beta(2, 2, 2000),
        np.full(500, 0.5),
        random.random(5000),
        random.beta(5, 1, 700),
    ]
    return np.concatenate(parts).astype(np.float32)


def river_alarms(detector, values: np.ndarray) -> list[int]:
    found = []
    for n, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            found.append(n)
    return found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("delta", [0.002, 0.05])
def test_adwin_equals_river(seed, delta):
    values = scores(seed)
    expected = river_alarms(drift.ADWIN(delta=delta, clock=1), values)
    assert len(expected) >= 2
    assert kernel_alarms("adwin", values, delta, 0.0, both=True) == expected


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize(("delta", "threshold"), [(0.005, 50.0), (0.01, 10.0)])
def test_page_hinkley_equals_river(seed, both, delta, threshold):
    values = scores(seed)
    mode = "both" if both else "up"
    # alpha=1: no forgetting
    river_detector = drift.PageHinkley(delta=delta, threshold=threshold, alpha=1.0, mode=mode)
    expected = river_alarms(river_detector, values)
    assert len(expected) >= 1
    assert kernel_alarms("page_hinkley", values, delta, threshold, both) == expected


def test_adwin_reports_only_rises_by_default():
    random = np.random.default_rng(3)
    levels = np.repeat([0.2, 0.8, 0.3], 400)
    values = (levels + 0.1 * random.normal(size=levels.size)).astype(np.float32)
    rises = kernel_alarms("adwin", values, 0.002, 0.0, both=False)
    both = kernel_alarms("adwin", values, 0.002, 0.0, both=True)
    assert [400 < n < 800 for n in rises] == [True]
    assert len(both) == 2
    assert both[0] == rises[0]
    assert both[1] > 800


LEVELS = {
    "stationary": np.ones(800),
    "one rise": np.repeat([1.0, 1.6], [500, 300]),
    "rises in a row": np.repeat([1.0, 2.0, 4.0, 1.0, 9.0], 200),
    "a fall": np.repeat([3.0, 1.0, 1.5], 300),
    "a season": 1 + 0.5 * np.sin(np.arange(900) / 12),
    "a learner": 1 + 3 * np.exp(-np.arange(900) / 120),
    "nothing at all": np.zeros(400),
    "on, rarely": (np.arange(900) % 97 < 3).astype(float),
}


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize(("block", "rest", "delta", "threshold"), [(4, 64, 1.0, 12.0), (4, 9, 0.5, 4.0)])
def test_blocks_equal_the_oracle(levels, block, rest, delta, threshold):
    random = np.random.default_rng(4)
    values = np.repeat(LEVELS[levels], block) * np.abs(
        1 + 0.3 * random.normal(size=block * len(LEVELS[levels]))
    )
    values[random.random(values.size) < 0.1] = np.nan
    values = values.astype(np.float32)
    oracle = Blocks(block, rest, delta, threshold)
    expected = [n for n, value in enumerate(values.tolist()) if oracle.add(value)]
    assert alarms_of(values, block=block, rest=rest, delta=delta, threshold=threshold) == expected
    if "rise" in levels:
        assert expected


@pytest.mark.parametrize("detector", ["blocks", "page_hinkley", "adwin"])
def test_missing_and_infinite_values_are_ignored(detector):
    random = np.random.default_rng(1)
    values = np.abs(random.normal(np.repeat([1, 2], 6000), 0.3)).astype(np.float32)
    rule = {"detector": detector, "block": 8}
    gaps = np.insert(values, range(0, len(values), 7), np.resize([np.nan, np.inf], 1715)).astype(np.float32)
    alarms = [values[n] for n in alarms_of(values, **rule)]
    assert len(alarms) == 1
    assert [gaps[n] for n in alarms_of(gaps, **rule)] == alarms


@pytest.mark.parametrize("detector", ["blocks", "page_hinkley", "adwin"])
def test_a_fall_is_an_alarm_only_on_request(detector):
    random = np.random.default_rng(2)
    values = np.abs(random.normal(np.repeat([2, 1], 8000), 0.3)).astype(np.float32)
    assert alarms_of(values, detector=detector, block=8) == []
    (alarm,) = alarms_of(values, detector=detector, block=8, both=True)
    assert 8000 < alarm < 8200


def test_any_split_gives_the_same_alarms():
    random = np.random.default_rng(6)
    values = np.abs(random.normal(np.repeat([1, 2, 1, 3], 700), 0.3)).astype(np.float32)
    rule = Drift("blocks", None, 4.0, False, 4, 8)
    whole, pieces = DriftDetector(rule), DriftDetector(rule)
    expected = whole.detect(values, np.arange(len(values)))
    assert expected.sum() > 1
    cuts = np.sort(random.integers(0, len(values), 40))
    found = [pieces.detect(values[rows], rows) for rows in np.split(np.arange(len(values)), cuts)]
    assert np.concatenate(found).tolist() == expected.tolist()
    for name, array in whole.state.items():
        assert array.tobytes() == pieces.state[name].tobytes(), name


@pytest.mark.parametrize("detector", ["blocks", "page_hinkley", "adwin"])
def test_a_map_reports_a_change_of_its_stream(detector):
    random = np.random.default_rng(5)
    before, after = random.normal(0, 1, (9000, 3)), random.normal(0, 3, (3000, 3))
    slow = {"learning_rate": sl.Decay(0.5, 0.02, tau=5000), "sigma": sl.Decay(3, 1.5, tau=5000)}
    som = sl.SOM(dim=3, grid=(6, 6), scale="standard", drift=detector, seed=1, **slow)
    assert not som.quality()["drift_settled"]
    assert not som.learn(before).drift.any()
    assert som.quality() | {"drift_alarms": 0, "last_drift": -1, "drift_settled": True} == som.quality()
    out = som.learn(after)
    (alarm,) = np.flatnonzero(out.drift)
    assert alarm < {"blocks": 400, "page_hinkley": 400, "adwin": 2000}[detector]
    assert alarm % 64 == (63 - 9000) % 64
    quality = som.quality()
    assert (quality["drift_alarms"], quality["last_drift"]) == (1, 9000 + alarm)
    assert not quality["drift_settled"]
