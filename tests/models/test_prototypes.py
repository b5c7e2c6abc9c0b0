"""Weights in the stream's own units, against statistics made from the whole history."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from tests.naive.scale import Scaler

MODELS = {
    "som": (sl.SOM, {"grid": (2, 3)}),
    "chain": (sl.SOM, {"grid": (4,)}),
    "competitive": (sl.Competitive, {"units": 18}),
    "gng": (sl.GrowingNeuralGas, {"insert_every": 20}),
}


def readings(n: int) -> np.ndarray:
    """Degrees, pascals, and a channel that never varies; some are missing."""
    random = np.random.default_rng(3)
    x = np.stack((random.normal(20, 3, n), random.normal(1e5, 500, n), np.full(n, 7.0)), axis=1)
    return np.where(random.random(x.shape) < 0.1, np.nan, x).astype(np.float32)


@pytest.mark.parametrize("scale", ["standard", "ewma", "minmax"])
@pytest.mark.parametrize("name", MODELS)
def test_prototypes_are_the_scaled_weights_brought_back(name, scale):
    kind, spec = MODELS[name]
    model = kind(dim=3, scale=scale, half_life=40.0, **spec)
    scaler = Scaler(3, scale, decay=0.5 ** (1 / 40))
    for x in readings(150):
        model.learn(x)
        scaler.observe(x.tolist())
    offset, width = np.array([channel.offset_and_width() for channel in scaler.channels]).T
    assert model.prototypes.shape == model.weights.shape
    np.testing.assert_allclose(model.prototypes, offset + model.weights.astype(float) * width, rtol=1e-6)
    assert (model.prototypes[..., 2] == 7.0).all()
    assert not model.prototypes.flags.writeable


@pytest.mark.parametrize("name", MODELS)
def test_without_scaling_they_are_the_weights(name):
    kind, spec = MODELS[name]
    model = kind(dim=3, **spec)
    model.learn(readings(50))
    assert np.array_equal(model.prototypes, model.weights)
