"""What the tests beside PyTorch share: a net with our parameters, its loss and optimizer, and files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

import streamlearn as sl

CELLS = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
FILES = [".safetensors", ".npz"]
BIASES = [(True, True), (False, False), (False, True), (True, False)]  # of the cells, of the read-out
torch.set_num_threads(1)  # for nets of this size, threads cost more than they bring


class Peer:
    """The same net in PyTorch: ``cells``, ``head``, ``parameters`` by our names, ``loss``, ``optimizer``."""

    def __init__(self, ours: sl.RNN | sl.BidirectionalRNN) -> None:
        spec, directions = ours.spec, ours.directions
        shape = spec.symbols or spec.dim, spec.hidden, spec.layers
        self.cells = CELLS[spec.cell](*shape, bias=spec.bias, bidirectional=directions == 2)
        self.head = torch.nn.Linear(directions * spec.hidden, ours.outputs, bias=spec.head_bias)
        self.parameters = dict(self.cells.named_parameters())
        self.parameters |= {f"head.{name}": values for name, values in self.head.named_parameters()}
        assert [(name, tuple(values.shape)) for name, values in self.parameters.items()] == [
            (name, values.shape) for name, values in ours.parameters.items()
        ]
        with torch.no_grad():
            for name, values in ours.parameters.items():
                self.parameters[name].copy_(torch.from_numpy(values.copy()))
        optimizer = {
            "sgd": torch.optim.SGD,
            "momentum": partial(torch.optim.SGD, momentum=spec.momentum),
            "rmsprop": torch.optim.RMSprop,
            "adam": torch.optim.Adam,
        }[spec.optimizer]
        self.optimizer = optimizer(self.parameters.values(), lr=spec.learning_rate)
        functions = torch.nn.functional
        self.loss = {
            "mse": functions.mse_loss,
            "huber": partial(functions.huber_loss, delta=spec.delta),
            "cross_entropy": lambda y, code: functions.cross_entropy(y, code[:, 0].long()),
        }[spec.loss]
        self.spec = spec

    def shown(self, x: np.ndarray) -> torch.Tensor:
        """``x`` (steps, dim) as PyTorch takes it; symbols are numbers, (steps, 1)."""
        if self.spec.symbols:
            x = np.eye(self.spec.symbols, dtype=np.float32)[x[:, 0].astype(int)]
        return torch.from_numpy(x)


def wave(n: int, dim: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = np.sin(np.arange(n)[:, None] * 0.4 + np.arange(dim)) + 0.2 * random.normal(size=(n, dim))
    return x.astype(np.float32)


def largest_difference(ours: sl.RNN | sl.BidirectionalRNN, peer: Peer) -> float:
    """The worst parameter's largest difference, relative to its largest value."""
    return max(
        float(np.abs(values - peer.parameters[name].detach().numpy()).max() / np.abs(values).max())
        for name, values in ours.parameters.items()
    )


class Module(torch.nn.Module):
    """As people write them."""

    def __init__(
        self, cell: str, layers: int, outputs: int, biases: tuple[bool, bool], bidirectional: bool = False
    ) -> None:
        super().__init__()
        self.rnn = CELLS[cell](3, 10, layers, bias=biases[0], bidirectional=bidirectional)
        self.fc = torch.nn.Linear(20 if bidirectional else 10, outputs, bias=biases[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.rnn(x[:, None])[0][:, 0])


def write(module: Module, path: Path) -> None:
    """Its ``state_dict`` to a file, of the kind that the path names."""
    if path.suffix == ".npz":
        np.savez(path, **{name: values.numpy() for name, values in module.state_dict().items()})
    else:
        safetensors.torch.save_file(module.state_dict(), path)


def assert_holds(path: Path, module: Module, other: Module) -> None:
    """The file has every parameter of ``module``, bit for bit, and no other, and the cells of ``other`` take
    them."""
    held = dict(np.load(path)) if path.suffix == ".npz" else safetensors.numpy.load_file(path)
    assert len(held) == len(module.state_dict())
    for name, values in module.state_dict().items():
        ours_is_called = name.removeprefix("rnn.").replace("fc.", "head.")
        assert held[ours_is_called].tobytes() == values.numpy().tobytes(), name
    other.rnn.load_state_dict(
        {name: torch.from_numpy(values) for name, values in held.items() if "head" not in name}
    )
