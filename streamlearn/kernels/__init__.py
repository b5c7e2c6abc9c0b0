"""Numba kernels: one file per learner, on lanes of sixteen float32, with the same bits on every CPU.

The folders are the same here and in ``streamlearn/models``. The docstring of each says what belongs in it.

A kernel module is executed at the first use of a name in it (``lazy.py``), so importing it loads no compiler.
A daemon loads the kernels of a kind of model before it creates the first model of that kind, and compiles
those that the cache does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

from . import lazy

lazy.install(__name__)  # before the imports of kernel modules

from . import compiler  # noqa: E402
from .compiler.parallel import Compilation  # noqa: E402
from .compiler.progress import Progress  # noqa: E402

_loaded: set[str] = set()  # names of modules whose kernels are loaded: creating a model asks for them
FOLDERS = ("maps", "classic", "simd", "stream", "forecast", "recurrent")  # neighbours share the most code
_ENTRY_POINT = re.compile(r"^@(?:called_)?kernel\(.*?^def (\w+)", re.DOTALL | re.MULTILINE)


@cache
def declare_all() -> None:
    """Execute every kernel module, so that every entry point is declared."""
    for module in walk_packages(__path__, f"{__name__}."):
        if not module.name.startswith(compiler.__name__):
            lazy.execute(import_module(module.name))


def not_cached() -> list[str]:
    """Return the names of all kernels that the cache does not hold. Executes no kernel module."""
    from .compiler.cache import KERNELS  # imports importlib.metadata: 30 ms, and a daemon is ready without it

    files = [file for folder in FOLDERS for file in sorted((KERNELS / folder).rglob("*.py"))]
    return [name for file in files for name in _not_cached(file)]


@cache
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
    missing = [name for module in modules if not loaded([module]) for name in _not_cached(_file(module))]
    return Compilation(missing, progress)


def loaded(modules: Iterable[ModuleType]) -> bool:
    """Whether every kernel of ``modules`` is compiled or loaded in this process."""
    return all(module.__name__ in _loaded or _is_loaded(module) for module in modules)


def _is_loaded(module: ModuleType) -> bool:
    if entry_points(_file(module)):
        if not lazy.executed(module):
            return False
        if not all(each.compiled for each in compiler.declared_in({module.__name__})):
            return False
    _loaded.add(module.__name__)
    return True


def _not_cached(file: Path) -> list[str]:
    from .compiler.cache import holds

    return [f"{file.stem}.{function}" for function in entry_points(file) if not holds(file, function)]


def _file(module: ModuleType) -> Path:
    return Path(str(module.__file__))


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
