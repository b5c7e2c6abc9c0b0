"""Conversion of values to JSON, which has neither NaN nor arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def to_json(value: Any) -> Any:
    """Return ``value`` as JSON: arrays as lists, NaN and infinity as ``null``, bytes as hexadecimal text."""
    if isinstance(value, np.ndarray):
        return array_to_json(value)
    if isinstance(value, Mapping):
        return document(value)
    if isinstance(value, (list, tuple)):
        return [to_json(each) for each in value]
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    return value


def array_to_json(array: NDArray[Any]) -> Any:
    """Return an array as nested lists. Float32 values have the digits that identify them as float32."""
    if array.dtype.kind != "f":
        return array.tolist()
    if array.dtype == np.float32:  # 0.1 is then 0.1, not 0.10000000149011612
        values = array.astype("U32").astype(np.float64)
    else:
        values = array
    finite = np.isfinite(values)
    if finite.all():
        return values.tolist()
    objects = values.astype(object)
    objects[~finite] = None
    return objects.tolist()


def document(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a map as a JSON object."""
    return {str(name): to_json(each) for name, each in values.items()}
