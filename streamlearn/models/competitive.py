"""``sl.Competitive``: competitive learning, hard (winner takes all) or soft."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ..kernels import competitive as kernels
from ..kernels import compiler
from . import base, schedule
from .base import Float32
from .schedule import Decay, Schedule, within
from .units import UnitModel, UnitSpec


class CompetitiveSpec(UnitSpec):
    units: int = Field(ge=1, le=1 << 24, description="how many prototypes")
    mode: Literal["hard", "soft"] = Field("hard", description="the winner alone learns, or all by nearness")
    learning_rate: Annotated[Schedule, within(0, 1)] = Field(Decay(0.5, 0.02, 5000.0), description="ε(t)")
    beta: Annotated[Schedule, within(0, 1e30)] = Field(
        1.0, description="soft: how sharply learning falls off with squared distance"
    )

    @model_validator(mode="after")
    def _not_too_large(self) -> CompetitiveSpec:
        if self.units * self.dim > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net has more than {base.MAX_STATE_VALUES} weights; take fewer units or a smaller dim"
            )
        return self


class Competitive(UnitModel):
    """``units`` prototypes that compete for the samples.

    ``Competitive(dim=, units=, mode=, learning_rate=, beta=, scale=, seed=)``; see ``docs/models.md``.
    """

    kind: ClassVar[str] = "competitive"
    Spec: ClassVar[type[base.Spec]] = CompetitiveSpec
    spec: CompetitiveSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(kernels)
        self._place_units(self.spec.units)
        self._schedules = schedule.as_array(self.spec.learning_rate), schedule.as_array(self.spec.beta)
        self._mode = kernels.MODES[self.spec.mode]
        self.state["quality"] = np.zeros(2)

    @property
    def weights(self) -> Float32:
        """``(units, dim)``, in the scaled space if the net scales. Assign to set; the array itself is a
        copy."""
        return self._rows()

    @weights.setter
    def weights(self, values: ArrayLike) -> None:
        self._set_weights(values, (self.units, self.dim))

    def learn_validated(self, x: Float32, y: Float32 | None = None) -> Outputs:
        out = self._outputs(len(x))
        clock = self.state["samples"], self.state["hits"], self.state["quality"], self.decay
        rule = *self._schedules, self._mode
        kernels.learn(x, *self._what_locates(), *clock, *rule, *out.arrays.values())
        return out

    def quality(self) -> dict[str, float]:
        """``quantization_error``: mean distance to the winner, in the scaled space; ``dead_units``: how many
        prototypes hardly ever win."""
        count, distance = self.state["quality"].tolist()
        return {
            "quantization_error": distance / count if count else float("nan"),
            "dead_units": len(self.dead_units),
        }
