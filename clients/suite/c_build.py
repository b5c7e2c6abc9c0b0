"""Builds the C client in the repository's folder ``build``.

A build is incremental, and processes that run at the same time share it.
"""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

__all__ = ["SANITIZED", "c_build"]

ROOT = Path(__file__).parents[2]
SANITIZED = ("Debug", "-fsanitize=address,undefined -fno-sanitize-recover=all")
"""Type and compiler options of a build that checks memory and undefined behaviour, and ends at an error."""


def c_build(name: str, kind: str, flags: str, *targets: str) -> Path:
    """Build targets of the C client, with warnings as errors. Return the folder of the build."""
    folder = ROOT / "build" / f"c-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    options = [
        "-DSTREAMLEARN_WARNINGS=ON",
        "-DSTREAMLEARN_TESTS=ON",
        f"-DCMAKE_INSTALL_PREFIX={folder}/prefix",
        f"-DCMAKE_BUILD_TYPE={kind}",
        f"-DCMAKE_C_FLAGS={flags}",
    ]
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in (
            ["cmake", "-S", f"{ROOT}/clients/c", "-B", str(folder), *options],
            ["cmake", "--build", str(folder), "--target", *targets],
        ):
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            assert done.returncode == 0, f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}"
    return folder
