"""The arguments of a kernel that stay the same from call to call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any


def in_order(kernel: Callable[..., None], arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return ``arguments`` in the order of the parameters of ``kernel``, which other names may surround.

    A call with positions costs 1 µs less than one with names.
    """
    return tuple(arguments[name] for name in _parameters(kernel) if name in arguments)


@cache
def _parameters(kernel: Callable[..., None]) -> tuple[str, ...]:
    return tuple(inspect.signature(kernel).parameters)
