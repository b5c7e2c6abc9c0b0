"""Whole trainings of recurrent nets in float32: ours and PyTorch's, both against PyTorch in float64.

Nothing is taken over between updates here, so rounding errors accumulate. Under Adam a single parameter may
differ by 10⁻⁵ to 10⁻⁴, in both programs: its first gradients are 10⁴ times smaller than the others, so they
are mostly rounding error, and Adam divides them by their own size. Therefore the root mean square over all
parameters is compared, not the largest difference.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

import streamlearn as sl
from tests.models.pytorch import CELLS, wave

K, WINDOWS = 12, 20
OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}


def train(
    start: dict[str, np.ndarray], spec: sl.RNN, x: np.ndarray, y: np.ndarray, kind: torch.dtype
) -> dict[str, np.ndarray]:
    """Train the same net in PyTorch from the parameters ``start``. Return its parameters."""
    cells = CELLS[spec.cell](spec.dim, spec.hidden, spec.layers).to(kind)
    head = torch.nn.Linear(spec.hidden, spec.classes).to(kind)
    parameters = dict(cells.named_parameters())
    parameters |= {f"head.{name}": values for name, values in head.named_parameters()}
    with torch.no_grad():
        for name, values in parameters.items():
            values.copy_(torch.from_numpy(start[name]))
    optimizer = OPTIMIZERS[spec.optimizer](parameters.values(), lr=spec.learning_rate)
    state = None
    for first in range(0, len(x), K):
        window = torch.from_numpy(x[first : first + K]).to(kind)[:, None]
        classes = torch.from_numpy(y[first : first + K, 0]).long()
        out, state = cells(window, state)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(out[:, 0]), classes).backward()
        optimizer.step()
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
    return {name: values.detach().double().numpy() for name, values in parameters.items()}


def error(found: dict[str, np.ndarray], exact: dict[str, np.ndarray]) -> float:
    """The root mean square of the differences over all parameters."""
    squares = np.concatenate([(found[name] - values).ravel() ** 2 for name, values in exact.items()])
    return float(np.sqrt(squares.mean()))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_training_is_as_accurate_as_pytorchs_in_float32(cell: str, optimizer: str) -> None:
    errors = []
    for seed in range(1, 4):
        ours = sl.RNN(
        readout="adam",
            dim=3, hidden=9, cell=cell, layers=2, target="given", loss="cross_entropy", classes=20,
            tbptt=(K, K), optimizer=optimizer, learning_rate=0.01, seed=seed,
        )  # fmt: skip
        start = {name: values.copy() for name, values in ours.parameters.items()}
        x = wave(WINDOWS * K, 3, seed)
        y = np.random.default_rng(seed).integers(0, 20, (WINDOWS * K, 1)).astype(np.float32)
        ours.learn(x, y)
        exact = train(start, ours.spec, x, y, torch.float64)
        theirs = train(start, ours.spec, x, y, torch.float32)
        errors.append((error(dict(ours.parameters), exact), error(theirs, exact)))
    own, other = np.median(errors, axis=0)
    assert own < 1.25 * other, errors
