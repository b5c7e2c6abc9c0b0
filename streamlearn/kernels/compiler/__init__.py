"""Compiles kernels. An entry point has one explicit signature and is compiled once or loaded from the cache.

``@kernel(signature)`` declares an entry point: a function that Python calls. ``@called_kernel(signature)``
declares one that other kernels call, for code that they rarely run. ``@device`` declares a function that only
kernels call; it is inlined into them. ``@allocating_device`` is the same for a function that creates arrays.
`cache` decides where compiled code is stored. `parallel` compiles on all processors.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from itertools import takewhile
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any

import numba as nb
from numba.core.registry import CPUDispatcher

from .. import lazy
from . import cache, pipelines
from .pipelines import ENTRY_POINT, PIECE, CalledKernel, EntryPointCompiler, KernelCache, Piece
from .progress import Progress
from .stored import ReadOnlyCache

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}
_registry: list[EntryPoint] = []
_ready: set[str] = set()  # names of modules
_lock = RLock()  # held while an entry point is compiled or loaded


class EntryPoint:
    """A declared entry point: its Numba dispatcher and its signature."""

    def __init__(
        self,
        function: Callable[..., Any],
        signature: str,
        kind: type[CPUDispatcher] = CPUDispatcher,
        allocates: bool = False,
    ) -> None:
        self.signature = signature
        self.compiled = False
        self._kind = kind
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"  # such as ``som.learn``
        self._source = Path(inspect.getfile(function)).absolute()
        self._function = function.__name__
        self._options = ENTRY_POINT | _OPTIONS | {"_nrt": allocates}
        self.dispatcher = self._declare(function)
        if self.called:
            self.dispatcher.ready = self.compile

    def compile(self) -> None:
        """Compile the entry point, or load it from the cache. Other argument types raise afterwards.

        Threads that create models at the same time wait for each other.
        """
        with _lock:
            if self.compiled:
                return
            for each in takewhile(lambda each: each is not self, _registry):
                if each.called:  # its address must be known
                    each.compile()
            self.dispatcher.compile(self.signature)
            self.dispatcher.disable_compile()
            if self.called:
                self.dispatcher.declare()
            self.compiled = True

    @property
    def called(self) -> bool:
        """Whether other kernels call it."""
        return self._kind is CalledKernel

    def cached(self) -> bool:
        """Whether a cache that this process can read holds the entry point."""
        return cache.holds(self._source, self._function)

    def _declare(self, function: Callable[..., Any]) -> Any:
        """Make a dispatcher and choose its cache.

        The shared directory is used even if it can only be read. Otherwise the cache is private.
        """
        shared = cache.module_path(self._source)
        directory = cache.writable(shared)
        read_only = directory != shared and cache.stored(shared, self._source, self._function)
        before = nb.config.CACHE_DIR
        nb.config.CACHE_DIR = str(
            shared if read_only else directory
        )  # read by the constructors of Numba's caches
        try:
            dispatcher = self._kind(
                function,
                targetoptions={"nopython": True} | self._options,
                pipeline_class=EntryPointCompiler,
            )
            if directory is not None and not read_only:
                dispatcher._cache = KernelCache(function)
            if read_only:
                dispatcher._cache = ReadOnlyCache(function)
        finally:
            nb.config.CACHE_DIR = before  # other libraries keep their own cache
        return dispatcher


def kernel(signature: str, *, allocates: bool = False) -> Callable[[Callable[..., Any]], Any]:
    """Declare an entry point. `ready` or `compile_all` compiles it or loads it from the cache.

    One that creates arrays needs ``allocates``. Then Numba counts references to all arrays of its records,
    atomically, wherever it makes such a record: make none in the loop over the samples.
    """

    def declare(function: Callable[..., Any]) -> Any:
        return _register(EntryPoint(function, signature, allocates=allocates))

    return declare


def called_kernel(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Declare an entry point that other kernels call. It is compiled once, not once in each of them.

    It is for long functions that kernels rarely call, with arrays and numbers as arguments. Their constants
    are not known to it. It must be declared before the kernels that call it.
    """

    def declare(function: Callable[..., Any]) -> Any:
        return _register(EntryPoint(function, signature, CalledKernel))

    return declare


def _register(entry_point: EntryPoint) -> Any:
    _registry.append(entry_point)
    return entry_point.dispatcher


def device(function: Callable[..., Any]) -> Any:
    """Declare a function that kernels call. It is generic over scalars and lanes, and always inlined.

    It must not create arrays or assign whole rows. Then Numba counts no references to its arguments. The
    counters are atomic and took up to a third of the time of a small model.
    """
    return Piece(function, {"_nrt": False} | PIECE | _OPTIONS)


def allocating_device(function: Callable[..., Any]) -> Any:
    """Declare a ``device`` that creates arrays or assigns whole rows."""
    return Piece(function, PIECE | _OPTIONS)


def ready(*modules: ModuleType) -> None:
    """Compile or load the entry points of ``modules`` that this process has not compiled yet."""
    names = {module.__name__ for module in modules}
    if names <= _ready:
        return
    for module in modules:
        lazy.execute(module)
    for entry_point in declared_in(names):
        entry_point.compile()
    _ready.update(names)


def compile_all(progress: Progress | None = None) -> int:
    """Compile or load every entry point and return their number. Calls ``progress`` before each."""
    for done, entry_point in enumerate(_registry):
        if progress is not None:
            progress(entry_point.name, done, len(_registry))
        entry_point.compile()
    return len(_registry)


def compile_one(name: str) -> None:
    """Compile or load the entry point ``name``."""
    next(entry_point for entry_point in _registry if entry_point.name == name).compile()


def finish_by(finish: Callable[[Callable[[], None]], None]) -> None:
    """Only translate kernels from now on. ``finish`` is called with what optimises and stores each."""
    pipelines.finish = finish


def declared() -> list[EntryPoint]:
    """Return all entry points of the kernel modules that are executed."""
    return list(_registry)


def declared_in(modules: Collection[str]) -> list[EntryPoint]:
    """Return the entry points of these modules, as far as they are executed."""
    return [each for each in _registry if each.dispatcher.__module__ in modules]


def cache_path() -> Path:
    """Return the cache directory of this installation on this CPU. It may not exist yet."""
    return cache.installation_path()
