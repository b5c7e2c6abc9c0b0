"""Other libraries: each import in one place, and why a library is absent."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType

from .timing import Absent, Contestant, Peer

PACKAGES = ("MiniSom", "scikit-learn", "river", "torch", "onnxruntime", "statsmodels", "vega_datasets")
DEEP_RIVER = Path(sys.prefix) / "deep-river"  # it needs other versions than ours: the Makefile keeps it apart


def module(name: str) -> ModuleType | str:
    """Return a module, or the reason why it cannot be imported."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        return str(error)


def torch() -> ModuleType | str:
    """Return PyTorch, limited to one thread."""
    found = module("torch")
    if isinstance(found, ModuleType):
        found.set_num_threads(1)
    return found


def versions() -> dict[str, str]:
    """Return the versions of the peers; "absent" for those that are not installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "absent"
    names = [path.name.split("-")[1] for path in DEEP_RIVER.glob("deep_river-*.dist-info")]
    return found | {"deep-river": names[0].removesuffix(".dist") if names else "absent"}


@contextmanager
def deep_river(dim: int, hidden: int, window: int, rate: float) -> Iterator[Peer]:
    """Run deep-river's rolling regressor in a process with its own versions of libraries.

    The process measures its own CPU time.
    """
    name = "deep-river"
    if not DEEP_RIVER.exists():
        yield Absent(name, f"{DEEP_RIVER} does not exist; `make bench` installs it")
        return
    worker = Path(__file__).with_name("deep_river_worker.py")
    arguments = [str(each) for each in (dim, hidden, window, rate)]
    path = {"PYTHONPATH": str(DEEP_RIVER)}
    command = [sys.executable, "-W", "ignore", str(worker), *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | path
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def ask(samples: int) -> float:
            """Let the worker learn samples. Return its CPU time so far."""
            print(samples, file=requests, flush=True)
            return float(answers.readline())

        try:
            ask(0)
        except (ValueError, BrokenPipeError):
            yield Absent(name, "the library does not load with the installed versions")
        else:
            yield Contestant(name, ask, lambda: ask(0))
        finally:
            requests.close()
