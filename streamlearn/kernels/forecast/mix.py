"""The weights of the forecasts that are mixed, by their recent errors (exponentially weighted average).

    L_q ← 2^(−1/50) L_q + |e_q|/(recent mean |error| of the mix)
    w_q ∝ exp(−0.3 (L_q − min L)),   then w ← 0.999 w + 0.001/K

N. Cesa-Bianchi and G. Lugosi, Prediction, Learning, and Games, 2006, chapter 2. The read-out starts with a
loss of 30: it has learned nothing when the naive forecasts are already right.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import exp
from ..simd.views import row_of

START_LOSS = 30.0  # of the read-out
_TEMPERATURE, _SHARED = 0.3, 0.001
SUM, COUNT = 0, 1  # of the mix's errors


@device
def count_error(mix, h, decay, error):
    """Add an |error| of the mix at horizon index ``h``. Return their recent mean."""
    errors = row_of(mix.errors, h)
    errors[SUM] = errors[SUM] * decay + error
    errors[COUNT] = errors[COUNT] * decay + 1.0
    return errors[SUM] / errors[COUNT]


@device
def update_weights(losses, weights):
    """Compute the weights of one horizon from its losses."""
    least = losses[0]
    for q in range(losses.size):
        least = min(least, losses[q])
    total = 0.0
    for q in range(losses.size):
        weights[q] = np.float64(exp(np.float32(-_TEMPERATURE * (losses[q] - least))))
        total += weights[q]
    for q in range(losses.size):
        weights[q] = (1.0 - _SHARED) * weights[q] / total + _SHARED / losses.size
