"""``sl.GrowingNeuralGas``: units that grow where they are needed, joined by edges (Fritzke 1995)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ...kernels import compiler
from ...kernels.maps import gng as kernels
from .. import base
from ..batch import Batch, Float32
from ..stream.schedules import Schedule, within
from .units import UnitModel, UnitSpec


class GrowingNeuralGasSpec(UnitSpec):
    max_units: int = Field(100, ge=2, le=1 << 13, description="it grows from two units to at most so many")
    learning_rate: Annotated[Schedule, within(0, 1)] = Field(0.2, description="ε_b(t), of the winner")
    neighbour_rate: Annotated[Schedule, within(0, 1)] = Field(
        0.006, description="ε_n(t), of those joined to the winner"
    )
    max_age: int = Field(50, ge=1, le=1 << 30, description="an edge that gets older than this goes")
    insert_every: int = Field(100, ge=1, le=1 << 62, description="samples from one new unit to the next")
    error_split: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="α: what the two keep of their errors where a unit comes between them"
    )
    error_decay: Annotated[float, Field(ge=0, le=1)] = Field(
        0.995, description="d: what an error keeps of itself per sample"
    )

    @model_validator(mode="after")
    def _fits(self) -> GrowingNeuralGasSpec:
        if self.max_units * max(self.dim, self.max_units) > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net has more than {base.MAX_STATE_VALUES} weights; take a smaller max_units or dim"
            )
        return self

    @property
    def arrangement(self) -> tuple[int, ...]:
        return (2,)

    @property
    def schedules(self) -> dict[str, Schedule]:
        return {"learning_rate": self.learning_rate, "neighbour_rate": self.neighbour_rate}


class GrowingNeuralGas(UnitModel):
    """Units that the samples call up where they are, and edges between those that lie side by side.

    ``GrowingNeuralGas(dim=, max_units=, learning_rate=, neighbour_rate=, max_age=, insert_every=, scale=,
    seed=)``; see ``docs/models.md``.

    There are ``len(net.weights)`` units. Row j of ``weights``, entry j of ``hits``, the j of an edge and the
    winner j are one unit, until a unit is taken away: then the last takes over its number.
    """

    kind: ClassVar[str] = "gng"
    Spec: ClassVar[type[base.Spec]] = GrowingNeuralGasSpec
    spec: GrowingNeuralGasSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(kernels)
        room = self.spec.max_units
        self._place_units(room)
        self.state["pad"] = self.pad
        self.pad.reshape(-1)[2:] = np.inf
        self.state["count"] = np.array([2], np.int64)
        self.state["edges"] = np.full((room, room), kernels.NO_EDGE, np.int32)
        self.state["errors"] = np.zeros(room)
        self.state["since"] = np.zeros(1, np.int64)
        self.state["quality"] = np.zeros(2)

    @property
    def weights(self) -> Float32:
        """``(units there are, dim)``, in the scaled space if the net scales; a read-only copy."""
        return self._rows()[: self._count]

    @property
    def edges(self) -> NDArray[np.int64]:
        """``(m, 2)``: the units that are joined, i < j; ``net.weights[net.edges]`` are lines to draw."""
        return np.argwhere(np.triu(self._joined))

    @property
    def hits(self) -> NDArray[np.float64]:
        """``(units there are,)``: how often each has won lately, exponentially forgotten (``half_life``)."""
        return super().hits[: self._count]

    @property
    def _joined(self) -> NDArray[np.bool_]:
        """``(units, units)``: whether two are joined; every edge is there twice."""
        ages = self.state["edges"][: self._count, : self._count]
        return np.asarray(ages != kernels.NO_EDGE)

    @property
    def _count(self) -> int:
        return int(self.state["count"][0])

    def _adapt(self, batch: Batch) -> Outputs:
        out = self._outputs(batch.rows)
        state, spec = self.state, self.spec
        clock = state["samples"], state["since"], state["hits"], state["quality"], self.decay
        graph = state["count"], state["edges"], state["errors"]
        rates = self._schedules.advance(batch).values()
        rule = *rates, spec.max_age, spec.insert_every, spec.error_split, spec.error_decay
        kernels.learn(batch.x, *self._what_locates(), *clock, *graph, *rule, *out.arrays.values())
        return out

    def _quality(self) -> dict[str, float]:
        """``quantization_error``: mean distance to the winner, in the scaled space; ``units`` and ``edges``:
        how many there are; ``dead_units``: how many units hardly ever win (a new one has not, yet)."""
        count, distance = self.state["quality"].tolist()
        return {
            "quantization_error": distance / count if count else float("nan"),
            "units": self._count,
            "edges": int(np.count_nonzero(self._joined)) // 2,
            "dead_units": len(self.dead_units),
        }
