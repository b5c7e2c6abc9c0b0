"""Constant objects that many models need: each exists once, as long as a model uses it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar
from weakref import WeakValueDictionary

_T = TypeVar("_T")
_shared: WeakValueDictionary[Hashable, Any] = WeakValueDictionary()


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
