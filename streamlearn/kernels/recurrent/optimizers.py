"""Optimizers with PyTorch's formulas, applied to all parameters, which are rows of 16 lanes.

    SGD       w −= ε·g
    momentum  m = μm + g,  w −= ε·m
    RMSProp   v = αv + (1 − α)g²,  w −= ε·g / (√v + 10⁻⁸)
    Adam      m += (1 − β₁)(g − m),  v = β₂v + (1 − β₂)g²,  w −= ε/(1 − β₁ᵗ) · m / (√v/√(1 − β₂ᵗ) + 10⁻⁸)

α = 0.99, β₁ = 0.9, β₂ = 0.999 (Tieleman & Hinton 2012; Kingma & Ba 2015). Clipping multiplies the whole
gradient by min(1, clip/(‖g‖ + 10⁻⁶)) (Pascanu et al. 2013). An update is skipped and counted if the gradient
is not finite or its squared norm overflows float32.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ..compiler import device
from ..simd.lanes import canonical_nan, fma, load, sqrt, store

SGD, MOMENTUM, RMSPROP, ADAM = range(4)
OPTIMIZERS = {"sgd": SGD, "momentum": MOMENTUM, "rmsprop": RMSPROP, "adam": ADAM}

# clock, float64 (3,): β₁ᵗ and β₂ᵗ after t updates; norm of the last gradient that was used, before clipping
POWER1, POWER2, NORM = 0, 1, 2

# counters, int64: updates; skipped updates. The caller may have more counters after these
UPDATES, SKIPPED = 0, 1

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, np.float32(1e-8)
_KEEP2 = np.float32(_BETA2)
_GAIN1, _GAIN2 = np.float32(1.0 - _BETA1), np.float32(1.0 - _BETA2)
_ALPHA, _GAIN = np.float32(0.99), np.float32(1.0 - 0.99)
_CLIP_EPSILON = 1e-6


class Optimizer(NamedTuple):
    """An optimizer and its state."""

    kind: Any  # one of OPTIMIZERS
    mean: Any  # m, as the parameters; (0, 16) if it has none
    square: Any  # v, likewise
    clock: Any  # (3,)
    counters: Any  # (2,) or more
    momentum: Any
    clip: Any  # +inf for none


@device
def update(optimizer, parameters, gradient, squares, learning_rate):
    """Take and count one step against ``gradient`` ``(rows, 16)``. ``squares`` is ‖gradient‖².

    If the gradient is not finite, count that, change nothing else and return False.
    """
    kind, mean, square, clock, counters, momentum, clip = optimizer
    norm = math.sqrt(np.float64(squares))
    if not norm < math.inf:
        counters[SKIPPED] += 1
        return False
    counters[UPDATES] += 1
    clock[NORM] = norm
    shrink = np.float32(min(1.0, clip / (norm + _CLIP_EPSILON)))
    if kind == SGD:
        for row in range(parameters.shape[0]):
            g = shrink * load(gradient, row)
            _write_parameters(parameters, row, fma(-learning_rate, g, load(parameters, row)))
        return True
    if kind == MOMENTUM:
        for row in range(parameters.shape[0]):
            m = fma(momentum, load(mean, row), shrink * load(gradient, row))
            store(mean, row, m)
            _write_parameters(parameters, row, fma(-learning_rate, m, load(parameters, row)))
        return True
    if kind == RMSPROP:
        for row in range(parameters.shape[0]):
            g = shrink * load(gradient, row)
            v = fma(_GAIN, g * g, _ALPHA * load(square, row))
            store(square, row, v)
            w = load(parameters, row)
            _write_parameters(parameters, row, w - learning_rate * g / (sqrt(v) + _EPSILON))
        return True
    clock[POWER1] *= _BETA1
    clock[POWER2] *= _BETA2
    step = np.float32(np.float64(learning_rate) / (1.0 - clock[POWER1]))
    correction = np.float32(1.0 / math.sqrt(1.0 - clock[POWER2]))
    for row in range(parameters.shape[0]):
        g = shrink * load(gradient, row)
        m = load(mean, row)
        m = fma(_GAIN1, g - m, m)
        v = fma(_GAIN2, g * g, _KEEP2 * load(square, row))
        store(mean, row, m)
        store(square, row, v)
        w = load(parameters, row)
        _write_parameters(parameters, row, w - step * m / fma(sqrt(v), correction, _EPSILON))
    return True


@device
def _write_parameters(parameters, row, w):
    """Store a row; at huge learning rates ∞ − ∞ makes NaNs."""
    store(parameters, row, canonical_nan(w))
