"""How far back a net learns: the norm of the last loss's gradient by lag.

‖∂L_T/∂s_{T−j}‖ is averaged by lag j. L_T is the last step's share of the loss; s are the states (h, and c of
an LSTM). This takes a backward pass of its own, on a copy of the activations.
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, load, store, zero

# lag_norms, float64 (3, k2), by lag: the weight and the weighted sum of the gradient's norms; scratch
LAG_WEIGHT, LAG_SUM, LAG_SCRATCH = range(3)


@device
def copy_last_loss(activations, count, output_delta, copy):
    """Copy the activations, with the loss of the last step only."""
    for t in range(count):
        for row in range(activations.shape[1]):
            other_loss = row >= output_delta and t < count - 1
            store(copy, t, row, zero() if other_loss else load(activations, t, row))


@device
def squared_norm(values, first, rows):
    """‖·‖² of some rows, in float64: the squares of vanishing gradients underflow in float32."""
    total = 0.0
    for row in range(first, first + rows):
        for l in range(WIDTH):
            total += np.float64(values[row, l]) * np.float64(values[row, l])
    return total


@device
def update_lag_norms(lag_norms, count, decay):
    """Add the squared norms in the scratch row to the running sums, if they are finite and not all 0."""
    total = 0.0
    for j in range(count):
        total += lag_norms[LAG_SCRATCH, j]
    if total > 0.0 and total < np.inf:
        for j in range(count):
            lag_norms[LAG_WEIGHT, j] = lag_norms[LAG_WEIGHT, j] * decay + 1.0
            lag_norms[LAG_SUM, j] = lag_norms[LAG_SUM, j] * decay + math.sqrt(lag_norms[LAG_SCRATCH, j])
    for j in range(lag_norms.shape[1]):
        lag_norms[LAG_SCRATCH, j] = 0.0  # NaN and ∞ must not stay in the state
