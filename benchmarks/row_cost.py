"""The time of the most expensive row of each kind of model, per multiply-add of its ``row_cost``.

python -m benchmarks.row_cost        one line per spec; --only KIND for one kind

``limits.row_cost`` refuses specs by their number of multiply-adds, so the times per multiply-add must be
alike, and none may be much longer than the others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from streamlearn import models
from streamlearn.models import Model
from streamlearn.models.row_cost import row_cost

ROUNDS = 3
OLDEST = 1 << 40  # id of the sample that the others wait for

SPECS: dict[str, list[dict[str, Any]]] = {
    "som": [
        {"dim": 8, "grid": (10, 10), "scale": "standard"},
        {"dim": 64, "grid": (40, 40), "sigma": 40.0},
        {"dim": 16, "grid": (200, 200), "sigma": 200.0, "neighbourhood": "mexican_hat", "torus": True},
        {"dim": 16, "grid": (200, 200), "sigma": 200.0, "distance": "cosine", "topology": "hexagonal"},
        {"dim": 1000, "grid": (100, 100), "sigma": 100.0},
        {"dim": 1 << 17, "grid": (2, 2), "scale": "ewma"},
        {"dim": 30, "grid": (20, 20), "init": "pca", "init_samples": 500},
        {"dim": 2, "grid": (30, 30), "labels": 3000, "delay": 1 << 16},
    ],
    "competitive": [
        {"dim": 8, "units": 16},
        {"dim": 64, "units": 1000, "mode": "soft"},
        {"dim": 16, "units": 2000, "mode": "gas"},
        {"dim": 16, "units": 20_000, "conscience": 1.0, "leak": 0.001},
        {"dim": 16, "units": 100_000, "frequency_sensitive": True, "distance": "manhattan"},
        {"dim": 64, "units": 20_000, "init": "samples"},
        {"dim": 64, "units": 10_000, "init": "range"},
    ],
    "gng": [
        {"dim": 8, "max_units": 100, "insert_every": 1},
        {"dim": 256, "max_units": 200, "insert_every": 1, "max_age": 1},
        {"dim": 8, "max_units": 2000, "insert_every": 1, "max_age": 10_000},
    ],
    "rnn": [
        {"readout": "adam", "dim": 1, "hidden": 32, "scale": "standard"},
        {"readout": "rls", "dim": 1, "horizon": 24, "period": 24},
        {"readout": "rls", "dim": 16, "hidden": 0},
        {"readout": "rls", "dim": 1, "horizon": 96, "lags": 200, "hidden": 64},
        {"readout": "adam", "dim": 8, "hidden": 128, "tbptt": (8, 32)},
        {"readout": "adam", "dim": 8, "hidden": 256, "cell": "gru", "layers": 2, "record_lags": True},
        {"readout": "adam", "dim": 8, "hidden": 64, "cell": "elman", "tbptt": (1, 200), "optimizer": "sgd"},
        {"readout": "adam", "dim": 1, "hidden": 64, "symbols": 2000, "loss": "cross_entropy"},
        {"readout": "adam", "dim": 4, "hidden": 32, "horizon": 96},
        {"readout": "adam", "dim": 1, "hidden": 8, "keys": 1 << 14},
        {"readout": "adam", "dim": 1, "hidden": 32, "cell": "rtu"},
        {"readout": "adam", "dim": 32, "hidden": 64, "cell": "rtu"},
        {"readout": "adam", "dim": 2, "hidden": 32, "cell": "rtu", "horizon": 24},
        {"readout": "adam", "dim": 4, "hidden": 32, "target": "later", "delay": 500, "scale": "standard"},
        {
            "readout": "adam",
            "dim": 4,
            "hidden": 128,
            "layers": 2,
            "target": "later",
            "delay": 40,
            "tbptt": (1, 8),
        },
    ],
    "birnn": [
        {"dim": 3, "hidden": 32, "scale": "standard"},
        {"dim": 8, "hidden": 128, "layers": 2, "chunk": (32, 16)},
        {"dim": 8, "hidden": 128, "cell": "elman", "chunk": (1, 64)},
        {"dim": 4, "hidden": 32, "target": "later", "delay": 500, "outputs": 1, "cell": "gru"},
    ],
    "grossberg": [
        {"dim": 16, "layers": [[8, 8], [4]]},
        {"dim": 1000, "layers": [[1000]], "leak": 0.01},
        {"dim": 200, "layers": [[4] * 500, [100]], "leak": 0.01, "sensitivity": 0.01},
    ],
    "hamming": [
        {"dim": 16, "units": 16, "inhibition": 1e-12},
        {"dim": 64, "units": 1000, "inhibition": 1e-12},
        {"dim": 64, "units": 50_000, "inhibition": 1e-12, "max_iterations": 200},
        {"dim": 1000, "units": 10_000, "max_iterations": 1},
    ],
    "malsburg": [
        {"dim": 19},
        {"dim": 500, "sheet": 20, "steps": 50},
        {"dim": 19, "sheet": (60, 60), "q_rings": (0, 8)},
        {"dim": 1000, "sheet": (1, 900), "steps": 5},
    ],
    "cognitron": [
        {"dim": 144, "shape": (12, 12)},
        {"dim": 2500, "shape": (50, 50), "area": 6, "vicinity": 6},
        {"dim": 4000, "layers": 8},
    ],
}


def rows(model: Model, n: int, seed: int) -> dict[str, Any]:
    """Return ``n`` samples that take long: all values are present, and all lines are active."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, model.dim))
    if model.kind in ("malsburg", "cognitron"):
        x = np.abs(x)
    elif model.kind == "grossberg":
        x = np.ones_like(x)
        if seed % 2:
            x[:, 0] = np.nan  # with a missing line, weights are summed
    elif model.kind == "hamming":
        x = np.where(x > 0, 1.0, -1.0)
    elif getattr(model.spec, "symbols", None):
        x = random.integers(0, model.spec.symbols, (n, 1)).astype(float)
    batch: dict[str, Any] = {"X": x.astype(np.float32)}
    if model.target_dim:
        batch["y"] = random.integers(0, 2, (n, model.target_dim)).astype(np.float32)
    if model.needs_keys:
        batch["keys"] = random.integers(0, 1 << 40, n)
    return batch


def prepare(model: Model) -> None:
    """Learn the samples that come before the most expensive rows."""
    spec = model.spec
    held = len(model.state.get("init.samples", ()))
    if held:
        model.learn(**rows(model, held - 1, 0))
    elif model.kind == "gng":
        model.learn(**rows(model, 3 * spec.max_units, 0))
    elif model.needs_keys:
        model.learn(**rows(model, spec.keys, 0))
    elif model.kind == "birnn":
        # Only the oldest sample waits for its target; all other chunks wait for that sample.
        chunk, context = spec.chunk
        waiting = max(spec.max_waiting // chunk, 1)
        batch = rows(model, (waiting - 1) * chunk + chunk + context - (0 if spec.max_waiting else 1), 0)
        batch["y"][0] = np.nan
        model.learn(**batch)
    elif model.kind == "rnn":
        k1, k2 = spec.tbptt
        model.learn(**rows(model, (k2 // k1 + 1) * k1 + (spec.horizon or 1) - 1, 0))
        if model.accepts_late_targets:
            batch = rows(model, spec.delay, 1)
            batch["y"][0] = np.nan
            model.learn(**batch, ids=np.arange(spec.delay) + OLDEST)


def calls(model: Model) -> Iterator[tuple[str, Any]]:
    """Yield the calls of which one is the most expensive."""
    spec = model.spec
    if model.accepts_late_targets:
        oldest = OLDEST if model.kind == "rnn" else 0
        yield "learn_targets", {"ids": [oldest], "y": np.zeros((1, model.target_dim), np.float32)}
    period = getattr(spec, "tbptt", getattr(spec, "chunk", (4, 0)))[0]
    for number in range(2 * period):
        yield "learn", rows(model, 1, number)
    yield "predict", {name: rows(model, 1, 1)[name] for name in ("X", "keys") if name in rows(model, 1, 1)}


def milliseconds(kind: str, spec: dict[str, Any]) -> float:
    """Return the CPU time of the most expensive row: the best of some rounds for each row."""
    times: list[list[int]] = []
    for _ in range(ROUNDS):
        model = models.create(kind, spec)
        prepare(model)
        taken = []
        for name, arguments in calls(model):
            began = time.thread_time_ns()
            getattr(model, name)(**arguments)
            taken.append(time.thread_time_ns() - began)
        times.append(taken)
    return max(map(min, zip(*times, strict=True))) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.row_cost", description=__doc__)
    parser.add_argument("--only", choices=SPECS)
    only = parser.parse_args().only
    print(f"{'row_cost':>14} {'longest row':>14} {'per multiply-add':>18}")
    for kind, specs in SPECS.items():
        for spec in specs if only in (None, kind) else ():
            cost = row_cost(models.kinds()[kind].Spec(**spec))
            longest = milliseconds(kind, spec)
            text = ", ".join(f"{name}={value}" for name, value in spec.items())
            print(
                f"{cost:14,} {longest:11.3f} ms {longest * 1e6 / cost:15.3f} ns   {kind} {text[:70]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
