"""Recurrent nets on a stream in float64, the slow and plain way: the oracle of ``sl.RNN``.

Elman, Cognitive Science 14 (1990); Hochreiter & Schmidhuber, Neural Computation 9 (1997); TBPTT(k1, k2):
Williams & Peng, Neural Computation 2 (1990); Adam: Kingma & Ba, ICLR 2015; clipping: Pascanu et al.,
ICML 2013.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Parameters = dict[str, Array]


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


class Net:
    """Cells in layers and a linear read-out, parameters as PyTorch names and shapes them."""

    def __init__(self, parameters: Parameters, cell: str, layers: int) -> None:
        self.p = {name: np.array(values, float) for name, values in parameters.items()}
        self.cell, self.layers = cell, layers

    def start(self) -> list[tuple[Array, Array]]:
        """(h, c) of every layer, all 0; an Elman net leaves c alone."""
        hidden = self.p["head.weight"].shape[1]
        return [(np.zeros(hidden), np.zeros(hidden)) for _ in range(self.layers)]

    def step(self, x: Array, states: list) -> tuple[Array, list, list]:
        """The forecast after ``x``, the states after it, and what the way back needs."""
        after, kept, v = [], [], x
        for n, (h, c) in enumerate(states):
            z = self.p[f"weight_ih_l{n}"] @ v + self.p[f"bias_ih_l{n}"]
            z = z + self.p[f"weight_hh_l{n}"] @ h + self.p[f"bias_hh_l{n}"]
            if self.cell == "elman":
                new_h, new_c, gates = np.tanh(z), c, None
            else:
                i, f, g, o = np.split(z, 4)
                gates = i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
                new_c = f * c + i * g
                new_h = o * np.tanh(new_c)
            kept.append((v, h, c, gates, new_h, new_c))
            after.append((new_h, new_c))
            v = new_h
        return self.p["head.weight"] @ v + self.p["head.bias"], after, kept

    def loss(self, inputs: list[Array], targets: list[Array], states: list) -> float:
        """Mean squared error over all targets that are present, from the given states on."""
        wrong = []
        for x, target in zip(inputs, targets, strict=True):
            y, states, _ = self.step(x, states)
            wrong += [(y - target)[~np.isnan(target)] ** 2]
        return float(np.mean(np.concatenate(wrong)))

    def gradient(self, inputs: list[Array], targets: list[Array], states: list) -> Parameters:
        """∂loss/∂parameters, by backpropagation through time; the given states are constants."""
        count = sum(np.count_nonzero(~np.isnan(target)) for target in targets)
        grad = {name: np.zeros_like(values) for name, values in self.p.items()}
        steps = []
        for x, target in zip(inputs, targets, strict=True):
            y, states, kept = self.step(x, states)
            steps.append((kept, np.nan_to_num(2 * (y - target) / count)))
        dh = [np.zeros_like(h) for h, _ in states]
        dc = [np.zeros_like(c) for _, c in states]
        for kept, dy in reversed(steps):
            top = kept[-1][4]
            grad["head.weight"] += np.outer(dy, top)
            grad["head.bias"] += dy
            dh[-1] = dh[-1] + self.p["head.weight"].T @ dy
            for n in reversed(range(self.layers)):
                v, h, c, gates, new_h, new_c = kept[n]
                if self.cell == "elman":
                    dz = dh[n] * (1 - new_h**2)
                else:
                    i, f, g, o = gates
                    squashed = np.tanh(new_c)
                    d = dc[n] + dh[n] * o * (1 - squashed**2)
                    dz = np.concatenate(
                        [
                            d * g * i * (1 - i),
                            d * c * f * (1 - f),
                            d * i * (1 - g**2),
                            dh[n] * squashed * o * (1 - o),
                        ]
                    )
                    dc[n] = d * f
                grad[f"weight_ih_l{n}"] += np.outer(dz, v)
                grad[f"weight_hh_l{n}"] += np.outer(dz, h)
                grad[f"bias_ih_l{n}"] += dz
                grad[f"bias_hh_l{n}"] += dz
                dh[n] = self.p[f"weight_hh_l{n}"].T @ dz
                if n:
                    dh[n - 1] = dh[n - 1] + self.p[f"weight_ih_l{n}"].T @ dz
        return grad


class Optimizer:
    """SGD or Adam, as PyTorch's, with clipping by the gradient's norm."""

    def __init__(self, kind: str, rate: float, clip: float | None) -> None:
        self.kind, self.rate, self.clip = kind, rate, clip
        self.t, self.m, self.v = 0, {}, {}

    def update(self, p: Parameters, grad: Parameters) -> None:
        if self.clip is not None:
            norm = np.sqrt(sum(np.sum(g**2) for g in grad.values()))
            grad = {name: g * min(1.0, self.clip / (norm + 1e-6)) for name, g in grad.items()}
        self.t += 1
        for name, g in grad.items():
            if self.kind == "sgd":
                p[name] -= self.rate * g
                continue
            m = self.m[name] = 0.9 * self.m.get(name, 0) + 0.1 * g
            v = self.v[name] = 0.999 * self.v.get(name, 0) + 0.001 * g**2
            p[name] -= self.rate * (m / (1 - 0.9**self.t)) / (np.sqrt(v / (1 - 0.999**self.t)) + 1e-8)


class Stream:
    """TBPTT(k1, k2) on a stream, its targets the next sample (``y`` is None) or given ones."""

    def __init__(self, net: Net, optimizer: Optimizer, k1: int, k2: int) -> None:
        self.net, self.optimizer, self.k1, self.k2 = net, optimizer, k1, k2
        self.states = net.start()
        self.pairs: list[tuple] = []  # (input, target, states before it): all there ever were
        self.waiting: tuple | None = None  # (input, states before it, forecast)

    def learn(self, x: Array, y: Array | None = None) -> Array:
        """Learn one sample and its target; returns what had been forecast for the target."""
        if y is not None:
            filled = np.nan_to_num(x)
            forecast = self._forward(filled)
            self._complete(y)
            return forecast
        forecast = np.full(x.shape, np.nan) if self.waiting is None else self.waiting[2]
        if self.waiting is not None:
            self._complete(x)
        self._forward(np.where(np.isnan(x), np.nan_to_num(forecast), x))
        return forecast

    def _forward(self, x: Array) -> Array:
        before = self.states
        forecast, self.states, _ = self.net.step(x, before)
        self.waiting = x, before, forecast
        return forecast

    def _complete(self, target: Array) -> None:
        x, before, _ = self.waiting
        self.pairs.append((x, target, before))
        if len(self.pairs) % self.k1 == 0:
            inputs, targets, starts = zip(*self.pairs[-self.k2 :], strict=True)
            if not all(np.isnan(target).all() for target in targets):
                grad = self.net.gradient(list(inputs), list(targets), starts[0])
                self.optimizer.update(self.net.p, grad)
