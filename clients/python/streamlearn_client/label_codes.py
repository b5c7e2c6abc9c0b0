"""Names of labels as targets: a model learns the number of the class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from streamlearn_client.errors import BadValue

__all__ = ["has_names", "label_codes"]


def has_names(y: Any) -> bool:
    """Return whether targets are names."""
    if y is None or (isinstance(y, np.ndarray) and y.dtype.kind not in "UO"):
        return False
    try:
        return any(isinstance(value, str) for value in np.asarray(y, object).ravel())
    except ValueError:  # rows of different lengths
        return False


def label_codes(model: str, names: Sequence[str], y: Any) -> Any:
    """Return targets with the classes of names of labels; other targets as they are.

    ``None``, NaN and empty text are missing labels. Raises ``BadValue`` for an unknown name.
    """
    if not has_names(y):
        return y
    codes = {name: k for k, name in enumerate(names)}
    given = np.asarray(y, object)
    unknown = [value for value in given.ravel() if not _is_missing(value) and str(value) not in codes]
    if unknown:
        raise BadValue(
            f"{model!r} has no label {unknown[0]!r}; its labels are {', '.join(names[:50]) or 'none'}",
            field="y",
        )
    values = [math.nan if _is_missing(value) else codes[str(value)] for value in given.ravel()]
    return np.array(values, np.float32).reshape(given.shape)


def _is_missing(value: Any) -> bool:
    return value is None or value == "" or value != value
