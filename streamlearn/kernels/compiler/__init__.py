"""Compilation and its on-disk cache: every entry point has one explicit signature, compiled once.

Numba's cache looks only at the file a kernel stands in, not at the files that file imports, so an edit in
``lanes.py`` would leave stale machine code behind. The cache directory is therefore named by a hash of all
of ``kernels/`` and of the compiler's version; and of what Numba tells apart within its cache (where the
kernels lie, Python's version, the CPU), so that all it holds is for this very installation.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import numba as nb
from llvmlite import binding as llvm

Progress = Callable[[str, int, int], None]  # kernel's name, how many are ready, of how many

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False, "boundscheck": False}
_registry: list[_Kernel] = []


class _Kernel:
    def __init__(self, dispatcher: Any, signature: str) -> None:
        self.dispatcher = dispatcher
        self.signature = signature
        self.compiled = False

    @property
    def name(self) -> str:
        """As a person sees it: ``som.learn``."""
        return f"{self.dispatcher.__module__.rpartition('.')[2]}.{self.dispatcher.__name__}"

    def compile(self) -> None:
        if not self.compiled:
            self.dispatcher.compile(self.signature)
            self.dispatcher.disable_compile()  # another argument type is a bug to see, not a kernel to add
            self.compiled = True


def kernel(signature: str) -> Callable[[Callable[..., Any]], Any]:
    """Declare an entry point. ``ready`` or ``compile_all`` compiles it (or loads it from the cache)."""

    def declare(function: Callable[..., Any]) -> Any:
        with _cache_directory():
            dispatcher = nb.njit(cache=True, **_OPTIONS)(function)
        _registry.append(_Kernel(dispatcher, signature))
        return dispatcher

    return declare


def device(function: Callable[..., Any]) -> Any:
    """Declare a piece of a kernel: generic over scalars and lanes, always inlined into the entry points that
    use it."""
    return nb.njit(forceinline=True, **_OPTIONS)(function)


def ready(*modules: ModuleType) -> None:
    """Make the entry points of ``modules`` callable. Cheap when they already are."""
    names = {module.__name__ for module in modules}
    for each in _registry:
        if not each.compiled and each.dispatcher.__module__ in names:
            each.compile()


def compile_all(progress: Progress | None = None) -> int:
    """Compile every entry point there is, telling ``progress`` before each; returns how many there are."""
    for done, each in enumerate(_registry):
        if progress is not None:
            progress(each.name, done, len(_registry))
        each.compile()
    return len(_registry)


def names() -> list[str]:
    """Of every entry point there is."""
    return [each.name for each in _registry]


def compile_one(name: str) -> None:
    """Compile the entry point of that name."""
    next(each for each in _registry if each.name == name).compile()


def cached() -> bool:
    """Whether this installation has compiled all of its kernels before (a warm start)."""
    return len(list(_writable(cache_path()).rglob("*.nbc"))) >= len(_registry)


@cache
def cache_path() -> Path:
    """The cache directory of exactly this source, compiler, place and CPU. It need not exist yet."""
    kernels = Path(__file__).parents[1]
    processor = f"{llvm.get_host_cpu_name()} {llvm.get_host_cpu_features().flatten()}"
    chosen = f"{nb.config.CPU_NAME} {nb.config.CPU_FEATURES}"  # instead of the one that is there
    versions = f"{nb.__version__} {llvmlite.__version__} {sys.version}"
    digest = hashlib.sha256(f"{versions} {kernels.absolute()} {processor} {chosen}".encode())
    for source in sorted(kernels.rglob("*.py")):
        digest.update(str(source.relative_to(kernels)).encode() + source.read_bytes())
    given = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "streamlearn" / digest.hexdigest()[:16]


@cache
def _writable(path: Path) -> Path:
    """``path``, or a directory of this user's under the temporary one where ``path`` cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:
        own = Path(tempfile.gettempdir()) / f"streamlearn-{os.getuid()}"
        own.mkdir(mode=0o700, exist_ok=True)
        made = own.lstat()  # what lies in the cache is run, so nobody else may have put it there
        if made.st_uid != os.getuid() or made.st_mode & 0o022:
            own = Path(tempfile.mkdtemp(prefix="streamlearn-"))
        return own / path.name


@contextmanager
def _cache_directory() -> Iterator[None]:
    """Point Numba at our cache while one kernel is declared, and leave everybody else's kernels alone."""
    before = nb.config.CACHE_DIR
    nb.config.CACHE_DIR = str(_writable(cache_path()))
    try:
        yield
    finally:
        nb.config.CACHE_DIR = before
