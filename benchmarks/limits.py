"""The least time of a sample on this machine: its arithmetic and its memory traffic, at measured peaks.

A kernel cannot be faster than the slower of both. What it does besides (scaling, score, exp and tanh,
outputs) is not in the limit.
"""

from __future__ import annotations

import numpy as np

from .roof import Roof
from .timing import Limit

LANES = 16
REACH = 5.25  # in σ: units farther from the winner do not learn


def units_in_reach(rows: int, columns: int, sigma: float) -> float:
    """Mean number of units within ``REACH``·σ of a unit, over all units of a rectangular grid."""
    reach = REACH * sigma
    total = 0
    for down in range(-int(reach), int(reach) + 1):
        for right in range(-int(reach), int(reach) + 1):
            if down * down + right * right <= reach * reach:
                total += max(0, rows - abs(down)) * max(0, columns - abs(right))
    return total / (rows * columns)


def map_learning(roof: Roof, units: int, dim: int, moved: float) -> Limit:
    """Every weight is compared with the sample, and those of ``moved`` units move.

    Each moved weight is loaded and stored once. Samples of a batch can share the loads of the others.
    """
    arithmetic = (units + moved) * dim / LANES / roof.distance
    return _limit(arithmetic, moved * dim / LANES / roof.update(units * dim * 4))


def map_search(roof: Roof, units: int, dim: int) -> Limit:
    """Every weight is compared with the sample. Samples of a batch can share the loads."""
    return _limit(units * dim / LANES / roof.distance, 0.0)


def recurrent_learning(roof: Roof, gates: int, dim: int, hidden: int, outputs: int, steps: int = 1) -> Limit:
    """Products of one sample in TBPTT(k, k): forward, the error of h, and the gradient of the weights.

    In TBPTT(1, k) each sample takes k such ``steps``, since the parameters have changed.

    Weights are loaded once forward and, without those of the input, once backward. A gradient could stay in
    registers over the window, so its traffic is not in the limit.
    """
    forward, recurrent, head = gates * hidden * (dim + hidden), gates * hidden * hidden, outputs * hidden
    arithmetic = (2 * forward + recurrent + 3 * head) / LANES / roof.fma
    loaded = forward + recurrent + 2 * head
    return _limit(steps * arithmetic, steps * loaded / LANES / roof.read((forward + head) * 4))


def recurrent_step(roof: Roof, gates: int, dim: int, hidden: int, outputs: int) -> Limit:
    """Products of one step forward."""
    products = gates * hidden * (dim + hidden) + outputs * hidden
    return _limit(products / LANES / roof.fma, products / LANES / roof.read(products * 4))


def _limit(arithmetic: float, memory: float) -> Limit:
    """The limit in samples per second from two times in ns."""
    of = "arithmetic" if arithmetic >= memory else "memory"
    return Limit(of, float(1e9 / np.maximum(arithmetic, memory)))
