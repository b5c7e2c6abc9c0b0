"""The reference of the score, as an array of a model's state (``kernels/stream/score.py``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.stream import score as kernels
from ..state_checks import Range


class ScoreReference:
    """The recent distances or errors of one model, which compare ``columns`` values if none is missing."""

    def __init__(self, columns: int, decay: float) -> None:
        reference = np.empty(kernels.size(columns))
        self.state: dict[str, NDArray[Any]] = {"score.reference": reference}
        self.ranges: dict[str, Range] = {}
        self.arguments: dict[str, Any] = {
            "score_reference": reference,
            "score_columns": columns,
            "score_decay": decay,
        }
        self.restart()

    def restart(self) -> None:
        """Forget all distances. The score is ½ for the next samples, until there are some to compare with."""
        kernels.restart(self.state["score.reference"])
