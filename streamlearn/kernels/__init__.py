"""Numba kernels: one file per learner, on lanes of sixteen float32, with the same bits on every CPU.

The folders are the same here and in ``streamlearn/models``. The docstring of each says what belongs in it.

Importing this package imports no kernel. A daemon loads the kernels of a kind of model before it creates the
first model of that kind, and compiles those that the cache does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

from . import compiler
from .compiler import EntryPoint, Progress
from .compiler.cache import KERNELS, holds
from .compiler.parallel import Compilation

_ENTRY_POINT = re.compile(r"^@kernel\(.*?^def (\w+)", re.DOTALL | re.MULTILINE)


@cache
def declare_all() -> None:
    """Import every kernel module, so that every entry point is declared."""
    for module in walk_packages(__path__, f"{__name__}."):
        if not module.name.startswith(compiler.__name__):
            import_module(module.name)


def not_cached() -> list[str]:
    """Return the names of all kernels that the cache does not hold. Imports no kernel."""
    return [
        f"{file.stem}.{function}"
        for file in KERNELS.rglob("*.py")
        for function in entry_points(file)
        if not holds(file, function)
    ]


def entry_points(file: Path) -> list[str]:
    """Return the names of the entry points in a kernel file."""
    return _ENTRY_POINT.findall(file.read_text())


def compile_all(progress: Progress | None = None) -> int:
    """Compile every kernel, or load it from this host's cache. Return the number of kernels.

    ``progress(name, done, total)`` is called before each. Kernels that are not in the cache are compiled
    on all processors. Loading all takes less than a second.
    """
    missing = not_cached()
    if missing:
        Compilation(missing, progress).run()
        progress = None
    declare_all()
    return compiler.compile_all(progress)


def compilation(modules: Iterable[ModuleType], progress: Progress | None = None) -> Compilation:
    """Return the compilation of the kernels of ``modules`` that are neither loaded nor cached."""
    missing = [each.name for each in _declared_in(modules) if not (each.compiled or each.cached())]
    return Compilation(missing, progress)


def loaded(modules: Iterable[ModuleType]) -> bool:
    """Whether every kernel of ``modules`` is compiled or loaded in this process."""
    return all(each.compiled for each in _declared_in(modules))


def _declared_in(modules: Iterable[ModuleType]) -> list[EntryPoint]:
    names = {module.__name__ for module in modules}
    return [each for each in compiler.declared() if each.dispatcher.__module__ in names]


__all__ = [
    "Compilation",
    "Progress",
    "compilation",
    "compile_all",
    "declare_all",
    "entry_points",
    "loaded",
    "not_cached",
]
