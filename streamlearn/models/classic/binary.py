"""What the nets for binary stimuli share: lines that are on or off, or a threshold that makes them so."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field, field_validator

from ...errors import BadValue
from .. import base
from ..base import Model
from ..batch import Float32
from ..stream.schedules import Finite


class BinarySpec(base.Spec):
    """Parameters of a model of binary stimuli."""

    threshold: Finite | None = Field(
        None,
        description=(
            "A line is active if its value is above this. None: samples hold only the two values of "
            "an active and an inactive line."
        ),
    )

    @field_validator("scale", mode="before")
    @classmethod
    def _nothing_to_scale(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("lines are on or off, so there is nothing to scale: leave it out")
        return value


class BinaryModel(Model):
    """A model of lines that are on or off. ``OFF`` and 1 are the two values that a sample may have."""

    OFF: ClassVar[int]
    spec: BinarySpec

    @property
    def _threshold(self) -> float:
        """A line is on above this, whatever samples consist of."""
        return (self.OFF + 1) / 2 if self.spec.threshold is None else self.spec.threshold

    def read(self, X: ArrayLike) -> Float32:
        """Return ``X`` as float32 ``(n, dim)``. Raises BadValue for a third value."""
        x = super().read(X)
        if self.spec.threshold is None:
            odd = (x != self.OFF) & (x != 1) & ~np.isnan(x)
            if odd.any():
                row, column = (int(i) for i in np.argwhere(odd)[0])
                raise BadValue(
                    f"x[{row}, {column}] is {x[row, column]:g}; this {self.kind} takes {self.OFF} and 1 (NaN"
                    " where a line is missing): send those, or create it with a threshold, above which a line"
                    " is on",
                    row=row,
                    column=column,
                )
        return x
