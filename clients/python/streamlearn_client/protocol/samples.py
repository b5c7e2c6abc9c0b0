"""Anything a person may call samples, as float32 rows: lists, integers, float64, missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.errors import BadDtype, BadShape, BadValue
from streamlearn_client.protocol.identifiers import as_identifiers
from streamlearn_client.protocol.messages import Learn, Samples

__all__ = ["F4", "as_batch", "as_float32", "as_samples", "as_targets"]

F4 = np.dtype("<f4")


def as_float32(values: Any, what: str) -> NDArray[np.float32]:
    """``values`` as a C-contiguous, aligned float32 array of any shape; without a copy where it is one.

    Integers, booleans and wider floats are converted, ``None`` becomes NaN (missing). Raises
    ``BadDtype`` for text, objects, dates and complex numbers, ``BadShape`` for ragged lists, and
    ``BadValue`` for a finite number that float32 can't hold.
    """
    if type(values) is np.ndarray and values.dtype == F4:
        return np.require(values, F4, ("C", "A"))
    try:
        source = np.asarray(values)
    except ValueError as error:
        raise BadShape(f"{what} must be rows of equal length: {error}") from None
    if source.dtype.kind == "O":
        source = _with_missing(source, what)
    if source.dtype.kind not in "biuf":
        raise BadDtype(
            f"{what} must be numbers (float32, or what converts to it), not {source.dtype}",
            dtype=str(source.dtype),
            expected="<f4",
        )
    with np.errstate(over="ignore"):
        result = np.require(source, F4, ("C", "A"))
    overflowed = np.isinf(result)
    if overflowed.any() and (overflowed := overflowed & np.isfinite(source)).any():
        at = tuple(int(i) for i in np.argwhere(overflowed)[0])
        where = f"at {list(at)} " if at else ""
        raise BadValue(
            f"{what} has {source[at]!r} {where}which is beyond float32 (±3.4e38); scale or clip it first",
            at=list(at),
        )
    return result


def as_samples(values: Any, what: str = "x") -> Samples:
    """``values`` as ``(n, columns)`` float32; a single sample ``(columns,)`` is one row.

    Raises what `as_float32` raises, and ``BadShape`` for no sample, no column, or more than two axes.
    """
    rows = as_float32(values, what)
    if rows.ndim == 1:
        rows = rows.reshape(1, -1)
    if rows.ndim != 2 or not rows.size:
        shape = list(np.shape(values))
        raise BadShape(f"{what} must be (samples, columns) or one sample, not {shape}", shape=shape)
    return rows


def as_targets(values: Any, rows: int, what: str = "y", of: str = "x") -> Samples:
    """``values`` as ``(rows, targets)`` float32, as many rows as ``of`` has; flat ones are a target for each
    of several samples, or all the targets of one.

    Raises what `as_samples` raises, and ``BadShape`` when the rows differ.
    """
    targets = as_float32(values, what)
    if targets.ndim == 0 or (targets.ndim == 1 and rows > 1):
        targets = targets.reshape(-1, 1)
    targets = as_samples(targets, what)
    if targets.shape[0] != rows:
        raise BadShape(
            f"{what} has {targets.shape[0]} rows and {of} has {rows}: each sample has its own targets",
            rows=targets.shape[0],
            expected=rows,
        )
    return targets


def as_batch(model: str, x: Any, y: Any = None, keys: Any = None, ids: Any = None) -> Learn:
    """Samples ``x`` with what comes along, for a model; or, where ``x`` is ``None``, targets ``y`` of earlier
    samples by their ``ids``. Keys and ids are one for each row or one for all.

    Raises what `as_samples`, `as_targets` and `as_identifiers` raise, and ``BadShape`` for targets without
    ids.
    """
    if x is not None:
        samples = as_samples(x)
        rows = len(samples)
        targets = None if y is None else as_targets(y, rows)
    elif y is None or ids is None:
        raise BadShape("targets that come later need y, and the ids of the samples that they are for")
    else:
        rows = (*np.shape(ids if isinstance(ids, np.ndarray) else np.asarray(ids, object)), 1)[0]
        samples, targets = None, as_targets(y, rows, of="ids")
    return Learn(
        model,
        samples,
        targets,
        keys=None if keys is None else as_identifiers(keys, rows, "keys"),
        ids=None if ids is None else as_identifiers(ids, rows, "ids"),
    )


def _with_missing(source: NDArray[Any], what: str) -> NDArray[np.float64]:
    """Numbers and ``None`` mixed, as Python objects, to float64 with NaN for ``None``."""
    for value in source.flat:
        if value is not None and not isinstance(value, (int, float, np.integer, np.floating)):
            kind = type(value).__name__
            raise BadDtype(
                f"{what} must be numbers or None (missing), not {kind}", dtype=kind, expected="<f4"
            )
    try:
        return source.astype(np.float64)
    except OverflowError:
        raise BadValue(f"{what} has an integer beyond float32 (±3.4e38); scale or clip it first") from None
