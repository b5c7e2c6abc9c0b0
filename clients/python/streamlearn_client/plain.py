"""A model's parameters as a person writes them in Python, to what goes over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamlearn_client.errors import BadSpec, BadValue
from streamlearn_client.protocol.wire import check_uint63

__all__ = ["number", "plain", "says_the_same", "whole"]

_OF_A_SCHEDULE = ("start", "end", "tau", "half_life", "unit", "form")


def plain(value: Any, field: str = "spec") -> Any:
    """``value`` made of maps with text keys, lists, text, numbers, booleans and ``None`` only.

    Tuples and arrays become lists, NumPy's numbers Python's, and a schedule (anything with ``start``,
    ``end`` and ``tau``, as `Decay` has) a map of what it says. Raises ``BadSpec`` naming the field otherwise.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(entry, f"{field}.{key}") for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry, f"{field}[{i}]") for i, entry in enumerate(value)]
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufU":
        return value.tolist()
    if all(hasattr(value, part) for part in ("start", "end", "tau")):
        said = {part: getattr(value, part, None) for part in _OF_A_SCHEDULE}
        return {part: plain(each, f"{field}.{part}") for part, each in said.items() if each is not None}
    problem = f"must be made of numbers, text, lists and maps, not {type(value).__name__}"
    raise BadSpec(f"{field} {problem}", errors=[{"field": field, "message": problem}])


def says_the_same(given: Any, full: Any) -> bool:
    """Whether everything that ``given`` says stands in ``full``, which may say more (the defaults), and has
    one number in a list of its own where a list is meant."""
    if isinstance(given, Mapping) and isinstance(full, Mapping):
        return all(key in full and says_the_same(entry, full[key]) for key, entry in given.items())
    return bool(given == full or [given] == full)


def whole(value: Any, field: str) -> int:
    """``value`` if it is a whole number from 0 to 2^63 − 1, of Python's or of NumPy's, else ``BadValue``."""
    return check_uint63(int(value) if isinstance(value, np.integer) else value, field)


def number(value: Any, field: str) -> float:
    """``value`` if it is a number, of Python's or of NumPy's, else ``BadValue``."""
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return float(value)
    raise BadValue(f"{field} must be a number, not {value!r}", field=field)
