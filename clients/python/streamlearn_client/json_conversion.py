"""Conversion of a model's parameters from Python values to values that MessagePack can hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamlearn_client.errors import BadSpec, BadValue
from streamlearn_client.protocol.wire import check_uint63

__all__ = ["as_number", "as_whole_number", "spec_contains", "to_json"]

_SCHEDULE_FIELDS = ("start", "end", "tau", "half_life", "unit", "form", "max_gap")


def to_json(value: Any, field: str = "spec") -> Any:
    """Convert ``value`` to maps with text keys, lists, text, numbers, booleans and ``None``.

    Tuples and arrays become lists, NumPy numbers become Python numbers, and a schedule (an object with
    ``start``, ``end`` and ``tau``, for example `Decay`) becomes a map of its fields. Raise ``BadSpec`` with
    the field's name for anything else.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): to_json(entry, f"{field}.{key}") for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(entry, f"{field}[{i}]") for i, entry in enumerate(value)]
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufU":
        return value.tolist()
    if all(hasattr(value, name) for name in ("start", "end", "tau")):
        schedule = {name: getattr(value, name, None) for name in _SCHEDULE_FIELDS}
        return {
            name: to_json(entry, f"{field}.{name}") for name, entry in schedule.items() if entry is not None
        }
    problem = f"must consist of numbers, text, lists, maps and schedules, not {type(value).__name__}"
    raise BadSpec(f"{field} {problem}", errors=[{"field": field, "message": problem}])


def spec_contains(full: Any, part: Any) -> bool:
    """Return whether ``full`` has every value of ``part``. ``full`` may have more: the defaults.

    A number equals a list that holds only that number.
    """
    if isinstance(part, Mapping) and isinstance(full, Mapping):
        return all(key in full and spec_contains(full[key], entry) for key, entry in part.items())
    return bool(part == full or [part] == full)


def as_whole_number(value: Any, field: str) -> int:
    """Return ``value`` as a Python integer from 0 to 2^63 − 1. Raise ``BadValue`` for anything else."""
    return check_uint63(int(value) if isinstance(value, np.integer) else value, field)


def as_number(value: Any, field: str) -> float:
    """Return a Python or NumPy number as a float. Raise ``BadValue`` for anything else."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    raise BadValue(f"{field} must be a number, not {value!r}", field=field)
