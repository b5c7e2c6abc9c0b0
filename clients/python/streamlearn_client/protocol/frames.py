"""Samples with names: data frames, Arrow tables and dicts of columns, and the check of the names.

Neither pandas nor pyarrow is imported here: their objects are recognised by what they can do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from streamlearn_client.errors import BadDtype, BadShape
from streamlearn_client.protocol.samples import as_numbers

__all__ = ["NamedSamples", "check_channels", "named_columns", "named_samples"]

_NUMBERS: Final = ("int", "uint", "float", "double", "half", "bool", "decimal", "null")
"""How the names of Arrow's types of numbers begin."""


class NamedSamples(NamedTuple):
    """Samples, the names of their columns or ``None``, and their times or ``None``."""

    values: Any
    names: tuple[str, ...] | None
    times: Any


def named_samples(values: Any, times: Any = None, what: str = "x") -> NamedSamples:
    """Split samples into their values, the names of their columns, and their times.

    Parameters
    ----------
    values : array_like, mapping of str to array_like, data frame, or Arrow table
        Samples. A data frame (pandas, polars) with text as column names, a table or record batch of Arrow,
        and a dict of columns have names. A dict of numbers is one sample.
    times : array_like or str, optional
        The times. Text is the name of the column that has them; it is no channel then. By default the index
        of a data frame, if it consists of dates.
    what : str, default "x"
        Name of the argument, for error messages.

    Returns
    -------
    NamedSamples
        The values (n, columns) or (columns,), the names, and the times.

    Raises
    ------
    BadShape
        If columns have unequal lengths, or there is no column, or none with the name ``times``.
    BadDtype
        If a column is not numbers. The message has its name.
    """
    if isinstance(values, NamedSamples):
        return values
    columns = _columns_of(values)
    if columns is None:
        return NamedSamples(values, None, times)
    if isinstance(times, str):
        if times not in columns:
            raise BadShape(
                f"{what} has no column {times!r}, named by times; it has {_listed(list(map(str, columns)))}"
            )
        times = _as_dates(columns.pop(times))
    elif times is None:
        times = _dates_of_index(values)
    if not columns:
        raise BadShape(f"{what} has no columns of samples: it is empty, or has only times")
    if not isinstance(values, Mapping) and (numbers := _one_array(values, columns)) is not None:
        found: Any = numbers
    else:
        found = _stacked(columns, what)
    names = tuple(columns)
    is_mapping = isinstance(values, Mapping)
    has_names = is_mapping or all(isinstance(name, str) for name in names)
    return NamedSamples(found, tuple(map(str, names)) if has_names else None, times)


def named_columns(values: Any, what: str = "x") -> tuple[Any, tuple[str, ...] | None]:
    """Split samples into their values and the names of their columns, as `named_samples`.

    Parameters
    ----------
    values : array_like, mapping of str to array_like, data frame, or Arrow table
        Samples.
    what : str, default "x"
        Name of the argument, for error messages.

    Returns
    -------
    values : array_like, (n, columns) or (columns,)
        The values without names.
    names : tuple of str, or None
        The names of the columns; ``None`` if there are none.

    Raises
    ------
    BadShape, BadDtype
        As `named_samples` raises them.
    """
    found = named_samples(values, None, what)
    return found.values, found.names


def _columns_of(values: Any) -> dict[Any, Any] | None:
    """Return the columns by name; ``None`` for samples without columns."""
    if isinstance(values, Mapping):
        return dict(values)
    if isinstance(values, (np.ndarray, list, tuple)):
        return None
    schema: Any = getattr(values, "schema", None)
    if hasattr(schema, "names") and hasattr(values, "column"):  # a table or a record batch of pyarrow
        _check_unique(schema.names)
        return {name: values.column(place) for place, name in enumerate(schema.names)}
    if hasattr(values, "columns") and hasattr(values, "dtypes"):  # a data frame of pandas or polars
        names = list(values.columns)
        _check_unique(names)
        return {name: values[name] for name in names}
    if hasattr(values, "__arrow_c_stream__") and not hasattr(values, "__array__"):
        return _columns_of(_as_table(values))
    return None


def _check_unique(names: Sequence[Any]) -> None:
    if len(set(names)) != len(names):
        raise BadShape(f"several columns have the same name: {_listed([str(name) for name in names])}")


def _as_table(values: Any) -> Any:
    """Return the table of an object with Arrow's PyCapsule interface."""
    try:
        import pyarrow
    except ImportError:
        raise BadDtype(
            f"a {type(values).__name__} is read by pyarrow, which is not installed: pip install pyarrow, or"
            " pass a dict of NumPy arrays"
        ) from None
    return pyarrow.table(values)


def _dates_of_index(values: Any) -> Any:
    """Return the index of a data frame if it consists of dates."""
    index = getattr(values, "index", None)
    return index if str(getattr(index, "dtype", "")).startswith("datetime64") else None


def _one_array(values: Any, columns: Mapping[Any, Any]) -> Any:
    """Return a data frame as one array, if all its columns have one type of NumPy."""
    dtypes = {getattr(column, "dtype", None) for column in columns.values()}
    dtype = next(iter(dtypes))
    is_plain = len(dtypes) == 1 and isinstance(dtype, np.dtype) and dtype.kind in "biuf"
    return np.asarray(values) if is_plain and len(columns) == len(values.columns) else None


def _stacked(columns: Mapping[Any, Any], what: str) -> Any:
    numbers = [_numbers(column, f"{what}[{name!r}]") for name, column in columns.items()]
    shapes = {column.shape for column in numbers}
    if len(shapes) != 1 or len(*shapes) > 1:
        raise BadShape(
            f"{what} must be a dict of columns of equal length, or of numbers;"
            f" its shapes are {', '.join(map(str, sorted(shapes)))}"
        )
    return np.stack(numbers, axis=-1)


def _numbers(column: Any, what: str) -> Any:
    kind = str(getattr(column, "type", "") or getattr(column, "dtype", ""))
    if kind.startswith(("timestamp", "datetime", "Datetime", "date", "Date")):
        raise BadDtype(
            f"{what} holds times ({kind}), and numbers were expected: pass its name as times, which takes it"
            " out of the samples",
            dtype=kind,
            expected="<f4",
        )
    if _is_arrow(column):
        if not kind.startswith(_NUMBERS):
            raise BadDtype(
                f"{what} holds {kind}, and numbers were expected: leave the column out, or cast it",
                dtype=kind,
                expected="<f4",
            )
        if kind.startswith("bool"):
            column = column.cast("int8")
        elif kind.startswith(("decimal", "null")):
            column = column.cast("float64")
        return column.to_numpy(zero_copy_only=False)
    if hasattr(column, "to_numpy") and "float" not in kind and "int" not in kind:
        column = column.to_numpy()
    return as_numbers(column, what)


def _as_dates(column: Any) -> Any:
    """Return a column of times as NumPy has it."""
    if _is_arrow(column):
        kind = str(column.type)
        return (column.cast("timestamp[ns]") if kind.startswith("timestamp") else column).to_numpy(
            zero_copy_only=False
        )
    return column


def _is_arrow(column: Any) -> bool:
    return hasattr(column, "type") and hasattr(column, "null_count") and hasattr(column, "to_numpy")


def check_channels(
    given: Sequence[str] | None, expected: Sequence[str] | None, what: str = "the samples"
) -> None:
    """Compare the names of columns with the channels of a model.

    Parameters
    ----------
    given : sequence of str, or None
        The names of the columns; ``None``: they have none.
    expected : sequence of str, or None
        The names of the model's channels; ``None``: they have none. Without names nothing is compared.
    what : str, default "the samples"
        What has the columns, for the error message.

    Raises
    ------
    BadShape
        If a name is missing or unknown, or the order differs.
    """
    if given is None or expected is None or tuple(given) == tuple(expected):
        return
    missing = [name for name in expected if name not in given]
    unknown = [name for name in given if name not in expected]
    if missing or unknown:
        faults = [f"no channel {_listed(missing)}"] * bool(missing)
        faults += [f"an unknown channel {_listed(unknown)}"] * bool(unknown)
        problem = f"{what} have {' and '.join(faults)}"
    elif len(given) != len(expected):
        problem = f"{what} have a channel more than once"
    else:
        problem = f"{what} have the channels in another order: {_listed(given)}"
    raise BadShape(
        f"{problem}; the model has {_listed(expected)}. Pass these channels in this order",
        expected=list(expected[:_SHOWN]),
        got=list(given[:_SHOWN]),
    )


_SHOWN = 20


def _listed(names: Sequence[str]) -> str:
    """Return the first names as text."""
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
