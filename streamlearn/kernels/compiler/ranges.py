"""Loops over ``range``, in thirty LLVM instructions each. Numba writes a hundred, with several branches.

The step of a range must not be 0, which Numba tests.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types


def range_implementation(function: Any, arguments: Any) -> Any:
    """Return what lowers a call of ``range`` or a step of a loop over it; None for other functions."""
    if getattr(function, "typing_key", None) is range:
        return _range
    if arguments and isinstance(arguments[0], (types.RangeType, types.RangeIteratorType)):
        return _LOOP.get(function)
    return None


def _range(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    kind = arguments[0].type
    start = arguments[0] if len(arguments) > 1 else kind(0)
    stop = arguments[1] if len(arguments) > 1 else arguments[0]
    step = arguments[2] if len(arguments) > 2 else kind(1)
    return _struct(context, builder, signature.return_type, start, stop, step)


def _begin(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Return an iterator: pointers to the next value and to the number of values that remain."""
    start, stop, step = (builder.extract_value(arguments[0], i) for i in range(3))
    kind = start.type
    away = builder.select(builder.icmp_signed(">", step, kind(0)), kind(1), kind(-1))
    count = builder.sdiv(builder.sub(builder.add(builder.sub(stop, start), step), away), step)
    value, remaining = cgutils.alloca_once(builder, kind), cgutils.alloca_once(builder, kind)
    builder.store(start, value)
    builder.store(count, remaining)
    return _struct(context, builder, signature.return_type, value, stop, step, remaining)


def _next(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Return the next value, and whether there is one."""
    next_value, _, step, remaining = (builder.extract_value(arguments[0], i) for i in range(4))
    value, count = builder.load(next_value), builder.load(remaining)
    builder.store(builder.add(value, step), next_value)
    builder.store(builder.sub(count, count.type(1), flags=["nsw"]), remaining)
    more = builder.icmp_signed(">", count, count.type(0))
    return _struct(context, builder, signature.return_type, value, more)


def _struct(context: Any, builder: Any, kind: Any, *values: Any) -> Any:
    struct = ir.Constant(context.get_value_type(kind), ir.Undefined)
    for i, value in enumerate(values):
        struct = builder.insert_value(struct, value, i)
    return struct


_LOOP: dict[Any, Any] = {"getiter": _begin, "iternext": _next}
