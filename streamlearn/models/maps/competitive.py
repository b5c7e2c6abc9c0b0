"""``sl.Competitive``: competitive learning, hard (winner takes all), soft, or a neural gas."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ...kernels import compiler
from ...kernels.maps import competitive as kernels
from ...kernels.maps.fairness import CONSCIENCE, FREQUENCY, NONE
from ...kernels.simd.lanes import WIDTH
from .. import base, lane_layout
from ..batch import Batch, Float32
from ..stream.labels import LabelledModel, LabelledSpec
from ..stream.schedules import Decay, Schedule, bounds, within


class CompetitiveSpec(LabelledSpec):
    units: int = Field(ge=1, le=1 << 24, description="how many prototypes")
    mode: Literal["hard", "soft", "gas"] = Field(
        "hard", description="the winner alone learns, or all by nearness, or all by rank"
    )
    learning_rate: Annotated[Schedule, within(0, 1)] = Field(Decay(0.5, 0.02, 5000.0), description="ε(t)")
    beta: Annotated[Schedule, within(0, 1e30)] = Field(
        1.0, description="soft: how sharply learning falls off with squared distance"
    )
    spread: Annotated[Schedule, within(0, 1e6)] | None = Field(
        None, description="gas: λ(t), in ranks; by default from a quarter of the units to 0.5"
    )
    leak: Annotated[Schedule, within(0, 1)] = Field(0.0, description="hard: ε(t) of those that lose")
    conscience: Annotated[float, Field(gt=0, le=1e30)] | None = Field(
        None, description="hard: C, in units of squared distance; who won too often stands back"
    )
    conscience_rate: Annotated[float, Field(gt=0, le=1)] = Field(1e-4, description="B of the conscience")
    frequency_sensitive: bool = Field(False, description="hard: distances count times wins")

    @model_validator(mode="after")
    def _fits_together(self) -> CompetitiveSpec:
        if self.units * self.dim > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net has more than {base.MAX_STATE_VALUES} weights; take fewer units or a smaller dim"
            )
        fair = {"conscience": self.conscience is not None, "frequency_sensitive": self.frequency_sensitive}
        if all(fair.values()):
            raise ValueError("take conscience or frequency_sensitive: both answer the same question")
        for_hard = [name for name, given in {**fair, "leak": bounds(self.leak)[1] > 0}.items() if given]
        if self.mode != "hard" and for_hard:
            raise ValueError(f"{' and '.join(for_hard)} is for mode 'hard', where one unit learns")
        return self

    @property
    def arrangement(self) -> tuple[int, ...]:
        return (self.units,)

    @property
    def softness(self) -> Schedule:
        """β of a soft net, λ of a neural gas."""
        if self.mode != "gas":
            return self.beta
        start = max(1.0, self.units / 4)
        return Decay(start, 0.5, 5000.0) if self.spread is None else self.spread

    @property
    def schedules(self) -> dict[str, Schedule]:
        softness = "spread" if self.mode == "gas" else "beta"
        return {"learning_rate": self.learning_rate, softness: self.softness, "leak": self.leak}

    @property
    def fairness(self) -> int:
        if self.frequency_sensitive:
            return FREQUENCY
        return NONE if self.conscience is None else CONSCIENCE


class Competitive(LabelledModel):
    """``units`` prototypes that compete for the samples.

    ``Competitive(dim=, units=, mode=, learning_rate=, init=, labels=, scale=)``; see ``docs/models.md``.
    """

    kind: ClassVar[str] = "competitive"
    Spec: ClassVar[type[base.Spec]] = CompetitiveSpec
    spec: CompetitiveSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(kernels)
        self._place_units(self.spec.units)
        self._mode = kernels.MODES[self.spec.mode]
        self._conscience = np.array([self.spec.conscience or 0.0, self.spec.conscience_rate], np.float32)
        start = 1.0 / self.units if self.spec.fairness == CONSCIENCE else 1.0
        self._share = lane_layout.to_lanes(np.full((self.units, 1), start)).reshape(-1, WIDTH)
        if self.spec.fairness != NONE:
            self.state["share"] = self._share
        self.state["quality"] = np.zeros(2)

    @property
    def weights(self) -> Float32:
        """``(units, dim)``, in the scaled space if the net scales. Assign to set; the array itself is a
        copy."""
        return self._rows()

    @weights.setter
    def weights(self, values: ArrayLike) -> None:
        self._set_weights(values, (self.units, self.dim))

    def _adapt(self, batch: Batch) -> Outputs:
        out = self._outputs(batch.rows)
        clock = self.state["samples"], self.state["hits"], self.state["quality"], self.decay
        rule = (
            *self._schedules.advance(batch).values(),
            self._mode,
            self.spec.fairness,
            self._conscience,
            self._share,
        )
        kernels.learn(batch.x, *self._what_locates(), *clock, *rule, *out.arrays.values())
        return out

    def _quality(self) -> dict[str, float]:
        """``quantization_error``: mean distance to the winner, in the scaled space; ``dead_units``: how many
        prototypes hardly ever win."""
        count, distance = self.state["quality"].tolist()
        return {
            "quantization_error": distance / count if count else float("nan"),
            "dead_units": len(self.dead_units),
        }
