"""Recurrent nets against PyTorch's cells, loss, optimizers and clipping, the state carried by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import streamlearn as sl

CELLS = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM}
K = 12  # samples a window


class Peer:
    """The same net in PyTorch, trained window by window with detached state."""

    def __init__(self, ours: sl.RNN) -> None:
        spec = ours.spec
        self.cells = CELLS[spec.cell](spec.dim, spec.hidden, spec.layers)
        self.head = torch.nn.Linear(spec.hidden, ours.outputs)
        self.parameters = dict(self.cells.named_parameters())
        self.parameters |= {f"head.{name}": values for name, values in self.head.named_parameters()}
        assert {name: tuple(values.shape) for name, values in self.parameters.items()} == {
            name: values.shape for name, values in ours.parameters.items()
        }
        with torch.no_grad():
            for name, values in ours.parameters.items():
                self.parameters[name].copy_(torch.from_numpy(values.copy()))
        optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[spec.optimizer]
        self.optimizer = optimizer(self.parameters.values(), lr=spec.learning_rate)
        functions = torch.nn.functional
        huber = partial(functions.huber_loss, delta=spec.delta)
        self.loss = {"mse": functions.mse_loss, "huber": huber}[spec.loss]
        self.clip, self.residual, self.state = spec.clip, spec.residual, None

    def learn(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Learn one window, ``(steps, dim)`` and ``(steps, outputs)``; returns its forecasts."""
        out, state = self.cells(torch.from_numpy(x)[:, None], self.state)
        forecast = self.head(out[:, 0]) + (torch.from_numpy(x) if self.residual else 0)
        loss = self.loss(forecast, torch.from_numpy(y))
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.clip)
        self.optimizer.step()
        self.state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        return forecast.detach().numpy()


def wave(n: int, dim: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = np.sin(np.arange(n)[:, None] * 0.4 + np.arange(dim)) + 0.2 * random.normal(size=(n, dim))
    return x.astype(np.float32)


def largest_difference(ours: sl.RNN, peer: Peer) -> float:
    """The worst parameter's largest difference, relative to its largest value."""
    return max(
        float(np.abs(values - peer.parameters[name].detach().numpy()).max() / np.abs(values).max())
        for name, values in ours.parameters.items()
    )


@pytest.mark.parametrize("windows", [1, 50])
@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.1), ("adam", 0.003)])
@pytest.mark.parametrize(("loss", "residual"), [("mse", False), ("mse", True), ("huber", False)])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", CELLS)
def test_forecasts_the_next_sample_as_pytorch(cell, layers, loss, residual, optimizer, rate, clip, windows):
    ours = sl.RNN(
        dim=4, hidden=19, cell=cell, layers=layers, tbptt=(K, K), seed=1,
        optimizer=optimizer, learning_rate=rate, clip=clip, residual=residual, loss=loss, delta=0.3,
    )  # fmt: skip
    peer = Peer(ours)
    x = wave(windows * K + 1, 4, seed=2)
    out = ours.learn(x)
    told = [peer.learn(x[w : w + K], x[w + 1 : w + 1 + K]) for w in range(0, windows * K, K)]
    assert ours.quality()["updates"] == windows
    assert largest_difference(ours, peer) <= 1e-5
    assert np.abs(out.prediction[1:] - np.concatenate(told)).max() <= 1e-5


@pytest.mark.parametrize("outputs", [1, 20])
@pytest.mark.parametrize("cell", CELLS)
def test_predicts_given_targets_as_pytorch(cell, outputs):
    ours = sl.RNN(
        dim=3, hidden=8, cell=cell, target="given", outputs=outputs, tbptt=(K, K), learning_rate=0.01, seed=3
    )
    peer = Peer(ours)
    x, y = wave(20 * K, 3, seed=4), wave(20 * K, outputs, seed=5)
    out = ours.learn(x, y)
    told = [peer.learn(x[w : w + K], y[w : w + K]) for w in range(0, 20 * K, K)]
    assert largest_difference(ours, peer) <= 1e-5
    assert np.abs(out.prediction - np.concatenate(told)).max() <= 1e-5


def test_a_net_trained_in_pytorch_goes_on_here():
    start = sl.RNN(dim=2, hidden=6, layers=2, seed=6, tbptt=(K, K), optimizer="sgd", learning_rate=0.1)
    peer = Peer(start)
    x = wave(10 * K + 1, 2, seed=7)
    for w in range(0, 10 * K, K):
        peer.learn(x[w : w + K], x[w + 1 : w + 1 + K])
    ours = sl.RNN(dim=2, hidden=6, layers=2, seed=8)
    ours.load_parameters({name: values.detach().numpy() for name, values in peer.parameters.items()})
    with torch.no_grad():
        told = peer.head(peer.cells(torch.from_numpy(x)[:, None])[0][:, 0]).numpy()
    assert np.abs(ours.predict(x).prediction - told).max() <= 1e-5
