"""The loss of the forecasts of consecutive steps, and its gradient.

The loss is the mean of e² or, if ``huber_delta`` is finite, the mean of ½e² for |e| ≤ δ and of δ·(|e| − ½δ)
beyond (Huber 1964), as PyTorch's ``mse_loss`` and ``huber_loss``. For classes it is the mean of −log p, as
``cross_entropy``.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.elementary import exp
from ..simd.lanes import WIDTH, canonical_nan, iota, lane, load, select, store, zero
from ..simd.sums import add_up
from ..simd.views import values_of
from .memory_layout import CLASSES, FORECAST, OUTPUTS, PRESENT, TARGET, TARGET_COLUMNS
from .products import zero_if_nan

_0, _1, _2, _INF = np.float32(0), np.float32(1), np.float32(2), np.float32(np.inf)
_HUGE = np.float32(1e30)


@device
def softmax(window, t, first, classes):
    """p_k = e^{y_k − max y} / Σ, in place. Lanes without a class stay 0."""
    blocks = (classes + WIDTH - 1) // WIDTH
    top = zero() - _HUGE
    for b in range(blocks):
        y = zero_if_nan(load(window, t, first + b))
        y = select(y > _HUGE, _HUGE, select(y < -_HUGE, -_HUGE, y))
        y = select(iota() < np.float32(classes - b * WIDTH), y, -_HUGE)
        store(window, t, first + b, y)
        top = select(y > top, y, top)
    largest = lane(top, 0)
    for l in range(1, WIDTH):
        largest = max(largest, lane(top, l))
    total = zero()
    for b in range(blocks):
        e = exp(load(window, t, first + b) - largest)
        e = select(iota() < np.float32(classes - b * WIDTH), e, zero())
        store(window, t, first + b, e)
        total = total + e
    whole = add_up(total)
    for b in range(blocks):
        store(window, t, first + b, load(window, t, first + b) / whole)


@device
def write_loss_gradient(layout, steps, count, delta, huber_delta):
    """Write ∂L/∂(sums of the read-out) of the first ``count`` steps to the activations, from row ``delta``.

    Return the number of values in the mean L.
    """
    if layout[CLASSES] == 1:
        return _class_loss_gradient(layout, steps, count, delta)
    return _value_loss_gradient(layout, steps, count, delta, huber_delta)


@device
def _class_loss_gradient(layout, steps, count, delta):
    """∂L/∂y = (p − one-hot target)/known for known classes, else 0. Return the number of known classes."""
    known = _0
    for t in range(count):
        known += values_of(steps.window, t, layout[PRESENT])[0]
    factor = _1 / max(known, _1)
    for t in range(count):
        weight = values_of(steps.window, t, layout[PRESENT])[0] * factor
        code = values_of(steps.window, t, layout[TARGET])[0]
        for b in range((layout[OUTPUTS] + WIDTH - 1) // WIDTH):
            target = select(iota() == code - np.float32(b * WIDTH), _1, zero())
            p = load(steps.window, t, layout[FORECAST] + b)
            store(steps.activations, t, delta + b, (p - target) * weight)
    return known


@device
def _value_loss_gradient(layout, steps, count, delta, huber_delta):
    """∂L/∂forecast where the target is present, else 0. Return the number of targets present."""
    blocks = (layout[TARGET_COLUMNS] + WIDTH - 1) // WIDTH
    total = zero()
    for t in range(count):
        for b in range(blocks):
            total = total + load(steps.window, t, layout[PRESENT] + b)
    present = add_up(total)
    factor = (_1 if huber_delta < _INF else _2) / max(present, _1)
    for t in range(count):
        for b in range(blocks):
            error = load(steps.window, t, layout[FORECAST] + b) - load(steps.window, t, layout[TARGET] + b)
            error = select(
                error > huber_delta, huber_delta, select(error < -huber_delta, -huber_delta, error)
            )
            d = error * load(steps.window, t, layout[PRESENT] + b) * factor
            store(steps.activations, t, delta + b, canonical_nan(d))  # ∞·0, if the forecast overflowed
    return present
