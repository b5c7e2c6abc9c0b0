"""Labels that a person gives to units, of a model whose spec has no ``labels``.

No label is counted. A unit has the label that it was given, until it gets another one or is moved to another
place. The arrays join the state with the first label, so a model without one needs no memory for them.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import BadValue
from ..batch import Batch, Float32
from ..locking import locked
from ..outputs import WinnerOutputs
from ..readable import Part, array_part
from ..serialization import State
from ..state_checks import Range
from ..state_checks import State as AnyState
from .label_names import NAME_BYTES, LabelNames, check_name, wrong_names
from .units import UnitModel

MOST: Final = 64
"""Different labels of one model at a time."""
GIVEN: Final = "labels.given"
_NO_LABELS: Final = np.empty(0, np.int32)  # of every model without labels
_NO_NAMES: Final = LabelNames(0, ())


class HandLabels:
    """The label of each unit, and the names of the labels. The arrays that exist are part of the state."""

    __slots__ = ("_units", "given", "names")

    def __init__(self, units: int) -> None:
        self._units = units
        self.end()

    def begin(self) -> None:
        """Create the arrays. No unit has a label."""
        self.given = np.full(self._units, -1, np.int32)
        self.names = LabelNames(self._most, ())

    def end(self) -> None:
        """Remove the arrays."""
        self.given, self.names = _NO_LABELS, _NO_NAMES

    @property
    def _most(self) -> int:
        return min(self._units, MOST)

    @property
    def bytes(self) -> int:
        """Size of the arrays."""
        return 4 * self._units + NAME_BYTES * self._most

    @property
    def state(self) -> dict[str, NDArray[Any]]:
        """The arrays by name; empty before the first label."""
        return {GIVEN: self.given, **self.names.state} if self.given.size else {}

    @property
    def ranges(self) -> dict[str, Range]:
        """Valid values of the arrays, also of those that do not exist yet."""
        return {GIVEN: Range(-1, self._most - 1), **self.names.ranges}

    @property
    def used_names(self) -> list[str]:
        """The names up to the last one that was ever used."""
        named = np.flatnonzero(self.names.is_named)
        return self.names.names[: named[-1] + 1] if named.size else []

    def of(self, winner: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the label of each winner; −1: none."""
        return np.where(winner >= 0, self.given[winner], np.int32(-1))

    def find(self, name: str) -> int | None:
        """Return the number of a label: a known one, else a free one; None if all are in use."""
        named = self.names.is_named
        for k in np.flatnonzero(named):
            if self.names.names[k] == name:
                return int(k)
        used = np.isin(np.arange(named.size), self.given)
        for free in (~named, ~used):
            if free.any():
                return int(free.argmax())
        return None


class HandLabelledModel(UnitModel):
    """Units that may get labels by hand. With ``labels`` in the spec, a subclass counts labels instead."""

    _by_hand: HandLabels

    def _create_units(self, units: int, plane: NDArray[np.float64] | None = None) -> None:
        super()._create_units(units, plane)
        if not self._counts_labels:
            self._by_hand = self._add(HandLabels(units))

    @property
    def _counts_labels(self) -> bool:
        """Whether the labels of samples are counted; then the arrays here are not used."""
        return False

    @property
    def _label_passes(self) -> int:
        """Passes over the units that their labels take."""
        return 1

    # -- state -------------------------------------------------------------------------------------------

    @property
    def optional_bytes(self) -> int:
        """Bytes of the arrays that the first label adds to the state."""
        return 0 if self._counts_labels or GIVEN in self.state else self._by_hand.bytes

    def state_like(self, names: Collection[str]) -> State:
        """Return the state, with or without the arrays of the labels, as ``names`` has them."""
        if self._counts_labels or (GIVEN in names) == (GIVEN in self.state):
            return self.state
        if GIVEN in names:
            labels = HandLabels(self.units)
            labels.begin()
            return self.state | labels.state
        return {name: array for name, array in self.state.items() if name not in self._by_hand.state}

    def inconsistencies(self, state: AnyState) -> Iterator[str]:
        """Add names that are not text."""
        yield from super().inconsistencies(state)
        yield from wrong_names(state)

    def replace_state(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Replace the state by arrays that ``copy_state`` of a model with the same spec returned."""
        if not self._counts_labels:
            self._set_labelled(GIVEN in arrays)
        super().replace_state(arrays)

    def _set_labelled(self, labelled: bool) -> None:
        """Add the arrays of the labels to the state, or remove them."""
        if labelled and GIVEN not in self.state:
            self._by_hand.begin()
            self.state |= self._by_hand.state
        elif not labelled and GIVEN in self.state:
            for name in self._by_hand.state:
                del self.state[name]
            self._by_hand.end()

    def _forget_units(self, units: NDArray[np.int64]) -> None:
        super()._forget_units(units)
        if not self._counts_labels and GIVEN in self.state:
            self._by_hand.given[units] = -1

    @property
    def has_labels_by_hand(self) -> bool:
        """Whether a unit was ever given a label by hand. Then the outputs have labels."""
        return GIVEN in self.state and not self._counts_labels

    # -- outputs -----------------------------------------------------------------------------------------

    def _learn_units(self, batch: Batch) -> WinnerOutputs:
        return self._with_label(super()._learn_units(batch))

    def _before_initial_weights(self, x: Float32, watched: bool) -> WinnerOutputs:
        return self._with_label(super()._before_initial_weights(x, watched))

    def predict_validated(self, batch: Batch) -> WinnerOutputs:
        """Return the outputs for a batch that ``validate`` returned, with the winners' labels."""
        return self._with_label(super().predict_validated(batch))

    def _with_label(self, out: WinnerOutputs) -> WinnerOutputs:
        """Add ``label`` ``(n,)``, if a unit was ever given one."""
        if not self._counts_labels and GIVEN in self.state:
            out.arrays["label"] = self._by_hand.of(out.winner)
        return out

    @property
    @locked
    def labels(self) -> NDArray[np.int32]:
        """Label of each unit, int32 of the shape of the units; −1: none."""
        return self._labels_of(np.arange(self._unit_count, dtype=np.int32)).reshape(self._shape)

    @property
    def _unit_count(self) -> int:
        """Number of units now."""
        return int(np.prod(self._shape))

    def _labels_of(self, winner: NDArray[np.int32]) -> NDArray[np.int32]:
        labelled = GIVEN in self.state
        return self._by_hand.of(winner) if labelled else np.full(len(winner), -1, np.int32)

    def _label_of(self, unit: int) -> str:
        label = int(self._labels_of(np.array([unit], np.int32))[0])
        return self.label_names[label] if label >= 0 else ""

    @property
    def label_names(self) -> list[str]:
        """The name of each class of labels. A class without a name has its number as text."""
        return self._by_hand.used_names

    def _parts(self) -> dict[str, Part]:
        """Add the labels."""
        labels = array_part("labels", self._unit_count, np.int32, lambda: self.labels, self._label_passes)
        facts = lambda: {"label_names": self.label_names}  # noqa: E731
        return super()._parts() | {"labels": labels._replace(facts=facts)}

    @locked
    def quality(self) -> dict[str, Any]:
        """Return the live quality; with labels also ``labelled_units``, the number of units that have one."""
        if self._counts_labels or GIVEN not in self.state:
            return super().quality()
        return super().quality() | {"labelled_units": int((self.labels >= 0).sum())}

    # -- labels by hand ----------------------------------------------------------------------------------

    @locked
    def label(
        self,
        label: str | None,
        *,
        unit: int | None = None,
        sample: int | str | None = None,
        x: ArrayLike | None = None,
    ) -> None:
        """Give a label to a unit, or to one sample.

        A unit keeps it until it gets another one, or is moved by ``reseed``. The label of a sample counts for
        its winner, like a label that came with the sample; without ``labels`` in the spec the winner gets it,
        as if ``unit`` were given. A new name takes the first class without a name that was never used.

        Parameters
        ----------
        label : str or None
            The name, or the number of a class as text. None: take the label of the unit away.
        unit : int, optional
            Number of the unit, row by row on a grid.
        sample : int or str, optional
            Id of one of the last ``delay`` samples, if it has no label yet; its number if it has no id.
            Without ``labels`` in the spec: the number of the first sample or of the peak of one of the last
            eight alarms.
        x : array_like of shape (dim,), optional
            The values of a sample.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If an argument does not fit, or all classes have other names.
        """
        self.apply_label(self.validate_label(label, unit, sample, x))

    def validate_label(self, label: object, unit: object, sample: object, x: Any) -> dict[str, Any]:
        """Check the arguments of ``label``. Return them as values that JSON can hold."""
        if [unit is None, sample is None, x is None].count(False) != 1:
            raise BadValue("a label is for a unit, a sample or its values, x; give one of them", field="unit")
        if label is not None:
            self._check_class(check_name(label))
        if unit is not None:
            count = self._unit_count
            if type(unit) is not int or not 0 <= unit < count:
                raise BadValue(f"unit is {unit!r}; a number from 0 to {count - 1} was expected", field="unit")
            return {"label": label, "unit": unit}
        if label is None:
            raise BadValue("only the label of a unit can be taken away; give unit", field="label")
        if sample is not None:
            return self._label_of_sample(label, sample)
        return self._label_of_values(label, x)

    def _check_class(self, name: str) -> None:
        """Raise BadValue if no class is left for a name."""
        if GIVEN in self.state and self._by_hand.find(name) is None:
            raise BadValue(
                f"there is no class left for the label {name!r}: the units have {self._by_hand.names.count} "
                "different labels. Use one of them, or take one away",
                field="label",
            )

    def _label_of_sample(self, label: object, sample: object) -> dict[str, Any]:
        """Return the label of a sample that a person names by its number."""
        if self._alarms is None or type(sample) is not int:
            raise BadValue(
                f"this {self.kind} keeps no samples that wait for a label: give unit, or the values x. "
                "Samples of alarms are kept by their numbers, if the model has alarms",
                field="sample",
            )
        return self._label_of_values(label, self._alarms.patterns.find(sample))

    def _label_of_values(self, label: object, x: Any) -> dict[str, Any]:
        (values,) = self.read(np.reshape(np.asarray(x), (1, -1)))
        missing_as_none = [None if value != value else value for value in values.tolist()]
        return {"label": label, "x": missing_as_none, "time": time.time_ns()}

    def _winner_of(self, given: Mapping[str, Any]) -> int:
        """Return the winner of the values that ``_label_of_values`` returned; −1: none."""
        x = np.array([given["x"]], np.float32)
        return int(self.predict(x, times=given["time"]).arrays["winner"][0])

    def apply_label(self, given: Mapping[str, Any]) -> None:
        """Apply a label that ``validate_label`` returned. It has no effect if no class is left meanwhile."""
        unit, name = given.get("unit"), given["label"]
        if unit is None:
            unit = self._winner_of(given)
        if not 0 <= unit < self._unit_count:  # no winner, or a unit that was removed meanwhile
            return
        if name is None:
            if GIVEN in self.state:
                self._by_hand.given[unit] = -1
            return
        self._set_labelled(True)
        k = self._by_hand.find(name)
        if k is not None:
            self._by_hand.names.assign(k, name)
            self._by_hand.given[unit] = k
