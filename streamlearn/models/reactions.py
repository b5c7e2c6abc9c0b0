"""What a model does after a drift alarm."""

from __future__ import annotations

import sys
from typing import Any

from numpy.typing import NDArray

from .stream.drift import DriftDetector
from .stream.schedules import Schedules
from .stream.score import ScoreReference
from .stream.sequences import SequenceDetector
from .stream.watching import Watching


class Reactions:
    """Reacts to drift as ``on_drift`` defines."""

    spec: Any
    state: dict[str, NDArray[Any]]
    _schedules: Schedules
    _detector: DriftDetector | None
    _score: ScoreReference
    _watching: Watching
    _sequences: SequenceDetector | None

    def _rows_to_reaction(self) -> int:
        """Return a number of rows of which only the last one can cause a reaction."""
        if self._detector is None or self.spec.on_drift is None:
            return sys.maxsize
        return max(1, self._detector.values_left - self._outputs_waiting)

    @property
    def _outputs_waiting(self) -> int:
        """Number of outputs that rows can return beside their own (``has_lookahead``)."""
        return 0

    def _react(self) -> None:
        """React to an alarm of the last rows, as ``on_drift`` defines."""
        if self._detector is None or self.spec.on_drift is None or not self._detector.take_rise():
            return
        if self.spec.on_drift == "watch":
            self._watching.start()
            return
        if self.spec.reheats:
            self._schedules.reheat_to(self.spec.drift_heat)
            self._raise_rates(self.spec.drift_heat)
            if self._sequences is not None:
                self._sequences.restart()
        if self.spec.reseeds:
            self._begin_reseeding(self._detector.level_before)
        self._restart_score()

    def _restart_score(self) -> None:
        """Let the score forget what it compares samples with."""
        self._score.restart()
        self._watching.begin_again()

    def _begin_reseeding(self, level: float) -> None:
        """Begin to move units (``reseeds`` of the spec). ``level``: that of the blocks before the alarm."""

    def _raise_rates(self, heat: float) -> None:
        """Raise rates that are no schedules, as a reheat with ``heat`` raises the schedules."""
