"""State and kernel arguments of a net that compares samples by the relations of their channels.

``kernels/stream/relations.py`` has the rule.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.stream import relations, sizes
from ..row_cost import EXPONENTIAL, SCALAR, Cost
from ..state_checks import LARGEST_FLOAT, Range, State

RECENT, USUAL = "recent", "relations.usual"
RANGES = {"relations.counts": Range(0, LARGEST_FLOAT)}
_SHARED = "counts", "means", "widths", "covariance", "precision"
_OF_A_CHANNEL = 24 * SCALAR + 2 * EXPONENTIAL


def add(state: dict[str, NDArray[Any]], channels: int, slots: int) -> None:
    """Add the arrays to ``state``; with no channels for a net that does not compare them."""
    groups, side = sizes.groups(channels), sizes.side(channels)
    errors_only = np.arange(side) % sizes.VALUES == relations.ERROR
    state["relations.counts"] = np.zeros(2)
    state["relations.means"] = np.zeros(groups * side)
    state["relations.widths"] = np.tile(errors_only.astype(float), groups)
    state["relations.covariance"] = np.zeros((groups, side, side))
    state["relations.precision"] = np.tile(np.eye(side, dtype=np.float32), (groups, 1, 1))
    state[RECENT] = np.zeros((slots, channels, 2))
    state[RECENT][..., relations.LAST] = np.nan
    state[USUAL] = np.zeros((slots, channels, 3))


def arguments(state: State) -> dict[str, Any]:
    """Return the arrays by the kernels' names of them, and scratch memory."""
    values, side = state["relations.means"].size, state["relations.covariance"].shape[1]
    return {
        **{f"relation_{name}": state[f"relations.{name}"] for name in _SHARED},
        "relation_recent": state[RECENT],
        "relation_usual": state[USUAL],
        "relation_deviation": np.zeros(values),
        "relation_vectors": np.zeros((2, values), np.float32),
        "relation_inverse": np.zeros((side, side)),
    }


def state_values(channels: int, slots: int) -> int:
    """Return the number of values in the arrays, in units of float32."""
    return 3 * sizes.groups(channels) * sizes.side(channels) ** 2 + 10 * slots * channels


def row_costs(channels: int) -> list[Cost]:
    """Return the work of one sample. An inverse is the work of many: it counts in full."""
    size = sizes.groups(channels) * sizes.side(channels) ** 2
    return [
        Cost(channels * _OF_A_CHANNEL + size, ("dim",)),
        Cost(2 * size, ("dim",), learning=True),
    ]
