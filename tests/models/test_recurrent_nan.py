"""Every NaN in the state of a recurrent net has one bit pattern (R3), on any CPU and from any sender."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.models import Model

CANONICAL = 0x7FC00000
OTHERS = [0xFFC00000, 0x7F800001, 0xFFFFFFFF, 0x7FC12345]  # x86's own, signalling, other signs and payloads

SPECS = {
    "next": (sl.RNN, {"tbptt": (4, 4)}),
    "replay": (sl.RNN, {"tbptt": (3, 7), "horizon": 2, "residual": True}),
    "later": (sl.RNN, {"target": "later", "outputs": 2, "delay": 3, "tbptt": (2, 2)}),
    "symbols": (sl.RNN, {"dim": 1, "symbols": 5, "loss": "cross_entropy", "tbptt": (2, 2)}),
    "bidirectional": (sl.BidirectionalRNN, {"target": "later", "outputs": 2, "delay": 5, "chunk": (3, 2)}),
    "bidirectional symbols": (sl.BidirectionalRNN, {"dim": 1, "symbols": 5, "outputs": 2, "chunk": (3, 2)}),
}


def make(name: str, **spec) -> Model:
    kind, own = SPECS[name]
    return kind(**{"dim": 2, "hidden": 4, "seed": 1, **own, **spec})


def nan_bits(model: Model) -> set[int]:
    """The bit patterns of all float32 NaNs in the state."""
    found: set[int] = set()
    for array in model.state.values():
        if array.dtype == np.float32:
            found |= set(array[np.isnan(array)].view(np.uint32).tolist())
    return found


def stream(model: Model, bits: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples and targets with missing values, whose NaNs have the given bits."""
    random = np.random.default_rng(2)
    x = random.integers(0, 5, (60, model.dim)).astype(np.float32)
    y = random.normal(size=(60, model.target_dim)).astype(np.float32)
    for values in (x, y):
        missing = random.random(values.shape) < 0.3
        values.view(np.uint32)[missing] = bits
    return x, y if model.target_dim else None


@pytest.mark.parametrize("name", SPECS)
def test_the_bits_of_a_missing_value_do_not_matter(name):
    hashes = set()
    for bits in (CANONICAL, *OTHERS):
        model = make(name)
        model.learn(*stream(model, bits))
        assert nan_bits(model) <= {CANONICAL}
        hashes.add(model.state_hash())
    assert len(hashes) == 1


@pytest.mark.parametrize("name", ["next", "replay", "later", "bidirectional"])
def test_a_nan_made_by_arithmetic_is_canonical(name):
    """The read-out adds up +∞ and −∞, which is 0xFFC00000 on x86."""
    model = make(name)
    parameters = {key: values.copy() for key, values in model.parameters.items()}
    parameters["head.weight"][:] = 0
    parameters["head.weight"][:, :2] = 3e38, -3e38
    parameters["head.weight"][:, 2:4] = 3e38, -3e38
    for key, values in parameters.items():
        if key.startswith("bias_"):
            values[:] = 20  # saturates every gate
    model.load_parameters(parameters)
    model.state["parameters"][:] = np.where(
        np.abs(model.state["parameters"]) > 1e38,
        np.copysign(np.float32(np.inf), model.state["parameters"]),
        model.state["parameters"],
    )
    x, y = stream(model, CANONICAL)
    out = model.learn(x, y)
    assert np.isnan(out.prediction).any()
    assert nan_bits(model) == {CANONICAL}


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "rmsprop", "adam"])
def test_parameters_that_overflow_are_canonical(optimizer):
    model = make("next", optimizer=optimizer, learning_rate=1e30)
    x = np.random.default_rng(3).normal(size=(200, 2)) * 1e9
    model.learn(x)
    assert nan_bits(model) <= {CANONICAL}
