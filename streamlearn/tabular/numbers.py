"""Numbers in the text of a table: a strict form, and a whole column at once.

A number has ASCII digits, a decimal mark and an exponent, and no other characters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streamlearn.tabular.formats import Missing

LARGEST: Final = float(np.finfo(np.float32).max)


def parse_number(field: str, decimal: str = ".") -> float:
    """Return the number. Raises `ValueError` for forms that only Python reads, for example ``1_000``."""
    if "_" in field or not field.isascii() or (decimal != "." and "." in field):
        raise ValueError(field)
    return float(field.replace(decimal, "."))


def parse_field(field: str, decimal: str, missing: Missing) -> float:
    """Return the number of a field; NaN if the value is missing. Raises `ValueError`."""
    try:
        number = parse_number(field, decimal) if field else math.nan
    except ValueError:
        if field.strip() in missing.texts:
            return math.nan
        raise
    return math.nan if number in missing.numbers else number


def parse_column(fields: Sequence[str], decimal: str, missing: Missing) -> NDArray[np.float64]:
    """Return the numbers of a column, as `parse_field` reads each. Raises `ValueError` if one is none."""
    text = "\n".join(fields)
    plain = text.isascii() and "_" not in text and not (decimal != "." and "." in text)
    if plain and len(fields) == text.count("\n") + 1:
        if decimal != ".":
            fields = text.replace(decimal, ".").split("\n")
        try:
            return without(np.array(list(map(float, fields))), missing)
        except ValueError:
            pass  # an empty field, or a text
    return np.array([parse_field(field, decimal, missing) for field in fields])


def without(values: NDArray[np.float64], missing: Missing) -> NDArray[np.float64]:
    """Return the values with NaN instead of the numbers that stand for missing ones."""
    for number in missing.numbers:
        values = np.where(values == number, np.nan, values)
    return values


def fits(values: NDArray[np.float64]) -> bool:
    """Whether all numbers are finite as float32, or missing."""
    return not np.any(np.abs(values) > LARGEST)
