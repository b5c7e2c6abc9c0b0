"""``sl.BidirectionalRNN`` against PyTorch. ``pytorch.py`` derives the bounds."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import streamlearn as sl
from streamlearn.errors import BadSpec
from tests.models import pytorch
from tests.models.pytorch import BIASES, CELLS, FILES, Module, assert_holds, unpack_states, wave, write

K = 10  # samples of a chunk


class Peer(pytorch.Peer):
    """A PyTorch network, trained chunk by chunk from our parameters, moments and forward states."""

    def __init__(self, ours: sl.BidirectionalRNN) -> None:
        super().__init__(ours, sum(ours.spec.chunk))

    def take_over(self, ours: sl.BidirectionalRNN) -> None:
        super().take_over(ours)
        parts = unpack_states(ours, ours.state["states"][0, 0])
        self.carried = [
            tuple(torch.from_numpy(part[n : n + 1, None]) for part in parts) for n in range(self.spec.layers)
        ]

    def initial_states(self, layers: list[int]) -> tuple | torch.Tensor:
        """Return the states before the chunk: carried in the forward direction, 0 in the reverse one."""
        zero = torch.zeros(1, 1, self.spec.hidden, dtype=torch.float64)
        parts = [
            torch.cat([part for n in layers for part in (self.carried[n][of], zero)])
            for of in range(len(self.carried[0]))
        ]
        return tuple(parts) if len(parts) == 2 else parts[0]

    def states_after(self, x: torch.Tensor) -> list[tuple]:
        """Return the forward states of every layer after the chunk. Runs one network per layer."""
        found = []
        with torch.no_grad():
            for n in range(self.spec.layers):
                shape = x.shape[2], self.spec.hidden
                layer = CELLS[self.spec.cell](*shape, bias=self.spec.bias, bidirectional=True).double()
                layer.load_state_dict(
                    {name: self.parameters[name.replace("_l0", f"_l{n}")] for name in layer.state_dict()}
                )
                _, states = layer(x[: self.spec.chunk[0]], self.initial_states([n]))
                found.append(tuple(s[:1] for s in (states if isinstance(states, tuple) else (states,))))
                x, _ = layer(x, self.initial_states([n]))
        return found

    def learn(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Learn one chunk, ``(N_c + N_r, dim)`` and ``(N_c, outputs)``. Return its predictions; for classes,
        which are numbers (steps, 1), return logits."""
        tensor = self.as_tensor(x)[:, None]
        out, _ = self.cells(tensor, self.initial_states(list(range(self.spec.layers))))
        prediction = self.head(out[: len(y), 0])
        carried = self.states_after(tensor)
        self.update(prediction, y)
        self.carried = carried
        return prediction.detach().numpy()

    def check_chunk(self, ours: sl.BidirectionalRNN, prediction: np.ndarray, expected: np.ndarray) -> None:
        """Assert equal predictions, states, moments and parameters. Then copy ours to the peer."""
        assert np.abs(prediction - expected).max() <= self.forward_bound()
        for part, found in enumerate(unpack_states(ours, ours.state["states"][0, 0])):
            expected_part = torch.cat([states[part] for states in self.carried])[:, 0].numpy()
            assert np.abs(found - expected_part).max() <= self.state_bound(found)
        self.assert_same_update(ours)
        self.take_over(ours)


def one_step(cell: str, layers: int, context: int) -> float:
    """Return the largest difference after one SGD step, relative to the step of the parameter array.

    The rate is so large that the parameters before the step do not matter."""
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
def test_one_step_equals_pytorch(cell, layers, context):
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
def test_learning_chunk_by_chunk_equals_pytorch(cell, layers, context, rule):
    ours = sl.BidirectionalRNN(
        dim=3, hidden=19, cell=cell, layers=layers, chunk=(K, context), outputs=2, seed=4, **rule
    )
    peer = Peer(ours)
    x, y = wave(50 * K + context, 3, seed=5), wave(50 * K + context, 2, seed=6)
    samples = check_chunks(ours, peer, x, y)
    assert ours.quality()["updates"] == 50
    assert samples == list(range(50 * K))


@pytest.mark.parametrize("cell", CELLS)
def test_classification_of_symbols_equals_pytorch(cell):
    ours = sl.BidirectionalRNN(
        dim=1, hidden=9, cell=cell, layers=2, chunk=(K, 3), symbols=18, loss="cross_entropy", classes=20,
        optimizer="sgd", learning_rate=0.1, seed=7,
    )  # fmt: skip
    peer, random = Peer(ours), np.random.default_rng(8)
    x, y = (random.integers(0, count, (20 * K + 3, 1)).astype(np.float32) for count in (18, 20))
    assert check_chunks(ours, peer, x, y) == list(range(20 * K))


def check_chunks(ours: sl.BidirectionalRNN, peer: Peer, x: np.ndarray, y: np.ndarray) -> list[int]:
    """Learn chunk by chunk and compare each chunk. Return the sample numbers of the outputs."""
    context, samples = ours.spec.chunk[1], []
    ours.learn(x[:context], y[:context])
    for w in range(0, len(x) - context, K):
        out = ours.learn(x[w + context : w + context + K], y[w + context : w + context + K])
        expected = peer.learn(x[w : w + K + context], y[w : w + K])
        if ours.spec.classes:
            expected = torch.from_numpy(expected).softmax(1).numpy()
        peer.check_chunk(ours, out.prediction, expected)
        samples += out.sample.tolist()
    return samples


# Files


@pytest.mark.parametrize("biases", BIASES, ids=str)
@pytest.mark.parametrize("suffix", FILES)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_a_module_is_loaded_and_saved_without_loss(cell, layers, suffix, biases, tmp_path):
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
        expected = copy.deepcopy(module).double()(torch.from_numpy(x.astype(float)))[:20].numpy()
    assert np.abs(ours.predict(x).prediction - expected).max() <= 1e-5

    back = tmp_path / f"back{suffix}"
    ours.save_parameters(back)
    assert_holds(back, module, Module(cell, layers, 4, biases, bidirectional=True))
    loaded = sl.BidirectionalRNN.from_state_dict(ours.parameters, chunk=(20, 10))
    assert (loaded.spec, loaded.state_hash()) == (spec, ours.state_hash())


def test_the_error_for_the_other_direction_names_the_right_class():
    for both, wrong, right in ((True, sl.RNN, "BidirectionalRNN"), (False, sl.BidirectionalRNN, "sl.RNN")):
        cells = torch.nn.GRU(2, 5, bidirectional=both)
        with pytest.raises(BadSpec, match=right):
            wrong.from_state_dict({name: values.numpy() for name, values in cells.state_dict().items()})
