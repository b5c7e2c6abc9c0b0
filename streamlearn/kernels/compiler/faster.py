"""Replaces functions of Numba by faster ones with the same results, in a process that only compiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from typing import Any

from llvmlite.binding import ffi
from numba.core import base, errors, ir, lowering, ssa, typeinfer


def install() -> None:
    """Replace the functions."""
    for callbacks in list(ffi.lib._lock._cblist):  # they measure how long threads wait for LLVM
        ffi.unregister_lock_callback(*callbacks)
    base._has_loc = cache(base._has_loc)  # inspects the signature of a function, at each call of it
    ssa._run_ssa_block_pass = _run_ssa_block_pass
    typeinfer.new_error_context = lowering.new_error_context = ErrorContext
    errors.WarningsFixer.catch_warnings = _warnings_as_they_are
    ir.Stmt.list_vars = _variables_of_statement
    ir.Expr.list_vars = _variables_of_expression


class ErrorContext:
    """Numba's context of an error: a text that is added to an error. Without an error it does nothing."""

    def __init__(self, *text: str, **details: Any) -> None:
        self._text, self._details = text, details

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is not None:
            with errors.new_error_context(*self._text, **self._details):
                raise error


def _warnings_as_they_are(fixer: Any, filename: Any = None, lineno: Any = None) -> Any:
    """Do not collect warnings, which the worker does not show."""
    return nullcontext()


def _run_ssa_block_pass(states: Any, block: Any, handler: Any) -> Iterator[Any]:
    """Apply ``handler`` to all statements. Numba also writes two lines to a log for each."""
    for statement in block.body:
        is_assignment = isinstance(statement, ir.Assign)
        yield (handler.on_assign if is_assignment else handler.on_other)(states, statement)


def _variables_of_statement(statement: Any) -> list[Any]:
    return _variables(statement.__dict__.values())


def _variables_of_expression(expression: Any) -> list[Any]:
    return _variables(expression._kws.values())


def _variables(values: Any) -> list[Any]:
    found: list[Any] = []
    for value in values:
        kind = type(value)
        if kind is ir.Var:
            found.append(value)
        elif kind is ir.Loc or kind is str:
            continue
        elif kind is list or kind is tuple:
            found += _variables(value)
        elif kind is dict:
            found += _variables(value.values())
        elif isinstance(value, ir.Inst):
            found += value.list_vars()
    return found
