"""Multiply-adds of the parts of a recurrent network, see ``models/row_cost.py``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...kernels.recurrent import memory_layout as memory
from ...kernels.simd.blocks import WIDTH
from ..row_cost import EXPONENTIAL

Layout = tuple[NDArray[np.int64], NDArray[np.int64]]

_CELL = 3 * EXPONENTIAL  # of a unit and gate: the activation function and its derivative
_OPTIMIZER = 6  # of a parameter: norm, clipping and update


def forward(layout: Layout) -> int:
    """Return the multiply-adds of one step: all matrices, activation functions, copies and softmax."""
    sizes, matrices = layout
    sums = matrices[:, memory.BLOCKS] * matrices[:, memory.GATES] * WIDTH
    work = int((sums * _used_inputs(matrices)).sum())
    return work + _CELL * int(sums.sum()) + _slot(sizes)


def backward(layout: Layout) -> int:
    """Return the multiply-adds of one step of the backward pass: gradients of inputs and of parameters."""
    sizes, matrices = layout
    sums = matrices[:, memory.BLOCKS] * matrices[:, memory.GATES] * WIDTH
    inputs = matrices[:, memory.INPUTS]
    through = np.where(matrices[:, memory.BACKWARD] == 1, -(-inputs // WIDTH) * WIDTH, 0)
    return int((sums * (through + _used_inputs(matrices))).sum()) + _CELL * int(sums.sum()) + _slot(sizes)


def update(layout: Layout) -> int:
    """Return the multiply-adds of an update that do not depend on the number of steps."""
    sizes, _ = layout
    return WIDTH * _OPTIMIZER * int(sizes[memory.PARAMETER_ROWS])


def _used_inputs(matrices: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the inputs that one step reads: all, or one of a one-hot input."""
    return np.where(matrices[:, memory.LOOKUP] == 1, 1, matrices[:, memory.INPUT_ROWS])


def _slot(sizes: NDArray[np.int64]) -> int:
    """Return the multiply-adds of the copies and the loss of one slot of the window."""
    outputs = int(sizes[memory.OUTPUTS]) * EXPONENTIAL
    return 2 * WIDTH * int(sizes[memory.WINDOW_ROWS] + sizes[memory.ACTIVATION_ROWS]) + outputs
