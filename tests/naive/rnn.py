"""Recurrent nets on a stream in plain float64 NumPy: the reference for ``sl.RNN``.

Elman, Cognitive Science 14 (1990); Hochreiter & Schmidhuber, Neural Computation 9 (1997); TBPTT(k1, k2):
Williams & Peng, Neural Computation 2 (1990); GRU: Cho et al., EMNLP 2014, with the reset gate where PyTorch
has it; RMSProp: Tieleman & Hinton 2012; Adam: Kingma & Ba, ICLR 2015; clipping: Pascanu et al.,
ICML 2013.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
Parameters = dict[str, Array]


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def softmax(y: Array) -> Array:
    e = np.exp(y - y.max())
    return e / e.sum()


class Net:
    """Layers of cells and a linear read-out, with PyTorch's parameter names and shapes.

    With ``classes`` a target is the number of a class and a forecast the probabilities of all classes.
    """

    def __init__(self, parameters: Parameters, cell: str, layers: int, classes: bool = False) -> None:
        self.p = {name: np.array(values, float) for name, values in parameters.items()}
        self.cell, self.layers, self.classes = cell, layers, classes

    def start(self) -> list[tuple[Array, Array]]:
        """(h, c) of every layer, all 0; only an LSTM uses c."""
        hidden = self.p["head.weight"].shape[1]
        return [(np.zeros(hidden), np.zeros(hidden)) for _ in range(self.layers)]

    def step(self, x: Array, states: list) -> tuple[Array, list, list]:
        """The forecast after ``x``, the states after it, and the activations for the backward pass."""
        after, kept, v = [], [], x
        for n, (h, c) in enumerate(states):
            u = self.p[f"weight_ih_l{n}"] @ v + self.p[f"bias_ih_l{n}"]
            w = self.p[f"weight_hh_l{n}"] @ h + self.p[f"bias_hh_l{n}"]
            z = u + w
            if self.cell == "elman":
                new_h, new_c, gates = np.tanh(z), c, None
            elif self.cell == "gru":
                hidden = len(h)
                reset, keep = sigmoid(z[:hidden]), sigmoid(z[hidden : 2 * hidden])
                new = np.tanh(u[2 * hidden :] + reset * w[2 * hidden :])
                gates = reset, keep, new, w[2 * hidden :]
                new_h, new_c = (1 - keep) * new + keep * h, c
            else:
                i, f, g, o = np.split(z, 4)
                gates = i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
                new_c = f * c + i * g
                new_h = o * np.tanh(new_c)
            kept.append((v, h, c, gates, new_h, new_c))
            after.append((new_h, new_c))
            v = new_h
        y = self.p["head.weight"] @ v + self.p["head.bias"]
        return softmax(y) if self.classes else y, after, kept

    def loss(self, inputs: list[Array], targets: list[Array], states: list) -> float:
        """Mean squared error, or −log p, over all targets that are present, from the given states on."""
        wrong = []
        for x, target in zip(inputs, targets, strict=True):
            y, states, _ = self.step(x, states)
            if self.classes:
                wrong += [-np.log(y[target[~np.isnan(target)].astype(int)])]
            else:
                wrong += [(y - target)[~np.isnan(target)] ** 2]
        return float(np.mean(np.concatenate(wrong)))

    def gradient(
        self, inputs: list[Array], targets: list[Array], states: list, norms: list | None = None
    ) -> Parameters:
        """∂loss/∂parameters, by backpropagation through time; the given states are constants.

        With ``norms``, of the loss of the last step only; ``norms`` gets ‖∂loss/∂(h, c)‖ of each step, last
        step first."""
        count = sum(np.count_nonzero(~np.isnan(target)) for target in targets)
        grad = {name: np.zeros_like(values) for name, values in self.p.items()}
        steps = []
        for x, target in zip(inputs, targets, strict=True):
            y, states, kept = self.step(x, states)
            if self.classes:
                came = np.arange(len(y)) == target
                dy = (y - came) / count * ~np.isnan(target)
            else:
                dy = np.nan_to_num(2 * (y - target) / count)
            steps.append((kept, dy))
        dh = [np.zeros_like(h) for h, _ in states]
        dc = [np.zeros_like(c) for _, c in states]
        if norms is not None:
            steps = [(kept, 0 * dy) for kept, dy in steps[:-1]] + steps[-1:]
        for kept, dy in reversed(steps):
            squares = 0.0
            top = kept[-1][4]
            grad["head.weight"] += np.outer(dy, top)
            grad["head.bias"] += dy
            dh[-1] = dh[-1] + self.p["head.weight"].T @ dy
            for n in reversed(range(self.layers)):
                v, h, c, gates, new_h, new_c = kept[n]
                squares += float(dh[n] @ dh[n] + dc[n] @ dc[n])
                if self.cell == "elman":
                    du = dw = dh[n] * (1 - new_h**2)
                    through = 0.0
                elif self.cell == "gru":
                    reset, keep, new, a = gates
                    d = dh[n] * (1 - keep) * (1 - new**2)
                    both = [d * a * reset * (1 - reset), dh[n] * (h - new) * keep * (1 - keep)]
                    du, dw = np.concatenate([*both, d]), np.concatenate([*both, d * reset])
                    through = dh[n] * keep
                else:
                    i, f, g, o = gates
                    squashed = np.tanh(new_c)
                    d = dc[n] + dh[n] * o * (1 - squashed**2)
                    du = dw = np.concatenate(
                        [
                            d * g * i * (1 - i),
                            d * c * f * (1 - f),
                            d * i * (1 - g**2),
                            dh[n] * squashed * o * (1 - o),
                        ]
                    )
                    dc[n] = d * f
                    through = 0.0
                grad[f"weight_ih_l{n}"] += np.outer(du, v)
                grad[f"weight_hh_l{n}"] += np.outer(dw, h)
                grad[f"bias_ih_l{n}"] += du
                grad[f"bias_hh_l{n}"] += dw
                dh[n] = through + self.p[f"weight_hh_l{n}"].T @ dw
                if n:
                    dh[n - 1] = dh[n - 1] + self.p[f"weight_ih_l{n}"].T @ du
            if norms is not None:
                norms.append(float(np.sqrt(squares)))
        return grad

    def gradient_by_lag(self, inputs: list[Array], targets: list[Array], states: list) -> Array:
        """‖∂L_T/∂(h, c)_{T−j}‖ by lag j, over all layers, L_T being the last step's share of the loss."""
        norms: list[float] = []
        self.gradient(inputs, targets, states, norms)
        return np.array(norms)


class Optimizer:
    """SGD, momentum (0.9), RMSProp or Adam, as PyTorch's, with clipping by the gradient's norm."""

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
            if self.kind == "momentum":
                self.m[name] = 0.9 * self.m.get(name, 0) + g
                p[name] -= self.rate * self.m[name]
                continue
            if self.kind == "rmsprop":
                self.v[name] = 0.99 * self.v.get(name, 0) + 0.01 * g**2
                p[name] -= self.rate * g / (np.sqrt(self.v[name]) + 1e-8)
                continue
            m = self.m[name] = 0.9 * self.m.get(name, 0) + 0.1 * g
            v = self.v[name] = 0.999 * self.v.get(name, 0) + 0.001 * g**2
            p[name] -= self.rate * (m / (1 - 0.9**self.t)) / (np.sqrt(v / (1 - 0.999**self.t)) + 1e-8)


class Means:
    """Running means of the inputs, which replace missing ones; 0 at first, and always 0 with ``rest``.

    ``decay`` is the factor per sample on the weight of older inputs."""

    def __init__(self, decay: float = 1.0, rest: bool = False) -> None:
        self.decay, self.rest = decay, rest
        self.count = self.mean = np.zeros(1)

    def fill(self, x: Array) -> Array:
        filled = np.where(np.isnan(x), self.mean, x)
        if not self.rest:
            self.count = self.count + ~np.isnan(x)
            gain = np.maximum(1 - self.decay, 1 / np.maximum(self.count, 1))
            self.mean = np.where(np.isnan(x), self.mean, self.mean + gain * (x - self.mean))
        return filled


class Stream:
    """TBPTT(k1, k2) on a stream, its targets the next sample (``y`` is None) or given ones."""

    def __init__(self, net: Net, optimizer: Optimizer, k1: int, k2: int) -> None:
        self.net, self.optimizer, self.k1, self.k2 = net, optimizer, k1, k2
        self.states = net.start()
        self.pairs: list[tuple] = []  # (input, target, states before it), all pairs so far
        self.waiting: tuple | None = None  # (input, states before it, forecast)
        self.means = Means()

    def learn(self, x: Array, y: Array | None = None) -> Array:
        """Learn one sample and its target; return the forecast for the target."""
        if y is not None:
            forecast = self._forward(self.means.fill(x))
            self._complete(y)
            return forecast
        forecast = np.full(x.shape, np.nan) if self.waiting is None else self.waiting[2]
        if self.waiting is not None:
            self._complete(x)
        filled = self.means.fill(x)
        self._forward(np.where(np.isnan(x) & ~np.isnan(forecast), forecast, filled))
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


class Waiting(Stream):
    """The same for targets that arrive later: the ``ahead`` next samples, or with ``delay`` a late target for
    each sample, while at most ``delay`` samples wait."""

    def __init__(self, *rule, ahead: int = 1, delay: int | None = None) -> None:
        super().__init__(*rule)
        self.ahead, self.delay = ahead, delay
        self.steps: list[tuple] = []  # (input, states before it, forecast), all steps so far
        self.came: dict[int, Array] = {}

    def step(self, x: Array, y: Array | None = None) -> Array:
        """A sample; returns the forecast made after it."""
        if self.delay is None:
            before = len(self.steps)
            for i in range(max(0, before - self.ahead), before):
                self.came.setdefault(i, np.full((self.ahead, len(x)), np.nan))[before - 1 - i] = x
            self._settle()
        filled = self.means.fill(x)
        if self.steps and self.delay is None:
            filled = np.where(np.isnan(x), self.steps[-1][2][: len(x)], x)
        self._forward(filled)
        self.steps.append(self.waiting)
        if y is not None and not np.isnan(y).all():
            self.came[len(self.steps) - 1] = y
        if self.delay is not None:
            self._settle()
        return self.steps[-1][2]

    def target(self, number: int, y: Array) -> Array | None:
        """Learn a late target; return the prediction for its sample, or None if it is too late."""
        if number in self.came or not len(self.pairs) <= number < len(self.steps):
            return None
        self.came[number] = y
        self._settle()
        return self.steps[number][2]

    def _settle(self) -> None:
        while len(self.pairs) < len(self.steps):
            oldest, wait = len(self.pairs), len(self.steps) - len(self.pairs)
            if self.delay is None:
                if wait < self.ahead:
                    return
            elif oldest not in self.came and wait <= self.delay:
                return
            outputs = len(self.steps[oldest][2])
            self.waiting = self.steps[oldest]
            self._complete(self.came.get(oldest, np.full(outputs, np.nan)).reshape(-1))
