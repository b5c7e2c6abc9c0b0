"""Shared by the comparisons with PyTorch: the same net in PyTorch, the bounds on rounding, and files.

PyTorch computes in float64 here. In float32 the order of its sums depends on the processor, and so does the
result. In float64 this effect is about 1e-16. Our kernels give the same float32 bits on every CPU, so the
difference between the two is the same on every CPU as well.

One update is compared at a time. Before each update the peer takes over our parameters, our optimizer moments
and our hidden state (``Peer.take_over``). By induction the whole run is then PyTorch's, and no difference has
time to grow. After the update the following must agree:

- forecasts and hidden states within ``forward_bound``, F = λ·√D_f·u of the largest sum behind them;
- the optimizer's m and √v within e = E·max|g|, where g is the gradient and E = λ·√D_g·u;
- parameters, within what e can change in the step (below), and the rounding of the parameter itself.

u = 2⁻²⁴ is the unit roundoff. D is the number of roundings on the longest path from the input to the result:
a step of a layer adds up n products and applies an activation of about 10 operations; a window has K steps
and L layers; the backward pass is as long as the forward pass. Rounding errors of random sign grow as √D:
they stay below λ·√D·u with probability 1 − 2·exp(−λ²/2), and 2·exp(−λ²/2) is 3e-8 for λ = 6 (Higham & Mary,
SIAM Journal on Scientific Computing 41, 2019). The Jacobians of the cells have norms of about 1 here and do
not amplify errors. For K = 12, L = 3, H = 19 this gives F = 1.5e-5 and E = 2.1e-5. An error of 1 % in a
gradient is 500 times E.

The step of RMSProp and Adam is ε·m̂/(√v̂ + 1e-8). If g changes by e, m̂ changes by at most e_m = c_m·e and √v̂
by at most e_v = c_v·e (c_m and c_v are the weights of the newest gradient in them), so the step changes by at
most

    ε·(e_m + |m̂|/(√v̂ + 1e-8)·e_v) / (max(√v̂ − e_v, 0) + 1e-8)

Where the second moment is near 0 the bound is wide, because no float32 program can compute such a step: a
gradient that is only rounding error moves the parameter by a full ε. Where it is not, the bound is tight.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch

import streamlearn as sl
from streamlearn.kernels.recurrent import memory_layout

CELLS = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}
FILES = [".safetensors", ".npz"]
BIASES = [(True, True), (False, False), (False, True), (True, False)]  # of the cells, of the read-out
UNIT_ROUNDOFF = 2.0**-24
CONFIDENCE = 6  # λ
ACTIVATION = 10  # operations of one activation and of the products with the gates
EPSILON = 1e-8  # of RMSProp and Adam
MOMENTS = {"momentum_buffer": "mean", "exp_avg": "mean", "exp_avg_sq": "square", "square_avg": "square"}
torch.set_num_threads(1)  # threads cost more than they save for nets of this size


class Peer:
    """The same net in PyTorch, in float64.

    ``cells``, ``head``; ``parameters`` by our names; ``loss``, ``optimizer``; ``steps`` of a window.
    """

    def __init__(self, ours: sl.RNN | sl.BidirectionalRNN, steps: int) -> None:
        spec, directions = ours.spec, ours.directions
        self.spec, self.steps = spec, steps
        shape = spec.symbols or spec.dim, spec.hidden, spec.layers
        self.cells = CELLS[spec.cell](*shape, bias=spec.bias, bidirectional=directions == 2).double()
        self.head = torch.nn.Linear(directions * spec.hidden, ours.outputs, bias=spec.head_bias).double()
        self.parameters = dict(self.cells.named_parameters())
        self.parameters |= {f"head.{name}": values for name, values in self.head.named_parameters()}
        assert [(name, tuple(values.shape)) for name, values in self.parameters.items()] == [
            (name, values.shape) for name, values in ours.parameters.items()
        ]
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
        widest_input = max(shape[0], directions * spec.hidden * (spec.layers > 1))
        self.forward_roundings = steps * spec.layers * (widest_input + spec.hidden + ACTIVATION)
        self.take_over(ours)

    def as_tensor(self, x: np.ndarray) -> torch.Tensor:
        """``x`` (steps, dim) in float64; symbols, which are numbers (steps, 1), one-hot."""
        if self.spec.symbols:
            x = np.eye(self.spec.symbols)[x[:, 0].astype(int)]
        return torch.from_numpy(x.astype(float))

    def update(self, forecast: torch.Tensor, y: np.ndarray) -> None:
        """One step of the optimizer on the loss of ``forecast`` (steps, outputs)."""
        self.optimizer.zero_grad()
        self.loss(forecast, torch.from_numpy(y.astype(float))).backward()
        if self.spec.largest_norm < math.inf:
            torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.spec.largest_norm)
        self.optimizer.step()

    def take_over(self, ours: sl.RNN | sl.BidirectionalRNN) -> None:
        """Go on from our parameters and our optimizer moments."""
        with torch.no_grad():
            for name, values in ours.parameters.items():
                self.parameters[name].copy_(torch.from_numpy(values.copy()))
                for moment, tensor in self.optimizer.state[self.parameters[name]].items():
                    if moment in MOMENTS and tensor is not None:
                        tensor.copy_(torch.from_numpy(moment_of(ours, MOMENTS[moment], name)))

    def forward_bound(self) -> float:
        """F times the largest sum that the read-out can make of hidden values within ±1."""
        sums = self.head.weight.detach().abs().sum(1)
        if self.spec.head_bias:
            sums = sums + self.head.bias.detach().abs()
        deep = CONFIDENCE * np.sqrt(self.forward_roundings + self.spec.hidden) * UNIT_ROUNDOFF
        return float(deep * (1 + sums.max()))

    def state_bound(self, state: np.ndarray) -> float:
        """F times the largest value of the state."""
        return CONFIDENCE * np.sqrt(self.forward_roundings) * UNIT_ROUNDOFF * max(1.0, np.abs(state).max())

    def assert_same_update(self, ours: sl.RNN | sl.BidirectionalRNN) -> None:
        """Assert that our parameters and moments are the peer's after one update from the same ones."""
        relative = CONFIDENCE * np.sqrt(2 * self.forward_roundings + self.steps) * UNIT_ROUNDOFF
        if self.spec.largest_norm < math.inf:
            relative *= 2  # the norm that the gradient is divided by has an error of its own
        for name, values in ours.parameters.items():
            tensor = self.parameters[name]
            gradient = tensor.grad.numpy()
            error = relative * np.abs(gradient).max()
            state = {
                MOMENTS[moment]: value.numpy()
                for moment, value in self.optimizer.state[tensor].items()
                if moment in MOMENTS and value is not None
            }
            steps, step_error = self._assert_same_moments(ours, name, gradient, error, state)
            wanted = tensor.detach().numpy()
            bound = self.spec.learning_rate * step_error
            bound += 8 * UNIT_ROUNDOFF * self.spec.learning_rate * np.abs(steps)  # its float32 operations
            bound += UNIT_ROUNDOFF * np.abs(wanted)  # w − step is rounded to float32
            assert (np.abs(values - wanted) <= bound).all(), name

    def _assert_same_moments(
        self,
        ours: sl.RNN | sl.BidirectionalRNN,
        name: str,
        gradient: np.ndarray,
        error: float,
        state: dict[str, np.ndarray],
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """Return the step at rate 1, and the bound on its error if the gradient is off by ``error``."""
        optimizer = self.spec.optimizer
        count = int(ours.quality()["updates"])
        gain_mean, gain_square = {"rmsprop": (1.0, 0.01), "adam": (0.1, 0.001)}.get(optimizer, (1.0, 1.0))
        mean, root = gradient, np.ones_like(gradient)
        mean_error, root_error = gain_mean * error, np.sqrt(gain_square) * error
        if "mean" in state:
            mean = state["mean"]
            off = np.abs(moment_of(ours, "mean", name) - mean)
            assert (off <= mean_error + 4 * UNIT_ROUNDOFF * np.abs(mean)).all(), name
        if "square" not in state:
            return mean, mean_error
        root = np.sqrt(state["square"])
        off = np.abs(np.sqrt(moment_of(ours, "square", name)) - root)
        assert (off <= root_error + 4 * UNIT_ROUNDOFF * root).all(), name
        if optimizer == "adam":
            mean, mean_error = (value / (1 - 0.9**count) for value in (mean, mean_error))
            root, root_error = (value / np.sqrt(1 - 0.999**count) for value in (root, root_error))
        step = mean / (root + EPSILON)
        least = np.maximum(root - root_error, 0) + EPSILON
        return step, (mean_error + np.abs(step) * root_error) / least


def moment_of(ours: sl.RNN | sl.BidirectionalRNN, moment: str, name: str) -> np.ndarray:
    """m (``mean``) or v (``square``) of one parameter, in its shape in PyTorch."""
    return ours._blocks[name].unpack(ours.state[f"moments.{moment}"]).astype(float)


def unpack_states(ours: sl.RNN | sl.BidirectionalRNN, rows: np.ndarray) -> list[np.ndarray]:
    """h, and of an LSTM c, each (layers, hidden), from the ``rows`` (·, 16) of our state that hold them."""
    spec = ours.spec
    values = rows.reshape(spec.layers, memory_layout.CELLS[spec.cell].states, -1)[..., : spec.hidden]
    return list(values.swapaxes(0, 1).astype(float))


def wave(n: int, dim: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = np.sin(np.arange(n)[:, None] * 0.4 + np.arange(dim)) + 0.2 * random.normal(size=(n, dim))
    return x.astype(np.float32)


def largest_difference(ours: sl.RNN | sl.BidirectionalRNN, peer: Peer) -> float:
    """The largest difference of any parameter array, relative to the largest value of that array."""
    return max(
        float(np.abs(values - peer.parameters[name].detach().numpy()).max() / np.abs(values).max())
        for name, values in ours.parameters.items()
    )


class Module(torch.nn.Module):
    """A module as users write it."""

    def __init__(
        self, cell: str, layers: int, outputs: int, biases: tuple[bool, bool], bidirectional: bool = False
    ) -> None:
        super().__init__()
        self.rnn = CELLS[cell](3, 10, layers, bias=biases[0], bidirectional=bidirectional)
        self.fc = torch.nn.Linear(20 if bidirectional else 10, outputs, bias=biases[1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.rnn(x[:, None])[0][:, 0])


def write(module: Module, path: Path) -> None:
    """Write the module's ``state_dict`` to a file of the kind that the path names."""
    if path.suffix == ".npz":
        np.savez(path, **{name: values.numpy() for name, values in module.state_dict().items()})
    else:
        safetensors.torch.save_file(module.state_dict(), path)


def assert_holds(path: Path, module: Module, other: Module) -> None:
    """Assert that the file has exactly the parameters of ``module``, bit for bit, and that the cells of
    ``other`` can load them."""
    stored = dict(np.load(path)) if path.suffix == ".npz" else safetensors.numpy.load_file(path)
    assert len(stored) == len(module.state_dict())
    for name, values in module.state_dict().items():
        our_name = name.removeprefix("rnn.").replace("fc.", "head.")
        assert stored[our_name].tobytes() == values.numpy().tobytes(), name
    other.rnn.load_state_dict(
        {name: torch.from_numpy(values) for name, values in stored.items() if "head" not in name}
    )
