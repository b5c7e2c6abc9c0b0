"""The cube root of a float64. It uses only +, −, × and ÷, so that every CPU gives the same bits."""

from __future__ import annotations

import numpy as np

from ..compiler import device

_BIAS = 0x2A9F76C8B4395811  # about two thirds of the bits of 1.0


@device
def cube_root(x):
    """∛x for a normal ``x`` from 0 to 10³⁰⁷, with a relative error below 10⁻¹⁴.

    The bits of a float64 are nearly a logarithm: a third of them is a guess within 4 %. Halley's iteration
    triples the number of correct digits.
    """
    if x == 0.0:
        return 0.0
    y = np.int64(np.float64(x).view(np.int64) // 3 + _BIAS).view(np.float64)
    for _ in range(2):
        cube = y * y * y
        y = y * ((cube + x + x) / (cube + cube + x))
    return y
