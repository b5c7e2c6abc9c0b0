"""A map that learns one sample: one call of a kernel, with arguments that were converted once.

A daemon with many maps gets their samples one by one. The general way takes longer for the arguments and the
outputs of its calls than for the sample (``kernels/prepared.py``). State and outputs are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import compiler
from ...kernels import prepared as preparation
from ...kernels.maps import one_sample as kernels
from ...kernels.stream.interrupt_words import NEVER
from ..batch import Float32
from ..row_outputs import Fields, RowOutputs, Words
from ..sharing import shared
from ..stream.alarm import event_memory

if TYPE_CHECKING:
    from ...kernels.prepared import Prepared
    from .som import SOM

_OUTPUTS = (
    "winner",
    "distance",
    "score",
    "present",
    "watched",
    "coords",
    "alarm",
    "evidence",
    "fault",
    "drift",
)


def fits(model: SOM) -> bool:
    """Whether the samples of a model can be learned in one call each, by its spec."""
    spec = model.spec
    special = (
        spec.features,
        spec.learn_below,
        spec.learn_for,
        spec.watch_missing,
        spec.on_drift,
        model._sequences,
        model._first,
    )
    judged = model._alarms is not None or model._detector is not None
    labelled = model._counts_labels or model.has_labels_by_hand
    return judged and not any(special) and not labelled and not model.uses_time


class GeneralWay:
    """In place of a `OneSample` of a model that has none."""

    def learn(self, x: Float32) -> None:
        """Learn nothing: the general way does."""


GENERAL_WAY = GeneralWay()


class Row:
    """The memory of one sample: what is computed for it. Models with equal specs share this object.

    ``begin``: where it is in the memory of a `OneSample`.
    """

    def __init__(self, model: SOM, begin: int) -> None:
        self.begin = begin
        alarms, schedules = int(model._alarms is not None), len(model.spec.schedules)
        self.fields = Fields(
            [
                ("number", np.int64, (1,)),  # of the sample
                ("schedules", np.float32, (schedules, 1)),  # their values
                ("expected", np.float32, (alarms, model.inputs)),
                ("winner", np.int32, (1,)),
                ("distance", np.float32, (1,)),
                ("score", np.float32, (1,)),
                ("present", np.int32, (1,)),
                ("evidence", np.float32, (alarms,)),
                ("watched", np.bool_, (1,)),
                ("alarm", np.int8, (alarms,)),
                ("fault", np.int8, (alarms,)),
                ("drift", np.bool_, (int(model._detector is not None),)),
            ]
        )
        self._coords = model._coords

    def outputs(self, memory: Words) -> dict[str, NDArray[Any]]:
        """Return the outputs, in the order of the general way."""
        arrays = self.fields.of(memory[self.begin :].copy())
        arrays["coords"] = self._coords.take(arrays["winner"], axis=0, mode="wrap")
        return {name: arrays[name] for name in _OUTPUTS if len(arrays[name])}


def _table(keys: Sequence[tuple[Prepared, Any]]) -> Words:
    return np.array([word for prepared, key in keys for word in prepared.table(key)], np.int64)


class OneSample:
    """Learns samples of one model, one at a time. Made for the first sample that comes alone."""

    __slots__ = ("_address", "_alarms", "_memory", "_row", "_table")

    def __init__(self, model: SOM) -> None:
        compiler.ready(kernels)
        spec, alarms, detector = model.spec, model._alarms, model._detector
        key = spec.grid, model.inputs, len(spec.schedules), alarms is None, detector is None
        last = kernels.DETECT if alarms is None else kernels.JUDGE
        begin = last.end + 1  # the outputs begin with the number of the sample
        self._row = shared(("row", key), lambda: Row(model, begin))
        self._memory = np.zeros(begin + self._row.fields.words, np.int64)
        row = self._row.fields.of(self._memory[begin:])
        x = np.zeros((1, model.inputs), np.float32)  # the kernel sets the address of the sample
        calls = [
            (kernels.ADVANCE, model._schedules.arguments(row["schedules"])),
            (
                kernels.LEARN,
                model._learn_arguments
                | dict(zip(spec.schedules, row["schedules"], strict=True))
                | row
                | {"x": x, "interrupt": NEVER},
            ),
        ]
        if alarms is not None:
            calls.append((kernels.JUDGE, alarms.arguments(x, row)))
        else:
            assert detector is not None
            samples = {"first": 0, "samples": row["number"], "distances": row["distance"]}
            calls.append((kernels.DETECT, detector.named_arguments() | row | samples))
        keys = []
        for prepared, arguments in calls:
            key, addresses = prepared.convert(arguments)
            self._memory[prepared.first_address :][: len(addresses)] = addresses
            keys.append((prepared, key))
        self._table: Words = shared(("prepared", *keys), lambda: _table(keys))
        self._address = preparation.address_of(self._table)
        self._memory[last.end] = preparation.address_of(model._watching.paused_word)
        self._alarms = alarms

    def learn(self, x: Float32) -> RowOutputs | None:
        """Learn a sample ``(1, dim)``. Return None, and learn nothing, while learning is paused."""
        memory, alarms, events = self._memory, self._alarms, []
        if alarms is None:
            count = kernels.learn_and_detect(self._address, memory, x)
        else:
            _, numbers, levels = event_memory(x.shape[1])
            count = kernels.learn_and_judge(self._address, memory, x, numbers, levels)
            if count > 0:
                events = alarms.events(count, numbers, levels)
        if count < 0:
            return None
        return RowOutputs(self._row, memory, events)
