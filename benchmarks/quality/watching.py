"""Long faults: what the score is worth if the model learns the fault, and if it watches.

A healthy stream of four channels that depend on each other; after 10,000 samples a fault of 10,000 samples,
then 10,000 healthy ones. The area under the ROC curve (AUC) of the score over the last 20,000 samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import streamlearn as sl

from .tables import Claim, Row, Settings

TITLE = "Long faults: area under the ROC curve of the score"
Values = NDArray[np.float64]

LEARNING = "learns all"
RULES: dict[str, Callable[[int], dict[str, Any]]] = {
    LEARNING: lambda n: {},
    "learn_for": lambda n: {"learn_for": n},
    "learn_below=0.99": lambda n: {"learn_below": 0.99, "patience": n},
}
MODELS: dict[str, Callable[..., Any]] = {
    "som": lambda **rule: sl.SOM(dim=4, grid=(10, 10), scale="standard", **rule),
    "competitive": lambda **rule: sl.Competitive(dim=4, units=50, scale="standard", **rule),
    "gng": lambda **rule: sl.GrowingNeuralGas(dim=4, max_units=50, scale="standard", **rule),
}


def healthy(n: int, random: np.random.Generator) -> Values:
    """Return ``(n, 4)``: two hidden causes with cycles of their own, seen by four sensors with noise."""
    t = np.arange(n)
    causes = np.column_stack([np.sin(2 * np.pi * t / 1440), np.sign(np.sin(2 * np.pi * t / 331)) + 2])
    mixed = causes @ np.array([[3.0, 1.0, -2.0, 0.5], [1.0, 2.0, 0.5, -1.5]])
    return np.asarray(mixed + 0.3 * random.normal(size=(n, 4)))


def offset(x: Values, random: np.random.Generator) -> None:
    x[:, 1] += 1.5


def large_offset(x: Values, random: np.random.Generator) -> None:
    x[:, 1] += 16


def noise(x: Values, random: np.random.Generator) -> None:
    x[:, 2] += random.normal(scale=1.0, size=len(x))


def stuck(x: Values, random: np.random.Generator) -> None:
    x[:, 0] = x[0, 0]


def swapped(x: Values, random: np.random.Generator) -> None:
    x[:, [0, 3]] = x[:, [3, 0]]


FAULTS: Sequence[Callable[[Values, np.random.Generator], None]] = (
    large_offset,
    offset,
    swapped,
    stuck,
    noise,
)


def stream(n: int, fault: Callable[..., None], seed: int) -> Values:
    """Return ``(3n, 4)``: healthy, with the fault, healthy."""
    random = np.random.default_rng(seed)
    x = healthy(3 * n, random)
    fault(x[n : 2 * n], random)
    return x


def auc(score: NDArray[np.float32], n: int) -> float:
    """Area under the ROC curve of the scores after the first ``n`` samples. A missing score counts as 0."""
    return float(roc_auc_score(np.arange(2 * n) < n, np.nan_to_num(score[n:])))


def rows(settings: Settings) -> Iterator[Row]:
    n = settings.choose(10_000, 300)
    for name, model in MODELS.items():
        for fault in FAULTS:
            x = stream(n, fault, settings.seed)
            found = {rule: auc(model(**spec(n)).learn(x).score, n) for rule, spec in RULES.items()}
            yield Row(fault.__name__.replace("_", " "), found, name)


def claims(rows: Sequence[Row]) -> Iterator[Claim]:
    gain = [_of(row, "learn_for") - _of(row, LEARNING) for row in rows]
    yield Claim("learn_for is never worse than learning all", f"{min(gain):+.3f} at least", min(gain) >= 0)
    large = [_of(row, rule) for row in rows if row.case == "large offset" for rule in list(RULES)[1:]]
    yield Claim(
        "a large fault that is watched keeps its AUC", f"{min(large):.3f} at least", min(large) >= 0.99
    )


def _of(row: Row, rule: str) -> float:
    return float(row.figures[rule] or 0)


if __name__ == "__main__":
    for row in rows(Settings()):
        print(row.part, row.case, *(f"{rule} {_of(row, rule):.3f}" for rule in RULES))
