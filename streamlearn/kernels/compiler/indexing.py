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
from numba.np.arrayobj import load_item, make_array, store_item


class KernelContext(CPUContext):
    """Numba's context for this processor, which reads and writes single values of C arrays without a test."""

    def get_function(self, fn: Any, sig: Any, _firstcall: bool = True) -> Any:
        """Return what lowers ``fn`` for the types ``sig``."""
        access = _ACCESSES.get(getattr(fn, "typing_key", None))
        if access is not None and _is_value(*sig.args[:2]):
            return _wrap_impl(access, self, sig)
        return super().get_function(fn, sig, _firstcall)


def kernel_context(target: CPUContext) -> CPUContext:
    """Return ``target`` as a `KernelContext`. Both know the same functions."""
    context = target.subtarget()
    context.__class__ = KernelContext
    return context


def _is_value(array: Any, index: Any) -> bool:
    """Whether ``array[index]`` is a single value of a C array."""
    indices = index.types if isinstance(index, types.BaseTuple) else (index,)
    return (
        isinstance(array, types.Array)
        and array.layout == "C"
        and len(indices) == array.ndim
        and all(isinstance(each, types.Integer) for each in indices)
    )


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
    array = make_array(array_type)(context, builder, arguments[0])
    return cgutils.get_item_pointer(context, builder, array_type, array, indices)


_ACCESSES: dict[Any, Any] = {operator.getitem: _read, operator.setitem: _write}
