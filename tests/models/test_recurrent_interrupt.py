"""Calls of recurrent nets that end early: the rows after the end can be learned by the next call."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.kernels.stream.interrupt_words import watching
from streamlearn.models import Model

N = 90
IN_SECONDS = sl.Decay(0.05, 0.001, 20, unit="seconds")
SPECS = {
    "next": (sl.RNN, {"target": "next", "tbptt": (3, 7), "scale": "standard"}),
    "given": (sl.RNN, {"target": "given", "tbptt": (4, 4), "learning_rate": IN_SECONDS}),
    "keys": (sl.RNN, {"target": "next", "tbptt": (2, 5), "keys": 3, "scale": "minmax"}),
    "later": (sl.RNN, {"target": "later", "delay": 20, "tbptt": (2, 4)}),
    "bidirectional": (sl.BidirectionalRNN, {"chunk": (5, 2), "keys": 3, "learning_rate": IN_SECONDS}),
    "bidirectional later": (sl.BidirectionalRNN, {"chunk": (4, 1), "target": "later", "delay": 20}),
}


def make(name: str) -> tuple[Model, np.ndarray, dict[str, np.ndarray]]:
    """Return a new net, samples and the other arguments of ``learn``, all of them by sample."""
    kind, spec = SPECS[name]
    model = kind(**{"dim": 2, "hidden": 5, "seed": 1, **spec})
    random = np.random.default_rng(7)
    others = {"times": np.cumsum(random.random(N))}
    if model.target_dim:
        others["y"] = random.normal(size=(N, model.target_dim))
        if "later" in name:
            others["y"][random.random(N) < 0.5] = np.nan
    if model.spec.keys:
        others["keys"] = random.integers(0, 5, N)  # more than the net has room for
    return model, random.normal(size=(N, 2)), others


@pytest.mark.parametrize("every", [1, 4, 13])
@pytest.mark.parametrize("name", SPECS)
def test_calls_that_end_early_equal_one_call(name: str, every: int) -> None:
    whole, x, others = make(name)
    pieces, _, _ = make(name)
    expected = whole.learn(x, **others)
    found, row = [], 0
    while row < N:
        pieces.interrupt = watching(every=every)
        found.append(pieces.learn(x[row:], **{name: values[row:] for name, values in others.items()}))
        assert pieces.samples - row == min(every, N - row)
        row = pieces.samples
    for output, values in expected.arrays.items():
        joined = np.concatenate([each.arrays[output] for each in found])
        assert joined.tobytes() == values.tobytes(), output
    assert pieces.state_hash() == whole.state_hash()


@pytest.mark.parametrize("name", ["later", "bidirectional later"])
def test_late_targets_that_end_early_equal_one_call(name: str) -> None:
    whole, x, others = make(name)
    pieces, _, _ = make(name)
    for model in (whole, pieces):
        model.learn(x, **others)
    ids = np.arange(N - 30, N + 5)  # some have their target, the last five do not exist
    y = np.random.default_rng(8).normal(size=(len(ids), 1))
    expected = whole.learn_targets(ids, y)
    found, row = [], 0
    while row < len(ids):
        pieces.interrupt = watching(every=4)
        found.append(pieces.learn_targets(ids[row:], y[row:]))
        assert len(found[-1]) == min(4, len(ids) - row)
        row += len(found[-1])
    for output, values in expected.arrays.items():
        joined = np.concatenate([each.arrays[output] for each in found])
        assert joined.tobytes() == values.tobytes(), output
    assert pieces.state_hash() == whole.state_hash()
    assert whole.quality()["unmatched_targets"] > 0
