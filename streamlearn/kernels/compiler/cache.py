"""Where compiled kernels are stored: one directory for each kernel module, named by a digest of its source.

Numba's own cache detects an edit only in the file that defines a function. An edit in a file imported by that
file would leave stale machine code. So the name of a module's directory contains a digest of the module's
*import closure*: the module and every kernel file that it imports, directly or indirectly. An edit
recompiles the modules that import the edited file, and no others.

::

    <cache>/streamlearn/<installation>/<module>-<closure>/

``<cache>`` is ``NUMBA_CACHE_DIR``, else ``XDG_CACHE_HOME``, else ``~/.cache``. ``<installation>`` is a digest
of the versions of Numba and Python, the directory of the source and the processor that Numba compiles for.

This module imports no other module of streamlearn, and no compiler: a start without a model looks here for
kernels to compile.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path

KERNELS = Path(__file__).absolute().parents[1]

_IMPORT = re.compile(r"^[ \t]*from[ \t]+(\.+)([\w.]*)[ \t]+import[ \t]+(\([^)]*\)|.*)", re.MULTILINE)


@cache
def installation_path() -> Path:
    """The cache directory of this installation and processor. It may not exist yet."""
    versions = f"{version('numba')} {version('llvmlite')} {sys.version}"
    digest = hashlib.sha256(f"{versions} {KERNELS} {_processor()}".encode())
    setting = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(setting) if setting else _user_cache()
    return base / "streamlearn" / digest.hexdigest()[:16]


@cache
def module_path(source: Path) -> Path:
    """The cache directory of the kernel module in the file ``source``. It may not exist yet."""
    digest = hashlib.sha256()
    for file in sorted(import_closure(source)):
        digest.update(str(file.relative_to(KERNELS)).encode() + b"\0" + _digest(file))
    return installation_path() / f"{source.stem}-{digest.hexdigest()[:16]}"


def import_closure(source: Path) -> frozenset[Path]:
    """The kernel file ``source`` and every kernel file that it imports, directly or not."""
    closure: set[Path] = set()
    pending = {source}
    while pending:
        file = pending.pop()
        closure.add(file)
        pending |= _imports(file) - closure
    return frozenset(closure)


@cache
def writable(path: Path) -> Path | None:
    """``path`` if this process can write to it, else a private directory under the temporary directory.

    None if neither can be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path
    except OSError:
        private = _private_directory()
    if private is None or private in path.parents:
        return None
    return writable(private / path.parent.name / path.name)


def holds(source: Path, function: str) -> bool:
    """Whether a cache that this process can read holds the entry point ``function`` of ``source``."""
    shared = module_path(source)
    own = writable(shared)
    paths = [shared] if own in (None, shared) else [shared, own]
    return any(stored(path, source, function) for path in paths)


def stored(directory: Path, source: Path, function: str) -> bool:
    """Whether ``directory`` holds a readable compiled entry point ``function`` of the file ``source``."""
    try:
        files = list(directory.rglob(f"{source.stem}.{function}-*.nbc"))
        for file in files:
            file.open("rb").close()
    except OSError:
        return False
    return bool(files)


def _processor() -> str:
    """The processor that Numba compiles for: this machine's, or the one that its settings name.

    With both settings the code does not depend on this machine, so others can use the cache.
    """
    name, features = os.environ.get("NUMBA_CPU_NAME"), os.environ.get("NUMBA_CPU_FEATURES")
    machine = _this_machine() if name is None or features is None else platform.machine()
    return f"{machine} {name} {features}"


def _this_machine() -> str:
    """What tells this processor from others. Numba compares the exact features when it loads a kernel."""
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    names = ("model name", "flags", "Features", "CPU implementer", "CPU part")
    return "\n".join(line for line in first.splitlines() if line.startswith(names))


def _user_cache() -> Path:
    """The cache directory of the user; a private temporary one for a user without a home directory."""
    setting = os.environ.get("XDG_CACHE_HOME")
    if setting:
        return Path(setting)
    try:
        return Path.home() / ".cache"
    except RuntimeError:
        return _private_directory() or Path(tempfile.gettempdir())


@cache
def _private_directory() -> Path | None:
    """A directory that no other user can write to: the cache holds code that this process will run."""
    try:
        own = Path(tempfile.gettempdir()) / f"streamlearn-{os.getuid()}"
        own.mkdir(mode=0o700, exist_ok=True)
        status = own.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o022:
            own = Path(tempfile.mkdtemp(prefix="streamlearn-"))
        return own
    except OSError:
        return None


@cache
def _digest(file: Path) -> bytes:
    return hashlib.sha256(file.read_bytes()).digest()


@cache
def _imports(file: Path) -> frozenset[Path]:
    """The kernel files that ``file`` imports. Kernels import each other by relative imports only."""
    return frozenset(_resolve(file))


def _resolve(file: Path) -> Iterator[Path]:
    for dots, module, names in _IMPORT.findall(file.read_text()):
        base = file.parents[len(dots) - 1].joinpath(*filter(None, module.split(".")))
        if (found := _module_file(base)) is None:
            continue
        if found.name != "__init__.py":
            yield found
            continue
        submodules = [_module_file(base / name) for name in re.findall(r"\w+", names)]
        yield from filter(None, submodules)
        if module:  # ``from . import name`` and ``from .. import name`` name submodules
            yield found


@cache
def _module_file(path: Path) -> Path | None:
    """The file of the module or package at ``path``. None if this is no kernel file."""
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.is_file() and file.is_relative_to(KERNELS):
            return file
    return None
