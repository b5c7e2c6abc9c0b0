"""Bidirectional recurrent nets on a stream in plain float64 NumPy: the reference for ``sl.BidirectionalRNN``.

Schuster & Paliwal, IEEE Transactions on Signal Processing 45 (1997); latency-controlled chunks: Zhang et al.,
ICASSP 2016. Cells, losses and optimizers are those of ``rnn.py``.
"""

from __future__ import annotations

import numpy as np

from tests.naive.rnn import Means

Array = np.ndarray
Parameters = dict[str, Array]
NAMES = "weight_ih", "weight_hh", "bias_ih", "bias_hh"


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def forward(cell: str, p: list[Array], v: Array, h: Array, c: Array) -> tuple[Array, Array, tuple]:
    """One step of one cell: h and c after it, and the activations for the backward pass."""
    u, w = p[0] @ v + p[2], p[1] @ h + p[3]
    if cell == "elman":
        after = np.tanh(u + w)
        return after, c, (v, h, after)
    if cell == "gru":
        r, z = (sigmoid(u_ + w_) for u_, w_ in zip(np.split(u, 3)[:2], np.split(w, 3)[:2], strict=True))
        a = np.split(w, 3)[2]
        n = np.tanh(np.split(u, 3)[2] + r * a)
        return (1 - z) * n + z * h, c, (v, h, r, z, n, a)
    i, f, g, o = np.split(u + w, 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    after = f * c + i * g
    return o * np.tanh(after), after, (v, h, c, i, f, g, o, after)


def backward(cell: str, p: list[Array], kept: tuple, dh: Array, dc: Array) -> tuple:
    """From ∂L/∂(h, c) after a step: ∂L/∂ each parameter, ∂L/∂v, and ∂L/∂(h, c) before it."""
    through, before = np.zeros_like(dh), np.zeros_like(dc)
    if cell == "elman":
        v, h, after = kept
        du = dw = dh * (1 - after**2)
    elif cell == "gru":
        v, h, r, z, n, a = kept
        dn = dh * (1 - z) * (1 - n**2)
        dr, dz = dn * a * r * (1 - r), dh * (h - n) * z * (1 - z)
        du, dw, through = np.concatenate([dr, dz, dn]), np.concatenate([dr, dz, dn * r]), dh * z
    else:
        v, h, c, i, f, g, o, after = kept
        d = dc + dh * o * (1 - np.tanh(after) ** 2)
        gates = d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g**2)
        du = dw = np.concatenate([*gates, dh * np.tanh(after) * o * (1 - o)])
        before = d * f
    return (np.outer(du, v), np.outer(dw, h), du, dw), p[0].T @ du, through + p[1].T @ dw, before


class Net:
    """Layers of a forward and a reverse cell and a linear read-out, parameters as PyTorch names and shapes
    them. With ``classes`` a target is the number of a class and a prediction the probabilities of all."""

    def __init__(self, parameters: Parameters, cell: str, layers: int, classes: bool = False) -> None:
        self.p = {name: np.array(values, float) for name, values in parameters.items()}
        self.cell, self.layers, self.classes = cell, layers, classes

    def start(self) -> list[tuple[Array, Array]]:
        """(h, c) of every layer's forward cell, all 0."""
        hidden = self.p["weight_hh_l0"].shape[1]
        return [(np.zeros(hidden), np.zeros(hidden)) for _ in range(self.layers)]

    def names(self, layer: int, direction: int) -> list[str]:
        return [f"{name}_l{layer}{'_reverse' * direction}" for name in NAMES]

    def run(self, inputs: list[Array], states: list, chunk: int) -> tuple[list, list, list]:
        """What is told of the first ``chunk`` inputs, the forward cells' states after those, and what the way
        back needs of every layer and direction."""
        steps, kept, after = len(inputs), [], []
        values = inputs
        for layer in range(self.layers):
            made = []
            for direction in (0, 1):
                p = [self.p[name] for name in self.names(layer, direction)]
                h, c = states[layer] if direction == 0 else (0 * states[layer][0], 0 * states[layer][1])
                hs, ways = [None] * steps, [None] * steps
                for count, t in enumerate(reversed(range(steps)) if direction else range(steps), start=1):
                    h, c, ways[t] = forward(self.cell, p, values[t], h, c)
                    hs[t] = h
                    if direction == 0 and count == chunk:
                        after.append((h, c))
                made.append(hs)
                kept.append(ways)
            values = [np.concatenate(pair) for pair in zip(*made, strict=True)]
        told = [self.p["head.weight"] @ v + self.p["head.bias"] for v in values[:chunk]]
        if self.classes:
            told = [np.exp(y - y.max()) / np.exp(y - y.max()).sum() for y in told]
        return told, after, [*kept, values]

    def loss(self, inputs: list[Array], targets: list[Array], states: list) -> float:
        """Mean squared error, or −log p, over all targets that are present; there are as many as are told."""
        told, _, _ = self.run(inputs, states, len(targets))
        wrong = []
        for y, target in zip(told, targets, strict=True):
            there = ~np.isnan(target)
            wrong.append(-np.log(y[target[there].astype(int)]) if self.classes else (y - target)[there] ** 2)
        return float(np.mean(np.concatenate(wrong)))

    def gradient(self, inputs: list[Array], targets: list[Array], states: list) -> Parameters:
        """∂loss/∂parameters; the given states are constants."""
        steps, chunk = len(inputs), len(targets)
        told, _, (*kept, values) = self.run(inputs, states, chunk)
        count = sum(np.count_nonzero(~np.isnan(target)) for target in targets)
        grad = {name: np.zeros_like(array) for name, array in self.p.items()}
        above = [np.zeros_like(values[0]) for _ in range(steps)]
        for t in range(chunk):
            if self.classes:
                dy = (told[t] - (np.arange(len(told[t])) == targets[t])) / count * ~np.isnan(targets[t])
            else:
                dy = np.nan_to_num(2 * (told[t] - targets[t]) / count)
            grad["head.weight"] += np.outer(dy, values[t])
            grad["head.bias"] += dy
            above[t] = self.p["head.weight"].T @ dy
        for layer in reversed(range(self.layers)):
            below = [np.zeros_like(way[0]) for way in kept[2 * layer]]
            for direction in (0, 1):
                names = self.names(layer, direction)
                p, ways = [self.p[name] for name in names], kept[2 * layer + direction]
                dh, dc = np.zeros_like(states[0][0]), np.zeros_like(states[0][0])
                for t in range(steps) if direction else reversed(range(steps)):
                    dh = dh + np.split(above[t], 2)[direction]
                    parts, dv, dh, dc = backward(self.cell, p, ways[t], dh, dc)
                    below[t] = below[t] + dv
                    for name, part in zip(names, parts, strict=True):
                        grad[name] += part
            above = below
        return grad


class Stream:
    """Chunks of ``chunk`` samples with ``context`` more to their right, their targets given with them."""

    def __init__(self, net: Net, optimizer: object, chunk: int, context: int) -> None:
        self.net, self.optimizer, self.chunk, self.context = net, optimizer, chunk, context
        self.states = net.start()
        self.waiting: list[tuple[Array, Array]] = []
        self.means = Means()

    def take(self, x: Array, y: Array) -> bool:
        """Whether this sample is the last that the chunk waits for; then ``run`` it."""
        self.waiting.append((self.means.fill(x), y))
        return len(self.waiting) == self.chunk + self.context

    def run(self, targets: list[Array]) -> list[Array]:
        """Return the predictions for the chunk; then update once on its targets."""
        inputs = [x for x, _ in self.waiting]
        told, after, _ = self.net.run(inputs, self.states, self.chunk)
        if not all(np.isnan(target).all() for target in targets):
            grad = self.net.gradient(inputs, targets, self.states)
            self.optimizer.update(self.net.p, grad)
        self.states = after
        self.waiting = self.waiting[self.chunk :]
        return told

    def learn(self, x: Array, y: Array) -> list[Array]:
        """What is told, now that this sample has come: of a whole chunk, or of none."""
        if not self.take(x, y):
            return []
        return self.run([target for _, target in self.waiting[: self.chunk]])


class Waiting(Stream):
    """The same where a target comes along, later, or never: a chunk is learned when it has them all, in turn,
    and at the latest when more than ``delay`` samples have been told of and wait."""

    def __init__(self, *rule, delay: int) -> None:
        super().__init__(*rule)
        self.delay = delay
        self.outputs = len(self.net.p["head.bias"])
        self.number = 0  # of the next sample
        self.done = 0  # samples of chunks that were learned
        self.came: dict[int, Array] = {}
        self.said: list[Array] = []
        self.chunks: list[tuple[list[Array], list]] = []  # inputs, and the states before them

    def step(self, x: Array, y: Array | None = None) -> list[Array]:
        """A sample; what is told now."""
        if y is not None and not np.isnan(y).all():
            self.came[self.number] = y
        self.number += 1
        if not self.take(x, y):
            return []
        inputs = [x for x, _ in self.waiting]
        told, after, _ = self.net.run(inputs, self.states, self.chunk)
        self.chunks.append((inputs, self.states))
        self.states, self.waiting = after, self.waiting[self.chunk :]
        self.said += told
        self._settle()
        return told

    def target(self, number: int, y: Array) -> Array | None:
        """A target of an earlier sample; what was said then, all NaN if that is still to come, or None if the
        target is too late."""
        if number in self.came or not self.done <= number < self.number:
            return None
        self.came[number] = y
        said = self.said[number] if number < len(self.said) else np.full(self.outputs, np.nan)
        self._settle()
        return said

    def _settle(self) -> None:
        while self.chunks:
            chunk = range(self.done, self.done + self.chunk)
            if not all(i in self.came for i in chunk) and len(self.said) - self.done <= self.delay:
                return
            inputs, states = self.chunks.pop(0)
            none = np.full(1 if self.net.classes else self.outputs, np.nan)
            targets = [self.came.get(i, none) for i in chunk]
            if not all(np.isnan(target).all() for target in targets):
                self.optimizer.update(self.net.p, self.net.gradient(inputs, targets, states))
            self.done += self.chunk
