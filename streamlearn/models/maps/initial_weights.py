"""Initial weights: random, given, or decided by the first samples (``kernels/maps/initial_weights.py``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from streamlearn_client.protocol import as_numbers

from ...errors import StreamlearnError
from ...kernels import compiler
from ...kernels.maps import initial_weights as kernels
from ...kernels.maps import sizes
from ..batch import Float32
from ..grids import centres
from ..row_cost import RANDOM_ACCESS, SCALAR, SCALING
from ..state_checks import Range

_MAX_PCA_VALUES = 1 << 22  # stored values for principal components, which then take at most two seconds
_MAX_DEFAULT_VALUES = 1 << 18  # stored values if the spec has no init_samples


def _as_init(value: Any) -> Any:
    """Return the name of an initialization, or weights as nested tuples of finite float32 numbers."""
    if isinstance(value, str):
        return value
    try:
        given = as_numbers(value, "init")
    except StreamlearnError:
        raise ValueError("must be the name of a rule, or weights as an array of numbers") from None
    with np.errstate(over="ignore"):
        weights = given.astype(np.float32)
    if not np.isfinite(weights).all():
        raise ValueError("must be weights that are finite as float32")
    return _nested(np.atleast_1d(weights).tolist())


def _nested(values: Any) -> Any:
    return tuple(map(_nested, values)) if isinstance(values, list) else values


Init = Annotated[str | tuple[Any, ...], BeforeValidator(_as_init)]


def default_samples(rule: str, units: int, dim: int) -> int:
    """Return how many first samples ``rule`` uses if the spec has no ``init_samples``.

    'samples' needs one per unit. The other rules use the larger of 100 (then about 2 % of later samples lie
    outside the range) and 2·dim (a plane needs them), at most 1000, and fewer for a large ``dim``.
    """
    if rule == "samples":
        return units
    return max(2, min(max(100, 2 * dim), 1000, _MAX_DEFAULT_VALUES // dim))


def cost(rule: str, samples: int, units: int, dim: int) -> int:
    """Return the multiply-adds of the initial weights, see ``row_cost.py``."""
    work = (samples + 1) * dim * SCALING + units * dim * RANDOM_ACCESS
    if rule == "pca":  # two components; each round goes through the samples twice
        work += 2 * (sizes.ROUNDS + 1) * (2 * samples + 8) * dim * SCALAR
    return work


RULES = ("range", "samples", "pca")


def check(
    init: str | tuple[Any, ...],
    samples: int | None,
    rules: Sequence[str],
    shape: tuple[int, ...],
    max_values: int,
) -> None:
    """Check an initialization for weights of this ``shape``. ``most``: values that may be held.

    Raises
    ------
    ValueError
        If the initialization does not fit.
    """
    if not isinstance(init, str):
        given = np.shape(init)
        if given != shape:
            raise ValueError(f"init has shape {given}; the shape of the weights, {shape}, was expected")
    elif init not in rules:
        raise ValueError(
            f"init {init!r} is not for this model; take {', '.join(map(repr, rules))}, or give weights"
        )
    if init not in RULES:
        if samples is not None:
            raise ValueError("init_samples needs an init that uses the first samples")
        return
    *grid, dim = shape
    units = math.prod(grid)
    stored = default_samples(str(init), units, dim) if samples is None else samples
    if init == "samples" and stored < units:
        raise ValueError(f"init_samples must be at least {units}: init='samples' needs one sample per unit")
    max_values = min(max_values, _MAX_PCA_VALUES) if init == "pca" else max_values
    if stored * dim > max_values:
        raise ValueError(f"the first samples have more than {max_values} values; take fewer init_samples")


def grid_positions(rows: int, columns: int, hexagonal: bool) -> NDArray[np.float64]:
    """``(units, 2)``: position of each unit along the longer and the shorter side of the grid, −1 … 1.

    If both sides are equally long, the first position is along the rows' axis. A side of one unit gives 0.
    """
    x, y = centres(rows, columns, hexagonal).T
    positions = np.stack((y, x) if y.max() >= x.max() else (x, y), axis=1)
    length = positions.max(axis=0)
    return np.asarray(np.where(length > 0, 2 * positions / np.where(length > 0, length, 1) - 1, 0.0))


class FirstSamples:
    """The first samples, held until they decide the initial weights. Its arrays are part of the state."""

    may_hold_nan = ("init.samples",)  # missing values

    def __init__(
        self, rule: str, samples: int, dim: int, units: int, plane: NDArray[np.float64] | None
    ) -> None:
        compiler.ready(kernels)
        self._stored, self._count = np.zeros((samples, dim), np.float32), np.zeros(1, np.int64)
        self.state: dict[str, NDArray[Any]] = {"init.samples": self._stored, "init.held": self._count}
        self.ranges = {"init.held": Range(0, samples)}
        self._rule, self._units = kernels.RULES[rule], units
        self._plane = np.zeros((0, 2)) if plane is None else plane

    @property
    def complete(self) -> bool:
        """Whether the initial weights are set."""
        return bool(self._count[0] == len(self._stored))

    def cancel(self) -> None:
        """Keep the weights as they are; store no more samples."""
        self._count[0] = len(self._stored)

    def store(
        self,
        x: Float32,
        state: dict[str, NDArray[Any]],
        scale: tuple[int, NDArray[np.float64], float],  # method, statistics, clip
        decay: float,
        seed: int,
    ) -> int:
        """Store rows of ``x`` ``(n, dim)`` until complete; then set the weights. Return the number stored."""
        method, statistics, scale_clip = scale
        stored = kernels.collect(
            x=x,
            samples=state["samples"],
            held=self._stored,
            count=self._count,
            statistics=statistics,
            method=method,
            scale_clip=scale_clip,
            decay=decay,
            rule=self._rule,
            units=self._units,
            random=np.array([seed], np.uint64),
            places=self._plane,
            weights=state["weights"],
        )
        return int(stored)
