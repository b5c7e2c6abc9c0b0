"""The class of every kind of model, and its kernels.

A class is imported when its kind is first used. A daemon without models imports this module, and no class.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from .. import kernels, registry
from ..errors import BadSpec
from ..kernels import Compilation, Progress, compiler
from .kernels_of import kernel_modules

if TYPE_CHECKING:
    from .base import Model, Spec

_ROWS = {row.kind: row for row in registry.MODELS}
_classes: dict[str, type[Model]] = {}  # of the kinds whose modules are imported


def kinds() -> dict[str, type[Model]]:
    """Return the class of every kind of model, by kind. Imports the modules of all kinds."""
    return {kind: class_of(kind) for kind in registry.KINDS}


def kernels_loaded(kind: str, spec: Spec | None = None) -> bool:
    """Whether the kernels of a kind are loaded, or those for a spec. True if there is no such kind.

    While another thread imports the module of the kind, it is in ``sys.modules`` with a part of its names.
    """
    if kind not in _ROWS:
        return True
    return kind in _classes and kernels.loaded(_kernels(kind, spec))


def kernel_compilation(
    kind: str,
    spec: Spec | None = None,
    *,
    progress: Progress | None = None,
    others: Iterable[ModuleType] = (),
) -> Compilation:
    """Return the compilation of the kernels of a kind that the cache does not hold. Raises BadSpec.

    ``spec``: only of the kernels that a model with this spec may call. ``progress(name, done, total)`` is
    called before each kernel. ``others``: further kernel modules.
    """
    return kernels.compilation({*_kernels(kind, spec), *others}, progress)


def load_kernels(kind: str, spec: Spec | None = None) -> None:
    """Load the kernels of a kind, or those for a spec.

    Those that the cache does not hold are compiled one by one.
    """
    compiler.ready(*_kernels(kind, spec))


def class_of(kind: str) -> type[Model]:
    """Return the class of a kind. Imports its module. Raises BadSpec."""
    if kind not in _ROWS:
        message = f"there is no kind {kind!r}; there are {', '.join(sorted(_ROWS))}"
        raise BadSpec(message, errors=[{"field": "kind", "message": message}])
    if kind not in _classes:
        _classes[kind] = getattr(import_module(_kind_module(kind)), _ROWS[kind].name)
    return _classes[kind]


def _kernels(kind: str, spec: Spec | None) -> frozenset[ModuleType]:
    """Return the kernel modules that models of a kind may call, or those with a spec."""
    model = class_of(kind)
    modules = kernel_modules(model.__module__)
    return modules if spec is None else modules - model.unused_kernels(spec)


def _kind_module(kind: str) -> str:
    return f"{registry.__package__}.{_ROWS[kind].module}"
