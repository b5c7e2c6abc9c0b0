"""Alarms of the order and the pace of the winners. ``kernels/stream/sequences.py`` defines them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.alarms import AlarmEvent
from streamlearn_client.outputs import NamedArrays

from ...kernels import compiler
from ...kernels.stream import durations, regions, sequences, sizes
from ...kernels.stream import sequence_state as kernels
from ..state_checks import LARGEST_COUNT, LARGEST_FLOAT, Range, State
from .alarm_spec import Alarm

_EVENT_ROWS = 16  # of one kernel call; more need another call
_NO_FLAGS = np.zeros(0, np.bool_)
_CAUSES = {kernels.TRANSITION: "transition", kernels.DWELL: "dwell", kernels.CYCLE: "cycle"}
_INDICES = (kernels.NODE, kernels.CURRENT, kernels.CANDIDATE, kernels.WHERE, kernels.FROM, kernels.TO)
_UNKNOWN = (kernels.SINCE, kernels.FIRST, kernels.LAST)  # −1 is valid


def nodes_of(units: int) -> int:
    """Return the number of nodes that ``units`` units are counted in."""
    return min(units, sizes.NODES)


class SequenceDetector:
    """Rare transitions, long stays and long cycles. Its arrays are part of the model's ``state``.

    Parameters
    ----------
    alarm : Alarm
        Which of them are alarms, and when an alarm begins.
    units : int
        Units of the model.
    dim : int
        Channels of a sample.
    """

    def __init__(self, alarm: Alarm, units: int, dim: int) -> None:
        compiler.ready(sequences)
        nodes, count = nodes_of(units), regions.REGIONS
        self.state: dict[str, NDArray[Any]] = {
            "sequence.flow": np.zeros((nodes, nodes), np.float32),
            "sequence.regions": np.full(nodes, sizes.NONE, np.int64),
            "sequence.table": np.zeros((count, count)),
            "sequence.visits": np.zeros((count, 2)),
            "sequence.places": np.full((count, 3), sizes.NONE, np.int64),
            "sequence.numbers": np.array(kernels.START, np.int64),
            "sequence.levels": np.zeros(kernels.LEVELS),
            "sequence.recent": np.zeros((2, count, durations.RECENT), np.float32),
            "sequence.kept": np.zeros((2, count), np.int64),
            "sequence.limits": np.zeros((2, count, durations.COLUMNS)),
        }
        least, most = np.zeros(kernels.NUMBERS), np.full(kernels.NUMBERS, LARGEST_COUNT)
        least[[*_INDICES, *_UNKNOWN]] = sizes.NONE
        least[kernels.NEXT] = least[kernels.CONFIRM] = 1
        most[[kernels.CURRENT, kernels.CANDIDATE, kernels.WHERE]] = count - 1
        most[kernels.NODE], most[kernels.FOUND], most[kernels.ON] = nodes - 1, count, kernels.CYCLE
        most[[kernels.FROM, kernels.TO]] = units - 1
        self.ranges = {
            "sequence.flow": Range(0, float(np.finfo(np.float32).max)),
            "sequence.regions": Range(sizes.NONE, count - 1),
            "sequence.table": Range(0, LARGEST_FLOAT),
            "sequence.visits": Range(0, LARGEST_FLOAT),
            "sequence.places": Range(sizes.NONE, (LARGEST_COUNT, LARGEST_COUNT, units - 1)),
            "sequence.numbers": Range(least, most),
            "sequence.levels": Range(0, LARGEST_FLOAT),
            "sequence.recent": Range(0, float(np.finfo(np.float32).max)),
            "sequence.kept": Range(0, LARGEST_COUNT),
            "sequence.limits": Range(0, LARGEST_FLOAT),
        }
        flags = alarm.transitions, alarm.dwell, alarm.cycle
        settings = np.array([alarm.false_alarms, alarm.quiet, alarm.after, *flags], np.float64)
        self._arguments = settings, *self.state.values()
        self._units = units
        self._unknown = np.full(dim, np.nan, np.float32)

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe an alarm that is on nowhere."""
        numbers = state["sequence.numbers"]
        if numbers[kernels.ON] > 0 and numbers[kernels.WHERE] < 0:
            yield "'sequence.numbers' has an alarm that is on and no region of it"

    def restart(self) -> None:
        """Forget all regions: the units move."""
        for name, array in self.state.items():
            array[...] = sizes.NONE if name in ("sequence.regions", "sequence.places") else 0
        self.state["sequence.numbers"][...] = kernels.START

    def detect(self, out: NamedArrays, first: int, label: Callable[[int], str]) -> None:
        """Add ``sequence`` to the outputs of samples, and the events in the order of their samples.

        Parameters
        ----------
        out : NamedArrays
            The outputs of samples.
        first : int
            Number of the first of the samples.
        label : callable
            Returns the label of a unit, empty without one.
        """
        rows, row = len(out), 0
        sequence = np.empty(rows, np.int8)
        samples = out.arrays["winner"], out.arrays.get("watched", _NO_FLAGS), first, sequence
        most = max(kernels.EVENTS_PER_ROW, min(_EVENT_ROWS, rows * kernels.EVENTS_PER_ROW))
        numbers = np.empty((most + 1, kernels.E_NUMBERS), np.int64)
        levels = np.empty((most, kernels.E_LEVELS), np.float32)
        before = len(out.events)
        while row < rows:
            count = sequences.process(*self._arguments, self._units, row, *samples, numbers, levels)
            row = int(numbers[most, 0])
            sequences.search(*self._arguments)
            for k in range(count):
                out.events.append(self._event(numbers[k].tolist(), levels[k].tolist(), label))
        out.arrays["sequence"] = sequence
        if 0 < before < len(out.events):
            out.events.sort(key=lambda event: event.row)

    def _event(self, numbers: list[int], levels: list[float], label: Callable[[int], str]) -> AlarmEvent:
        from_unit, to_unit = numbers[kernels.E_FROM], numbers[kernels.E_TO]
        return AlarmEvent(
            state="begin" if numbers[kernels.E_CODE] == kernels.BEGIN else "end",
            cause=_CAUSES[numbers[kernels.E_CAUSE]],  # type: ignore[arg-type] # a literal
            row=numbers[kernels.E_ROW],
            sample=numbers[kernels.E_SAMPLE],
            first=numbers[kernels.E_FIRST],
            last=numbers[kernels.E_SAMPLE],
            peak=numbers[kernels.E_FIRST],
            samples=numbers[kernels.E_SAMPLES],
            channel=-1,
            score=float("nan"),
            evidence=float("nan"),
            contribution=self._unknown,
            expected=self._unknown,
            from_unit=from_unit,
            to_unit=to_unit,
            from_label=label(from_unit) if from_unit >= 0 else "",
            to_label=label(to_unit) if to_unit >= 0 else "",
            usual=levels[kernels.E_USUAL],
            probability=levels[kernels.E_PROBABILITY],
        )

    def quality(self) -> dict[str, Any]:
        """Return the number of regions, and the alarm that is on."""
        numbers = self.state["sequence.numbers"].tolist()
        reported = numbers[kernels.ON] > 0 and numbers[kernels.FIRST] >= 0
        return {
            "regions": numbers[kernels.FOUND],
            "sequence_alarm": _CAUSES[numbers[kernels.ON]] if reported else None,
        }
