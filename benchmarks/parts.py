"""What each optional part of a model costs: the time of a sample with the part, and with nothing.

python -m benchmarks.parts

All models learn the same samples in turn, in rounds. The time is CPU time of the thread, relative to that of
the model with nothing in the same round; the figure is the median over the rounds. The second row measures
nothing once more: it shows how exact the figures are.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

import streamlearn as sl

DIM, ROUNDS = 8, 100
KINDS: Mapping[str, tuple[type[Any], dict[str, Any]]] = {
    "som, 10 × 10": (sl.SOM, {"dim": DIM, "grid": (10, 10), "scale": "standard"}),
    "rnn, least squares": (sl.RNN, {"dim": DIM}),
}
BATCHES = {"som, 10 × 10": 2_000, "rnn, least squares": 200}
NOTHING: dict[str, Any] = {"drift": None, "alarm": None}
PARTS: Mapping[str, dict[str, Any]] = {
    "nothing, again": {},
    "times": {"times": True},
    "names of channels": {"channels": [f"c{d}" for d in range(DIM)]},
    "features: lags 1 and 2": {"features": {"lags": [1, 2]}},
    "features: hour of the day": {"features": {"calendar": ["hour"]}, "times": True},
    "learn_below=0.99": {"learn_below": 0.99},
    'drift="blocks" (the default)': {"drift": "blocks"},
    "alarm=True (the default)": {"alarm": True},
    "alarm, also of order and pace": {"alarm": {"transitions": True, "dwell": True, "cycle": True}},
}


def cost(kind: str) -> tuple[float, dict[str, float]]:
    """Return the time of a sample with nothing, in µs, and by part the ratio to it."""
    cls, spec = KINDS[kind]
    batch = BATCHES[kind]
    x = np.random.default_rng(1).normal(size=(ROUNDS * batch, DIM)).astype(np.float32)
    plain = cls(**spec, **NOTHING)
    models: dict[str, Any] = {}
    for part, extra in PARTS.items():
        if kind.startswith("rnn") and "lags" in extra.get("features", {}):
            continue  # it has lags
        if kind.startswith("rnn") and isinstance(extra.get("alarm"), dict):
            continue  # it has no winners
        given = NOTHING | {name: value for name, value in extra.items() if name != "times"}
        models[part] = cls(**spec, **given)
    ratios: dict[str, list[float]] = {part: [] for part in models}
    alone = []
    for number in range(ROUNDS):
        rows = x[number * batch : (number + 1) * batch]
        times = 1_700_000_000 + np.arange(number * batch, (number + 1) * batch)
        alone.append(seconds(plain, rows, {}))
        for part, model in models.items():
            given = {"times": times} if PARTS[part].get("times") else {}
            ratios[part].append(seconds(model, rows, given) / alone[-1])
    own = {part: statistics.median(values) for part, values in ratios.items()}
    return statistics.median(alone) / batch * 1e6, own


def seconds(model: Any, rows: Any, arguments: dict[str, Any]) -> float:
    begun = time.thread_time()
    model.learn(rows, **arguments)
    return time.thread_time() - begun


def main() -> None:
    found = {kind: cost(kind) for kind in KINDS}
    table = Table("part", *KINDS)
    table.add_row("nothing, µs per sample", *(f"{alone:.2f}" for alone, _ in found.values()))
    for part in PARTS:
        ratios = [ratios.get(part) for _, ratios in found.values()]
        table.add_row(part, *("" if ratio is None else f"× {ratio:.2f}" for ratio in ratios))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
