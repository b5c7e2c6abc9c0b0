"""Checks and conversions of array arguments: samples, targets, times and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.protocol import as_identifiers

from ..errors import BadDtype, BadShape, BadValue
from .batch import Float32, Integers


def as_rows(name: str, values: ArrayLike, columns: int) -> Float32:
    """Return ``values`` as a writable C-contiguous float32 array ``(n, columns)`` of finite numbers and NaN.

    A one-dimensional array is one row; if ``columns`` is 1, it is ``n`` rows.
    """
    try:
        given = np.asarray(values)
    except ValueError:
        raise BadShape(
            f"{name} is not a table of numbers: its rows differ in length", expected=["n", columns]
        ) from None
    if given.dtype.kind not in "fiu":
        raise BadDtype(
            f"{name} has dtype {given.dtype}; numbers that fit float32 were expected", got=str(given.dtype)
        )
    shape = given.shape
    if given.ndim == 1:
        given = given.reshape(-1, 1) if columns == 1 else given.reshape(1, -1)
    if given.ndim != 2 or given.shape[1] != columns:
        raise BadShape(
            f"{name} has shape {shape}; (n, {columns}) was expected", expected=["n", columns], got=list(shape)
        )
    rows: Float32 = given
    if given.dtype != np.float32:
        with np.errstate(over="ignore"):
            rows = given.astype(np.float32, order="C")
    elif not given.flags.carray:  # C-contiguous, aligned and writable
        rows = given.copy(order="C")
    infinite = np.isinf(rows)
    if np.count_nonzero(infinite):
        row, column = (int(i) for i in np.argwhere(infinite)[0])
        raise BadValue(
            f"{name}[{row}, {column}] is {given[row, column]}, infinite as float32; give a finite number,"
            " or NaN where the value is missing",
            row=row,
            column=column,
        )
    return rows


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


def as_times(times: ArrayLike, rows: int) -> NDArray[np.float64]:
    """Return ``times``, one for each of ``rows`` samples or one for all, as float64 ``(rows,)``."""
    try:
        given = np.asarray(times, np.float64)
    except (TypeError, ValueError):
        raise BadDtype("times must be numbers: seconds since the epoch") from None
    if given.shape not in ((), (rows,)):
        raise BadShape(
            f"times has shape {given.shape}; one for all, or one for each of {rows} samples, was expected",
            expected=[rows],
            got=list(given.shape),
        )
    if not np.isfinite(given).all():
        raise BadValue("times must be finite: seconds since the epoch")
    return np.full(rows, given)


def as_weights(values: ArrayLike, shape: tuple[int, ...]) -> Float32:
    """Return ``values`` as finite float32 of this shape. Raises BadDtype, BadShape or BadValue."""
    try:
        with np.errstate(over="ignore"):
            given = np.asarray(values).astype(np.float32)
    except (TypeError, ValueError):
        raise BadDtype(f"weights must be numbers in an array of shape {shape}") from None
    if given.shape != shape:
        raise BadShape(f"weights have shape {given.shape}; {shape} was expected", expected=list(shape))
    if not np.isfinite(given).all():
        raise BadValue("weights must be finite as float32")
    return given
