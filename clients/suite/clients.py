"""The clients of the suite: how each driver is built and started."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DRIVERS = Path(__file__).parent / "drivers"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
"""Options of the compiler: a driver in C ends at its first error of memory or undefined behaviour."""


@dataclass(frozen=True)
class Client:
    """A client. ``build`` returns the command of its driver; it is called once per process.

    ``without`` has the behaviours that need a function that this client does not have, with the reason.
    """

    name: str
    title: str
    build: Callable[[], list[str]]
    environment: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)


def _python() -> list[str]:
    return [sys.executable, str(DRIVERS / "driver.py")]


def _c() -> list[str]:
    """Build the C client with its driver in a temporary directory, which is removed at the exit."""
    directory = tempfile.mkdtemp(prefix="streamlearn-c-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    source = str(ROOT / "clients" / "c")
    for command in (
        ["cmake", "-S", source, "-B", directory, "-DSTREAMLEARN_TESTS=ON", f"-DCMAKE_C_FLAGS={SANITIZERS}"],
        ["cmake", "--build", directory, "--target", "driver", "--parallel", "2"],
    ):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}"
    return [f"{directory}/driver"]


CLIENTS = {
    each.name: each
    for each in (
        Client("python", "Python", _python, {"PYTHONPATH": str(ROOT / "clients" / "python")}),
        Client("c", "C", _c),
    )
}
