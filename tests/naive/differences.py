"""Gradients by central finite differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

STEP = 1e-5


def differences(parameters: dict[str, np.ndarray], loss: Callable[[], float]) -> dict[str, np.ndarray]:
    """Return ∂loss()/∂parameters by central differences. ``loss`` reads ``parameters``."""
    gradient = {name: np.empty_like(values) for name, values in parameters.items()}
    for name, values in parameters.items():
        for index in np.ndindex(values.shape):
            original = values[index]
            values[index] = original + STEP
            loss_above = loss()
            values[index] = original - STEP
            loss_below = loss()
            values[index] = original
            gradient[name][index] = (loss_above - loss_below) / (2 * STEP)
    return gradient
