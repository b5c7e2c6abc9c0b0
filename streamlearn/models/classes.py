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
    from .base import Model

_ROWS = {row.kind: row for row in registry.MODELS}
_classes: dict[str, type[Model]] = {}  # of the kinds whose modules are imported


def kinds() -> dict[str, type[Model]]:
    """Return the class of every kind of model, by kind. Imports the modules of all kinds."""
    return {kind: class_of(kind) for kind in registry.KINDS}


def kernels_loaded(kind: str) -> bool:
    """Whether the kernels of a kind are loaded. True if there is no such kind.

    While another thread imports the module of the kind, it is in ``sys.modules`` with a part of its names.
    """
    if kind not in _ROWS:
        return True
    return kind in _classes and kernels.loaded(kernel_modules(_kind_module(kind)))


def kernel_compilation(
    kind: str, progress: Progress | None = None, others: Iterable[ModuleType] = ()
) -> Compilation:
    """Return the compilation of the kernels of a kind that the cache does not hold. Raises BadSpec.

    ``progress(name, done, total)`` is called before each kernel. ``others``: further kernel modules.
    """
    return kernels.compilation({*kernel_modules(class_of(kind).__module__), *others}, progress)


def load_kernels(kind: str) -> None:
    """Load the kernels of a kind. Those that the cache does not hold are compiled one by one."""
    compiler.ready(*kernel_modules(class_of(kind).__module__))


def class_of(kind: str) -> type[Model]:
    """Return the class of a kind. Imports its module. Raises BadSpec."""
    if kind not in _ROWS:
        message = f"there is no kind {kind!r}; there are {', '.join(sorted(_ROWS))}"
        raise BadSpec(message, errors=[{"field": "kind", "message": message}])
    if kind not in _classes:
        _classes[kind] = getattr(import_module(_kind_module(kind)), _ROWS[kind].name)
    return _classes[kind]


def _kind_module(kind: str) -> str:
    return f"{registry.__package__}.{_ROWS[kind].module}"
