"""How kernels index arrays: every index counts from the begin of its axis.

Python counts a negative index from the end of the axis, and Numba tests for it in each access. These tests
would be a tenth of a kernel's code, and a branch or a selection in its loops. Kernels have no negative index.
"""

from __future__ import annotations

import operator
from typing import Any

from numba.core import cgutils, types
from numba.core.base import _wrap_impl
from numba.core.cpu import CPUContext
from numba.cpython.builtins import do_minmax
from numba.np.arrayobj import load_item, store_item

from .accesses import is_value
from .allocation import ALLOCATIONS
from .arrays import item_address
from .lowering import KernelCallConv
from .ranges import range_implementation
from .resolution import kernel_typing, key_of

_found: dict[Any, Any] = {}  # what lowers functions


class KernelContext(CPUContext):
    """Numba's context for this processor, which reads and writes single values of C arrays without a test."""

    @property
    def call_conv(self) -> KernelCallConv:
        """How functions call each other."""
        return KernelCallConv(self)

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        """Return what lowers ``fn`` for the types ``sig``. It is found once."""
        key = key_of(fn, sig.return_type, *sig.args)
        if key not in _found:
            _found[key] = self._find(fn, sig, _firstcall)
        found = object.__new__(_wrap_impl)
        found.__dict__.update(_found[key].__dict__, _context=self)
        return found

    def _find(self, fn: Any, sig: Any, first: bool) -> Any:
        key = getattr(fn, "typing_key", None)
        if key in _ACCESSES and is_value(*sig.args[:2]):
            return _wrap_impl(_ACCESSES[key], self, sig)
        if key in _EXTREMES and len(sig.args) > 1:
            return _wrap_impl(_EXTREMES[key], self, sig)
        if key in ALLOCATIONS:
            return _wrap_impl(ALLOCATIONS[key], self, sig)
        if implementation := range_implementation(fn, sig.args):
            return _wrap_impl(implementation, self, sig)
        return super().get_function(fn, sig, first)

    def pair_first(self, builder: Any, val: Any, ty: Any) -> Any:
        """Return the value of a step of a loop. Numba's method copies the pair into memory."""
        return builder.extract_value(val, 0)

    def pair_second(self, builder: Any, val: Any, ty: Any) -> Any:
        """Return whether a step of a loop has a value."""
        return builder.extract_value(val, 1)

    def refresh(self) -> None:
        """Add functions that are declared since the last call. Numba also imports modules."""
        for each in list(self._registries):
            self.install_registry(each)


def kernel_context(target: CPUContext) -> CPUContext:
    """Return ``target`` as a `KernelContext`. Both know the same functions."""
    context = target.subtarget()
    context.__class__ = KernelContext
    context.typing_context = kernel_typing(target.typing_context)
    return context


def _read(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return load_item(context, builder, signature.args[0], _address(context, builder, signature, arguments))


def _write(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
    array_type, _, value_type = signature.args
    value = context.cast(builder, arguments[2], value_type, array_type.dtype)
    store_item(context, builder, array_type, value, _address(context, builder, signature, arguments))


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array_type, index_type = signature.args[:2]
    kinds, values = (index_type,), (arguments[1],)
    if isinstance(index_type, types.BaseTuple):
        kinds, values = index_type.types, cgutils.unpack_tuple(builder, arguments[1])
    indices = [context.cast(builder, *each, types.intp) for each in zip(values, kinds, strict=True)]
    return item_address(context, builder, array_type, arguments[0], indices)


def _extreme(comparison: Any) -> Any:
    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return do_minmax(context, builder, signature.args, arguments, comparison)

    return lower


_EXTREMES: dict[Any, Any] = {min: _extreme(operator.lt), max: _extreme(operator.gt)}
_ACCESSES: dict[Any, Any] = {operator.getitem: _read, operator.setitem: _write}
