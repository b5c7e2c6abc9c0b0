"""The parameters of a kernel, and its arguments in order and by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterable, Mapping
from functools import cache
from typing import Any


def in_order(kernel: Callable[..., Any], arguments: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return ``arguments`` in the order of the parameters of ``kernel``, which other names may surround.

    A call with positions costs 1 µs less than one with names.
    """
    return tuple(arguments[name] for name in names_in_order(kernel, arguments))


def names_in_order(kernel: Callable[..., Any], names: Container[str]) -> list[str]:
    """Return those parameters of ``kernel`` that are in ``names``, in their order."""
    return [name for name in parameters(kernel) if name in names]


def by_name(kernel: Callable[..., Any], arguments: Iterable[Any]) -> dict[str, Any]:
    """Return all arguments of ``kernel``, which are in order, by name."""
    return dict(zip(parameters(kernel), arguments, strict=True))


@cache
def parameters(kernel: Callable[..., Any]) -> tuple[str, ...]:
    """Return the names of the parameters of ``kernel``, the function that is compiled."""
    return tuple(inspect.signature(kernel).parameters)
