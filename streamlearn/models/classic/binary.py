"""Base of the models of binary stimuli: lines that are on or off, or real values with a threshold."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from ..batch import Float32
from ..stream.schedules import Finite
from .base import ClassicModel, UnscaledSpec


class BinarySpec(UnscaledSpec):
    """Parameters of a model of binary stimuli."""

    threshold: Finite | None = Field(
        None,
        description=(
            "A line is active if its value is above this. None: samples hold only the two values of "
            "an active and an inactive line."
        ),
    )

    SCALE_ERROR: ClassVar[str] = "lines are on or off, so there is nothing to scale: leave it out"
    VALUES: ClassVar[str] = "lines that are on or off"


class BinaryModel(ClassicModel):
    """A model of binary lines."""

    OFF: ClassVar[int]
    """Value of an inactive line. An active line is 1."""
    spec: BinarySpec

    @property
    def _threshold(self) -> float:
        """A line is on if its value is above this, with or without ``threshold`` in the spec."""
        return (self.OFF + 1) / 2 if self.spec.threshold is None else self.spec.threshold

    def read(self, X: ArrayLike) -> Float32:
        """Return ``X`` as float32 rows.

        Raises
        ------
        BadShape, BadDtype
            If ``X`` does not fit this model.
        BadValue
            If a value is infinite, or neither on nor off while the spec has no ``threshold``.
        """
        x = super().read(X)
        if self.spec.threshold is None:
            self._refuse_values(
                x,
                (x != self.OFF) & (x != 1) & ~np.isnan(x),
                f"{self.OFF} and 1 (NaN where a line is missing). Send those, or create it with a threshold:"
                " a line is on if its value is above it",
            )
        return x
