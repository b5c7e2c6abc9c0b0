"""``sl.SOM``: the self-organizing map (Kohonen 1982)."""

from __future__ import annotations

from functools import cached_property, partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from ...kernels import compiler
from ...kernels.maps import cooperation, lattice, one_sample
from ...kernels.maps import som as kernels
from .. import base, lane_layout
from ..accepts import Accepts
from ..batch import Batch, Float32
from ..locking import locked
from ..one_sample import Learner
from ..outputs import LabelTargetOutputs, SOMOutputs, WinnerOutputs
from ..readable import Part, array_part
from ..row_cost import EXPONENTIAL, Cost, lanes
from ..sharing import shared, with_shared_keys
from ..stream.schedules import Decay, Schedule, within
from . import initial_weights
from .labels import LabelledSpec
from .one_sample import SingleMapSamples
from .plots import MapPlots

Side = Annotated[int, Field(ge=1, le=4096)]
_GRID = 6  # multiply-adds of a squared distance on the grid


_GRID_DISTANCES = {
    "rectangular": ("manhattan", "euclidean", "chebyshev"),
    "hexagonal": ("hexagonal", "euclidean"),
}


class SOMSpec(LabelledSpec):
    """Parameters of ``SOM``."""

    grid: Annotated[tuple[Side, ...], Accepts("int | tuple[int, int] | tuple[int]")] = Field(
        min_length=1,
        max_length=2,
        description=(
            "Rows and columns of the grid; units are numbered row by row. One number makes a chain. "
            "More units give more detail and cost more time per sample."
        ),
    )
    topology: Literal["rectangular", "hexagonal"] = Field(
        "rectangular",
        description=(
            "Grid of squares or of hexagons. On a hexagonal grid odd rows are shifted right by half a step."
        ),
    )
    torus: bool = Field(
        False,
        description=(
            "Whether opposite edges of the grid are joined, so that no unit is at a border. A "
            "hexagonal torus needs an even number of rows."
        ),
    )
    learning_rate: Annotated[Schedule, within(0, 1)] | None = Field(
        None,
        description=(
            "ε(t), the share of the distance to the sample that the winner moves. None: Decay from 0.5 to "
            "0.02, tau=2·units (100 to 5000). It orders the map first; the final 0.02 follows drift within "
            "some 50 samples per unit."
        ),
    )
    sigma: Annotated[Schedule, within(0, 1e6)] | None = Field(
        None,
        description=(
            "σ(t), radius of the neighbourhood in grid steps; 0: only the winner learns. None: Decay "
            "from half the longer side (at least 1) to 1.5 (less on a small grid), with the tau of "
            "learning_rate. On maps beyond 12 × 12, raise its end (0.15 × longer side) if the score matters "
            "more than detail. Lower it, to 0.5 for example, if detail matters more than order."
        ),
    )
    grid_distance: Literal["manhattan", "euclidean", "chebyshev", "hexagonal"] | None = Field(
        None,
        description=(
            "Distance between units on the grid, in steps. None: 'manhattan' on squares, 'hexagonal' "
            "(steps along edges) on hexagons. 'chebyshev' is for squares only."
        ),
    )
    init: Annotated[
        initial_weights.Init,
        Accepts(
            'Literal["random", "range", "samples", "pca"] | NDArray[Any]'
            " | Sequence[Sequence[float]] | Sequence[Sequence[Sequence[float]]]",
            '{"random", "range", "samples", "pca"} or array_like of shape (*grid, dim)',
        ),
    ] = Field(
        "random",
        description=(
            "Initial weights. 'random': uniform in ±1, which is one standard deviation if scaled. 'range': "
            "uniform between the smallest and the largest value of each channel among the first samples. "
            "'samples': first samples themselves. 'pca': the plane of the two principal components of the "
            "first samples, so that the map is ordered from the start and a small sigma suffices. An array "
            "of shape (*grid, dim): these weights. With 'range', 'samples' and 'pca' the first init_samples "
            "samples are held and not learned; until then there is no winner (−1)."
        ),
    )
    neighbourhood: Literal["gaussian", "bubble", "triangle", "mexican_hat"] = Field(
        "gaussian",
        description=(
            "h as a function of grid distance d: 'gaussian' exp(−d²/2σ²), cut at 5.25 σ; 'bubble' 1 "
            "up to σ; 'triangle' 1 − d/σ up to σ; 'mexican_hat' (1 − d²/σ²)·exp(−d²/2σ²), which "
            "pushes distant units away. 'bubble' and 'triangle' need a larger sigma."
        ),
    )

    size_parameters: ClassVar[tuple[str, ...]] = ("grid",)
    init_rules: ClassVar[tuple[str, ...]] = (*LabelledSpec.init_rules, "pca")

    @field_validator("grid", mode="before")
    @classmethod
    def _chain(cls, grid: Any) -> Any:
        return (grid,) if isinstance(grid, (int, np.integer)) else grid

    @model_validator(mode="after")
    def _has_valid_grid(self) -> SOMSpec:
        rows, _ = self.sides
        distances = _GRID_DISTANCES[self.topology]
        if self.grid_distance not in (None, *distances):
            raise ValueError(
                f"grid_distance {self.grid_distance!r} is not for a {self.topology} grid;"
                f" take {' or '.join(distances)}"
            )
        # A chain has one row, and no seam between the last row and the first
        if self.topology == "hexagonal" and self.torus and rows % 2 and rows > 1:
            raise ValueError(
                "a hexagonal torus needs an even number of rows: odd rows are shifted by half a step"
            )
        return self

    def row_costs(self) -> list[Cost]:
        """Add the neighbourhood, and the update of all units in it."""
        units = lanes(self.most_units)
        images = 9 if self.torus else 1
        searches = 2 if self.neighbourhood == "mexican_hat" else 1
        return [
            *super().row_costs(),
            Cost(units * (_GRID * images + EXPONENTIAL), ("grid",), learning=True),
            Cost(units * self.inputs * searches, ("grid", "dim"), learning=True),
        ]

    @property
    def arrangement(self) -> tuple[int, ...]:
        """Shape of the units."""
        return self.grid

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns; a chain is one row."""
        return (self.grid[0] if len(self.grid) == 2 else 1), self.grid[-1]

    @property
    def radius(self) -> Schedule:
        """σ(t), given or by default."""
        if self.sigma is not None:
            return self.sigma
        start = max(1.0, max(self.grid) / 2)
        return Decay(start, min(start, 1.5), self.usual_tau)

    @property
    def rate(self) -> Schedule:
        """ε(t), given or by default."""
        return Decay(0.5, 0.02, self.usual_tau) if self.learning_rate is None else self.learning_rate

    @property
    def usual_tau(self) -> float:
        """τ of the default schedules: the map is ordered and fine after some ten samples per unit."""
        return float(min(max(100, 2 * self.most_units), 5000))

    adapts_by_reseeding = False  # units that move alone break the order of the map; the neighbours pull them

    @cached_property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        return {"learning_rate": self.rate, "sigma": self.radius}

    @property
    def metric(self) -> str:
        """Grid distance, given or by default."""
        return self.grid_distance or _GRID_DISTANCES[self.topology][0]


class SOM(MapPlots, SingleMapSamples):
    """Self-organizing map: a grid of units that preserves the topology of the samples.

    Use it to see which regimes a stream has, how they relate, and which samples belong to none.

    Notes
    -----
    For each sample x, with w_j the weights of unit j and t the number of samples so far:

    - winner: i = argmin_j ‖x − w_j‖; the lowest index wins a tie
    - neighbourhood: h_ij = exp(−d_ij²/2σ(t)²), d_ij the distance on the grid; units beyond 5.25 σ,
      where h < 1.04·10⁻⁶, do not learn
    - update: w_j ← w_j + ε(t)·h_ij·(x − w_j)

    A missing value takes no part in winner and update; the distance is multiplied by √(dim/present). A
    sample without values has no winner (−1) and is not learned. Quality: ``quantization_error`` (mean
    distance to the winner), ``topographic_error`` (share of samples whose two nearest units do not
    touch), ``dead_units``.

    References
    ----------
    T. Kohonen, Self-organized formation of topologically correct feature maps, Biological Cybernetics
    43, 59–69, 1982: the adaptation rule. U-matrix: A. Ultsch and H. P. Siemon, Kohonen's self
    organizing feature maps for exploratory data analysis, INNC 1990.

    Examples
    --------
    >>> import numpy as np
    >>> import streamlearn as sl
    >>> stream = np.random.default_rng(1).normal(size=(500, 3))
    >>> som = sl.SOM(dim=3, grid=(4, 5), scale="standard", seed=1)
    >>> out = som.learn(stream)
    >>> out.winner.shape, out.coords.shape
    ((500,), (500, 2))
    >>> som.weights.shape
    (4, 5, 3)
    """

    kind: ClassVar[str] = "som"
    Spec: ClassVar[type[base.Spec]] = SOMSpec
    outputs_class = SOMOutputs
    target_outputs_class = LabelTargetOutputs
    spec: SOMSpec
    _quality_sums = 3

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(kernels)
        rows, columns = self.spec.sides
        hexagonal = self.spec.topology == "hexagonal"
        plane = initial_weights.grid_positions(rows, columns, hexagonal) if self.spec.init == "pca" else None
        self._create_units(rows * columns, plane)
        axes = len(self.spec.grid)
        self._coords = shared(("coords", rows, columns, axes), partial(_coords, rows, columns, axes))
        metric = lattice.METRICS[self.spec.metric]
        self._learn_kernel = kernels.learn
        shape = hexagonal, self.spec.torus, metric, rows, columns
        arguments = self._learn_arguments | {
            "grid": shared(("grid", rows, columns, hexagonal), partial(_grid, rows, columns, hexagonal)),
            "shape": shared(("shape", shape), partial(np.array, shape, np.int64)),
            "neighbourhood": cooperation.NEIGHBOURHOODS[self.spec.neighbourhood],
        }
        self._learn_arguments = with_shared_keys("som.learn", arguments)
        self._predict_arguments = with_shared_keys("som.predict", self._predict_arguments)
        self._share_state_keys()

    def _single_learner(self) -> Learner | None:
        if not self._learns_single_samples:
            return None
        compiler.ready(one_sample)
        return self._learner(one_sample.SOM, one_sample.som_step, self._coords)

    def _learn(self, batch: Batch) -> WinnerOutputs:
        return self._with_coords(super()._learn(batch))

    def predict_validated(self, batch: Batch) -> WinnerOutputs:
        """Return the outputs for a batch that ``validate`` returned, with ``coords``."""
        return self._with_coords(super().predict_validated(batch))

    def _with_coords(self, out: WinnerOutputs) -> WinnerOutputs:
        """Add ``coords`` ``(n, 2)``, or ``(n, 1)`` on a chain: the winner's place on the grid; −1: none."""
        out.arrays["coords"] = self._coords.take(out.winner, axis=0, mode="wrap")  # −1: the last row
        return out

    def _parts(self) -> dict[str, Part]:
        """Add the U-matrix."""
        neighbours = len(_HEXAGON if self.spec.topology == "hexagonal" else _SQUARE)
        passes = neighbours * self.inputs
        return super()._parts() | {
            "u_matrix": array_part("u_matrix", self.units, np.float32, self.u_matrix, passes)
        }

    def _quality(self) -> dict[str, float]:
        """Add ``topographic_error``: share of samples with two nearest units that are not neighbours."""
        return super()._quality() | {"topographic_error": self._mean_quality(kernels.TOPOGRAPHIC)}

    @locked
    def u_matrix(self) -> Float32:
        """Return the U-matrix: each unit's mean distance to its neighbours on the grid.

        Squares are neighbours at edges and corners, hexagons at edges. The distance is that of the map, in
        the scaled space.

        Returns
        -------
        ndarray of float32, shape grid
            High values separate clusters.

        References
        ----------
        A. Ultsch and H. P. Siemon, Kohonen's self organizing feature maps for exploratory data
        analysis, INNC 1990.
        """
        rows, columns = self.spec.sides
        weights = self._rows().astype(np.float64)
        own = np.arange(self.units)
        row, column = np.divmod(own, columns)
        total, count, seen = np.zeros(self.units), np.zeros(self.units), [own]
        for down, right in _HEXAGON if self.spec.topology == "hexagonal" else _SQUARE:
            to_row, to_column = row + down, column + right
            if self.spec.topology == "hexagonal":
                to_column += to_row // 2 - row // 2  # the step is along the axial column
            on_the_grid = (to_row >= 0) & (to_row < rows) & (to_column >= 0) & (to_column < columns)
            other = to_row % rows * columns + to_column % columns
            # On a small torus one unit is a neighbour on several sides. It counts once.
            valid = (on_the_grid | self.spec.torus) & np.all([other != earlier for earlier in seen], axis=0)
            seen.append(np.where(valid, other, own))
            total[valid] += _distances(weights[valid], weights[other[valid]], self.spec.distance)
            count[valid] += 1
        return (total / np.maximum(count, 1)).astype(np.float32).reshape(self.spec.grid)


def _coords(rows: int, columns: int, axes: int) -> NDArray[np.int32]:
    """Return the last ``axes`` of row and column of each unit, ``(units + 1, axes)``; −1 in the last row."""
    coords = np.stack(np.divmod(np.arange(rows * columns), columns)[-axes:], axis=1)
    return np.append(coords, np.full_like(coords[:1], -1), axis=0).astype(np.int32)


def _grid(rows: int, columns: int, hexagonal: bool) -> Float32:
    """Return the places of the units in groups, ``(2, blocks, 16)``: row and (axial) column."""
    row, column = np.divmod(np.arange(rows * columns), columns)
    return lane_layout.group_columns(np.stack((row, column - row // 2 if hexagonal else column), axis=1))


_SQUARE = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
_HEXAGON = [(0, 1), (0, -1), (1, 0), (-1, 0), (1, -1), (-1, 1)]


def _distances(a: NDArray[np.float64], b: NDArray[np.float64], distance: str) -> NDArray[np.float64]:
    """Return the distances of the vectors along the last axis."""
    if distance == "cosine":
        lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(lengths > 0, np.clip(1 - (a * b).sum(axis=-1) / lengths, 0, 2), 1.0)
    order = {"euclidean": 2, "manhattan": 1, "chebyshev": np.inf}[distance]
    return np.asarray(np.linalg.norm(a - b, ord=order, axis=-1))
