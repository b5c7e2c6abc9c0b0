"""Units with labels, learned from the classes of the samples that they win."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ...kernels import compiler
from ...kernels.stream import labels as kernels
from .. import base
from ..batch import Batch, Float32, Targets, first_rows, part
from ..locking import locked
from ..outputs import LabelTargetOutputs, WinnerOutputs
from ..readable import Part, array_part
from ..row_cost import SCALAR, Cost
from ..state_checks import ANY_INTEGER, COUNT, Range
from ..validation import as_codes
from .units import FixedUnitModel, UnitSpec


class LabelledSpec(UnitSpec):
    """Parameters of a model with units that have labels."""

    labels: int | None = Field(
        None,
        ge=1,
        le=1 << 16,
        description=(
            "Number of classes. Then y is a class 0 … labels − 1 (NaN: unknown), given with the "
            "samples or later by id, and each unit's label is the class it won most often. None: no "
            "labels."
        ),
    )
    delay: int = Field(
        1024,
        ge=1,
        le=1 << 16,
        description=(
            "Last samples that wait for their label. Raise it if labels arrive later; it costs 16 "
            "bytes per sample."
        ),
    )

    def row_costs(self) -> list[Cost]:
        """Add the search of a late label's sample, the label of a unit, and the division of all counts."""
        parts = super().row_costs()
        if self.labels is not None:
            counts = self.labels * self.most_units
            parts.append(Cost(self.labels * SCALAR, ("labels",)))
            parts.append(Cost(counts, ("labels", *self.size_parameters), learning=True))
            parts.append(Cost(self.delay * SCALAR, ("delay",), learning=True))
        return parts

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state, with the counts of labels."""
        return super().state_values + (self.most_units * self.labels + self.delay if self.labels else 0)

    @model_validator(mode="after")
    def _has_bounded_counts(self) -> LabelledSpec:
        if 2 * math.prod(self.arrangement) * (self.labels or 0) > base.MAX_STATE_VALUES:
            raise ValueError(f"units × labels is more than {base.MAX_STATE_VALUES // 2}; take fewer labels")
        return self


class LabelledModel(FixedUnitModel):
    """Units that have labels if the spec has ``labels``.

    The class ``y`` ``(n, 1)`` comes with the samples, NaN if it is unknown, or later by id
    (``learn_targets``).
    """

    def _create_units(self, units: int, plane: NDArray[np.float64] | None = None) -> None:
        super()._create_units(units, plane)
        self._classes = self.spec.labels or 0
        if self._classes:
            compiler.ready(kernels)
            delay, state = self.spec.delay, self.state
            state["labels.counts"] = np.append(np.zeros(units * self._classes), 1.0)
            state["labels.quality"] = np.zeros(2)
            state["labels.ids"] = np.zeros(delay, np.int64)
            state["labels.winners"] = np.zeros(delay, np.int32)
            state["labels.predicted"] = np.zeros(delay, np.int32)
            state["labels.unmatched"] = np.zeros(1, np.int64)
            self.ranges |= {
                "labels.ids": ANY_INTEGER,
                "labels.winners": Range(kernels.DONE, units - 1),
                "labels.predicted": Range(-1, self._classes - 1),
                "labels.unmatched": COUNT,
            }
            self._label_arguments = {
                "counts": state["labels.counts"],
                "classes": self._classes,
                "quality": state["labels.quality"],
                "decay": self.decay,
                "waiting_ids": state["labels.ids"],
                "waiting_winners": state["labels.winners"],
                "waiting_labels": state["labels.predicted"],
            }

    def _forget_units(self, units: NDArray[np.int64]) -> None:
        if self._classes:
            self.state["labels.counts"][:-1].reshape(self.units, self._classes)[units] = 0
            winners = self.state["labels.winners"]
            winners[np.isin(winners, units)] = kernels.DONE

    @property
    def target_dim(self) -> int:
        """Columns of ``y``: 1 with ``labels``, else 0."""
        return 1 if self._classes else 0

    @property
    def accepts_late_targets(self) -> bool:
        """Whether labels may arrive after their samples: they may with ``labels``."""
        return self._classes > 0

    def read_targets(self, y: ArrayLike) -> Float32:
        """Return ``y`` as float32 ``(n, 1)``. Raises BadValue for a value that is no class."""
        return as_codes("y", super().read_targets(y), self._classes)

    def _learn(self, batch: Batch) -> WinnerOutputs:
        if not self._classes:
            return super()._learn(batch)
        first = self.samples
        out = super()._learn(batch)
        done = part(batch, 0, len(out))
        label = out.arrays["label"] = np.empty(done.rows, np.int32)
        watched = out.arrays["watched"]
        y = np.where(watched[:, None], np.float32(np.nan), done.y)
        samples = {"y": y, "ids": done.ids, "first": first, "winner": out.winner}
        kernels.learn(**samples, **self._label_arguments, label=label)
        # Watched samples wait for no label; nor do the samples that they replace in the ring
        recent = max(0, done.rows - self.spec.delay)
        places = (first + recent + np.flatnonzero(watched[recent:])) % self.spec.delay
        self.state["labels.winners"][places] = kernels.DONE
        return out

    def _learn_late_targets(self, targets: Targets, learning: bool) -> LabelTargetOutputs:
        n = targets.rows
        winner, label = np.empty(n, np.int32), np.empty(n, np.int32)
        out = LabelTargetOutputs(sample=np.empty(n, np.int64), winner=winner, label=label)
        done = kernels.learn_late(
            y=targets.y,
            ids=targets.ids,
            interrupt=self.interrupt,
            samples=self.samples,
            unmatched=self.state["labels.unmatched"],
            learning=learning,
            **self._label_arguments,
            **out.arrays,
        )
        return out if done == n else first_rows(out, done)

    def predict_validated(self, batch: Batch) -> WinnerOutputs:
        """Return the outputs for a batch that ``validate`` returned, with the winners' labels."""
        out = super().predict_validated(batch)
        if self._classes:
            out.arrays["label"] = self._labels_of(out.winner)
        return out

    @property
    @locked
    def label_counts(self) -> NDArray[np.float64]:
        """Labels that each unit has won, float64 of shape (*units, labels).

        Counts are forgotten exponentially with ``half_life``, in labels learned.
        """
        shape = (*self.spec.arrangement, self._classes)
        counts = self.state.get("labels.counts", np.ones(1))
        return np.asarray(counts[:-1] / counts[-1]).reshape(shape)

    @property
    @locked
    def labels(self) -> NDArray[np.int32]:
        """Label of each unit, int32 of the shape of the units; −1: none.

        It is the class that the unit has won most often; the lowest class wins a tie.
        """
        units = np.arange(self.units, dtype=np.int32)
        return self._labels_of(units).reshape(self.spec.arrangement)

    def _labels_of(self, winner: NDArray[np.int32]) -> NDArray[np.int32]:
        label = np.full(len(winner), -1, np.int32)
        if self._classes:
            kernels.predict(winner, self.state["labels.counts"], self._classes, label)
        return label

    def _parts(self) -> dict[str, Part]:
        """Add the labels."""
        parts = super()._parts()
        if self._classes:
            passes = self._classes
            parts["labels"] = array_part("labels", self.units, np.int32, lambda: self.labels, passes)
        return parts

    @locked
    def quality(self) -> dict[str, Any]:
        """Return the live quality, with ``labels`` also of the labels.

        Returns
        -------
        dict
            As for every model of this kind. ``label_accuracy``: share of labels that equalled the winner's
            label at the time of the sample. ``labelled_units``: units with a label. ``unmatched_targets``:
            late labels without a waiting sample.
        """
        if not self._classes:
            return super().quality()
        count, correct = self.state["labels.quality"].tolist()
        return super().quality() | {
            "label_accuracy": correct / count if count else math.nan,
            "labelled_units": int((self.labels >= 0).sum()),
            "unmatched_targets": int(self.state["labels.unmatched"][0]),
        }
