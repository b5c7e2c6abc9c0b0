"""Interrupted learning: the rest of a batch continues with the bits of learning without interruption."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.kernels.stream.interrupt import rearm, watching
from streamlearn.models.batch import part

DECAY = sl.Decay(0.5, 0.05, 20.0)
KINDS = {
    "som": (sl.SOM, {"grid": (7, 9), "sigma": 2.0, "learning_rate": DECAY, "scale": "standard"}),
    "mexican hat": (sl.SOM, {"grid": (5, 5), "sigma": 1.0, "neighbourhood": "mexican_hat"}),
    "manhattan": (sl.SOM, {"grid": (5, 5), "distance": "manhattan", "init": "pca", "init_samples": 20}),
    "hard": (sl.Competitive, {"units": 9, "init": "samples", "learning_rate": DECAY}),
    "gas": (sl.Competitive, {"units": 20, "mode": "gas", "labels": 3}),
    "gng": (sl.GrowingNeuralGas, {"max_units": 30, "insert_every": 9}),
}
DIM, ROWS = 4, 120


def stream() -> np.ndarray:
    random = np.random.default_rng(1)
    x = random.normal(size=(ROWS, DIM)).astype(np.float32)
    x[random.random(x.shape) < 0.05] = np.nan
    return x


@pytest.mark.parametrize("every", [1, 7])
@pytest.mark.parametrize("kind", KINDS)
def test_same_bits_as_without_interruption(kind, every):
    model_class, parameters = KINDS[kind]
    whole, interrupted = (model_class(dim=DIM, seed=3, **parameters) for _ in range(2))
    x = stream()
    y = np.arange(ROWS)[:, None] % 3 if "labels" in parameters else None
    expected = whole.learn(x, y).arrays
    interrupted.interrupt = watching(every=every)
    batch, parts, done = interrupted.validate(x, y), [], []
    while batch.rows:
        rearm(interrupted.interrupt, every)
        before = interrupted.samples
        parts.append(interrupted.learn_validated(batch).arrays)
        done.append(interrupted.samples - before)
        assert {len(values) for values in parts[-1].values()} == {done[-1]}
        batch = part(batch, done[-1], batch.rows)
    assert max(done[1:]) <= every  # the first samples, which set the initial weights, are not interrupted
    for name, values in expected.items():
        assert np.concatenate([arrays[name] for arrays in parts]).tobytes() == values.tobytes(), name
    for name, values in whole.state.items():
        assert interrupted.state[name].tobytes() == values.tobytes(), name
