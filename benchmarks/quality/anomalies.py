"""Streams with labelled anomalies: rare classes of shipped data, rare states, and injected faults."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

from streamlearn.cli.demo.data import shuttle

from .score import stationary
from .tables import Settings

Values = NDArray[np.float64]
Labels = NDArray[np.bool_]
Labelled = tuple[str, Values, Labels]

FAULT = 20  # samples of an injected fault
_RIVER = (  # data set of river, its rare class, the share of the class that is kept
    ("ImageSegments", "sky", 0.1),
    ("ImageSegments", "cement", 0.2),
    ("Phishing", "True", 0.15),
    ("Bananas", "True", 0.05),
)


def clusters(n: int, random: np.random.Generator, moves: float = 0.0) -> Values:
    """Return eight clusters of six channels. ``moves``: step of the random walk of their centres."""
    centres = 2 * random.normal(size=(8, 6))
    which = random.integers(0, 8, n)
    walk = np.cumsum(moves * random.normal(size=(n, 8, 6)), axis=0)[np.arange(n), which] if moves else 0.0
    return centres[which] + walk + 0.3 * random.normal(size=(n, 6))


def streams(settings: Settings) -> Iterator[Labelled]:
    """Yield name, samples and labels."""
    random = np.random.default_rng(settings.seed)
    data = datasets.load_digits()
    for digit in (0, 4):
        rare = data.target == digit
        kept = np.flatnonzero(~rare | (random.random(len(rare)) < 0.5))
        yield f"digits, {digit} is rare", data.data[kept], rare[kept]
    data = datasets.load_breast_cancer()
    rare = data.target == 0
    kept = random.permutation(np.flatnonzero(~rare | (random.random(len(rare)) < 0.1)))
    yield "breast cancer, 10 % of the malignant", data.data[kept], rare[kept]
    for n in (2000, settings.choose(20_000, 2000)):
        x, label = clusters(n, random), random.random(n) < 0.02
        x[label] = random.uniform(-4, 4, size=(int(label.sum()), 6))
        x[label] = (x[label] + x[~label][: label.sum()]) / 2
        yield f"between eight clusters, {n:,}", x, label
        yield f"offsets in two sines, {n:,}", *_offsets_in_sines(n, random)
    yield from rare_states(settings)
    yield from injected(settings)
    if not settings.quick:
        yield from _of_river(settings)
        yield "Shuttle", shuttle().x, shuttle().anomaly


def _offsets_in_sines(n: int, random: np.random.Generator) -> tuple[Values, Labels]:
    t, label = np.arange(n + 15), np.zeros(n, np.bool_)
    values = np.sin(2 * np.pi * t / 40) + 0.5 * np.sin(2 * np.pi * t / 17) + 0.1 * random.normal(size=n + 15)
    for begin in range(300, n - 50, 300):
        values[begin : begin + 8] += random.choice([-0.8, 0.8])
        label[max(0, begin - 15) : begin + 8] = True
    return np.lib.stride_tricks.sliding_window_view(values, 16), label


def rare_states(settings: Settings) -> Iterator[Labelled]:
    """Yield machines with a fault that is a state of its own and comes again and again."""
    n, random = settings.choose(20_000, 2000), np.random.default_rng(settings.seed)
    for states in (4, 7, 10):
        yield f"Markov chain of {states} states, and two faults", *_markov(n, states, random)
    for faults in (1, 5):
        x, label = clusters(n, random), random.random(n) < 0.05
        centres = 2.5 * random.normal(size=(faults, 6))
        which = random.integers(faults, size=int(label.sum()))
        x[label] = centres[which] + 0.3 * random.normal(size=(len(which), 6))
        yield f"eight clusters, and {faults} more of faults, 5 %", x, label


def _markov(n: int, states: int, random: np.random.Generator) -> tuple[Values, Labels]:
    """Return a Markov chain of states, and runs of 20 samples in one of two faults; 1 % of the samples."""
    move = 0.2 * random.dirichlet(np.full(states, 0.3), states) + 0.8 * np.eye(states)
    state, left, fault, at = 0, 0, 0, np.empty(n, np.int64)
    for i in range(n):
        if left == 0 and random.random() < 0.01 / FAULT:
            left, fault = FAULT, states + int(random.integers(2))
        state = int(random.choice(states, p=move[state]))
        at[i] = fault if left else state
        left = max(0, left - 1)
    centres, width = 3 * random.normal(size=(states + 2, 5)), 0.3 + 0.7 * random.random(states + 2)
    return centres[at] + width[at][:, None] * random.normal(size=(n, 5)), at >= states


def injected(settings: Settings) -> Iterator[Labelled]:
    """Yield stationary streams with offsets of one channel, of 2 to 4 deviations, in 1 % of the samples."""
    random = np.random.default_rng(settings.seed)
    for name, values in stationary(settings.choose(20_000, 2000), settings.seed):
        x, label = values.copy(), np.zeros(len(values), np.bool_)
        width = x.std(axis=0)
        for begin in range(len(x) // 10, len(x) - FAULT, 100 * FAULT):
            channel = random.integers(x.shape[1])
            size = width[channel] * random.uniform(2, 4) * random.choice([-1, 1])
            x[begin : begin + FAULT, channel] += size
            label[begin : begin + FAULT] = True
        yield f"offsets in: {name}", x, label


def _of_river(settings: Settings) -> Iterator[Labelled]:
    """Yield data of river with one class made rare, in random order."""
    module, random = importlib.import_module("river.datasets"), np.random.default_rng(settings.seed)
    for name, rare_class, share in _RIVER:
        rows = list(getattr(module, name)())
        x = np.array([[float(value) for value in sample.values()] for sample, _ in rows])
        rare = np.array([str(target) == rare_class for _, target in rows])
        kept = random.permutation(np.flatnonzero(~rare | (random.random(len(rare)) < share)))
        yield f"{name}, {100 * share:.0f} % of {rare_class}", x[kept], rare[kept]
