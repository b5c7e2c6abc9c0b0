"""Recurrent networks on a stream in float64 NumPy: the reference for ``sl.RNN``.

TBPTT(k1, k2): Williams & Peng, Neural Computation 2 (1990). RMSProp: Tieleman & Hinton 2012. Adam: Kingma &
Ba, ICLR 2015. Clipping: Pascanu et al., ICML 2013. ``cells.py`` has the cells.
"""

from __future__ import annotations

import numpy as np

from tests.naive.cells import backward, forward, softmax

Array = np.ndarray
Parameters = dict[str, Array]
States = list[tuple[Array, Array]]  # (h, c) of each layer
NAMES = "weight_ih", "weight_hh", "bias_ih", "bias_hh"


class Net:
    """Layers of cells and a linear read-out, with PyTorch's parameter names and shapes.

    With ``classes`` a target is the number of a class and a forecast the probabilities of all classes.
    """

    def __init__(self, parameters: Parameters, cell: str, layers: int, classes: bool = False) -> None:
        self.p = {name: np.array(values, float) for name, values in parameters.items()}
        self.cell, self.layers, self.classes = cell, layers, classes

    def names(self, layer: int) -> list[str]:
        return [f"{name}_l{layer}" for name in NAMES]

    def weights(self, layer: int) -> list[Array]:
        return [self.p[name] for name in self.names(layer)]

    def initial_states(self) -> States:
        """Return zeros: (h, c) of every layer. Only an LSTM uses c."""
        hidden = self.p["head.weight"].shape[1]
        return [(np.zeros(hidden), np.zeros(hidden)) for _ in range(self.layers)]

    def step(self, x: Array, states: States) -> tuple[Array, States, list]:
        """Return the forecast after ``x``, the states after it, and the activations for the backward pass."""
        new_states, activations, h = [], [], x
        for layer in range(self.layers):
            h, c, cell_activations = forward(self.cell, self.weights(layer), h, *states[layer])
            new_states.append((h, c))
            activations.append(cell_activations)
        y = self.p["head.weight"] @ h + self.p["head.bias"]
        return softmax(y) if self.classes else y, new_states, [*activations, h]

    def loss(self, inputs: list[Array], targets: list[Array], states: States) -> float:
        """Return the mean squared error, or mean −log p, over all targets that are present."""
        losses = []
        for x, target in zip(inputs, targets, strict=True):
            y, states, _ = self.step(x, states)
            present = ~np.isnan(target)
            if self.classes:
                losses.append(-np.log(y[target[present].astype(int)]))
            else:
                losses.append((y - target)[present] ** 2)
        return float(np.mean(np.concatenate(losses)))

    def gradient(
        self, inputs: list[Array], targets: list[Array], states: States, norms: list | None = None
    ) -> Parameters:
        """Return ∂loss/∂parameters by backpropagation through time. The given states are constants.

        With ``norms``: the gradient of the last step's loss only. Appends ‖∂loss/∂(h, c)‖ of each step to
        ``norms``, last step first."""
        count = sum(np.count_nonzero(~np.isnan(target)) for target in targets)
        grad = {name: np.zeros_like(values) for name, values in self.p.items()}
        steps = []  # (activations, ∂loss/∂y) of each step
        for x, target in zip(inputs, targets, strict=True):
            y, states, activations = self.step(x, states)
            steps.append((activations, output_gradient(y, target, count, self.classes)))
        if norms is not None:
            steps = [(activations, 0 * dy) for activations, dy in steps[:-1]] + steps[-1:]
        dh = [np.zeros_like(h) for h, _ in states]
        dc = [np.zeros_like(c) for _, c in states]
        for (*activations, top), dy in reversed(steps):
            grad["head.weight"] += np.outer(dy, top)
            grad["head.bias"] += dy
            dh[-1] = dh[-1] + self.p["head.weight"].T @ dy
            squared_norm = 0.0
            for layer in reversed(range(self.layers)):
                squared_norm += float(dh[layer] @ dh[layer] + dc[layer] @ dc[layer])
                d_weights, dx, dh[layer], dc[layer] = backward(
                    self.cell, self.weights(layer), activations[layer], dh[layer], dc[layer]
                )
                for name, d_weight in zip(self.names(layer), d_weights, strict=True):
                    grad[name] += d_weight
                if layer > 0:
                    dh[layer - 1] = dh[layer - 1] + dx
            if norms is not None:
                norms.append(float(np.sqrt(squared_norm)))
        return grad

    def gradient_by_lag(self, inputs: list[Array], targets: list[Array], states: States) -> Array:
        """Return ‖∂L_T/∂(h, c)_{T−j}‖ for each lag j, over all layers. L_T is the last step's part of the
        loss."""
        norms: list[float] = []
        self.gradient(inputs, targets, states, norms)
        return np.array(norms)


def output_gradient(y: Array, target: Array, count: int, classes: bool) -> Array:
    """Return ∂loss/∂y of one step: of y itself, or with ``classes`` of the logits of the probabilities y.

    ``count`` is the number of present targets of all steps. A missing target has no loss."""
    if classes:
        one_hot = np.arange(len(y)) == target
        return (y - one_hot) / count * ~np.isnan(target)
    return np.nan_to_num(2 * (y - target) / count)


class Optimizer:
    """SGD, momentum (0.9), RMSProp or Adam as in PyTorch. ``clip`` limits the norm of the gradient."""

    def __init__(self, kind: str, rate: float, clip: float | None) -> None:
        self.kind, self.rate, self.clip = kind, rate, clip
        self.t, self.m, self.v = 0, {}, {}

    def update(self, p: Parameters, grad: Parameters) -> None:
        """Update ``p`` in place."""
        if self.clip is not None:
            norm = np.sqrt(sum(np.sum(g**2) for g in grad.values()))
            grad = {name: g * min(1.0, self.clip / (norm + 1e-6)) for name, g in grad.items()}
        self.t += 1
        for name, g in grad.items():
            if self.kind == "sgd":
                p[name] -= self.rate * g
            elif self.kind == "momentum":
                self.m[name] = 0.9 * self.m.get(name, 0) + g
                p[name] -= self.rate * self.m[name]
            elif self.kind == "rmsprop":
                self.v[name] = 0.99 * self.v.get(name, 0) + 0.01 * g**2
                p[name] -= self.rate * g / (np.sqrt(self.v[name]) + 1e-8)
            else:
                m = self.m[name] = 0.9 * self.m.get(name, 0) + 0.1 * g
                v = self.v[name] = 0.999 * self.v.get(name, 0) + 0.001 * g**2
                p[name] -= self.rate * (m / (1 - 0.9**self.t)) / (np.sqrt(v / (1 - 0.999**self.t)) + 1e-8)


class Means:
    """Running means of the inputs. They replace missing inputs. They start at 0.

    ``decay`` is the factor per sample on the weight of older inputs. With ``zero`` the means stay 0."""

    def __init__(self, decay: float = 1.0, zero: bool = False) -> None:
        self.decay, self.zero = decay, zero
        self.count = self.mean = np.zeros(1)

    def fill(self, x: Array) -> Array:
        """Return ``x`` with its missing values replaced. Then update the means."""
        filled = np.where(np.isnan(x), self.mean, x)
        if not self.zero:
            self.count = self.count + ~np.isnan(x)
            gain = np.maximum(1 - self.decay, 1 / np.maximum(self.count, 1))
            self.mean = np.where(np.isnan(x), self.mean, self.mean + gain * (x - self.mean))
        return filled


class Stream:
    """TBPTT(k1, k2) on a stream. The target is the next sample if ``y`` is None, else ``y``."""

    def __init__(self, net: Net, optimizer: Optimizer, k1: int, k2: int) -> None:
        self.net, self.optimizer, self.k1, self.k2 = net, optimizer, k1, k2
        self.states = net.initial_states()
        self.pairs: list[tuple] = []  # (input, target, states before the input) of all complete pairs
        self.last_step: tuple | None = None  # (input, states before it, forecast)
        self.means = Means()

    def learn(self, x: Array, y: Array | None = None) -> Array:
        """Learn one sample and its target. Return the forecast of the target."""
        if y is not None:
            self.last_step = self._forward(self.means.fill(x))
            self._complete(self.last_step, y)
            return self.last_step[2]
        forecast = np.full(x.shape, np.nan)
        if self.last_step is not None:
            forecast = self.last_step[2]
            self._complete(self.last_step, x)
        filled = self.means.fill(x)
        self.last_step = self._forward(np.where(np.isnan(x) & ~np.isnan(forecast), forecast, filled))
        return forecast

    def _forward(self, x: Array) -> tuple[Array, States, Array]:
        """Run one step. Return its input, the states before it, and its forecast."""
        states_before = self.states
        forecast, self.states, _ = self.net.step(x, states_before)
        return x, states_before, forecast

    def _complete(self, step: tuple, target: Array) -> None:
        """Add the target of a step. Update once every k1 pairs on the last k2 pairs."""
        x, states_before, _ = step
        self.pairs.append((x, target, states_before))
        if len(self.pairs) % self.k1 == 0:
            inputs, targets, states = zip(*self.pairs[-self.k2 :], strict=True)
            if not all(np.isnan(target).all() for target in targets):
                grad = self.net.gradient(list(inputs), list(targets), states[0])
                self.optimizer.update(self.net.p, grad)


class DelayedStream(Stream):
    """TBPTT(k1, k2) where a target is complete some samples after its input.

    Without ``delay`` the target is the next ``horizon`` samples. With ``delay`` it is a late target; a sample
    without a target expires when more than ``delay`` samples wait."""

    def __init__(self, *rule, horizon: int = 1, delay: int | None = None) -> None:
        super().__init__(*rule)
        self.horizon, self.delay = horizon, delay
        self.steps: list[tuple] = []  # (input, states before it, forecast) of all steps
        self.targets: dict[int, Array] = {}  # by sample number

    def step(self, x: Array, y: Array | None = None) -> Array:
        """Process a sample, with its target if it has arrived. Return the forecast after the sample."""
        if self.delay is None:
            number = len(self.steps)
            for i in range(max(0, number - self.horizon), number):
                self.targets.setdefault(i, np.full((self.horizon, len(x)), np.nan))[number - 1 - i] = x
            self._complete_oldest()
        filled = self.means.fill(x)
        if self.steps and self.delay is None:
            filled = np.where(np.isnan(x), self.steps[-1][2][: len(x)], x)
        self.steps.append(self._forward(filled))
        if y is not None and not np.isnan(y).all():
            self.targets[len(self.steps) - 1] = y
        if self.delay is not None:
            self._complete_oldest()
        return self.steps[-1][2]

    def target(self, number: int, y: Array) -> Array | None:
        """Learn a late target. Return the prediction for its sample, or None if the target is too late."""
        if number in self.targets or not len(self.pairs) <= number < len(self.steps):
            return None
        self.targets[number] = y
        self._complete_oldest()
        return self.steps[number][2]

    def _complete_oldest(self) -> None:
        """Complete waiting steps in order, up to the first that still waits for its target."""
        while len(self.pairs) < len(self.steps):
            oldest, waiting = len(self.pairs), len(self.steps) - len(self.pairs)
            if self.delay is None:
                if waiting < self.horizon:
                    return
            elif oldest not in self.targets and waiting <= self.delay:
                return
            missing = np.full(len(self.steps[oldest][2]), np.nan)
            self._complete(self.steps[oldest], self.targets.get(oldest, missing).reshape(-1))
