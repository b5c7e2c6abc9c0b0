"""Recurrent nets in both directions against PyTorch's, the forward states carried by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import streamlearn as sl
from streamlearn.errors import BadSpec
from tests.models import pytorch
from tests.models.pytorch import BIASES, CELLS, FILES, Module, assert_holds, largest_difference, wave, write

K = 10  # samples a chunk


class Peer(pytorch.Peer):
    """Trained chunk by chunk, the forward states carried detached."""

    def __init__(self, ours: sl.BidirectionalRNN) -> None:
        super().__init__(ours)
        self.carried = [None] * self.spec.layers  # of each layer the forward direction's states

    def start(self, layers: list[int]) -> tuple | torch.Tensor:
        """The states that the layers begin with: the forward direction's carried, the reverse one's 0."""
        zero = torch.zeros(1, 1, self.spec.hidden)
        parts = [
            torch.cat(
                [
                    part
                    for n in layers
                    for part in (zero if self.carried[n] is None else self.carried[n][of], zero)
                ]
            )
            for of in range(2 if self.spec.cell == "lstm" else 1)
        ]
        return tuple(parts) if self.spec.cell == "lstm" else parts[0]

    def after(self, x: torch.Tensor) -> list[tuple]:
        """Of each layer, the forward direction's states after the chunk, every layer a net of its own."""
        found = []
        with torch.no_grad():
            for n in range(self.spec.layers):
                shape = x.shape[2], self.spec.hidden
                layer = CELLS[self.spec.cell](*shape, bias=self.spec.bias, bidirectional=True)
                layer.load_state_dict(
                    {name: self.parameters[name.replace("_l0", f"_l{n}")] for name in layer.state_dict()}
                )
                _, states = layer(x[: self.spec.chunk[0]], self.start([n]))
                found.append(tuple(s[:1] for s in (states if isinstance(states, tuple) else (states,))))
                x, _ = layer(x, self.start([n]))
        return found

    def learn(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Learn one chunk, ``(N_c + N_r, dim)`` and ``(N_c, outputs)``; returns what it told, as logits where
        that is probabilities. Symbols and classes are numbers, (steps, 1)."""
        shown = self.shown(x)[:, None]
        out, _ = self.cells(shown, self.start(list(range(self.spec.layers))))
        told = self.head(out[: len(y), 0])
        loss = self.loss(told, torch.from_numpy(y))
        self.optimizer.zero_grad()
        loss.backward()
        carried = self.after(shown)
        if self.spec.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.spec.clip)
        self.optimizer.step()
        self.carried = carried
        return told.detach().numpy()


def chunks(x: np.ndarray, y: np.ndarray, context: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """What is learned at once: ``K`` samples with their right context, and their targets."""
    return [(x[w : w + K + context], y[w : w + K]) for w in range(0, len(x) - K - context + 1, K)]


def one_step(cell: str, layers: int, context: int) -> float:
    """The largest difference after one SGD step, as a share of what the step did to each parameter: much more
    than it was before."""
    ours = sl.BidirectionalRNN(
        dim=3, hidden=19, cell=cell, layers=layers, chunk=(K, context), outputs=2, optimizer="sgd",
        learning_rate=1000.0, seed=1,
    )  # fmt: skip
    peer, before = Peer(ours), ours.parameters
    x, y = wave(K + context, 3, seed=2), wave(K + context, 2, seed=3)
    ours.learn(x, y)
    peer.learn(x, y[:K])
    return max(
        float(
            np.abs(values - peer.parameters[name].detach().numpy()).max()
            / np.abs(values - before[name]).max()
        )
        for name, values in ours.parameters.items()
    )


@pytest.mark.parametrize("context", [0, 4])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_one_step_is_pytorchs(cell, layers, context):
    assert one_step(cell, layers, context) <= 1e-5


RULES = [
    {"optimizer": "sgd", "learning_rate": 0.1},
    {"optimizer": "momentum", "learning_rate": 0.02, "clip": 0.1},
    {"optimizer": "rmsprop", "learning_rate": 0.001, "loss": "huber", "delta": 0.3},
    {"optimizer": "adam", "learning_rate": 0.003},
    {"optimizer": "sgd", "learning_rate": 0.1, "clip": 0.1, "bias": False, "head_bias": False},
    {"optimizer": "adam", "learning_rate": 0.003, "clip": 0.1, "bias": False},
]


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("context", [0, 4])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_learns_chunk_by_chunk_as_pytorch(cell, layers, context, rule):
    ours = sl.BidirectionalRNN(
        dim=3, hidden=19, cell=cell, layers=layers, chunk=(K, context), outputs=2, seed=4, **rule
    )
    peer = Peer(ours)
    x, y = wave(50 * K + context, 3, seed=5), wave(50 * K + context, 2, seed=6)
    out = ours.learn(x, y)
    told = np.concatenate([peer.learn(*chunk) for chunk in chunks(x, y, context)])
    # The steps of Adam and RMSProp are as large for a gradient that is little more than a rounding error.
    most = 1e-5 if rule["optimizer"] in ("sgd", "momentum") else 2e-4
    assert ours.quality()["updates"] == 50
    assert out.sample.tolist() == list(range(50 * K))
    assert np.abs(out.prediction - told).max() <= most
    assert largest_difference(ours, peer) <= most


@pytest.mark.parametrize("cell", CELLS)
def test_classifies_symbols_as_pytorch(cell):
    ours = sl.BidirectionalRNN(
        dim=1, hidden=9, cell=cell, layers=2, chunk=(K, 3), symbols=18, loss="cross_entropy", classes=20,
        optimizer="sgd", learning_rate=0.1, seed=7,
    )  # fmt: skip
    peer, random = Peer(ours), np.random.default_rng(8)
    x, y = (random.integers(0, count, (20 * K + 3, 1)).astype(np.float32) for count in (18, 20))
    out = ours.learn(x, y)
    told = torch.from_numpy(np.concatenate([peer.learn(*chunk) for chunk in chunks(x, y, 3)]))
    assert largest_difference(ours, peer) <= 1e-5
    assert np.abs(out.prediction - told.softmax(1).numpy()).max() <= 1e-5


# files


@pytest.mark.parametrize("biases", BIASES, ids=str)
@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_module_comes_in_and_goes_out_without_loss(cell, layers, suffix, biases, tmp_path):
    torch.manual_seed(1)
    module = Module(cell, layers, 4, biases, bidirectional=True)
    path = tmp_path / f"module{suffix}"
    write(module, path)
    ours = sl.BidirectionalRNN.from_state_dict(path, chunk=(20, 10))
    spec = ours.spec
    assert (spec.cell, spec.dim, spec.hidden, spec.layers, ours.outputs) == (cell, 3, 10, layers, 4)
    assert (spec.bias, spec.head_bias) == biases
    x = wave(30, 3, seed=9)
    with torch.no_grad():
        assert np.abs(ours.predict(x).prediction - module(torch.from_numpy(x))[:20].numpy()).max() <= 1e-5

    back = tmp_path / f"back{suffix}"
    ours.save_parameters(back)
    assert_holds(back, module, Module(cell, layers, 4, biases, bidirectional=True))
    again = sl.BidirectionalRNN.from_state_dict(ours.parameters, chunk=(20, 10))
    assert (again.spec, again.state_hash()) == (spec, ours.state_hash())


def test_each_direction_is_sent_to_the_net_that_has_it():
    for both, wrong, told in ((True, sl.RNN, "BidirectionalRNN"), (False, sl.BidirectionalRNN, "sl.RNN")):
        cells = torch.nn.GRU(2, 5, bidirectional=both)
        with pytest.raises(BadSpec, match=told):
            wrong.from_state_dict({name: values.numpy() for name, values in cells.state_dict().items()})
