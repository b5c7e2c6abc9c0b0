"""The models of a simulation: small ones that use every column of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import numpy as np

from streamlearn_client.protocol import Learn, as_batch

SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "map": (
        "som",
        {
            "dim": 2,
            "grid": [3, 3],
            "scale": "standard",
            "learning_rate": {"start": 0.5, "end": 0.05, "tau": 50},
        },
    ),
    "late": (
        "rnn",
        {"readout": "adam", "dim": 2, "hidden": 3, "target": "later", "tbptt": [2, 4], "delay": 16},
    ),
    "keyed": ("rnn", {"readout": "adam", "dim": 2, "hidden": 3, "keys": 3, "tbptt": [1, 3]}),
    "clock": (
        "competitive",
        {"dim": 2, "units": 4, "learning_rate": {"start": 0.5, "end": 0.05, "tau": 10, "unit": "seconds"}},
    ),
}


@dataclass
class ModelPlan:
    """One of ``SPECS``, and what its clients send."""

    name: str
    kind: str = field(init=False)
    spec: dict[str, Any] = field(init=False)
    _numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.kind, self.spec = SPECS[self.name]

    def arguments(self, random: Random, rows: int) -> dict[str, Any]:
        """Return the arguments of a ``learn`` of up to ``rows`` random samples, or late targets.

        Many have the same number of rows, so that consecutive batches join runs.
        """
        n = rows if random.random() < 0.7 else random.randint(1, rows)
        if self.name == "late" and random.random() < 0.4:
            ids = [random.randrange(60) for _ in range(n)]
            y = _values(random, n, 1)
            y[0] = next(self._numbers) / 4096  # so that no two batches are equal
            return {"x": None, "y": y, "keys": None, "ids": ids}
        arguments: dict[str, Any] = {"x": _values(random, n, 2), "y": None, "keys": None, "ids": None}
        if self.name == "keyed":
            arguments["keys"] = [random.randrange(5) for _ in range(n)]
        return arguments

    def batch(self, random: Random, rows: int) -> Learn:
        return as_batch(self.name, **self.arguments(random, rows))


def _values(random: Random, rows: int, columns: int) -> np.ndarray:
    bits = np.frombuffer(random.randbytes(4 * rows * columns), np.uint32) >> 8
    return (bits.astype(np.float32) / np.float32(1 << 24)).reshape(rows, columns)
