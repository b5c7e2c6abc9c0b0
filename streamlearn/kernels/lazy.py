"""Kernel modules that are executed when a name in them is first used.

A model's module imports the modules of its kernels, and these import Numba and LLVM. A program that validates
specs or describes models, and a daemon without models, need no compiler. So `install` makes the import of a
kernel module cheap: the module is executed at the first access to a name in it.

`importlib.util.LazyLoader` does the same, but in Python before 3.11.9 and 3.12.3 two threads can execute a
module at the same time.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from threading import RLock
from types import ModuleType
from typing import Any

_lock = RLock()  # held while modules are executed. They import only each other, NumPy and Numba
_executing: set[str] = set()


class _Module(ModuleType):
    """A module that is not executed yet."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("__"):  # names such as `__isabstractmethod__`, which Python looks for
            execute(self)
            if name in vars(self):
                return vars(self)[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        """Leave the execution to `execute`."""
        module.__class__ = _Module

    def execute(self, module: ModuleType) -> None:
        super().exec_module(module)


class _Finder(MetaPathFinder):
    def __init__(self, package: str) -> None:
        self._prefix = f"{package}."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(self._prefix):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


def install(package: str) -> None:
    """Make the modules below ``package`` lazy: those that are imported from now on."""
    sys.meta_path.insert(0, _Finder(package))


def executed(module: ModuleType) -> bool:
    """Whether a module is executed."""
    return not isinstance(module, _Module)


def execute(module: ModuleType) -> None:
    """Execute a module that is not executed yet."""
    with _lock:  # another thread may be executing it
        if executed(module) or module.__name__ in _executing:
            return
        loader, names = module.__spec__ and module.__spec__.loader, set(vars(module))
        assert isinstance(loader, _Loader)
        _executing.add(module.__name__)
        try:
            loader.execute(module)
            module.__class__ = ModuleType
        except BaseException:
            for name in vars(module).keys() - names:  # the next access executes it again
                delattr(module, name)
            raise
        finally:
            _executing.discard(module.__name__)
