"""Numba kernels: one file per learner, on lanes of sixteen float32, with the same bits on every CPU.

The folders are the same here and in ``streamlearn/models``. The docstring of each says what belongs in it.

Importing this package imports every kernel module, so that every entry point is declared. A daemon
compiles all of them before it serves, and none while it serves.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import walk_packages

from . import compiler
from .compiler import Progress, cached, parallel


def compile_all(progress: Progress | None = None) -> int:
    """Compile every kernel, or load it from this host's cache. Return the number of kernels.

    ``progress(name, done, total)`` is called before each. Kernels that are not in the cache are compiled
    on all processors: about a minute for all of them. Loading them takes a second.
    """
    missing = compiler.not_cached()
    if not missing:
        return compiler.compile_all(progress)
    parallel.compile_all(missing, progress)
    return compiler.compile_all()


for _module in walk_packages(__path__, f"{__name__}."):
    if not _module.name.startswith(compiler.__name__):
        import_module(_module.name)

__all__ = ["Progress", "cached", "compile_all"]
