"""Queries of a net whose samples belong to several streams."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batch import Float32, Integers
from ..stream.keys import Slots

Arrays = dict[str, NDArray[Any]]
Run = Callable[[Float32, Float32, int], Arrays]
"""A function of the samples, the targets and the slot of one stream, which returns the outputs by name."""


def by_key(run: Run, x: Float32, y: Float32, keys: Integers | None, known: Slots) -> Arrays:
    """Call ``run`` for the samples of each key. Return the rows in the order of ``x``."""
    if keys is None:
        return run(x, y, 0)
    found, inverse = np.unique(keys, return_inverse=True)
    slots = known.find(found, len(found))
    parts = [
        run(x[rows], y[rows] if len(y) else y, int(slots[k]))
        for k, rows in enumerate(inverse == k for k in range(len(found)))
    ]
    if not parts:
        return run(x, y, -1)
    order = np.argsort(inverse, kind="stable")
    outputs = {name: np.concatenate([each[name] for each in parts]) for name in parts[0]}
    for array in outputs.values():
        array[order] = array.copy()
    return outputs
