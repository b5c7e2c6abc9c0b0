"""Maps that learn a sample that comes alone in one call of a kernel, see ``models/one_sample.py``."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...kernels.stream.interrupt_words import NEVER
from ..one_sample import Arrays, Learner, SingleSamples
from .labels import LabelledModel

if TYPE_CHECKING:
    from ...kernels.prepared import Prepared


class SingleMapSamples(SingleSamples, LabelledModel, ABC):
    """A map that may learn a sample that comes alone by a `OneSample`."""

    def _set_labelled(self, labelled: bool) -> None:
        super()._set_labelled(labelled)
        self._one_sample = None

    @property
    def _learns_single_samples(self) -> bool:
        """Whether the samples can be learned in one call each, by the spec."""
        special = self._sequences, self._first, self._counts_labels, self.has_labels_by_hand
        return self._has_usual_stages and not any(special)

    def _learner(self, kernel: Prepared, step: Any, places: NDArray[np.int32] | None = None) -> Learner:
        """Return the learner. ``places``: see ``Learner``."""
        fields = (
            ("winner", np.int32, (1,)),
            ("distance", np.float32, (1,)),
            ("score", np.float32, (1,)),
            ("present", np.int32, (1,)),
            ("watched", np.bool_, (1,)),
            ("expected", np.float32, (int(self.explains_learning), self.inputs)),
        )

        def arguments(row: Arrays) -> dict[str, Any]:
            schedules = dict(zip(self.spec.schedules, row["schedules"], strict=True))
            given = {"x": np.empty((1, self.inputs), np.float32), "interrupt": NEVER}
            return self._learn_arguments | schedules | row | given

        return Learner(kernel, step, fields, arguments, places=places)
