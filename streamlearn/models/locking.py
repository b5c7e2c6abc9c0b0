"""The lock of a model in a program with several threads: each call sees and leaves a whole state.

Kernels run without the interpreter's lock, so two threads could change one state at once. The daemon calls
``learn_validated`` and ``predict_validated``, which do not lock: one thread owns its models (R6).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar


class _Lockable(Protocol):
    _lock: AbstractContextManager[Any]


_Model = TypeVar("_Model", bound=_Lockable)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def locked(
    method: Callable[Concatenate[_Model, _Arguments], _Result],
) -> Callable[Concatenate[_Model, _Arguments], _Result]:
    """Decorate a method that reads or changes the state: it runs while no other thread does."""

    @functools.wraps(method)
    def run(self: _Model, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with self._lock:
            return method(self, *args, **kwargs)

    return run
