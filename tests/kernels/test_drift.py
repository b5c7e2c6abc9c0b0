"""Drift detectors: the same alarms as in river; alarms of a map."""

from __future__ import annotations

import numpy as np
import pytest
from river import drift

import streamlearn as sl
from streamlearn.models.stream.drift import DriftDetector


def alarms_of(detector, scores):
    return np.flatnonzero(detector.detect(scores, np.arange(len(scores))))


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
    expected = river_alarms(drift.ADWIN(delta=delta), values)
    assert len(expected) >= 2
    assert alarms_of(DriftDetector("adwin", delta, 50.0), values).tolist() == expected


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("delta", "threshold"), [(0.005, 50.0), (0.01, 10.0)])
def test_page_hinkley_equals_river(seed, delta, threshold):
    values = scores(seed)
    river_detector = drift.PageHinkley(delta=delta, threshold=threshold, alpha=1.0)  # 1: no forgetting
    expected = river_alarms(river_detector, values)
    assert len(expected) >= 2
    assert alarms_of(DriftDetector("page_hinkley", delta, threshold), values).tolist() == expected


def test_missing_values_are_ignored():
    values = scores(1)
    gaps = np.insert(values, range(0, len(values), 7), np.nan).astype(np.float32)
    alarms = values[alarms_of(DriftDetector("adwin", None, 50.0), values)]
    with_gaps = gaps[alarms_of(DriftDetector("adwin", None, 50.0), gaps)]
    assert alarms.tolist() == with_gaps.tolist()


@pytest.mark.parametrize("detector", ["adwin", "page_hinkley"])
def test_a_map_reports_a_change_of_its_stream(detector):
    random = np.random.default_rng(5)
    before, after = random.normal(0, 1, (6000, 3)), random.normal(0, 3, (3000, 3))
    som = sl.SOM(dim=3, grid=(6, 6), scale="standard", half_life=3000.0, drift=detector, seed=1)
    stationary = som.learn(before[2000:])
    quality_before = som.quality()
    out = som.learn(after)
    alarms = np.flatnonzero(out.drift)
    assert alarms.size >= 1
    assert alarms[0] < 1000
    quality = som.quality()
    assert (
        quality["drift_alarms"]
        == quality_before["drift_alarms"] + alarms.size
        == stationary.drift.sum() + alarms.size
    )
    assert quality["last_drift"] == 4000 + alarms[-1]
