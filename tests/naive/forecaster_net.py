"""The GRU of the forecaster in float64: TBPTT with the gradients that the read-out gives, and replay."""

from __future__ import annotations

import numpy as np

from .cells import Array, backward, forward
from .rnn import NAMES, Optimizer, Parameters

K1, K2, RATE, KEPT = 4, 12, 3e-4, 64
_MASK = (1 << 64) - 1


class ForecasterNet:
    """``parameters``: of PyTorch's GRU. ``replay``: earlier windows that are learned after each update.

    ``random``: state of the random numbers, see ``draw``.
    """

    def __init__(self, parameters: Parameters, replay: int = 0, random: int = 0) -> None:
        self.p = {f"{name}_l0": np.array(parameters[f"{name}_l0"], float) for name in NAMES}
        self.hidden = self.p["weight_hh_l0"].shape[1]
        self.h = np.zeros(self.hidden)
        self.optimizer = Optimizer("adam", RATE, 1.0)
        self.steps: list[tuple[Array, Array]] = []  # inputs and h before, of the pairs and the waiting steps
        self.gradients: list[Array] = []  # of the pairs
        self.since = 0
        self.replay, self.random = replay, random
        self.windows: list[tuple[list[tuple[Array, Array]], list[Array]]] = []
        self.kept = self.updates = self.replayed = 0

    def step(self, inputs: Array) -> Array:
        """Return h after ``inputs``."""
        self.steps.append((inputs, self.h))
        self.h = forward("gru", list(self.p.values()), inputs, self.h, self.h)[0]
        return self.h

    def count_step(self, complete: bool, gradient: Array | float) -> None:
        """End a sample, which may complete a pair. After every K1 pairs, learn."""
        if not complete:
            return
        self.gradients.append(np.broadcast_to(gradient, self.hidden))
        self.since += 1
        if self.since < K1:
            return
        pairs = len(self.gradients)
        newest = self.steps[:pairs], list(self.gradients)
        self.learn(*newest)
        self.updates += 1
        for _ in range(self.replay if self.windows else 0):
            self.learn(*self.windows[self.draw() % len(self.windows)])
            self.replayed += 1
        if pairs == K2:
            self._keep(newest)
        kept = min(pairs, K2 - K1)
        self.steps, self.gradients = self.steps[pairs - kept :], self.gradients[pairs - kept :]
        self.since = 0

    def _keep(self, newest: tuple[list[tuple[Array, Array]], list[Array]]) -> None:
        """Keep the last windows. A new one takes the place of the oldest."""
        self.windows[self.kept % KEPT : self.kept % KEPT + 1] = [newest]
        self.kept += 1

    def learn(self, steps: list[tuple[Array, Array]], gradients: list[Array]) -> None:
        """Run the window again from its first h, and take a step against the mean gradient."""
        weights, h, activations = list(self.p.values()), steps[0][1], []
        for inputs, _ in steps:
            h, _, each = forward("gru", weights, inputs, h, h)
            activations.append(each)
        total = {name: np.zeros_like(values) for name, values in self.p.items()}
        dh = np.zeros(self.hidden)
        for each, gradient in zip(reversed(activations), reversed(gradients), strict=True):
            found, _, dh, _ = backward("gru", weights, each, dh + gradient / len(steps), dh)
            for name, values in zip(total, found, strict=True):
                total[name] += values
        self.optimizer.update(self.p, total)

    def draw(self) -> int:
        """Return 64 random bits of splitmix64."""
        self.random = (self.random + 0x9E3779B97F4A7C15) & _MASK
        z = self.random
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return z ^ (z >> 31)
