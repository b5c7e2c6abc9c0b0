"""Bidirectional recurrent networks on a stream in float64 NumPy: the reference for ``sl.BidirectionalRNN``.

Schuster & Paliwal, IEEE Transactions on Signal Processing 45 (1997). Chunks with a right context: Zhang et
al., ICASSP 2016. ``cells.py`` has the cells; ``rnn.py`` has the optimizers.
"""

from __future__ import annotations

import numpy as np

from tests.naive.cells import backward, forward, softmax
from tests.naive.rnn import NAMES, Means, Optimizer, Parameters, States, output_gradient

Array = np.ndarray
FORWARD, REVERSE = 0, 1


class Net:
    """Layers of a forward and a reverse cell, and a linear read-out. Parameter names and shapes of PyTorch.

    With ``classes`` a target is the number of a class and a prediction the probabilities of all classes.
    """

    def __init__(self, parameters: Parameters, cell: str, layers: int, classes: bool = False) -> None:
        self.p = {name: np.array(values, float) for name, values in parameters.items()}
        self.cell, self.layers, self.classes = cell, layers, classes

    def names(self, layer: int, direction: int) -> list[str]:
        return [f"{name}_l{layer}{'_reverse' * direction}" for name in NAMES]

    def weights(self, layer: int, direction: int) -> list[Array]:
        return [self.p[name] for name in self.names(layer, direction)]

    def initial_states(self) -> States:
        """Return zeros: (h, c) of every layer's forward cell."""
        hidden = self.p["weight_hh_l0"].shape[1]
        return [(np.zeros(hidden), np.zeros(hidden)) for _ in range(self.layers)]

    def run(self, inputs: list[Array], states: States, chunk: int) -> tuple[list[Array], States, list]:
        """Return the predictions for the first ``chunk`` inputs, the forward states after these inputs, and
        the activations for the backward pass.

        The activations are [layer][direction][step]; the last entry is the input of the read-out by step.
        """
        steps = len(inputs)
        states_after, activations, values = [], [], inputs
        for layer in range(self.layers):
            outputs = [[None] * steps, [None] * steps]  # h of each direction and step
            activations.append([[None] * steps, [None] * steps])
            h, c = states[layer]
            for t in range(steps):
                h, c, activations[layer][FORWARD][t] = forward(
                    self.cell, self.weights(layer, FORWARD), values[t], h, c
                )
                outputs[FORWARD][t] = h
                if t == chunk - 1:
                    states_after.append((h, c))
            h = c = np.zeros_like(h)
            for t in reversed(range(steps)):
                h, c, activations[layer][REVERSE][t] = forward(
                    self.cell, self.weights(layer, REVERSE), values[t], h, c
                )
                outputs[REVERSE][t] = h
            values = [np.concatenate(pair) for pair in zip(*outputs, strict=True)]
        predictions = [self.p["head.weight"] @ v + self.p["head.bias"] for v in values[:chunk]]
        if self.classes:
            predictions = [softmax(y) for y in predictions]
        return predictions, states_after, [*activations, values]

    def loss(self, inputs: list[Array], targets: list[Array], states: States) -> float:
        """Return the mean squared error, or mean −log p, over all targets of the chunk that are present."""
        predictions, _, _ = self.run(inputs, states, len(targets))
        losses = []
        for y, target in zip(predictions, targets, strict=True):
            present = ~np.isnan(target)
            if self.classes:
                losses.append(-np.log(y[target[present].astype(int)]))
            else:
                losses.append((y - target)[present] ** 2)
        return float(np.mean(np.concatenate(losses)))

    def gradient(self, inputs: list[Array], targets: list[Array], states: States) -> Parameters:
        """Return ∂loss/∂parameters by backpropagation through time. The given states are constants."""
        steps, chunk = len(inputs), len(targets)
        predictions, _, (*activations, values) = self.run(inputs, states, chunk)
        count = sum(np.count_nonzero(~np.isnan(target)) for target in targets)
        grad = {name: np.zeros_like(array) for name, array in self.p.items()}
        d_outputs = [np.zeros_like(v) for v in values]  # ∂loss/∂(outputs of the current layer) by step
        for t in range(chunk):
            dy = output_gradient(predictions[t], targets[t], count, self.classes)
            grad["head.weight"] += np.outer(dy, values[t])
            grad["head.bias"] += dy
            d_outputs[t] = self.p["head.weight"].T @ dy
        for layer in reversed(range(self.layers)):
            d_inputs = [0.0] * steps
            for direction in (FORWARD, REVERSE):
                names, weights = self.names(layer, direction), self.weights(layer, direction)
                dh, dc = np.zeros_like(states[0][0]), np.zeros_like(states[0][0])
                for t in range(steps) if direction == REVERSE else reversed(range(steps)):
                    dh = dh + np.split(d_outputs[t], 2)[direction]
                    d_weights, dx, dh, dc = backward(
                        self.cell, weights, activations[layer][direction][t], dh, dc
                    )
                    d_inputs[t] = d_inputs[t] + dx
                    for name, d_weight in zip(names, d_weights, strict=True):
                        grad[name] += d_weight
            d_outputs = d_inputs
        return grad


class Stream:
    """Chunks of ``chunk`` samples, with ``context`` samples after them. Targets arrive with their samples."""

    def __init__(self, net: Net, optimizer: Optimizer, chunk: int, context: int) -> None:
        self.net, self.optimizer, self.chunk, self.context = net, optimizer, chunk, context
        self.states = net.initial_states()
        self.waiting: list[tuple[Array, Array | None]] = []  # (input, target) from the current chunk on
        self.means = Means()

    def append(self, x: Array, y: Array | None) -> bool:
        """Append a sample. Return whether the chunk and its context are complete; then call ``run``."""
        self.waiting.append((self.means.fill(x), y))
        return len(self.waiting) == self.chunk + self.context

    def run(self, targets: list[Array]) -> list[Array]:
        """Return the predictions for the chunk. Then update once on its targets."""
        inputs, states_before, predictions = self._predict_chunk()
        self._update(inputs, targets, states_before)
        return predictions

    def learn(self, x: Array, y: Array) -> list[Array]:
        """Learn one sample and its target. Return the predictions for the chunk if this sample completes it,
        else none."""
        if not self.append(x, y):
            return []
        return self.run([target for _, target in self.waiting[: self.chunk]])

    def _predict_chunk(self) -> tuple[list[Array], States, list[Array]]:
        """Advance by one chunk. Return its inputs, the states before it, and its predictions."""
        inputs, states_before = [x for x, _ in self.waiting], self.states
        predictions, self.states, _ = self.net.run(inputs, states_before, self.chunk)
        self.waiting = self.waiting[self.chunk :]
        return inputs, states_before, predictions

    def _update(self, inputs: list[Array], targets: list[Array], states: States) -> None:
        if not all(np.isnan(target).all() for target in targets):
            self.optimizer.update(self.net.p, self.net.gradient(inputs, targets, states))


class DelayedStream(Stream):
    """Learning in chunks with targets that may arrive late or never.

    Chunks are learned in order. A chunk is learned when all its targets have arrived, or when more than
    ``delay`` predicted samples wait."""

    def __init__(self, *rule, delay: int) -> None:
        super().__init__(*rule)
        self.delay = delay
        self.outputs = len(self.net.p["head.bias"])
        self.samples = 0  # samples that have arrived
        self.learned = 0  # samples of the chunks that were learned
        self.targets: dict[int, Array] = {}  # by sample number
        self.predictions: list[Array] = []  # by sample number
        self.chunks: list[tuple[list[Array], States]] = []  # (inputs, states before them) of waiting chunks

    def step(self, x: Array, y: Array | None = None) -> list[Array]:
        """Process a sample, with its target if it has arrived. Return the predictions for the chunk if this
        sample completes it, else none."""
        if y is not None and not np.isnan(y).all():
            self.targets[self.samples] = y
        self.samples += 1
        if not self.append(x, y):
            return []
        inputs, states_before, predictions = self._predict_chunk()
        self.chunks.append((inputs, states_before))
        self.predictions += predictions
        self._learn_complete_chunks()
        return predictions

    def target(self, number: int, y: Array) -> Array | None:
        """Learn a late target.

        Return the prediction for its sample; NaN if the sample was not predicted yet; None if the target is
        too late."""
        if number in self.targets or not self.learned <= number < self.samples:
            return None
        self.targets[number] = y
        is_predicted = number < len(self.predictions)
        prediction = self.predictions[number] if is_predicted else np.full(self.outputs, np.nan)
        self._learn_complete_chunks()
        return prediction

    def _learn_complete_chunks(self) -> None:
        while self.chunks:
            numbers = range(self.learned, self.learned + self.chunk)
            is_complete = all(i in self.targets for i in numbers)
            if not is_complete and len(self.predictions) - self.learned <= self.delay:
                return
            inputs, states = self.chunks.pop(0)
            missing = np.full(1 if self.net.classes else self.outputs, np.nan)
            self._update(inputs, [self.targets.get(i, missing) for i in numbers], states)
            self.learned += self.chunk
