"""Eight float64 in one vector, for sums that a long stream must not exhaust."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

EIGHT = 8
_vector = ir.VectorType(ir.DoubleType(), EIGHT)
_integers = ir.VectorType(ir.IntType(64), EIGHT)
_iota = ir.Constant(_integers, list(range(EIGHT)))


def _splat(builder: Any, scalar: Any, kind: Any) -> Any:
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), EIGHT), [0] * EIGHT)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, first: Any) -> Any:
    data = make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [first], inbounds=True), _vector.as_pointer())


def _is_row(array: Any) -> bool:
    return isinstance(array, types.Array) and array.dtype == types.float64 and array.ndim == 1


@intrinsic
def add_above(typing: Any, array: Any, first: Any, k: Any, value: Any) -> Any:
    """Add ``value`` to ``array[first + j]`` for each j with k < j < 8. ``array`` is float64 ``(n,)``."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, first, k, value = arguments
        pointer = _pointer(context, builder, signature.args[0], values, first)
        old = builder.load(pointer, align=8)
        above = builder.icmp_signed(">", _iota, _splat(builder, k, _integers))
        new = builder.select(above, builder.fadd(old, _splat(builder, value, _vector)), old)
        builder.store(new, pointer, align=8)
        return context.get_dummy_value()

    valid = _is_row(array)
    return (types.void(array, types.int64, types.int64, types.float64), build) if valid else None


@intrinsic
def sum_below(typing: Any, array: Any, first: Any, k: Any) -> Any:
    """Σ ``array[first + j]`` for 0 ≤ j < k, k ≤ 8: halves are added, then quarters, then the last two."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, first, k = arguments
        terms = builder.load(_pointer(context, builder, signature.args[0], values, first), align=8)
        below = builder.icmp_signed("<", _iota, _splat(builder, k, _integers))
        total = builder.select(below, terms, ir.Constant(_vector, [0.0] * EIGHT))
        width = EIGHT
        while width > 1:
            width //= 2
            low, high = (
                builder.shuffle_vector(
                    total,
                    total,
                    ir.Constant(ir.VectorType(ir.IntType(32), width), [start + j for j in range(width)]),
                )
                for start in (0, width)
            )
            total = builder.fadd(low, high)
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return (types.float64(array, types.int64, types.int64), build) if _is_row(array) else None
