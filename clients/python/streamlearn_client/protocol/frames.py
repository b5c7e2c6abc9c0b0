"""Samples with names: data frames and dicts of columns, and the check of the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from streamlearn_client.errors import BadShape
from streamlearn_client.protocol.samples import as_numbers

__all__ = ["check_channels", "named_columns"]


def named_columns(values: Any, what: str = "x") -> tuple[Any, tuple[str, ...] | None]:
    """Split samples into their values and the names of their columns.

    Parameters
    ----------
    values : array_like or mapping of str to array_like
        Samples. A data frame (pandas, polars) with text as column names, and a dict of columns, have names. A
        dict of numbers is one sample.
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
    BadShape
        If the columns of a dict have unequal lengths, or it has none.
    BadDtype
        If a column is not numbers.
    """
    if isinstance(values, Mapping):
        return _columns_of(values, what)
    columns = getattr(values, "columns", None)
    if columns is None or isinstance(values, np.ndarray):
        return values, None
    names = tuple(columns)
    return values, names if names and all(isinstance(name, str) for name in names) else None


def _columns_of(values: Mapping[Any, Any], what: str) -> tuple[Any, tuple[str, ...]]:
    columns = [as_numbers(column, f"{what}[{name!r}]") for name, column in values.items()]
    shapes = {column.shape for column in columns}
    if len(shapes) != 1 or len(*shapes) > 1:
        raise BadShape(
            f"{what} must be a dict of columns of equal length, or of numbers;"
            f" its shapes are {', '.join(map(str, sorted(shapes))) or 'none: it is empty'}"
        )
    return np.stack(columns, axis=-1), tuple(map(str, values))


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
