"""``sl.Cognitron``: layers that learn features without labels (Fukushima 1975)."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...kernels import compiler
from ...kernels.classic import cognitron as kernels
from ...kernels.simd.blocks import WIDTH
from .. import base, lane_layout
from ..batch import Float32
from ..locking import locked
from ..outputs import CognitronOutputs
from ..readable import Part
from ..row_cost import EXPONENTIAL, SCALAR, Cost
from .activity import ActivityModel, ActivitySpec
from .plane import Plane, lanes_of

Side = Annotated[int, Field(ge=1, le=1 << 20)]
Radius = Annotated[int, Field(ge=1, le=16)]
Gain = Annotated[float, Field(gt=0, le=1000)]
Offset = tuple[int, int]


class CognitronSpec(ActivitySpec):
    """Parameters of ``Cognitron``."""

    size_parameters: ClassVar[tuple[str, ...]] = ("layers", "area", "dim")

    shape: tuple[Side, Side] | None = Field(
        None,
        description="Rows and columns of the sample and of every layer; rows·columns = dim. None: one row.",
    )
    layers: int = Field(
        3, ge=1, le=64, description="Layers above the sample. Layer k sees 2·area·k + 1 cells across."
    )
    area: Radius = Field(
        2, description="How far a cell sees the layer below, in cells to each side; 2: 5 × 5 cells."
    )
    vicinity: Radius = Field(
        2, description="How far the cells are with which a cell competes, in cells to each side."
    )
    falloff: Annotated[float, Field(gt=0, le=1)] = Field(
        0.9,
        description=(
            "The fixed weights c and g are multiplied by this for each row and column of distance. 1: "
            "even weights."
        ),
    )
    q: Gain = Field(
        16.0,
        description=(
            "Reinforcement of a cell that fires and that no cell of its vicinity exceeds. Larger "
            "values learn a pattern in fewer samples."
        ),
    )
    q_prime: Gain = Field(
        2.0,
        description="q′: reinforcement of all cells of a vicinity where no cell fires. Must be less than q.",
    )

    @model_validator(mode="after")
    def _makes_layers(self) -> CognitronSpec:
        rows, columns = self.sides
        if rows * columns != self.inputs:
            raise ValueError(
                f"a shape of {rows} × {columns} has {rows * columns} cells, but dim is {self.inputs}"
            )
        if self.q_prime >= self.q:
            raise ValueError("q_prime must be less than q")
        cells = rows * (columns + max(self.area, self.vicinity))
        if self.layers * cells * (2 * self.area + 1) ** 2 > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net has more than {base.MAX_STATE_VALUES} connections; take fewer layers, a smaller"
                " shape or a smaller area"
            )
        return self

    @property
    def winning_units(self) -> int:
        """Number of units of which one wins each sample."""
        return self.inputs

    def row_costs(self) -> list[Cost]:
        """Add the response and the reinforcement of all layers."""
        cells = lanes_of(*self.sides, max(self.area, self.vicinity))
        area, vicinity = (len(_square(radius, self.sides)) for radius in (self.area, self.vicinity))
        return [
            *super().row_costs(),
            Cost(self.layers * cells * 6 * area, ("layers", "shape", "area", "dim")),
            Cost(self.layers * cells * (2 * vicinity + EXPONENTIAL), ("layers", "shape", "vicinity", "dim")),
            Cost(cells * SCALAR, ("shape", "dim")),
        ]

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state: the weights."""
        return self.layers * self.inputs * (2 * self.area + 1) ** 2

    @property
    def sides(self) -> tuple[int, int]:
        """Rows and columns of every layer."""
        return self.shape or (1, self.inputs)


class Cognitron(ActivityModel):
    """Cognitron: layers of cells that learn features of features without labels.

    Samples are activities, 0 or more; a missing value counts as 0. Use it for pictures in a fixed
    position: it does not generalise over position. Nothing is random: ``seed`` has no effect.

    Notes
    -----
    For a cell with inputs u_i from its area, excitatory weights a_i and inhibitory weight b:

    - e = Σ a_i·u_i, v = Σ c_i·u_i, h = b·v, w = max(0, (1 + e)/(1 + h) − 1)
    - lateral stage, the output: z = max(0, (1 + w)/(1 + Σ g_j·w_j) − 1) over the vicinity
    - a cell that fires (z > 0), with no stronger cell in its vicinity: a_i ← a_i + q·c_i·u_i and b ← b
      + q·Σ c_i·u_i²/(2v)
    - where no cell of the vicinity fires, every cell: a_i ← a_i + q′·c_i·u_i and b ← b + q′·v

    a and b start at 0. c and g are fixed, fall off with distance and sum to 1. Quality, means per
    sample: ``firing`` (share of the last layer that fires), ``reinforced`` and ``recruited`` (cells
    that learned by q and by q′).

    References
    ----------
    K. Fukushima, Cognitron: a self-organizing multilayered neural network, Biological Cybernetics 20,
    121–136, 1975.

    Examples
    --------
    >>> import numpy as np
    >>> import streamlearn as sl
    >>> bars = np.eye(12)[1::3].repeat(12, axis=1)
    >>> net = sl.Cognitron(dim=144, shape=(12, 12), layers=2)
    >>> net.learn(np.tile(bars, (5, 1))).activity.shape
    (20, 144)
    """

    kind: ClassVar[str] = "cognitron"
    Spec: ClassVar[type[base.Spec]] = CognitronSpec
    outputs_class = CognitronOutputs
    kernels: ClassVar[ModuleType] = kernels
    spec: CognitronSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(kernels)
        spec = self.spec
        self.cells = self.inputs
        grid = np.stack(np.divmod(np.arange(self.cells, dtype=np.int64), spec.sides[1]), axis=1)
        self._plane = plane = Plane(grid, reach=max(spec.area, spec.vicinity))
        area, vicinity = (_square(radius, spec.sides) for radius in (spec.area, spec.vicinity))
        self._connections = {
            "c": plane.to_lanes(_fixed_weights(grid, spec.sides, area, spec.falloff)),
            "g": plane.to_lanes(_fixed_weights(grid, spec.sides, vicinity, spec.falloff)),
            "area_offsets": plane.array_offsets(area),
            "vicinity_offsets": plane.array_offsets(vicinity),
            "margin": plane.margin,
            "input_index": plane.cell_index,
            "cell_index": spec.layers * plane.size + plane.cell_index,
        }
        self.state["a"] = lane_layout.empty(spec.layers * plane.blocks, len(area), WIDTH)
        self.state["a"][...] = 0
        self.state["b"] = np.zeros((spec.layers * plane.blocks, WIDTH), np.float32)
        self.state["quality"] = np.zeros(4)

    @property
    @locked
    def a(self) -> Float32:
        """Excitatory weights, a copy of shape (layers, cells, area).

        The area of a cell is numbered row by row. Weights are 0 where the area leaves the layer.
        """
        layers = self.state["a"].reshape(self.spec.layers, self._plane.blocks, -1, WIDTH)
        return np.stack([self._plane.from_lanes(layer) for layer in layers])

    @property
    @locked
    def b(self) -> Float32:
        """Inhibitory weights, a copy of shape (layers, cells)."""
        layers = self.state["b"].reshape(self.spec.layers, self._plane.blocks, 1, WIDTH)
        return np.stack([self._plane.from_lanes(layer)[:, 0] for layer in layers])

    def _parts(self) -> dict[str, Part]:
        """Add the excitatory and the inhibitory weights."""
        cells, area = self.spec.layers * self.cells, self.state["a"].shape[1]
        sizes = {"weights/a": 4 * cells * area, "weights/b": 4 * cells}
        weights = Part(sizes, lambda: {"weights/a": self.a, "weights/b": self.b}, work=cells * area)
        return super()._parts() | {"weights": weights}

    def _network(self) -> dict[str, Any]:
        state = self.state
        return {"a": state["a"], "b": state["b"], **self._connections, **self._score.arguments}

    def _learning(self) -> dict[str, Any]:
        return {"q": self.spec.q, "q_prime": self.spec.q_prime}

    def _quality(self) -> dict[str, float]:
        count, *sums = self.state["quality"].tolist()
        means = [total / count if count else float("nan") for total in sums]
        return dict(zip(("firing", "reinforced", "recruited"), means, strict=True))


def _square(radius: int, sides: tuple[int, int]) -> list[Offset]:
    """Return (rows, columns) to every place of a square around a cell, row by row."""
    down, right = (min(radius, side - 1) for side in sides)
    return [(row, column) for row in range(-down, down + 1) for column in range(-right, right + 1)]


def _fixed_weights(
    grid: NDArray[np.int64], sides: tuple[int, int], offsets: list[Offset], falloff: float
) -> NDArray[np.float64]:
    """Return falloff^(rows + columns away) for the neighbours of each cell, shape (cells, len(offsets)).

    Each row sums to 1. A neighbour outside the layer has weight 0. Products and sums are in a fixed order, so
    the result is the same on every machine.
    """
    powers = np.cumprod([1.0] + [falloff] * sum(offsets[-1]))
    weights = np.zeros((len(grid), len(offsets)))
    for k, offset in enumerate(offsets):
        exists = ((grid + offset >= 0) & (grid + offset < sides)).all(axis=1)
        weights[exists, k] = powers[abs(offset[0]) + abs(offset[1])]
    return weights / np.add.accumulate(weights, axis=1)[:, -1:]
