"""A model that learns one sample: one call of a kernel, with arguments that were converted once.

A daemon with many models gets their samples one by one. The general way takes longer for the arguments and
the outputs of its calls than for the sample (``kernels/prepared.py``). State and outputs are the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.alarms import AlarmEvent
from streamlearn_client.outputs import NamedArrays

from ..kernels import compiler
from ..kernels import prepared as preparation
from ..kernels.stream import alarm as event_kernels
from ..kernels.stream import one_sample as kernels
from .base import Model
from .batch import Batch, Targets
from .one_sample_addresses import Addresses, Converted
from .outputs import ModelOutputs
from .row_outputs import Fields, RowOutputs, Words, row_class
from .sharing import shared
from .stream.alarm import compared
from .stream.keys import Slots

if TYPE_CHECKING:
    from ..kernels.prepared import Prepared

Arrays = dict[str, NDArray[Any]]
Shape = tuple[str, type[np.generic], tuple[int, ...]]  # name, type and shape of an array
_OF_KEYS = {"slot": np.int64, "slot_of_alarms": np.int64, "new": np.bool_, "new_in_alarms": np.bool_}
_NOT_RETURNED = {"schedules", "sample", "contribution", "expected", *_OF_KEYS}
_FLOAT32 = np.dtype(np.float32)


class Learner(NamedTuple):
    """The kernel of a model that learns, for one sample."""

    kernel: Prepared
    step: Any
    """The entry point that calls it, see kernels/stream/one_sample.py."""
    fields: tuple[Shape, ...]
    """What it computes for the sample."""
    arguments: Callable[[Arrays], dict[str, Any]]
    """Returns its arguments by name, with these arrays. Not yet those of the sample."""
    slots: Slots | None = None
    """Those of the model's keys."""
    places: NDArray[np.int32] | None = None
    """``(units + 1, axes)``: the units' places on a grid, for the output ``coords``; −1 in the last row."""


class SingleSamples(Model, ABC):
    """A model that may learn a sample that comes alone by a `OneSample`."""

    @property
    def _has_usual_stages(self) -> bool:
        """Whether no option of the spec needs a stage that a `OneSample` has not."""
        spec = self.spec
        special = spec.features, spec.learn_for, spec.watch_missing, spec.on_drift
        return not any(special) and not self.uses_time

    @abstractmethod
    def _single_learner(self) -> Learner | None:
        """Return the learner of a sample that comes alone; None if the general way learns it."""

    def learn_validated(self, batch: Batch | Targets) -> NamedArrays:
        """Learn a batch that ``validate`` or ``validate_targets`` returned; see the base class.

        A sample that comes alone takes one call of a kernel, if the spec has none of the rarer options.
        """
        if isinstance(batch, Batch) and len(batch.x) == 1 and batch.times is None:
            if self._one_sample is None:
                learner = self._single_learner()
                self._one_sample = GENERAL_WAY if learner is None else OneSample(self, learner)
            out = self._one_sample.learn(batch)
            if out is not None:
                return out
        return super().learn_validated(batch)


class GeneralWay:
    """In place of a `OneSample` of a model that has none."""

    def learn(self, batch: Batch) -> None:
        """Learn nothing: the general way does."""

    def learn_given(self, x: object) -> None:
        """Learn nothing: the general way does."""


GENERAL_WAY = GeneralWay()


class Row:
    """The memory of one sample: what is computed for it. Models with equal specs share this object.

    ``begin``, ``end``: where it is in the memory of a `OneSample`. The events of alarms are after it.
    """

    def __init__(self, model: Model, learner: Learner) -> None:
        self.begin = learner.kernel.end
        alarms, schedules = int(model._alarms is not None), len(model.spec.schedules)
        keys = int(learner.slots is not None)
        self._places = learner.places
        self.kept = row_class(model.outputs_class)  # type: ignore[arg-type] # a class has a hash
        self.fields = Fields(
            [
                ("schedules", np.float32, (schedules, 1)),  # their values
                *learner.fields,
                *((name, kind, (keys,)) for name, kind in _OF_KEYS.items()),
                ("alarm", np.int8, (alarms,)),
                ("evidence", np.float32, (alarms,)),
                ("fault", np.int8, (alarms,)),
                ("drift", np.bool_, (int(model._detector is not None),)),
            ]
        )
        self.end = self.begin + self.fields.words
        most = event_kernels.EVENTS_PER_ROW * alarms
        self.events = Fields(
            [
                ("event_numbers", np.int64, (most, event_kernels.E_NUMBERS)),
                ("event_levels", np.float32, (most, event_kernels.E_SHARES + 2 * model.dim)),
            ]
        )
        self._fields = {
            each.name: each for each in self.fields.fields if each.shape[0] and each.name not in _NOT_RETURNED
        }

    def output(self, name: str, row: bytearray) -> NDArray[Any] | None:
        """Return an output that is a part of ``row``; None if there is none with this name."""
        field = self._fields.get(name)
        return None if field is None else field.of(row)

    def outputs(self, row: bytearray) -> Arrays:
        """Return all outputs by name, in the order of the general way."""
        arrays = {}
        for name, field in self._fields.items():
            arrays[name] = field.of(row)
            if name == "watched" and self._places is not None:  # −1: the last row
                arrays["coords"] = self._places.take(arrays["winner"], axis=0, mode="wrap")
        return arrays


class OneSample:
    """Learns samples of one model, one at a time. Made for the first sample that comes alone."""

    __slots__ = (
        "_address",
        "_addresses",
        "_alarms",
        "_learn",
        "_memory",
        "_row",
        "_shape",
        "_table",
        "_values",
    )

    def __init__(self, model: Model, learner: Learner) -> None:
        spec = model.spec
        self._addresses = shared(("addresses", id(spec)), lambda: Addresses(spec))
        converted = self._addresses.converted(model.state)
        if converted is None:
            converted = _converted(model, learner)
            self._addresses.compare(model.state, converted)
        self._row, self._table, self._memory, self._shape = converted
        self._values = self._memory[self._row.begin : self._row.end]
        self._address = preparation.address_of(self._memory)
        self._alarms = model._alarms
        self._learn = preparation.without_dispatcher(kernels.learn)

    def learn(self, batch: Batch) -> RowOutputs:
        """Learn a batch of one sample."""
        y, keys = 0 if batch.y is None else id(batch.y), 0 if batch.keys is None else id(batch.keys)
        count = self._learn(self._address, id(batch.x), y, keys)
        return RowOutputs(self._row, self._values, self._events(count) if count else [])

    def learn_given(self, x: object) -> ModelOutputs | None:
        """Learn what a program gave. Return None, and learn nothing, if it must be converted or refused."""
        if (
            type(x) is not np.ndarray
            or x.shape != self._shape
            or x.dtype is not _FLOAT32
            or not x.flags.carray
        ):
            return None
        count = self._learn(self._address, id(x), 0, 0)
        if count < 0:  # a value is infinite
            return None
        row = self._row
        events = self._events(count) if count else []
        return row.kept(row, self._values.tobytes(), events)  # type: ignore[return-value]

    def _events(self, count: int) -> list[AlarmEvent]:
        """Return the events of the sample."""
        assert self._alarms is not None
        events = self._row.events.of(self._memory[self._row.end :])
        return self._alarms.events(count, events["event_numbers"], events["event_levels"])


def _converted(model: Model, learner: Learner) -> Converted:
    """Convert the arguments of a model."""
    compiler.ready(kernels)
    alarms, detector, counts = model._alarms, model._detector, model._watching.counts
    end = learner.kernel.end
    parts = learner.slots is None, alarms is None, detector is None
    key = model.kind, learner.fields, len(model.spec.schedules), parts
    places = learner.places is not None and id(learner.places)  # models with equal grids share it
    reader = shared(("row", key, places, end), lambda: Row(model, learner))
    memory = np.zeros(reader.end + reader.events.words, np.int64)
    row = reader.fields.of(memory[end:]) | reader.events.of(memory[reader.end :])
    row["number"] = memory[kernels.NUMBER :][:1]
    calls = [(learner.kernel, learner.arguments(row))]
    if model.spec.schedules:
        calls.append((kernels.ADVANCE, model._schedules.arguments(row["schedules"])))
    if alarms is not None:
        calls.append((kernels.JUDGE, alarms.arguments(np.empty((1, model.dim), np.float32), row)))
        if (of_keys := alarms.key_arguments(row)) is not None:
            calls.append((kernels.ASSIGN_ALARMS, of_keys))
    elif detector is not None:
        samples = {"first": 0, "samples": row["number"], "distances": compared(row)}
        calls.append((kernels.DETECT, detector.named_arguments() | row | samples))
    if learner.slots is not None:
        of_keys = learner.slots.arguments(model.state["samples"], row["slot"], row["new"])
        calls.append((kernels.ASSIGN, of_keys))
    keys = []
    for prepared, arguments in calls:
        key, addresses = prepared.convert(arguments)
        memory[prepared.first_address : prepared.end] = addresses
        keys.append((prepared, key))
    table: Words = shared(("prepared", *keys), lambda: _table(keys))
    memory[kernels.TABLE] = preparation.address_of(table)
    memory[kernels.STEP] = preparation.address_of_code(learner.step)
    memory[kernels.COLUMNS] = model.dim
    owned = model.state["samples"], model._gate, counts, row["watched"]
    words = kernels.SAMPLES, kernels.GATE, kernels.COUNTS, kernels.WATCHED
    memory[list(words)] = list(map(preparation.address_of, owned))
    whole = model.takes_only_x and getattr(model.spec, "symbols", None) is None
    return Converted(reader, table, memory, (1, model.dim) if whole else None)


def _table(keys: Sequence[tuple[Prepared, Any]]) -> Words:
    table = np.zeros(max(prepared.first_word + prepared.words for prepared, _ in keys), np.int64)
    for prepared, key in keys:
        table[prepared.first_word :][: prepared.words] = prepared.table(key)
    return table
