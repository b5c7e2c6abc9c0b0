"""Conversion of samples and targets to float32 rows: from lists, integers, float64 and missing values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.errors import BadDtype, BadShape, BadValue
from streamlearn_client.protocol.identifiers import as_identifiers
from streamlearn_client.protocol.messages import Learn, Samples

__all__ = ["F4", "SamplesLike", "as_batch", "as_float32", "as_samples", "as_targets"]

F4 = np.dtype("<f4")

SamplesLike: TypeAlias = ArrayLike | Sequence[float | None] | Sequence[Sequence[float | None]]
"""Samples or targets as a caller may pass them: arrays or lists of numbers; ``None`` is a missing value."""


def as_float32(values: Any, what: str) -> NDArray[np.float32]:
    """Convert ``values`` to a float32 array. An array that already fits is not copied.

    Parameters
    ----------
    values : array_like
        Numbers of any shape. Booleans and integers are converted. ``None`` becomes NaN (missing).
    what : str
        Name of the argument, for error messages.

    Returns
    -------
    ndarray of float32
        The values, C-contiguous and aligned.

    Raises
    ------
    BadDtype
        If ``values`` has text, objects, dates or complex numbers.
    BadShape
        If lists have unequal lengths.
    BadValue
        If a finite number exceeds the range of float32.
    """
    if type(values) is np.ndarray and values.dtype == F4:
        return np.require(values, F4, ("C", "A"))
    try:
        source = np.asarray(values)
    except ValueError as error:
        raise BadShape(f"{what} must be rows of equal length: {error}") from None
    if source.dtype.kind == "O":
        source = _objects_to_floats(source, what)
    if source.dtype.kind not in "biuf":
        raise BadDtype(
            f"{what} must be numbers that convert to float32, not {source.dtype}",
            dtype=str(source.dtype),
            expected="<f4",
        )
    with np.errstate(over="ignore"):
        result = np.require(source, F4, ("C", "A"))
    overflowed = np.isinf(result)
    if overflowed.any() and (overflowed := overflowed & np.isfinite(source)).any():
        at = tuple(int(i) for i in np.argwhere(overflowed)[0])
        where = f" at {list(at)}" if at else ""
        raise BadValue(
            f"{what} has {source[at]!r}{where}, which is beyond float32 (±3.4e38); scale or clip it first",
            at=list(at),
        )
    return result


def as_samples(values: Any, what: str = "x") -> Samples:
    """Convert ``values`` to samples.

    Parameters
    ----------
    values : array_like, (n, columns) or (columns,)
        Several samples, or one sample.
    what : str, default "x"
        Name of the argument, for error messages.

    Returns
    -------
    ndarray of float32, (n, columns)
        The samples, C-contiguous and aligned.

    Raises
    ------
    BadShape
        If ``values`` has no sample, no column, or more than two axes.
    BadDtype, BadValue
        As `as_float32` raises them.
    """
    rows = as_float32(values, what)
    if rows.ndim == 1:
        rows = rows.reshape(1, -1)
    if rows.ndim != 2 or not rows.size:
        shape = list(np.shape(values))
        raise BadShape(
            f"{what} must be samples (n, columns) or one sample (columns,), not {shape}", shape=shape
        )
    return rows


def as_targets(values: Any, rows: int, what: str = "y", of: str = "x") -> Samples:
    """Convert ``values`` to targets.

    Parameters
    ----------
    values : array_like, (rows, targets), (rows,) or (targets,)
        Several targets per sample, one target per sample, or all targets of a single sample.
    rows : int
        Number of samples.
    what : str, default "y"
        Name of the argument, for error messages.
    of : str, default "x"
        Name of the argument that has ``rows`` rows, for error messages.

    Returns
    -------
    ndarray of float32, (rows, targets)
        The targets, C-contiguous and aligned.

    Raises
    ------
    BadShape
        If the number of rows is not ``rows``.
    BadDtype, BadValue
        As `as_float32` raises them.
    """
    targets = as_float32(values, what)
    if targets.ndim == 0 or (targets.ndim == 1 and rows > 1):
        targets = targets.reshape(-1, 1)
    targets = as_samples(targets, what)
    if targets.shape[0] != rows:
        raise BadShape(
            f"{what} has {targets.shape[0]} rows and {of} has {rows}; pass one row of targets per sample",
            rows=targets.shape[0],
            expected=rows,
        )
    return targets


def as_batch(model: str, x: Any, y: Any = None, keys: Any = None, ids: Any = None) -> Learn:
    """Convert samples, or late targets, to a batch.

    Parameters
    ----------
    model : str
        Name of the model.
    x : array_like, (n, dim) or (dim,), or None
        The samples. ``None``: the batch has late targets only.
    y : array_like, (n, targets) or (n,), optional
        The targets. Required without ``x``.
    keys : int, str or array_like, (n,), optional
        The keys of the samples, or one key for all.
    ids : int, str or array_like, (n,), optional
        The ids of the samples. Required without ``x``.

    Returns
    -------
    Learn
        The batch, without a producer.

    Raises
    ------
    BadShape
        If the numbers of rows differ, or ``x`` is ``None`` and ``y`` or ``ids`` is missing.
    BadDtype, BadValue
        As `as_float32` and `as_identifiers` raise them.
    """
    if x is not None:
        samples = as_samples(x)
        rows = len(samples)
        targets = None if y is None else as_targets(y, rows)
    elif y is None or ids is None:
        raise BadShape("late targets need both y and the ids of their samples")
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


def _objects_to_floats(source: NDArray[Any], what: str) -> NDArray[np.float64]:
    """Convert an object array of numbers and ``None`` to float64, with NaN for ``None``."""
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
