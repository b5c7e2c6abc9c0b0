"""Units with labels, learned from the classes of the samples that they win."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from streamlearn_client.protocol import as_identifiers

from ...errors import BadValue
from ...kernels import compiler
from ...kernels.stream import labels as kernels
from .. import base
from ..batch import Batch, Float32, Targets, first_rows, part
from ..locking import locked
from ..outputs import LabelTargetOutputs, WinnerOutputs
from ..row_cost import SCALAR, Cost
from ..state_checks import ANY_INTEGER, COUNT, Range
from ..validation import as_codes
from .hand_labels import HandLabelledModel
from .label_names import NAME_BYTES, LabelNames, check_name
from .units import FixedUnitModel, UnitSpec


class LabelledSpec(UnitSpec):
    """Parameters of a model with units that have labels."""

    labels: int | None = Field(
        None,
        ge=1,
        le=1 << 16,
        description=(
            "Number of classes. Then y is a class 0 … labels − 1 (NaN: unknown), given with the "
            "samples or later by id, and each unit's label is the class of which it won the largest share. "
            "A list of names: labels with these names. None: units have the labels that a person gives them."
        ),
    )
    label_names: tuple[str, ...] | None = Field(
        None,
        description=(
            "Names of the classes, in order, at most 32 bytes each. Then y may be names. labels=[names] "
            "sets both. None: a class gets its name by the first label by hand that uses it."
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

    @model_validator(mode="before")
    @classmethod
    def _names_of_labels(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("labels"), (list, tuple)):
            names = tuple(given["labels"])
            return {**given, "labels": len(names), "label_names": names}
        return given

    @model_validator(mode="after")
    def _has_valid_names(self) -> LabelledSpec:
        names = self.label_names or ()
        if len(names) > (self.labels or 0) or len(set(names)) < len(names):
            raise ValueError(
                f"label_names has {len(names)} names; {self.labels or 0} different ones are allowed"
            )
        for name in names:
            try:
                check_name(name)
            except BadValue as error:
                raise ValueError(error.message) from None
        return self

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
        if not self.labels:
            return super().state_values
        names = self.labels * NAME_BYTES // 4
        return super().state_values + (self.most_units + 1) * self.labels + names + self.delay

    @model_validator(mode="after")
    def _has_bounded_counts(self) -> LabelledSpec:
        if 2 * math.prod(self.arrangement) * (self.labels or 0) > base.MAX_STATE_VALUES:
            raise ValueError(f"units × labels is more than {base.MAX_STATE_VALUES // 2}; take fewer labels")
        return self


class LabelledModel(HandLabelledModel, FixedUnitModel):
    """Units whose labels are counted if the spec has ``labels``; else a person may give them labels.

    The class ``y`` ``(n, 1)`` comes with the samples, NaN if it is unknown, or later by id
    (``learn_targets``).
    """

    def _create_units(self, units: int, plane: NDArray[np.float64] | None = None) -> None:
        self._classes = self.spec.labels or 0
        super()._create_units(units, plane)
        if self._classes:
            compiler.ready(kernels)
            delay, state = self.spec.delay, self.state
            state["labels.counts"] = np.append(np.zeros((units + 1) * self._classes), 1.0)
            state["labels.strongest"] = np.full(self._classes, -1, np.int32)
            state["labels.given"] = np.full(units, -1, np.int32)
            self._names = self._add(LabelNames(self._classes, self.spec.label_names or ()))
            state["labels.quality"] = np.zeros(2)
            state["labels.ids"] = np.zeros(delay, np.int64)
            state["labels.winners"] = np.zeros(delay, np.int32)
            state["labels.predicted"] = np.zeros(delay, np.int32)
            state["labels.unmatched"] = np.zeros(1, np.int64)
            self.ranges |= {
                "labels.strongest": Range(-1, units - 1),
                "labels.given": Range(-1, self._classes - 1),
                "labels.ids": ANY_INTEGER,
                "labels.winners": Range(kernels.DONE, units - 1),
                "labels.predicted": Range(-1, self._classes - 1),
                "labels.unmatched": COUNT,
            }
            self._units_labels = {
                "counts": state["labels.counts"],
                "classes": self._classes,
                "strongest": state["labels.strongest"],
                "given": state["labels.given"],
            }
            self._label_arguments = self._units_labels | {
                "quality": state["labels.quality"],
                "decay": self.decay,
                "waiting_ids": state["labels.ids"],
                "waiting_winners": state["labels.winners"],
                "waiting_labels": state["labels.predicted"],
            }

    @property
    def _counts_labels(self) -> bool:
        return self._classes > 0

    def _forget_units(self, units: NDArray[np.int64]) -> None:
        super()._forget_units(units)
        if self._classes:
            counts = self.state["labels.counts"][:-1].reshape(-1, self._classes)
            counts[units] = 0
            counts[-1] = np.add.reduce(counts[:-1], axis=0)  # row by row: the order is fixed
            self.state["labels.strongest"][...] = np.where(counts[-1] > 0, counts[:-1].argmax(axis=0), -1)
            self.state["labels.given"][units] = -1
            winners = self.state["labels.winners"]
            winners[np.isin(winners, units)] = kernels.DONE

    @property
    def target_dim(self) -> int:
        """Columns of ``y``: 1 with ``labels``, else 0."""
        return 1 if self._classes else 0

    @property
    def takes_only_x(self) -> bool:
        """Whether a batch needs nothing but samples: without ``labels``."""
        return not self._classes

    @property
    def accepts_late_targets(self) -> bool:
        """Whether labels may arrive after their samples: they may with ``labels``."""
        return self._classes > 0

    def read_targets(self, y: ArrayLike) -> Float32:
        """Return ``y`` as float32 ``(n, 1)``: classes or their names. Raises BadValue for any other value."""
        given = np.asarray(y, object) if self._classes and _has_text(y) else None
        if given is not None:
            y = np.array([self._code(value) for value in given.ravel()], np.float32).reshape(given.shape)
        return as_codes("y", super().read_targets(y), self._classes)

    def _code(self, value: Any) -> float:
        """Return the class of a name; NaN for a missing value."""
        if value is None or value == "" or value != value:
            return math.nan
        found = self._names.find(str(value))
        if found is None:
            raise BadValue(
                f"y has {value!r}, which is no label; the labels are {', '.join(self._names.names[:50])}",
                field="y",
            )
        return found

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
        return np.asarray(counts[: math.prod(shape)] / counts[-1]).reshape(shape)

    @property
    @locked
    def labels(self) -> NDArray[np.int32]:
        """Label of each unit, int32 of the shape of the units; −1: none.

        It is the label given by hand; else, of the classes that this unit has won more often than any other
        unit has, the one of which it won the largest share; else the class of which it won the largest share.
        """
        return super().labels

    def _labels_of(self, winner: NDArray[np.int32]) -> NDArray[np.int32]:
        if not self._classes:
            return super()._labels_of(winner)
        label = np.empty(len(winner), np.int32)
        kernels.predict(winner=winner, **self._units_labels, label=label)
        return label

    @property
    def _label_passes(self) -> int:
        return max(1, self._classes)

    @property
    def label_names(self) -> list[str]:
        """The name of each class of labels. A class without a name has its number as text."""
        return self._names.names if self._classes else super().label_names

    def _check_class(self, name: str) -> None:
        if self._classes:
            self._class_of(name)
        else:
            super()._check_class(name)

    def _label_of_sample(self, label: object, sample: object) -> dict[str, Any]:
        if not self._classes:
            return super()._label_of_sample(label, sample)
        return {"label": label, "sample": int(as_identifiers([sample], 1, "sample")[0])}

    def _class_of(self, name: str) -> int:
        """Return the class of a name, new ones included. Raises BadValue if there is none left."""
        found = self._names.find(name)
        if found is None:
            used = self.state["labels.strongest"] >= 0
            used[self.state["labels.given"][self.state["labels.given"] >= 0]] = True
            found = self._names.free(used)
        if found is None:
            raise BadValue(
                f"there is no class left for the label {name!r}; the labels are "
                f"{', '.join(self._names.names[:50])}. Create the model with more labels",
                field="label",
            )
        return found

    def apply_label(self, given: Mapping[str, Any]) -> None:
        """Apply a label that ``validate_label`` returned. It has no effect if no class is left meanwhile."""
        if not self._classes:
            super().apply_label(given)
            return
        name, k = given["label"], -1
        if name is not None:
            try:
                k = self._class_of(name)
            except BadValue:
                return
            if self._names.find(name) is None:
                self._names.assign(k, name)
        if "unit" in given:
            self.state["labels.given"][given["unit"]] = k
        elif "sample" in given:
            target = Targets(np.array([given["sample"]]), np.array([[k]], np.float32))
            self._learn_late_targets(target, learning=True)
        else:
            winner = self._winner_of(given)
            if winner >= 0:
                names = ("counts", "classes", "strongest", "decay")
                counted = {name: self._label_arguments[name] for name in names}
                kernels.count_class(k=k, winner=winner, **counted)

    @locked
    def quality(self) -> dict[str, Any]:
        """Return the live quality, also of the labels.

        Returns
        -------
        dict
            As for every model of this kind. ``labelled_units``: units with a label, if a unit was ever given
            one or the spec has ``labels``. With ``labels``, ``label_accuracy``: share of labels that equalled
            the winner's label at the time of the sample; ``unmatched_targets``: late labels without a waiting
            sample.
        """
        if not self._classes:
            return super().quality()
        count, correct = self.state["labels.quality"].tolist()
        return super().quality() | {
            "label_accuracy": correct / count if count else math.nan,
            "labelled_units": int((self.labels >= 0).sum()),
            "unmatched_targets": int(self.state["labels.unmatched"][0]),
        }


def _has_text(y: Any) -> bool:
    """Whether targets are names."""
    if isinstance(y, np.ndarray) and y.dtype.kind not in "UO":
        return False
    try:
        return any(isinstance(value, str) for value in np.asarray(y, object).ravel())
    except ValueError:  # rows of different lengths
        return False
