"""One pass that adapts and searches, and passes that look ahead, against one call per sample.

A call with one sample searches and then adapts, in two passes. So it is the reference for all others.
"""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl

DIM, ROWS = 16, 90
GRIDS = {  # small: all units are in reach. large: few are, and the weights exceed a cache: passes look ahead
    "small": {"grid": (10, 10), "sigma": 2.0},
    "one block alone": {"grid": (5, 13), "sigma": 1.0},
    "chain": {"grid": (150,), "sigma": 3.0},
    "large": {"grid": (40, 20), "sigma": 0.6},
    "large and wide": {"grid": (48, 16), "sigma": sl.Decay(8.0, 0.3, 20.0)},
    "large hexagonal": {
        "grid": (40, 16),
        "sigma": 0.9,
        "topology": "hexagonal",
        "grid_distance": "euclidean",
    },
    "large torus": {"grid": (24, 24), "sigma": 0.7, "torus": True},
}
OPTIONS = {
    "plain": {},
    "scaled": {"scale": "ewma"},
    "bubble": {"neighbourhood": "bubble"},
    "mexican hat": {"neighbourhood": "mexican_hat"},
    "manhattan": {"distance": "manhattan"},
}
HUGE = np.finfo(np.float32).max


def stream(missing: float) -> np.ndarray:
    random = np.random.default_rng(5)
    x = random.normal(size=(ROWS, DIM)).astype(np.float32)
    x[random.random(x.shape) < missing] = np.nan
    x[40] = np.nan  # no winner
    x[60] = 3e38  # the distances overflow: no winner
    return x


@pytest.mark.parametrize("missing", [0.0, 0.05])
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("grid", GRIDS)
def test_same_bits_as_one_call_per_sample(grid, option, missing):
    parameters = {"learning_rate": 0.4, "seed": 2, **GRIDS[grid], **OPTIONS[option]}
    whole, single = (sl.SOM(dim=DIM, **parameters) for _ in range(2))
    x = stream(missing)
    out = whole.learn(x).arrays
    parts = [single.learn(row).arrays for row in x]
    for name, values in out.items():
        assert np.concatenate([arrays[name] for arrays in parts]).tobytes() == values.tobytes(), name
    for name, values in whole.state.items():
        assert single.state[name].tobytes() == values.tobytes(), name
    winners = whole.predict(x).arrays  # two samples at a time
    for name, values in winners.items():
        expected = np.concatenate([whole.predict(row).arrays[name] for row in x])
        assert expected.tobytes() == values.tobytes(), name


@pytest.mark.parametrize("grid", ["small", "large"])
def test_units_out_of_reach_keep_their_bits(grid):
    """A step of 0 must not change −0 to 0, and a difference must not overflow: 0·∞ is NaN."""
    start = sl.SOM(dim=DIM, **GRIDS[grid]).weights.reshape(-1, DIM).copy()
    start[::3], start[1::7, 5], start[2::7, 6] = -0.0, HUGE, -HUGE
    x = stream(0.0)
    x[10:30, 6] = HUGE
    parameters = {"learning_rate": 0.4, **GRIDS[grid]}
    shape = (*GRIDS[grid]["grid"], DIM)
    whole, single = (sl.SOM(dim=DIM, init=start.reshape(shape), **parameters) for _ in range(2))
    whole.learn(x)
    for row in x:
        single.learn(row)
    assert np.isfinite(whole.weights).all()
    for name, values in whole.state.items():
        assert single.state[name].tobytes() == values.tobytes(), name
