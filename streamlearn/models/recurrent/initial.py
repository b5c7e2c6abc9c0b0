"""Initial parameters of recurrent nets."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...kernels.simd import splitmix
from .state_dict import ParameterBlock

Float32 = NDArray[np.float32]

_SLOWEST = np.float32(9.210340371976184)  # log of 10⁴ samples


def draw_parameters(blocks: Mapping[str, ParameterBlock], seed: int, rows: Float32) -> None:
    """Draw all parameters and write them to ``rows``.

    They are uniform in ±1/√hidden, as in PyTorch. Trace units have weights in ±1/√dim, φ in 0 … 1, and time
    constants of 1 … 10⁴ samples at equal ratios.
    """
    generator = np.array([seed], np.uint64)
    first = blocks["weight_ih_l0"]
    trace_units = "nu_phi_l0" in blocks
    for name, block in blocks.items():
        values = np.empty(block.shape, np.float32)
        fan_in = first.inputs if trace_units and block is first else first.units
        high = np.float32(1 / math.sqrt(fan_in or 1))
        low = -high
        if name == "nu_phi_l0":
            low, high = np.float32(0), np.float32(1)
        splitmix.fill_uniform(generator, low, high, values.reshape(-1))
        if name == "nu_phi_l0":
            spread = np.arange(block.units, dtype=np.float32) / np.float32(max(block.units - 1, 1))
            values[: block.units] = -_SLOWEST * spread
        block.pack(values, rows)
