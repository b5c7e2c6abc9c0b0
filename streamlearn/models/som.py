"""``sl.SOM``: the self-organizing map (Kohonen 1982)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ..kernels import compiler
from ..kernels import som as kernels
from ..kernels.lanes import WIDTH
from . import base, layout, schedule
from .base import Float32
from .schedule import Decay, Schedule, within
from .units import UnitModel

Side = Annotated[int, Field(ge=1, le=4096)]


class SOMSpec(base.Spec):
    grid: tuple[Side, Side] = Field(description="rows and columns of units")
    learning_rate: Annotated[Schedule, within(0, 1)] = Field(Decay(0.5, 0.02, 5000.0), description="ε(t)")
    sigma: Annotated[Schedule, within(0, 1e6)] | None = Field(
        None,
        description="σ(t), in grid steps; by default from half the longer side to 1.5 (less on a small grid)",
    )
    grid_distance: Literal["manhattan", "euclidean", "chebyshev"] = "manhattan"
    neighbourhood: Literal["gaussian", "bubble"] = "gaussian"

    @model_validator(mode="after")
    def _not_too_large(self) -> SOMSpec:
        if self.grid[0] * self.grid[1] * self.dim > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the map has more than {base.MAX_STATE_VALUES} weights; take a smaller grid or dim"
            )
        return self

    @property
    def radius(self) -> Schedule:
        """σ(t): what was given, or the default."""
        if self.sigma is not None:
            return self.sigma
        start = max(1.0, max(self.grid) / 2)
        return Decay(start, min(start, 1.5), 5000.0)


class SOM(UnitModel):
    """A map of ``grid`` = (rows, columns) units that keeps the topology of the samples.

    ``SOM(dim=, grid=, sigma=, learning_rate=, grid_distance=, neighbourhood=, scale=, seed=)``; see
    ``docs/models.md``.
    """

    kind: ClassVar[str] = "som"
    Spec: ClassVar[type[base.Spec]] = SOMSpec
    spec: SOMSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(kernels)
        rows, columns = self.spec.grid
        self._place_units(rows * columns)
        places = np.stack(np.divmod(np.arange(self.units), columns), axis=1)
        self._grid = layout.empty(2, layout.blocks(self.units), WIDTH)
        self._grid[...] = layout.to_lanes(places, fill=np.inf).transpose(1, 0, 2)
        self._schedules = schedule.as_array(self.spec.learning_rate), schedule.as_array(self.spec.radius)
        self._metric = kernels.GRID_DISTANCES[self.spec.grid_distance]
        self._neighbourhood = kernels.NEIGHBOURHOODS[self.spec.neighbourhood]
        self.state["quality"] = np.zeros(3)

    @property
    def weights(self) -> Float32:
        """``(rows, columns, dim)``, in the scaled space if the map scales. Assign to set; the array itself
        is a copy."""
        return self._rows().reshape(*self.spec.grid, self.dim)

    @weights.setter
    def weights(self, values: ArrayLike) -> None:
        self._set_weights(values, (*self.spec.grid, self.dim))

    def learn_validated(self, x: Float32, y: Float32 | None = None) -> Outputs:
        out = self._outputs(len(x))
        clock = self.state["samples"], self.state["quality"], self.decay
        rule = *self._schedules, self._metric, self._neighbourhood
        kernels.learn(x, *self._what_locates(), self._grid, *clock, *rule, *out.arrays.values())
        return self._with_coords(out)

    def predict_validated(self, x: Float32) -> Outputs:
        return self._with_coords(super().predict_validated(x))

    def _with_coords(self, out: Outputs) -> Outputs:
        """Add ``coords`` ``(n, 2)``: the winner's row and column, (−1, −1) where there is none."""
        row = out.winner // self.spec.grid[1]  # floor division: −1 stays −1
        column = np.where(out.winner < 0, -1, out.winner - row * self.spec.grid[1])
        out.arrays["coords"] = np.stack((row, column), axis=1)
        return out

    def quality(self) -> dict[str, float]:
        """``quantization_error``: mean distance to the winner (in the scaled space); ``topographic_error``:
        the share of samples whose two nearest units do not touch on the grid."""
        count, distance, torn = self.state["quality"].tolist()
        return {
            "quantization_error": distance / count if count else float("nan"),
            "topographic_error": torn / count if count else float("nan"),
        }

    def u_matrix(self) -> Float32:
        """``(rows, columns)``: every unit's mean distance to its neighbours on the grid (Ultsch & Siemon
        1990), the four beside it and the four at its corners."""
        weights = self.weights.astype(np.float64)
        rows, columns, _ = weights.shape
        total, count = np.zeros((rows, columns)), np.zeros((rows, columns))
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            here = (slice(0, rows - down), slice(max(0, -right), columns - max(0, right)))
            there = (slice(down, rows), slice(max(0, right), columns - max(0, -right)))
            apart = np.linalg.norm(weights[here] - weights[there], axis=2)
            for side in (here, there):
                total[side] += apart
                count[side] += 1
        return (total / np.maximum(count, 1)).astype(np.float32)
