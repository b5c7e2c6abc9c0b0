"""The reference of the score, as an array of a model's state (``kernels/stream/score.py``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.stream import score as kernels
from ..state_checks import ByName, Ranges


class ScoreReference(ByName):
    """The recent distances or errors of one model, which compare ``columns`` values if none is missing."""

    ranges = Ranges()

    def __init__(self, columns: int, decay: float) -> None:
        reference = np.empty(kernels.size(columns))
        self.state = {"score.reference": reference}
        self._columns, self._decay = columns, decay
        self.restart()

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of the kernels by name."""
        return {
            "score_reference": self.state["score.reference"],
            "score_columns": self._columns,
            "score_decay": self._decay,
        }

    def restart(self) -> None:
        """Forget all distances. The score is ½ for the next samples, until there are some to compare with."""
        kernels.restart(self.state["score.reference"])
