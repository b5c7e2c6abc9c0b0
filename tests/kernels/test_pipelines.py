"""How Numba compiles pieces, entry points and called kernels, and how these index arrays."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from numba.core.codegen import JITCodeLibrary
from numba.core.cpu import CPUContext

from streamlearn.kernels.compiler import device, indexing, pipelines


@device
def twice(x):
    return x + x


@nb.njit("f8(f8)", pipeline_class=pipelines.EntryPointCompiler, **pipelines.ENTRY_POINT)
def four_times(x):
    return twice(twice(x))


@device
def power(x, n):
    return x if n == 1 else x * x


@nb.njit("f8(f8, i8)", pipeline_class=pipelines.EntryPointCompiler, **pipelines.ENTRY_POINT)
def sum_of_powers(x, n):
    return power(x, 1) + power(x, 2) + power(x, n)


def half(x):
    return 0.5 * x


called_half = pipelines.CalledKernel(
    half,
    targetoptions={"nopython": True} | pipelines.ENTRY_POINT,
    pipeline_class=pipelines.EntryPointCompiler,
)


def compile_half():
    called_half.compile("f8(f8)")
    called_half.declare()


called_half.ready = compile_half


@nb.njit("f8(f8)", pipeline_class=pipelines.EntryPointCompiler, **pipelines.ENTRY_POINT)
def quarter(x):
    return called_half(called_half(x))


@nb.njit(
    "f8(f8, i8)", error_model="numpy", pipeline_class=pipelines.EntryPointCompiler, **pipelines.ENTRY_POINT
)
def continued_fraction(x, n):
    for _ in range(n):
        x = 1.0 / (1.0 + x)
    return x


def read_or_write(values, table, i, j):
    values[i] = 2.0 * table[i, j]
    return values[j]


ACCESSES = "f8(f8[::1], f8[:, ::1], i8, i8)"
access = nb.njit(ACCESSES, pipeline_class=pipelines.EntryPointCompiler, **pipelines.ENTRY_POINT)(
    read_or_write
)
access_as_numba = nb.njit(ACCESSES)(read_or_write)

(PIECE,) = (result.library for result in twice.overloads.values())
(ENTRY,) = (result.library for result in four_times.overloads.values())


def test_only_the_entry_point_is_optimised():
    """LLVM joins blocks that follow each other. Numba's own code has a jump between them."""
    assert four_times(1.5) == 6.0
    (piece,) = PIECE.get_defined_functions()
    entry = next(each for each in ENTRY.get_defined_functions() if "four_times" in each.name)
    assert "br label" in str(piece)
    assert "br label" not in str(entry)
    assert "call" not in str(entry), "pieces are inlined"


def test_a_piece_has_no_wrapper_and_no_machine_code():
    (function,) = PIECE.get_defined_functions()
    assert not PIECE.codegen._engine.is_symbol_defined(function.name)


def test_python_cannot_call_a_piece():
    with pytest.raises(ValueError, match="not in list"):
        twice(1.5)


@pytest.mark.parametrize("library", [pipelines.PieceLibrary, pipelines.EntryPointLibrary])
def test_numba_has_every_method_that_a_library_replaces(library):
    """If Numba renames one, ours has no effect and nothing else would say so."""
    replaced = [name for name in vars(library) if not name.startswith("__")]
    assert replaced
    assert [name for name in replaced if not hasattr(JITCodeLibrary, name)] == []


def test_a_piece_is_compiled_once_for_all_constants():
    assert sum_of_powers(3.0, 2) == 21.0
    assert len(power.overloads) == 1


def test_a_called_kernel_is_called_by_its_name():
    """A kernel that calls it has none of its code."""
    assert quarter(10.0) == 2.5
    assert f"@{__name__}.half(" in code(quarter).replace('"', "")
    assert "fmul" not in code(quarter)


def test_python_can_call_a_called_kernel():
    assert called_half(3.0) == 1.5


def test_a_loop_is_not_unrolled():
    (code,) = continued_fraction.inspect_asm().values()
    assert code.count("div") == 1


def test_an_index_is_not_compared_with_zero():
    """Numba's own code is, also afterwards: other functions of the process keep Python's indices."""
    values, table = np.zeros(3), np.arange(6.0).reshape(3, 2)
    assert access(values, table, 2, 1) == 0.0
    assert values[2] == 10.0
    tests = [
        sum("icmp slt" in line for line in code(each).splitlines()) for each in (access, access_as_numba)
    ]
    assert tests[0] == 0 < tests[1]
    assert access_as_numba(values, table, -1, -1) == 10.0


def code(dispatcher):
    """The LLVM code of a function, without its wrappers."""
    (result,) = dispatcher.overloads.values()
    return str(result.library.get_function(result.fndesc.llvm_func_name))


def test_numba_has_the_method_that_the_context_replaces():
    assert hasattr(CPUContext, "get_function")
    assert "get_function" in vars(indexing.KernelContext)
