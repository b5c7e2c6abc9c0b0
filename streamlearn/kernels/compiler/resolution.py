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

_found: dict[Any, Any] = {}


class KernelTyping(Context):
    """Numba's typing context, which remembers the types of calls."""

    def resolve_function_type(self, func: Any, args: Any, kws: Any) -> Any:
        """Return the signature of a call."""
        if kws or (isinstance(func, types.Type) and not isinstance(func, types.Function)):
            return super().resolve_function_type(func, args, kws)
        key = func, tuple(args)
        if key not in _found:
            _found[key] = self._extreme(func, args) or super().resolve_function_type(func, args, kws)
        return _found[key]

    def resolve_setitem(self, target: Any, index: Any, value: Any) -> Any:
        """Return the signature of a write access."""
        return self.resolve_function_type(operator.setitem, (target, index, value), {})

    def _extreme(self, function: Any, arguments: Any) -> Any:
        """Return the signature of ``min`` or ``max`` of numbers. Numba compiles a function for it."""
        numbers = [types.unliteral(each) for each in arguments]
        if getattr(function, "typing_key", None) not in (min, max) or len(numbers) < 2:
            return None
        if not all(isinstance(each, types.Number) for each in numbers):
            return None
        return signature(self.unify_types(*numbers), *numbers)


@cache  # Numba keeps results by context
def kernel_typing(typing: Context) -> Context:
    """Return ``typing`` as a `KernelTyping`. Both know the same functions."""
    context = copy(typing)
    context.__class__ = KernelTyping
    return context
