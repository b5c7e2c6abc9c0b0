"""Initial weights: random, given, or decided by the first samples (``kernels/maps/initial_weights.py``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator

from ...kernels import compiler
from ...kernels.maps import initial_weights as kernels
from ..batch import Float32
from ..grids import centres

_LARGEST_PLANE = 1 << 22  # values that principal components are sought in: a second or two at worst
_LARGEST_USUAL = 1 << 18  # values held where nobody says how many samples


def _as_init(value: Any) -> Any:
    """Return the name of an initialization, or weights as nested tuples of finite float32 numbers."""
    if isinstance(value, str):
        return value
    try:
        given = np.asarray(value)
    except ValueError:  # rows that differ in length
        given = np.array(None)
    if given.dtype.kind not in "fiu":
        raise ValueError("must be the name of a way to start, or the weights: an array of numbers")
    with np.errstate(over="ignore"):
        weights = given.astype(np.float32)
    if not np.isfinite(weights).all():
        raise ValueError("must be weights that are finite, as float32 too")
    return _nested(np.atleast_1d(weights).tolist())


def _nested(values: Any) -> Any:
    return tuple(map(_nested, values)) if isinstance(values, list) else values


Init = Annotated[str | tuple[Any, ...], BeforeValidator(_as_init)]


def usual_samples(way: str, units: int, dim: int) -> int:
    """How many of the first samples decide where nobody says.

    One for each unit that starts at one. Else a hundred, beyond whose range 2 % of what follows will lie, and
    two for each channel, as a plane needs; but at most a thousand, and fewer where samples are large.
    """
    if way == "samples":
        return units
    return max(2, min(max(100, 2 * dim), 1000, _LARGEST_USUAL // dim))


def check(
    init: str | tuple[Any, ...], samples: int | None, ways: Sequence[str], shape: tuple[int, ...], most: int
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
            raise ValueError(f"init has shape {given}; the weights' shape, {shape}, was expected")
    elif init not in ways:
        raise ValueError(
            f"init {init!r} is not for this model; take {', '.join(map(repr, ways))}, or give the weights"
        )
    if init not in kernels.WAYS:
        if samples is not None:
            raise ValueError("init_samples is for an init that the first samples decide")
        return
    *grid, dim = shape
    units = math.prod(grid)
    held = usual_samples(str(init), units, dim) if samples is None else samples
    if init == "samples" and held < units:
        raise ValueError(f"init_samples must be at least {units}, one for each unit, or some would be alike")
    most = min(most, _LARGEST_PLANE) if init == "pca" else most
    if held * dim > most:
        raise ValueError(f"more than {most} values would be held at first; take fewer init_samples")


def places(rows: int, columns: int, hexagonal: bool) -> NDArray[np.float64]:
    """Return where each unit of a grid lies along its longer and its shorter side, ``(units, 2)``, −1 … 1.

    If the sides are equal, rows run along the first. A side of one unit is 0.
    """
    x, y = centres(rows, columns, hexagonal).T
    along = np.stack((y, x) if y.max() >= x.max() else (x, y), axis=1)
    reach = along.max(axis=0)
    return np.asarray(np.where(reach > 0, 2 * along / np.where(reach > 0, reach, 1) - 1, 0.0))


class FirstSamples:
    """The first samples, held until they decide the initial weights. Its arrays are part of the state."""

    def __init__(
        self, way: str, samples: int, dim: int, units: int, plane: NDArray[np.float64] | None
    ) -> None:
        compiler.ready(kernels)
        self._held, self._count = np.zeros((samples, dim), np.float32), np.zeros(1, np.int64)
        self.state: dict[str, NDArray[Any]] = {"init.samples": self._held, "init.held": self._count}
        self._rule = kernels.WAYS[way], units
        self._plane = np.zeros((0, 2)) if plane is None else plane

    @property
    def wanted(self) -> bool:
        """Whether the units do not stand yet."""
        return bool(self._count[0] < len(self._held))

    def stop(self) -> None:
        """End the wait: the weights are set."""
        self._count[0] = len(self._held)

    def hold(
        self, x: Float32, model: dict[str, NDArray[Any]], method: int, clip: float, decay: float, seed: int
    ) -> int:
        """Take what is still wanted of ``x`` ``(n, dim)``, place the units with the last; how many it was."""
        scaling = model["scale.statistics"], method, clip, decay
        start = *self._rule, np.array([seed], np.uint64), self._plane, model["weights"]
        return int(kernels.collect(x, model["samples"], self._held, self._count, *scaling, *start))
