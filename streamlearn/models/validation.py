"""Checks and conversions of array arguments: samples, targets and weights."""

from __future__ import annotations

from math import isfinite
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.protocol import as_identifiers, as_numbers, to_float32

from ..errors import BadShape, BadValue
from .batch import Float32, Integers

FLOAT32 = np.dtype(np.float32)
FEW = 16  # values, of which Python has the sum before NumPy is called
SMALL = 8192  # values; BLAS may sum the squares of more than 10,000 in several threads


def are_rows(values: Any, columns: int) -> TypeGuard[Float32]:
    """Whether ``as_rows`` would return ``values`` as they are. It may be false for such values too.

    A daemon asks this for every sample. A sum, of squares or of values, is finite only if all values are.
    """
    return (
        type(values) is np.ndarray
        and values.ndim == 2
        and values.shape[1] == columns
        and values.dtype == FLOAT32
        and values.flags.carray
        and values.size <= SMALL
        and isfinite(sum(values.ravel().tolist()) if values.size <= FEW else np.vdot(values, values))
    )


def as_rows(name: str, values: Any, columns: int) -> Float32:
    """Return ``values`` as a writable C-contiguous float32 array ``(n, columns)`` of finite numbers and NaN.

    A one-dimensional array is one row; if ``columns`` is 1, it is ``n`` rows.
    """
    given = as_numbers(values, name)
    shape = given.shape
    if given.ndim == 1:
        given = given.reshape(-1, 1) if columns == 1 else given.reshape(1, -1)
    if given.ndim != 2 or given.shape[1] != columns:
        raise BadShape(
            f"{name} has shape {shape}; (n, {columns}) was expected", expected=["n", columns], got=list(shape)
        )
    rows = to_float32(given, name, finite=True)
    return rows if rows.flags.writeable else rows.copy()


def as_codes(name: str, rows: Float32, count: int) -> Float32:
    """Return ``rows`` if all values are NaN or integers from 0 to ``count`` − 1. Raises BadValue."""
    with np.errstate(invalid="ignore"):
        wrong = ~(np.isnan(rows) | ((rows >= 0) & (rows < count) & (rows == np.floor(rows))))
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise BadValue(
            f"{name}[{row}, {column}] is {rows[row, column]}; a whole number from 0 to {count - 1} was"
            " expected, or NaN where it is missing",
            row=row,
            column=column,
        )
    return rows


def as_keys(kind: str, keys: Any, rows: int, *, required: bool) -> Integers | None:
    """Return ``keys``, one for each of ``rows`` samples or one for all, as int64 ``(rows,)``.

    ``required``: whether the model has keys. Without keys the result is None.
    """
    if keys is None and not required:
        return None
    if not required:
        raise BadShape(f"this {kind} has no keys: leave keys out", expected=None)
    if keys is None:
        raise BadShape(
            f"this {kind} needs a key for every sample: {rows} integers or strings, or one for all",
            expected=[rows],
        )
    return as_identifiers(keys, rows, "keys")


def as_weights(
    values: Any, shape: tuple[int, ...], name: str = "weights", dtype: type[np.floating[Any]] = np.float32
) -> NDArray[Any]:
    """Return ``values`` as finite numbers of this shape and dtype. Raises BadDtype, BadShape or BadValue."""
    numbers = as_numbers(values, name)
    if numbers.shape != shape:
        raise BadShape(f"{name} have shape {numbers.shape}; {shape} was expected", expected=list(shape))
    with np.errstate(over="ignore"):
        given = numbers.astype(dtype)
    if not np.isfinite(given).all():
        raise BadValue(f"{name} must be finite as {np.dtype(dtype)}")
    return given
