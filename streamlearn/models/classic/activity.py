"""Base of the models of cells with excitation and inhibition. Their samples are activities, 0 or more."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ..batch import Float32
from ..outputs import ActivityOutputs
from .base import ClassicModel, UnscaledSpec


class ActivitySpec(UnscaledSpec):
    """Parameters of a model of active cells."""

    SCALE_ERROR: ClassVar[str] = "samples are activities, 0 or more, and are not scaled: leave it out"
    VALUES: ClassVar[str] = "activities, 0 or more"


class ActivityModel(ClassicModel):
    """A model of ``cells`` that outputs the activity of each cell."""

    cells: int

    def read(self, X: ArrayLike) -> Float32:
        """Return ``X`` as float32 rows.

        Raises
        ------
        BadShape, BadDtype
            If ``X`` does not fit this model.
        BadValue
            If an activity is negative or infinite.
        """
        x = super().read(X)
        self._refuse_values(
            x,
            x < 0,
            "activities, 0 or more (NaN where one is missing). Shift the channel, or send the values above"
            " and the values below its mean as two channels",
        )
        return x

    def _allocate_outputs(self, n: int) -> ActivityOutputs:
        return ActivityOutputs(
            winner=np.empty(n, np.int32),
            activity=np.empty((n, self.cells), np.float32),
            distance=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            present=np.empty(n, np.int32),
        )
