"""One update of ``sl.BidirectionalRNN`` against the float64 reference and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from tests.models.test_rnn_gradients import CELLS, RATE, assert_same, gradient, series
from tests.naive.bidirectional import Net
from tests.naive.differences import differences

CHUNKS = [(12, 0), (8, 5)]


def spec(cell: str, layers: int, chunk: tuple[int, int]) -> dict:
    return {"cell": cell, "layers": layers, "chunk": chunk, "optimizer": "sgd", "learning_rate": RATE}


@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_one_update_equals_the_gradient_of_the_reference(cell, layers, chunk):
    ours = sl.BidirectionalRNN(dim=3, hidden=17, outputs=2, seed=1, **spec(cell, layers, chunk))
    reference = Net(dict(ours.parameters), cell, layers)
    x, y = series(sum(chunk), 3, seed=2), series(sum(chunk), 2, seed=3)
    inputs, targets = list(x.astype(float)), list(y[: chunk[0]].astype(float))
    assert_same(gradient(ours, x, y), reference.gradient(inputs, targets, reference.initial_states()))


@pytest.mark.parametrize("chunk", CHUNKS, ids=str)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_one_update_after_50_chunks_equals_the_gradient_of_the_reference(cell, layers, chunk):
    """Chunks without targets change the forward state and no parameter."""
    size, context = chunk
    ours = sl.BidirectionalRNN(dim=3, hidden=17, outputs=2, seed=4, **spec(cell, layers, chunk))
    reference = Net(dict(ours.parameters), cell, layers)
    x, y = series(51 * size + context, 3, seed=5), series(51 * size + context, 2, seed=6)
    y[: 50 * size] = np.nan
    inputs, states = list(x.astype(float)), reference.initial_states()
    for first in range(0, 50 * size, size):
        _, states, _ = reference.run(inputs[first : first + size + context], states, size)
    targets = list(y[50 * size : 51 * size].astype(float))
    assert_same(gradient(ours, x, y), reference.gradient(inputs[50 * size :], targets, states))


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_one_update_equals_finite_differences(cell, layers, loss):
    """Finite differences of the loss of the reference. Uses no backward pass."""
    cross_entropy = loss == "cross_entropy"
    kind = {"classes": 4} if cross_entropy else {"outputs": 2}
    ours = sl.BidirectionalRNN(dim=2, hidden=3, loss=loss, seed=7, **kind, **spec(cell, layers, (4, 2)))
    reference = Net(dict(ours.parameters), cell, layers, classes=cross_entropy)
    x = series(6, 2, seed=8)
    y = np.array([[0], [3], [1], [2], [0], [3]], np.float32) if cross_entropy else series(6, 2, seed=9)
    inputs, targets, start = list(x.astype(float)), list(y[:4].astype(float)), reference.initial_states()
    assert_same(
        gradient(ours, x, y), differences(reference.p, lambda: reference.loss(inputs, targets, start))
    )
