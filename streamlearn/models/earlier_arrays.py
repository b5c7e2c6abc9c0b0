"""Conversion of state arrays that earlier versions wrote."""

from __future__ import annotations

import numpy as np

from ..kernels.stream import gate
from .state_checks import State


def converted(arrays: State) -> State:
    """Return the arrays in the form of this version. ``arrays`` itself is not changed."""
    return _with_episodes(arrays)


def _with_episodes(arrays: State) -> State:
    """Add the episodes to the gate, which has none up to 0.1.0: there were none so far."""
    found = arrays.get("gate")
    if found is None or found.shape != (gate.LATELY,) or found.dtype != np.float64:
        return arrays
    return {**arrays, "gate": np.concatenate([found, np.zeros(gate.SIZE - gate.LATELY)])}
