"""Arguments of the recurrent kernels that belong together. ``memory_layout.py`` defines the arrays.

Records are made inside entry points, where they cost nothing.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..compiler import device
from ..simd.views import row_of

# rule, int64: methods of scaling, and the optimizer. An entry point may have more entries after these
METHOD, TARGET_METHOD, OPTIMIZER = range(3)

# constants, float64: of the optimizer (the clip is +inf for none); Huber's delta (+inf for the squared
# error); limit of scaled values; factor of the weight of the past per sample. There may be more after these
MOMENTUM, CLIP, HUBER_DELTA, SCALE_CLIP, DECAY = range(5)


class Net(NamedTuple):
    """A network."""

    layout: Any  # (17,)
    matrices: Any  # (·, 13)
    parameters: Any  # (PARAMETER_ROWS, 16)


class Steps(NamedTuple):
    """Consecutive steps of one stream."""

    window: Any  # (steps + 1, WINDOW_ROWS, 16)
    activations: Any  # (steps, ACTIVATION_ROWS, 16)


class Gradients(NamedTuple):
    """Gradients of a backward pass; scratch."""

    states: Any  # (WINDOW_ROWS, 16): of the values of one slot
    parameters: Any  # as the parameters


class Lags(NamedTuple):
    """The gradient's norm by lag, see ``lags.py``."""

    activations: Any  # (k2, ACTIVATION_ROWS, 16): scratch; (0, …) without lags
    norms: Any  # (3, k2); (3, 0) without lags
    decay: Any  # per update


class Matrix(NamedTuple):
    """One row of ``matrices``."""

    weight: Any
    bias: Any
    units: Any
    blocks: Any
    gates: Any
    inputs: Any
    rows: Any
    shift: Any
    source: Any
    delta: Any
    backward: Any
    lookup: Any
    has_bias: Any


@device
def matrix_of(net, i):
    """Matrix ``i``: 2c is weight_ih of cell c, 2c + 1 weight_hh, and the last one the read-out."""
    m = row_of(net.matrices, i)
    return Matrix(m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], m[8], m[9], m[10], m[11], m[12])
