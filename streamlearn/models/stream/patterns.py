"""Patterns that a person called normal, or a fault. ``kernels/stream/patterns.py`` finds them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...errors import BadValue
from ...kernels.stream import patterns as kernels
from ..batch import Float32
from ..state_checks import LARGEST_COUNT, LARGEST_FLOAT, Range, State

Verdict = Literal["normal", "fault"]


class Feedback(NamedTuple):
    """A pattern with its verdict. JSON can hold it."""

    values: list[float | None]  # (dim,): None where missing
    verdict: Verdict
    name: str


class Patterns:
    """The patterns of one model, in ``state``: the arrays of its alarms. Adds the names to them."""

    def __init__(self, state: dict[str, NDArray[Any]]) -> None:
        self.state = state
        self.names = state["alarm.names"] = np.zeros((kernels.PATTERNS, kernels.NAME_BYTES), np.uint8)
        state["alarm.kept_numbers"][:-1] = -1

    @staticmethod
    def ranges() -> dict[str, Range]:
        """Return the valid values of the arrays."""
        return {
            "alarm.channels": Range(np.array([[0], [-LARGEST_FLOAT], [0]]), LARGEST_FLOAT),
            "alarm.verdicts": Range(0, (kernels.FAULT, LARGEST_FLOAT, LARGEST_FLOAT)),
            "alarm.names": Range(0, 255),
            "alarm.kept_numbers": Range([-1] * kernels.KEPT_ROWS + [0], LARGEST_COUNT),
        }

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe verdicts that are none, and names that are not text."""
        verdicts = state["alarm.verdicts"][:, kernels.VERDICT]
        if (verdicts != np.floor(verdicts)).any():
            yield "'alarm.verdicts' has a verdict that is not a whole number"
        for name in state["alarm.names"]:
            try:
                _text(name)
            except UnicodeDecodeError:
                yield "'alarm.names' has a name that is not UTF-8"

    def find(self, number: int) -> Float32:
        """Return the values of a sample that is kept. Raises BadValue."""
        numbers = self.state["alarm.kept_numbers"][:-1]
        rows = np.flatnonzero(numbers == number)
        if not rows.size:
            kept = ", ".join(map(str, sorted(set(numbers[numbers >= 0].tolist())))) or "none so far"
            raise BadValue(
                f"the values of sample {number} are not kept; they are for the first sample and the peak of"
                f" the last {kernels.KEPT_ALARMS} alarms: {kept}. Give the values of the sample instead",
                field="sample",
            )
        return np.array(self.state["alarm.kept"][rows[0]])

    def learn(self, feedback: Feedback) -> None:
        """Add a pattern in place of one that it is within the radius of, or of the oldest if all are used."""
        values = np.array([math.nan if value is None else value for value in feedback.values], np.float32)
        verdicts, order = self.state["alarm.verdicts"], self.state["alarm.verdicts"][:, kernels.ORDER]
        row = self._nearest(values)
        if row < 0:
            free = np.flatnonzero(verdicts[:, kernels.VERDICT] == kernels.FREE)
            row = int(free[0]) if free.size else int(np.argmin(order))
        centres = self.state["alarm.channels"][kernels.CENTRE]
        radius = self._distance(values, centres) / 2
        self.state["alarm.patterns"][row] = values
        verdicts[row] = _code(feedback.verdict), min(radius, LARGEST_FLOAT), float(order.max()) + 1
        self.names[row] = _as_bytes(feedback.name)

    def _nearest(self, values: Float32) -> int:
        """Return the pattern that ``values`` ``(dim,)`` are within the radius of; −1: none."""
        found, least = -1, 1.0
        for row, (verdict, radius, _) in enumerate(self.state["alarm.verdicts"].tolist()):
            if verdict != kernels.FREE and radius > 0:
                ratio = self._distance(values, self.state["alarm.patterns"][row]) / radius
                if ratio <= least:
                    found, least = row, ratio
        return found

    def _distance(self, values: Float32, other: NDArray[Any]) -> float:
        """Return the distance of the kernel between ``values`` and ``other``, both ``(dim,)``."""
        known = kernels.Known(self.state["alarm.channels"], other[None], None, None, None)
        with np.errstate(over="ignore"):
            return float(kernels.distance.py_func(known, 0, values[None], 0))

    def name(self, row: int) -> str:
        """Return the name of a pattern; empty for −1."""
        return _text(self.names[row]) if row >= 0 else ""

    def to_list(self) -> list[dict[str, Any]]:
        """Return the patterns: number, verdict, name and radius."""
        return [
            {
                "pattern": row,
                "verdict": "fault" if verdict == kernels.FAULT else "normal",
                "name": self.name(row),
                "radius": radius,
            }
            for row, (verdict, radius, _) in enumerate(self.state["alarm.verdicts"].tolist())
            if verdict != kernels.FREE
        ]


def valid_name(name: object) -> str:
    """Return the name of a pattern. Raises BadValue."""
    if not isinstance(name, str) or not name.isprintable() or len(name.encode()) > kernels.NAME_BYTES:
        raise BadValue(
            f"name is {name!r}; printable text of at most {kernels.NAME_BYTES} bytes in UTF-8 was expected",
            field="name",
        )
    return name


def valid_verdict(verdict: object) -> Verdict:
    """Return a verdict. Raises BadValue."""
    if verdict != "normal" and verdict != "fault":
        raise BadValue(f"verdict is {verdict!r}; 'normal' or 'fault' was expected", field="verdict")
    return verdict


def _code(verdict: Verdict) -> int:
    return kernels.FAULT if verdict == "fault" else kernels.NORMAL


def _as_bytes(name: str) -> NDArray[np.uint8]:
    return np.frombuffer(name.encode().ljust(kernels.NAME_BYTES, b"\0"), np.uint8)


def _text(name: NDArray[np.uint8]) -> str:
    return name.tobytes().rstrip(b"\0").decode()
