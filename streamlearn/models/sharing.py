"""Constant objects that many models need: each exists once, as long as a model uses it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, TypeVar
from weakref import WeakValueDictionary

_T = TypeVar("_T")
MOST_SHARED_KEYS = 30  # of dicts that share their keys, in Python
_shared: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()


class _Holder:
    """Objects of a subclass have dicts that share their keys."""


@cache
def _holder(kind: str) -> type[_Holder]:
    return type(kind, (_Holder,), {})


def with_shared_keys(kind: str, content: Mapping[str, _T]) -> dict[str, _T]:
    """Return a dict. Those of one ``kind`` share the table of their keys: a third of the memory.

    They must have equal keys in equal order, ``MOST_SHARED_KEYS`` at most.
    """
    holder = _holder(kind)()
    for name, value in content.items():
        setattr(holder, name, value)
    return vars(holder)


def shared(key: Hashable, make: Callable[[], _T]) -> _T:
    """Return what ``make`` returns; the same object for equal keys, as long as anything refers to it.

    Parameters
    ----------
    key
        Everything on which the object depends, and what it is for.
    make
        Creates the object. Nobody may change it.
    """
    found: _T | None = _shared.get(key)
    if found is None:
        found = _shared[key] = make()
    return found
