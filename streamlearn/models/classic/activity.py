"""What the models of cells that excite and inhibit each other share: samples are activities, 0 or more."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import field_validator

from streamlearn_client.outputs import Outputs

from ...errors import BadValue
from .. import base
from ..base import Model
from ..batch import Float32


class ActivitySpec(base.Spec):
    """Parameters of a model of active cells."""

    @field_validator("scale", mode="before")
    @classmethod
    def _nothing_to_scale(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError("activities mean what they are, 0 or more, so nothing is scaled: leave it out")
        return value


class ActivityModel(Model):
    """A model of ``cells`` with activities."""

    cells: int

    def read(self, X: ArrayLike) -> Float32:
        """Return ``X`` as float32 ``(n, dim)``. Raises BadValue for a negative activity."""
        x = super().read(X)
        negative = x < 0
        if negative.any():
            row, column = (int(i) for i in np.argwhere(negative)[0])
            raise BadValue(
                f"x[{row}, {column}] is {x[row, column]:g}; this {self.kind} takes activities, 0 or more (NaN"
                " where one is missing): shift the channel, or send what is above and what is below its mean"
                " as two channels",
                row=row,
                column=column,
            )
        return x

    @abstractmethod
    def _what_responds(self) -> tuple[Any, ...]:
        """Return the model as both kernels take it, in their order."""

    def _scores(self) -> tuple[Any, ...]:
        return self.state["score.tree"], self.state["score.head"]

    def _outputs(self, n: int) -> Outputs:
        """Room for what is said of ``n`` samples, in the kernels' order."""
        return Outputs(
            winner=np.empty(n, np.int32),
            activity=np.empty((n, self.cells), np.float32),
            distance=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            present=np.empty(n, np.int32),
        )
