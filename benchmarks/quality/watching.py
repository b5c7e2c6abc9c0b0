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

from .score import KINDS, model, share, stationary
from .tables import Claim, Row, Settings

TITLE = "Long faults: area under the ROC curve of the score"
HEALTHY = "No fault: scores above 0.99, and the error relative to learning all, with learn_below=0.99"
Values = NDArray[np.float64]

LEARNING = "learns all"
RULES: dict[str, Callable[[int], dict[str, Any]]] = {
    LEARNING: lambda n: {},
    "learn_for": lambda n: {"learn_for": n},
    "learn_below=0.99": lambda n: {"learn_below": 0.99},
}
MODELS: dict[str, Callable[..., Any]] = {
    "som": lambda **rule: sl.SOM(dim=4, grid=(10, 10), scale="standard", **rule),
    "competitive": lambda **rule: sl.Competitive(dim=4, units=50, scale="standard", **rule),
    "gas": lambda **rule: sl.Competitive(dim=4, units=50, mode="gas", scale="standard", **rule),
    "gng": lambda **rule: sl.GrowingNeuralGas(dim=4, max_units=50, scale="standard", **rule),
    "lstm": lambda **rule: sl.RNN(dim=4, readout="adam", hidden=16, scale="standard", **rule),
    "gru": lambda **rule: sl.RNN(dim=4, readout="adam", cell="gru", hidden=16, scale="standard", **rule),
    "least squares": lambda **rule: sl.RNN(dim=4, **rule),
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
    for name, create in MODELS.items():
        for fault in FAULTS:
            x = stream(n, fault, settings.seed)
            found = {rule: auc(create(**spec(n)).learn(x).score, n) for rule, spec in RULES.items()}
            yield Row(fault.__name__.replace("_", " "), found, name)
    yield from without_fault(settings)


def without_fault(settings: Settings) -> Iterator[Row]:
    """Yield what ``learn_below`` costs on streams that do not change."""
    n, settled = settings.choose(60_000, 400), settings.choose(20_000, 100)
    streams = {
        **dict(stationary(n, settings.seed)),
        "cycles": healthy(n, np.random.default_rng(settings.seed)),
    }
    for name, x in streams.items():
        figures: dict[str, float | int | str | None] = {}
        for kind in KINDS:
            out = model(kind, x.shape[1], learn_below=0.99).learn(x)
            plain = model(kind, x.shape[1]).learn(x)
            figures[f"{kind}, score > 0.99, %"] = share(out.score[settled:], 0.99)
            figures[f"{kind}, error"] = round(_error(out, settled) / _error(plain, settled), 3)
        yield Row(name, figures, HEALTHY)


def _error(out: Any, settled: int) -> float:
    """Mean distance or error after the first samples."""
    arrays = out.arrays
    return float(np.nanmean(arrays["distance" if "distance" in arrays else "error"][settled:]))


def claims(rows: Sequence[Row]) -> Iterator[Claim]:
    faults = [row for row in rows if row.part != HEALTHY]
    gain = [_of(row, "learn_for") - _of(row, LEARNING) for row in faults]
    yield Claim("learn_for is never worse than learning all", f"{min(gain):+.3f} at least", min(gain) >= 0)
    worst = max(_loss(row) for row in faults if row.case == "large offset")
    yield Claim("large offset: learn_below keeps the AUC of learn_for", f"{worst:.3f} less", worst <= 0.02)
    kept = sum(loss <= 0.02 for loss in map(_loss, faults))
    yield Claim(
        "every fault: learn_below keeps the AUC of learn_for", f"{kept} of {len(faults)}", kept == len(faults)
    )
    quiet = [row for row in rows if row.part == HEALTHY]
    above = [float(v or 0) for row in quiet for name, v in row.figures.items() if name.endswith("%")]
    errors = [float(v or 0) for row in quiet for name, v in row.figures.items() if name.endswith("error")]
    inside = sum(0.8 <= share <= 1.2 for share in above)
    yield Claim(
        "no fault: above 0.99 for 1 ± 0.2 %",
        f"{inside} of {len(above)}, {min(above):.2f} … {max(above):.2f} %",
        inside == len(above),
    )
    few = sum(error <= 1.02 for error in errors)
    yield Claim(
        "no fault: error at most 2 % larger",
        f"{few} of {len(errors)}, {max(errors):.3f} at most",
        few == len(errors),
    )


def _loss(row: Row) -> float:
    return _of(row, "learn_for") - _of(row, "learn_below=0.99")


def _of(row: Row, rule: str) -> float:
    return float(row.figures[rule] or 0)


if __name__ == "__main__":
    for row in rows(Settings()):
        print(row.part, row.case, *(f"{rule} {_of(row, rule):.3f}" for rule in RULES))
