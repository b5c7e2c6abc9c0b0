"""Lanes: SIMD vectors of 16 float32, and of 4 float64, for Numba kernels, exact on every CPU.

Sixteen neurons are the sixteen lanes. Each lane does its own sum in plain order, so nothing is reassociated
and the result is the same bits whether the CPU has 512-bit registers, 128-bit ones, or none. A kernel reads
as its formula:

    total = zero()
    for d in range(dim):
        difference = x[d] - load(weights, b, d)        # weights: (blocks, dim, 16)
        total = fma(difference, difference, total)

float32 scalars mix freely with lanes (they are splat), and float64 scalars with doubles: see columns.py.
Write constants of lanes as ``np.float32``: a bare ``0.5`` is a float64 to Numba. Of two operands with a NaN
every comparison is false, in a lane as in a scalar.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from ..compiler.arrays import data_of, shape_of
from .blocks import COLUMNS as COLUMNS  # noqa: PLC0414 - kernels import both from here
from .blocks import WIDTH as WIDTH  # noqa: PLC0414


class _LaneType(types.Type):
    """One LLVM vector; ``element`` is the Numba type of a lane."""

    def __init__(self, name: str, element: types.Type, llvm: ir.Type, width: int) -> None:
        super().__init__(name=name)
        self.element = element
        self.llvm = ir.VectorType(llvm, width)


lanes = _LaneType("lanes", types.float32, ir.FloatType(), WIDTH)  # <16 x float>
mask = _LaneType("mask", types.boolean, ir.IntType(1), WIDTH)  # <16 x i1>
doubles = _LaneType("doubles", types.float64, ir.DoubleType(), COLUMNS)  # <4 x double>
mask_of_doubles = _LaneType("mask_of_doubles", types.boolean, ir.IntType(1), COLUMNS)  # <4 x i1>
f32, f64 = types.float32, types.float64
_VECTORS = {f32: lanes, f64: doubles}
_MASKS = {lanes: mask, doubles: mask_of_doubles}


@register_model(_LaneType)
class _LaneModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: _LaneType) -> None:
        super().__init__(dmm, fe_type, fe_type.llvm)


def splat_value(builder: Any, value: Any, width: int = WIDTH) -> Any:
    """A vector of ``width`` elements that all hold the LLVM value ``value``."""
    vector = ir.VectorType(value.type, width)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _as(builder: Any, value: Any, have: types.Type, want: types.Type) -> Any:
    return splat_value(builder, value, want.llvm.count) if want in _MASKS and have not in _MASKS else value


def _common(*args: types.Type) -> types.Type | None:
    """float32 where all are float32, lanes where lanes and float32 mix; so for float64 and doubles. None for
    anything else."""
    for scalar, vector in _VECTORS.items():
        if all(a is vector or a == scalar for a in args):
            return vector if any(a is vector for a in args) else scalar
    return None


def _elementwise(
    emit: Callable[..., Any], result: Callable[[types.Type], types.Type | None], arity: int
) -> Any:
    """An intrinsic over ``arity`` scalars or vectors."""

    def generate(args: tuple[types.Type, ...]) -> Any:
        common = _common(*args)
        given = result(common) if common is not None else None
        if given is None:
            return None

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            vectors = [_as(builder, v, t, common) for v, t in zip(values, signature.args, strict=True)]
            return emit(builder, *vectors)

        return given(*args), codegen

    if arity == 1:

        @intrinsic
        def one(typingctx, a):
            return generate((a,))

        return one
    if arity == 2:

        @intrinsic
        def two(typingctx, a, b):
            return generate((a, b))

        return two

    @intrinsic
    def three(typingctx, a, b, c):
        return generate((a, b, c))

    return three


def _same(common: types.Type) -> types.Type:
    return common


def _same_float32(common: types.Type) -> types.Type | None:
    return common if common in (f32, lanes) else None


def _truth(common: types.Type) -> types.Type:
    return _MASKS.get(common, types.boolean)


def _llvm(name: str) -> Callable[..., Any]:
    """A call of an LLVM intrinsic overloaded on its operand's type."""

    def emit(builder: Any, *values: Any) -> Any:
        kind = values[0].type
        element = kind.element if isinstance(kind, ir.VectorType) else kind
        suffix = "f32" if isinstance(element, ir.FloatType) else "f64"
        if element is not kind:
            suffix = f"v{kind.count}{suffix}"
        declared = ir.FunctionType(kind, [kind] * len(values))
        function = cgutils.get_or_insert_function(builder.module, declared, f"llvm.{name}.{suffix}")
        return builder.call(function, values)

    return emit


def _bits(kind: Any) -> Any:
    return ir.VectorType(ir.IntType(32), WIDTH) if isinstance(kind, ir.VectorType) else ir.IntType(32)


def _const(kind: Any, value: int) -> Any:
    return ir.Constant(kind, [value] * WIDTH) if isinstance(kind, ir.VectorType) else ir.Constant(kind, value)


# -- arithmetic: the same names for scalars and lanes ----------------------------------------------------

fma = _elementwise(_llvm("fma"), _same, 3)  # a·b + c, rounded once
sqrt = _elementwise(_llvm("sqrt"), _same, 1)
absolute = _elementwise(_llvm("fabs"), _same, 1)
copysign = _elementwise(_llvm("copysign"), _same, 2)  # |a| with b's sign
# of a and b; a if b is NaN
larger = _elementwise(lambda builder, a, b: builder.select(builder.fcmp_ordered(">", b, a), b, a), _same, 2)
smaller = _elementwise(lambda builder, a, b: builder.select(builder.fcmp_ordered("<", b, a), b, a), _same, 2)


def _operator(symbol: Any, emit: Callable[..., Any], result: Callable[[types.Type], types.Type]) -> None:
    """Define ``symbol`` for two operands of which at least one is a vector."""

    @type_callable(symbol)
    def resolve(context):
        def typer(a, b):
            common = _common(a, b)
            return result(common) if common in _MASKS else None

        return typer

    for scalar, vector in _VECTORS.items():
        for a, b in ((vector, vector), (vector, scalar), (scalar, vector)):

            @lower_builtin(symbol, a, b)
            def codegen(context, builder, signature, values, vector=vector):
                operands = zip(values, signature.args, strict=True)
                return emit(builder, *(_as(builder, value, type_, vector) for value, type_ in operands))


_operator(operator.add, lambda builder, a, b: builder.fadd(a, b), _same)
_operator(operator.sub, lambda builder, a, b: builder.fsub(a, b), _same)
_operator(operator.mul, lambda builder, a, b: builder.fmul(a, b), _same)
_operator(operator.truediv, lambda builder, a, b: builder.fdiv(a, b), _same)
_operator(operator.lt, lambda builder, a, b: builder.fcmp_ordered("<", a, b), _truth)
_operator(operator.le, lambda builder, a, b: builder.fcmp_ordered("<=", a, b), _truth)
_operator(operator.gt, lambda builder, a, b: builder.fcmp_ordered(">", a, b), _truth)
_operator(operator.ge, lambda builder, a, b: builder.fcmp_ordered(">=", a, b), _truth)
_operator(operator.eq, lambda builder, a, b: builder.fcmp_ordered("==", a, b), _truth)


@type_callable(operator.and_)
def _resolve_and(context):
    def typer(a, b):
        return a if a is b and a in _MASKS.values() else None

    return typer


@lower_builtin(operator.and_, mask, mask)
@lower_builtin(operator.and_, mask_of_doubles, mask_of_doubles)
def _and(context, builder, signature, values):
    return builder.and_(*values)


@type_callable(operator.neg)
def _resolve_negation(context):
    def typer(a):
        return a if a in _MASKS else None

    return typer


@lower_builtin(operator.neg, lanes)
@lower_builtin(operator.neg, doubles)
def _negate(context, builder, signature, values):
    return builder.fneg(values[0])


@intrinsic
def select(typingctx, condition, a, b):
    """``a`` where ``condition`` holds, ``b`` elsewhere; per lane for a mask."""
    common = _common(a, b)
    if condition != types.boolean and common is not None:
        common = next((v for v in _MASKS if common in (v, v.element) and condition is _MASKS[v]), None)
    if common is None:
        return None

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _, have_a, have_b = signature.args
        return builder.select(
            values[0], _as(builder, values[1], have_a, common), _as(builder, values[2], have_b, common)
        )

    return common(condition, a, b), codegen


# -- float32's bits, for elementary.py --------------------------------------------------------------------

_ROUNDER = float(np.float32(12582912.0))  # 1.5·2²³: adding it leaves the nearest integer in the low bits


def _emit_pow2(builder: Any, n: Any) -> Any:
    shifted = builder.fadd(n, ir.Constant(n.type, [_ROUNDER] * WIDTH if _is_vector(n) else _ROUNDER))
    integer = _bits(n.type)
    exponent = builder.shl(builder.bitcast(shifted, integer), _const(integer, 23))
    return builder.bitcast(builder.add(exponent, _const(integer, 0x3F800000)), n.type)


def _is_vector(value: Any) -> bool:
    return isinstance(value.type, ir.VectorType)


_SQRT_HALF_BITS = 0x3F3504F3  # the bits of √½


def _emit_exponent(builder: Any, x: Any) -> Any:
    integer = _bits(x.type)
    offset = builder.sub(builder.bitcast(x, integer), _const(integer, _SQRT_HALF_BITS))
    return builder.sitofp(builder.ashr(offset, _const(integer, 23)), x.type)


_QUIET_NAN, _INF_BITS, _MAGNITUDE = 0x7FC00000, 0x7F800000, 0x7FFFFFFF


def _emit_canonical_nan(builder: Any, x: Any) -> Any:
    integer = _bits(x.type)
    bits = builder.bitcast(x, integer)
    is_nan = builder.icmp_unsigned(
        ">", builder.and_(bits, _const(integer, _MAGNITUDE)), _const(integer, _INF_BITS)
    )
    return builder.bitcast(builder.select(is_nan, _const(integer, _QUIET_NAN), bits), x.type)


# x, or 0x7FC00000 for any NaN: x86's own NaN is 0xFFC00000, and NaNs of users have any sign and payload. The
# state holds canonical NaNs only (R3). Compares integers, because LLVM may fold ``x == x ? x : NaN`` to x
canonical_nan = _elementwise(_emit_canonical_nan, _same_float32, 1)
pow2 = _elementwise(_emit_pow2, _same_float32, 1)  # 2ⁿ for an integral n of −126 … 127
exponent = _elementwise(_emit_exponent, _same_float32, 1)  # e with x/2ᵉ in [√½, √2), for a normal x > 0

# -- lanes alone -----------------------------------------------------------------------------------------


@intrinsic
def splat(typingctx, value):
    """Lanes that all hold the float32 ``value``."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return splat_value(builder, values[0])

    return (lanes(f32), codegen) if value == f32 else None


@intrinsic
def zero(typingctx):
    """Lanes that all hold 0."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(lanes.llvm, [0.0] * WIDTH)

    return lanes(), codegen


@intrinsic
def iota(typingctx):
    """Lanes 0, 1, … 15."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return ir.Constant(lanes.llvm, [float(i) for i in range(WIDTH)])

    return lanes(), codegen


@intrinsic
def lane(typingctx, vector, index):
    """One lane, as a scalar."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.extract_element(values[0], builder.trunc(values[1], ir.IntType(32)))

    if vector is not lanes or not isinstance(index, types.Integer):
        return None
    return f32(lanes, types.int64), codegen


@intrinsic
def anywhere(typingctx, condition):
    """Whether a mask holds anywhere; a condition itself."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if condition == types.boolean:
            return values[0]
        bits = ir.IntType(condition.llvm.count)
        return builder.icmp_unsigned("!=", builder.bitcast(values[0], bits), ir.Constant(bits, 0))

    valid = condition == types.boolean or condition in _MASKS.values()
    return (types.boolean(condition), codegen) if valid else None


@intrinsic
def lowest(typingctx, vector):
    """The least of the lanes, as a scalar. No lane may be NaN. (A minimum has no rounding: any order gives
    it.)"""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector, width = values[0], WIDTH
        while width > 1:
            width //= 2
            half = [
                builder.shuffle_vector(
                    vector,
                    vector,
                    ir.Constant(ir.VectorType(ir.IntType(32), width), [start + i for i in range(width)]),
                )
                for start in (0, width)
            ]
            vector = builder.select(builder.fcmp_ordered("<", half[1], half[0]), half[1], half[0])
        return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    return (f32(lanes), codegen) if vector is lanes else None


def _address(context: Any, builder: Any, array_type: Any, array: Any, indices: list[Any]) -> Any:
    """Where lanes start in a C-contiguous float32 array whose last axis is the lanes: indices on the axes
    before it."""
    shape = shape_of(context, builder, array_type, array)
    data = data_of(context, builder, array_type, array)
    flat = indices[0]
    for axis, index in enumerate(indices[1:], start=1):
        flat = builder.add(builder.mul(flat, shape[axis]), index)
    pointer = builder.gep(data, [builder.mul(flat, ir.Constant(flat.type, WIDTH))], inbounds=True)
    return builder.bitcast(pointer, lanes.llvm.as_pointer())


def _address_of(context: Any, builder: Any, array_type: Any, array: Any, first: Any) -> Any:
    data = data_of(context, builder, array_type, array)
    return builder.bitcast(builder.gep(data, [first], inbounds=True), lanes.llvm.as_pointer())


def _is_contiguous(array: types.Type) -> bool:
    return isinstance(array, types.Array) and array.dtype == f32 and array.layout == "C"


def _is_block_array(array: types.Type, indices: int) -> bool:
    return _is_contiguous(array) and array.ndim == indices + 1


def _are_indices(indices: Sequence[types.Type]) -> bool:
    return all(isinstance(index, types.Integer) for index in indices)


@intrinsic
def load(typingctx, array, *where):
    """Lanes ``array[i]`` of a float32 ``(blocks, 16)``, or ``array[i, j]`` of a ``(blocks, dim, 16)``.

    The call is ``load(array, i)`` or ``load(array, i, j)``.
    """

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        indices = cgutils.unpack_tuple(builder, values[1])
        return builder.load(_address(context, builder, signature.args[0], values[0], indices), align=4)

    if not (_is_block_array(array, len(where)) and _are_indices(where)):
        return None
    return lanes(array, types.StarArgTuple([types.int64] * len(where))), codegen


@intrinsic
def store(typingctx, array, *where_and_value):
    """``store(array, i, value)`` or ``store(array, i, j, value)``: the lanes that ``load`` would give."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        *indices, value = cgutils.unpack_tuple(builder, values[1])
        builder.store(value, _address(context, builder, signature.args[0], values[0], indices), align=4)
        return context.get_dummy_value()

    *where, value = where_and_value
    if value is not lanes or not (_is_block_array(array, len(where)) and _are_indices(where)):
        return None
    return types.void(array, types.StarArgTuple([types.int64] * len(where) + [lanes])), codegen


@intrinsic
def load_from(typingctx, array, first):
    """Lanes ``array[first : first + 16]`` of a C-contiguous float32 array, counted over all its axes."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_address_of(context, builder, signature.args[0], *values), align=4)

    valid = _is_contiguous(array) and isinstance(first, types.Integer)
    return (lanes(array, types.int64), codegen) if valid else None


@intrinsic
def store_from(typingctx, array, first, value):
    """Store the lanes that `load_from` would give."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array, first, value = values
        builder.store(value, _address_of(context, builder, signature.args[0], array, first), align=4)
        return context.get_dummy_value()

    valid = _is_contiguous(array) and isinstance(first, types.Integer) and value is lanes
    return (types.void(array, types.int64, lanes), codegen) if valid else None
