"""The kernels of a kind of model: those of its module and of every module of models that it imports."""

from __future__ import annotations

import sys
from functools import cache
from types import ModuleType

from .. import kernels

_MODELS, _KERNELS = __package__, kernels.__name__


@cache
def kernel_modules(module: str) -> frozenset[ModuleType]:
    """Return the kernel modules that a model of the imported module ``module`` may call."""
    found: set[ModuleType] = set()
    seen: set[str] = set()
    pending = [module]
    while pending:
        name = pending.pop()
        if name in seen:
            continue
        seen.add(name)
        if name.startswith(f"{_KERNELS}."):
            found.add(sys.modules[name])
        elif name.startswith(f"{_MODELS}."):
            values = vars(sys.modules[name]).values()
            pending += [each.__name__ if isinstance(each, ModuleType) else _origin(each) for each in values]
    return frozenset(found)


def _origin(value: object) -> str:
    """Return the name of the module that defines a class or function; "" for other values."""
    name = getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""
