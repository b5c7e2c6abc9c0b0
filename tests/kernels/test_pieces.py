"""How pieces are lowered: arguments, results, variables, errors, and the types of calls."""

from __future__ import annotations

import operator
import signal
import subprocess
import sys
from itertools import product
from typing import Any, NamedTuple

import numba as nb
import numpy as np
import pytest
from llvmlite.binding import ffi
from numba.core import base, errors, ir, ssa, types
from numba.core.callconv import CPUCallConv
from numba.core.compiler import Compiler, run_frontend
from numba.core.cpu import CPUContext
from numba.core.interpreter import Interpreter
from numba.core.lowering import Lower
from numba.core.typing import Context
from numba.extending import overload

from streamlearn.kernels.compiler import device, faster, indexing, lowering, passes, pipelines, resolution
from streamlearn.kernels.simd.views import row_of, slots_of

OPTIONS: dict[str, Any] = {
    "pipeline_class": pipelines.EntryPointCompiler,
    "_nrt": False,
} | pipelines.ENTRY_POINT


class Pair(NamedTuple):
    """A record of two arrays."""

    left: Any
    right: Any


@device
def turned(pair, both):
    if both and pair.left.size > 1:
        return Pair(pair.right, pair.left)
    if pair.left.size > 2:
        return Pair(pair.left, pair.left)
    return pair


@device
def sums(pair, so_far):
    total, product, count = so_far
    for i in range(pair.left.size):
        total = total + pair.left[i]
        if pair.right[i] > 0.5:
            product = product * pair.right[i]
        count += 1
    return total, product, count


def sums_in_turn(left, right, out):
    so_far = 0.0, 1.0, 0
    for turn in range(4):
        pair = turned(Pair(left, right), turn % 2 == 1)
        so_far = sums(pair, so_far)
    out[0], out[1], out[2] = so_far


def extremes(x, y, n):
    return min(x, y), max(x, y), min(n, x), max(y, n, x), min(n, 2)


def total_only(x):
    so_far = start()
    for i in range(x.size // 2):
        so_far = both_of(so_far, x[2 * i])
        so_far = both_of(so_far, x[2 * i + 1])
    for i in range(2 * (x.size // 2), x.size):
        so_far = both_of(so_far, x[i])
    return first_of(so_far)[0]


@device
def start():
    return 0.0, 1.0


@device
def first_of(so_far):
    total, product = so_far
    return total, product


@device
def both_of(so_far, value):
    total, product = so_far
    return total + value, product * value


def rows(cube, out):
    part = slots_of(row_of(cube, 1), 1, 2, 2)
    out[0], out[1], out[2] = part[1, 1, 2], part.size, row_of(part, 1).shape[0]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_records_tuples_and_variables_are_those_of_python(size):
    compiled = nb.njit("void(f8[::1], f8[::1], f8[::1])", **OPTIONS)(sums_in_turn)
    left, right = np.random.default_rng(size).random((2, size))
    out = np.empty(3)
    compiled(left, right, out)
    so_far = 0.0, 1.0, 0
    for turn in range(4):
        pair = turned.py_func(Pair(left, right), turn % 2 == 1)
        so_far = sums.py_func(pair, so_far)
    assert list(out) == list(so_far)


def test_a_number_of_a_tuple_that_nothing_needs_is_not_computed():
    compiled = nb.njit("f8(f8[::1])", **OPTIONS)(total_only)
    (result,) = compiled.overloads.values()
    code = str(result.library.get_function(result.fndesc.llvm_func_name))
    assert compiled(np.array([1.0, 2.0, 4.0])) == 7.0
    assert "fadd" in code
    assert "fmul" not in code


def test_the_least_and_the_largest_number_are_those_of_numba():
    signature = "UniTuple(f8, 5)(f8, f8, i8)"
    ours, numba = nb.njit(signature, **OPTIONS)(extremes), nb.njit(signature)(extremes)
    values = -1.5, -0.0, 0.0, 3.0, np.nan, np.inf
    for x, y, n in product(values, values, (-2, 0, 7)):
        assert np.array(ours(x, y, n)).tobytes() == np.array(numba(x, y, n)).tobytes(), (x, y, n)


def loops(numbers, start, stop, step):
    count = 0
    for i in range(start, stop, step):
        numbers[count] = i
        count += 1
    for i in range(start, stop):
        if i == 2:
            continue
        numbers[count] = i
        count += 1
    for i in range(stop):
        for j in range(i):
            if j > 2:
                break
            numbers[count] = j
            count += 1
    return count


def test_loops_over_ranges_have_the_numbers_of_python():
    compiled = nb.njit("i8(i8[::1], i8, i8, i8)", **OPTIONS)(loops)
    for start, stop, step in product(range(-7, 8), range(-7, 8), (-9, -3, -2, -1, 1, 2, 3, 9)):
        numbers, expected = np.zeros((2, 100), np.int64)
        count = compiled(numbers, start, stop, step)
        assert count == loops(expected, start, stop, step), (start, stop, step)
        assert list(numbers) == list(expected), (start, stop, step)


def test_parts_of_an_array_have_its_values_and_lengths():
    cube, out = np.arange(60.0).reshape(2, 6, 5), np.empty(3)
    nb.njit("void(f8[:, :, ::1], f8[::1])", **OPTIONS)(rows)(cube, out)
    part = cube[1, 1:5].reshape(2, 2, 5)
    assert list(out) == [part[1, 1, 2], part.size, 2]


def new_arrays(out, count, value):
    zeros, whole = np.zeros((count, 2), np.float32), np.full((2, count), value)
    bits, numbers = np.full(count, True), np.empty(3, np.int32)
    numbers[0] = numbers[1] = 7
    numbers[2] = value
    out[0], out[1], out[2] = zeros.sum(), whole.sum(), whole.shape[1]
    out[3], out[4] = bits.sum(), numbers.sum()
    out[5], out[6] = np.full(2, -1, np.int8)[1], np.zeros(4).size


@pytest.mark.parametrize("count", [0, 1, 5])
def test_new_arrays_are_those_of_numpy(count):
    compiled = nb.njit("void(f8[::1], i8, f8)", **OPTIONS | {"_nrt": True})(new_arrays)
    out, expected = np.zeros((2, 7))
    compiled(out, count, 2.5)
    new_arrays(expected, count, 2.5)
    assert list(out) == list(expected)


def test_numba_compiles_no_function_for_a_new_array(monkeypatch):
    compiled: list[str] = []
    compile_core = Compiler._compile_core
    monkeypatch.setattr(
        Compiler,
        "_compile_core",
        lambda self: compiled.append(self.state.func_id.func_name) or compile_core(self),
    )
    nb.njit("f4(i8)", **OPTIONS | {"_nrt": True})(lambda n: np.zeros((n, 3, n), np.float32)[0, 0, 0])
    assert "empty" not in " ".join(compiled)
    assert not {"impl", "zeros"} & set(compiled)


def converted(integers, floats, x, i):
    integers[i] = x
    floats[i, 1] = i
    floats[np.uint8(i), 0] = np.int32(7)
    return integers[i] + floats[i, np.int32(1)] + floats[0, 0]


def test_a_written_value_is_converted_to_the_type_of_the_array():
    compiled = nb.njit("f8(i8[::1], f4[:, ::1], f8, i8)", **OPTIONS)(converted)
    arrays, expected = [(np.zeros(3, np.int64), np.zeros((3, 2), np.float32)) for _ in range(2)]
    assert compiled(*arrays, 2.75, 1) == converted(*expected, 2.75, 1)
    assert all(np.array_equal(each, other) for each, other in zip(arrays, expected, strict=True))


def test_numba_has_every_function_that_a_worker_replaces():
    assert callable(base._has_loc)
    assert callable(ssa._run_ssa_block_pass)
    assert {"list_vars"} <= vars(ir.Stmt).keys() & vars(ir.Expr).keys()
    assert all(callable(each) for callbacks in ffi.lib._lock._cblist for each in callbacks)


@pytest.mark.parametrize("error", [KeyError("key"), errors.TypingError("wrong")])
def test_an_error_has_the_context_that_numba_gives_it(error):
    def text(context):
        with pytest.raises(type(error)) as caught, context("typing of {what}", what="x"):
            raise type(error)(*error.args)
        return type(caught.value), str(caught.value)

    assert text(faster.ErrorContext) == text(errors.new_error_context)


def test_the_variables_of_a_statement_are_those_that_numba_finds():
    blocks = run_frontend(total_only).blocks
    statements = [statement for block in blocks.values() for statement in block.body]
    assert len(statements) > 20
    for each in statements:
        assert faster._variables(each.__dict__.values()) == each.list_vars()


def test_an_error_in_a_piece_stops_the_process():
    program = """
import numba as nb
from streamlearn.kernels.compiler import device, pipelines
@device
def checked(x):
    if x < 0.0:
        raise ValueError
    return x
@nb.njit("f8(f8)", pipeline_class=pipelines.EntryPointCompiler, **pipelines.ENTRY_POINT)
def entry(x):
    return checked(x)
print(entry(1.0), flush=True)
entry(-1.0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "1.0\n", done.stderr
    assert done.returncode in (-signal.SIGILL, -signal.SIGTRAP)


def test_the_types_of_a_call_are_found_once(monkeypatch):
    calls: list[object] = []
    monkeypatch.setattr(resolution, "_found", {})
    monkeypatch.setattr(Context, "resolve_function_type", lambda *arguments: calls.append(arguments) or "sum")
    context = resolution.kernel_typing(pipelines.CPUDispatcher.targetdescr.typing_context)
    context.resolve_function_type("+", (types.float64, types.int8), {})
    assert context.resolve_function_type("+", (types.float64, types.int8), {}) == "sum"
    assert context.resolve_function_type("+", (types.float64, types.int16), {}) == "sum"
    assert len(calls) == 2


def product_of_numbers(kind):
    def implementation(a, b):
        return (lambda a, b: 10 * a + b) if isinstance(a, kind) and isinstance(b, kind) else None

    return overload(operator.matmul)(implementation)


def test_an_overload_that_is_added_later_is_found():
    """Lanes add theirs to operators that may be in use already."""
    product_of_numbers(types.Integer)
    assert nb.njit("i8(i8, i8)", **OPTIONS)(lambda a, b: a @ b)(2, 3) == 23
    product_of_numbers(types.Float)
    assert nb.njit("f8(f8, f8)", **OPTIONS)(lambda a, b: a @ b)(2.5, 3.0) == 28.0


@pytest.mark.parametrize(
    ("own", "numbas"),
    [
        (lowering.KernelLower, Lower),
        (lowering.PieceLower, Lower),
        (lowering.KernelCallConv, CPUCallConv),
        (resolution.KernelTyping, Context),
        (indexing.KernelContext, CPUContext),
        (passes._Interpreter, Interpreter),
    ],
)
def test_numba_has_every_method_that_a_class_replaces(own, numbas):
    added = {"_lower_operation", "_extreme", "_find"}
    methods = {name for name, each in vars(own).items() if callable(each)} - added
    assert methods
    assert all(callable(getattr(numbas, name, None)) for name in methods)
