"""The gradient of one update against autograd's in float64, also from a state carried over many windows.

``assert_same`` allows 1e-5 of the largest gradient. The difference is the same on every CPU (see
``pytorch.py``); E there is 1.2e-5 to 2.4e-5 for these sizes.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import streamlearn as sl
from tests.models.test_rnn_gradients import CELLS, assert_same, gradient, series, spec
from tests.models.test_rnn_torch import Peer

LOSSES = {
    "mse": {"outputs": 3},
    "huber": {"outputs": 3, "loss": "huber", "delta": 0.3},
    "cross_entropy": {"classes": 6, "loss": "cross_entropy"},
}


def targets(loss: str, rows: int) -> np.ndarray:
    if loss == "cross_entropy":
        return np.random.default_rng(3).integers(0, 6, (rows, 1)).astype(np.float32)
    return series(rows, 3, seed=3)


def autograds(peer: Peer, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    peer.learn(x, y)
    return {name: values.grad.numpy() for name, values in peer.parameters.items()}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_is_autograds_gradient(cell, layers, loss):
    ours = sl.RNN(
        readout="adam", dim=4, hidden=19, target="given", seed=1, **LOSSES[loss], **spec(cell, layers, 16)
    )
    peer = Peer(ours, 16)
    x, y = series(16, 4, seed=2), targets(loss, 16)
    assert_same(gradient(ours, x, y), autograds(peer, x, y))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_step_from_a_state_carried_over_50_windows_is_autograds_gradient(cell, layers, loss):
    """Samples without a target advance the state and teach nothing; autograd's state is detached."""
    k = 8
    ours = sl.RNN(
        readout="adam", dim=4, hidden=19, target="given", seed=4, **LOSSES[loss], **spec(cell, layers, k)
    )
    peer = Peer(ours, k)
    x, y = series(51 * k, 4, seed=5), targets(loss, k)
    ours.learn(x[: 50 * k], np.full((50 * k, y.shape[1]), np.nan))
    with torch.no_grad():
        _, peer.state = peer.cells(peer.as_tensor(x[: 50 * k])[:, None])
    assert_same(gradient(ours, x[50 * k :], y), autograds(peer, x[50 * k :], y))
