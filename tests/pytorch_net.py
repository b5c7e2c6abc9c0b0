"""A network of PyTorch that a daemon learns too: its stream, its training, and the comparison of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

DIM, HIDDEN, STEPS, RATE = 3, 7, 8, 0.01
CELLS: dict[str, type[torch.nn.RNNBase]] = {
    "elman": torch.nn.RNN,
    "lstm": torch.nn.LSTM,
    "gru": torch.nn.GRU,
}
SPEC: dict[str, Any] = {
    "target": "next",
    "scale": None,
    "drift": None,
    "tbptt": [STEPS, STEPS],
    "learning_rate": RATE,
}


class Net(torch.nn.Module):
    """A recurrent layer and one linear read-out."""

    def __init__(self, cell: str) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.cells = CELLS[cell](DIM, HIDDEN)
        self.readout = torch.nn.Linear(HIDDEN, DIM)

    def forward(self, x: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        hidden, state = self.cells(x, state)
        return self.readout(hidden), state


def stream(n: int) -> np.ndarray:
    random = np.random.default_rng(4)
    x = np.sin(np.arange(n)[:, None] * 0.4 + np.arange(DIM)) + 0.2 * random.normal(size=(n, DIM))
    return x.astype(np.float32)


def train(net: Net, x: np.ndarray) -> None:
    """One update of Adam on each window of STEPS pairs of a sample and the next one."""
    optimizer, state, y = torch.optim.Adam(net.parameters(), lr=RATE), None, torch.from_numpy(x).double()
    for start in range(0, len(x) - 1, STEPS):
        window = slice(start, start + STEPS)
        forecast, state = net(y[window], state)
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(forecast, y[1:][window]).backward()
        optimizer.step()
        state = tuple(each.detach() for each in state) if isinstance(state, tuple) else state.detach()


def assert_same(cell: str, found: Mapping[str, torch.Tensor], net: Net, x: np.ndarray) -> None:
    """Compare parameters that came out of a daemon, and what PyTorch computes with them, with the net's."""
    names = {name: name.replace("cells.", "").replace("readout.", "head.") for name in net.state_dict()}
    wanted = {names[name]: values for name, values in net.named_parameters()}
    assert found.keys() == wanted.keys()
    taken = Net(cell).double()
    taken.cells.load_state_dict({k: v for k, v in found.items() if "head." not in k})
    taken.readout.load_state_dict({k.removeprefix("head."): v for k, v in found.items() if "head." in k})
    largest = max(float((found[name] - wanted[name].detach()).abs().max()) for name in wanted)
    print(f"largest difference of a parameter after 20 updates of {RATE}: {largest:.2e}")
    assert largest < 1e-6
    with torch.no_grad():
        y = torch.from_numpy(x).double()
        np.testing.assert_allclose(taken(y)[0].numpy(), net(y)[0].numpy(), atol=5e-6)
