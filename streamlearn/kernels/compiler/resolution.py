"""Types of calls of Numba's own functions, each found once for the types of its arguments.

Numba tries all templates of a function at each call. ``+`` has some hundred, for numbers, strings and arrays.
"""

from __future__ import annotations

import operator
from copy import copy
from functools import cache
from typing import Any

from numba.core import types
from numba.core.typing import Context, signature

from .accesses import access_type
from .allocation import new_array_type

_found: dict[Any, Any] = {}
_attributes: dict[Any, Any] = {}


class KernelTyping(Context):
    """Numba's typing context, which remembers the types of calls."""

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call."""
        own = isinstance(func, types.Type) and not isinstance(func, (types.Function, types.Dispatcher))
        if kws or own:
            return super().resolve_function_type(func, args, kws)
        key = key_of(func, *args)
        if key not in _found:
            _found[key] = (
                new_array_type(func, args)
                or access_type(func, args)
                or self._extreme(func, args)
                or super().resolve_function_type(func, args, kws)
            )
        return _found[key]

    def resolve_setitem(self, target: Any, index: Any, value: Any) -> Any:
        """Return the signature of a write access."""
        return self.resolve_function_type(operator.setitem, (target, index, value), {})

    def resolve_getattr(self, typ: Any, attr: str) -> Any:
        """Return the type of an attribute. That of a module's function changes with each overload."""
        if isinstance(typ, types.Module):
            return super().resolve_getattr(typ, attr)
        key = key_of(typ, attr)
        if key not in _attributes:
            _attributes[key] = super().resolve_getattr(typ, attr)
        return _attributes[key]

    def _extreme(self, function: Any, arguments: Any) -> Any:
        """Return the signature of ``min`` or ``max`` of numbers. Numba compiles a function for it."""
        numbers = [types.unliteral(each) for each in arguments]
        if getattr(function, "typing_key", None) not in (min, max) or len(numbers) < 2:
            return None
        if not all(isinstance(each, types.Number) for each in numbers):
            return None
        return signature(self.unify_types(*numbers), *numbers)


def key_of(*parts: Any) -> tuple[Any, ...]:
    """Return a key for types and other values. A type's own hash is that of all its parts."""
    return tuple([each._code if isinstance(each, types.Type) else (each,) for each in parts])


@cache  # Numba keeps results by context
def kernel_typing(typing: Context) -> Context:
    """Return ``typing`` as a `KernelTyping`. Both know the same functions."""
    context = copy(typing)
    context.__class__ = KernelTyping
    return context
