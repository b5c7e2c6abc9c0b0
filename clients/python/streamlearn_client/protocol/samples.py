"""Conversion of samples and targets to float32 rows: from lists, integers, float64 and missing values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.errors import BadDtype, BadShape, BadValue
from streamlearn_client.protocol.messages import Samples

__all__ = [
    "F4",
    "SamplesLike",
    "as_float32",
    "as_numbers",
    "as_samples",
    "as_targets",
    "to_float32",
]

F4 = np.dtype("<f4")


class ArrowStream(Protocol):
    """A table that other libraries can read through the Arrow PyCapsule interface.

    Tables and record batches of pyarrow, data frames of polars and pandas, and relations of DuckDB have it.
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the stream in a capsule."""


class DataFrame(Protocol):
    """A data frame of pandas, or of a library with the same names."""

    @property
    def columns(self) -> Any:
        """The names of the columns."""

    @property
    def dtypes(self) -> Any:
        """The types of the columns."""


SamplesLike: TypeAlias = (
    ArrayLike
    | Sequence[float | None]
    | Sequence[Sequence[float | None]]
    | Mapping[str, Any]
    | DataFrame
    | ArrowStream
)
"""Samples or targets as a caller may pass them: arrays or lists of numbers; ``None`` is a missing value.

Samples may also be a data frame, an Arrow table, or a dict of columns.
"""


def as_numbers(values: Any, what: str) -> NDArray[Any]:
    """Convert ``values`` to an array of real numbers. Every conversion of samples and weights begins here.

    Parameters
    ----------
    values : array_like
        Booleans, integers or floating-point numbers of any shape: lists, NumPy arrays, pandas objects.
        ``None``, a masked element and ``pandas.NA`` become NaN (missing).
    what : str
        Name of the argument, for error messages.

    Returns
    -------
    ndarray
        The numbers, of a Boolean, integer or floating-point dtype.

    Raises
    ------
    BadDtype
        If ``values`` has text, objects, dates or complex numbers.
    BadShape
        If lists have unequal lengths.
    BadValue
        If a Python integer exceeds the range of float64.
    """
    if values is None:
        raise BadDtype(f"{what} is None; numbers were expected", dtype="NoneType", expected="<f4")
    if type(values) is np.ndarray and values.dtype == F4:
        return values
    if isinstance(values, (list, tuple)) and np.ma.MaskedArray in map(type, values):
        values = np.ma.array(values)
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
    if isinstance(values, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(values)
        floats = source.dtype if source.dtype.kind == "f" else np.float64
        return np.where(mask, np.nan, source.astype(floats, copy=False))
    return source


def as_float32(values: Any, what: str) -> NDArray[np.float32]:
    """Convert ``values`` to a float32 array. An array that already fits is not copied.

    Parameters
    ----------
    values : array_like
        Numbers of any shape, as `as_numbers` takes them.
    what : str
        Name of the argument, for error messages.

    Returns
    -------
    ndarray of float32
        The values, C-contiguous and aligned.

    Raises
    ------
    BadDtype, BadShape
        As `as_numbers` raises them.
    BadValue
        If a finite number exceeds the range of float32.
    """
    return to_float32(as_numbers(values, what), what)


def to_float32(numbers: NDArray[Any], what: str, *, finite: bool = False) -> NDArray[np.float32]:
    """Convert the result of `as_numbers` to float32. An array that already fits is not copied.

    Parameters
    ----------
    numbers : ndarray
        Numbers of any shape.
    what : str
        Name of the argument, for error messages.
    finite : bool, default False
        Whether infinities are refused too.

    Returns
    -------
    ndarray of float32
        The values, C-contiguous and aligned.

    Raises
    ------
    BadValue
        If a finite number exceeds the range of float32, or for an infinity with ``finite``. ``detail`` has
        ``row`` and ``column``.
    """
    if numbers.dtype == F4:
        fits = numbers.flags.c_contiguous and numbers.flags.aligned
        result = numbers if fits else np.require(numbers, F4, ("C", "A"))
        if not finite:
            return result
    else:
        with np.errstate(over="ignore"):
            result = numbers.astype(F4, order="C")
    wrong = np.isinf(result)
    if np.count_nonzero(wrong) and (finite or (wrong := wrong & np.isfinite(numbers)).any()):
        at = [int(index) for index in np.argwhere(wrong)[0]]
        value = numbers[tuple(at)]
        problem = "which is beyond float32 (±3.4e38); scale or clip it first"
        if np.isinf(value):
            problem = "which is infinite; give a finite number, or NaN where the value is missing"
        raise BadValue(
            f"{what}{at if at else ''} is {value}, {problem}",
            **dict(zip(("row", "column"), at, strict=False)),
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
    numbers = as_numbers(values, what)
    rows = numbers.reshape(1, -1) if numbers.ndim == 1 else numbers
    if rows.ndim != 2 or not rows.size:
        shape = list(numbers.shape)
        raise BadShape(
            f"{what} must be samples (n, columns) or one sample (columns,), not {shape}", shape=shape
        )
    return to_float32(rows, what)


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


def _objects_to_floats(source: NDArray[Any], what: str) -> NDArray[np.float64]:
    """Convert an object array to float64, with NaN for ``None`` and ``pandas.NA``."""
    missing = np.array([value is None or type(value).__name__ == "NAType" for value in source.flat], bool)
    numbers = np.where(missing.reshape(source.shape), 0, source)
    for value in numbers.flat:
        if not isinstance(value, (int, float, np.bool_, np.integer, np.floating)):
            kind = type(value).__name__
            raise BadDtype(
                f"{what} must be numbers or None (missing), not {kind}", dtype=kind, expected="<f4"
            )
    try:
        return np.where(missing.reshape(source.shape), np.nan, numbers.astype(np.float64))
    except OverflowError:
        raise BadValue(f"{what} has an integer beyond float32 (±3.4e38); scale or clip it first") from None
