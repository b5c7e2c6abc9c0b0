"""Which accesses of arrays read or write a single value, and their types."""

from __future__ import annotations

import operator
from typing import Any

from numba.core import types
from numba.core.typing import signature


def access_type(function: Any, arguments: Any) -> Any:
    """Return the signature of an access to a single value; None for other calls."""
    key = getattr(function, "typing_key", function)
    if key not in (operator.getitem, operator.setitem) or not is_value(*arguments[:2]):
        return None
    array, index, *written = arguments
    if not all(isinstance(each, types.Number) for each in (array.dtype, *written)):
        return None
    if isinstance(index, types.BaseTuple):
        index = types.BaseTuple.from_types([_whole(each) for each in index])
    else:
        index = _whole(index)
    return signature(types.none if written else array.dtype, array, index, *[array.dtype] * len(written))


def is_value(array: Any, index: Any) -> bool:
    """Whether ``array[index]`` is a single value of a C array."""
    indices = index.types if isinstance(index, types.BaseTuple) else (index,)
    return (
        isinstance(array, types.Array)
        and array.layout == "C"
        and len(indices) == array.ndim
        and all(isinstance(each, types.Integer) for each in indices)
    )


def _whole(index: Any) -> Any:
    return types.intp if index.signed else types.uintp
