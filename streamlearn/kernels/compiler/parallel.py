"""Compiling on all processors. Numba compiles one kernel at a time in a process, so others help, each a
process that is told names and fills the cache which all share.

``python -m streamlearn.kernels.compiler.parallel`` is such a helper.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

MOST_HELPERS = 4  # each takes some 300 MB
LONGEST = ("tbptt.learn", "bidirectional.run")  # to be begun first


def compile_all(names: Sequence[str], progress: Callable[[str, int, int], None] | None = None) -> None:
    """Have helpers compile the kernels, telling ``progress(name, begun, total)`` before each. What they could
    not do is not done."""
    begun = count()
    waiting = sorted(names, key=lambda name: name not in LONGEST)
    waiting.reverse()  # the next one is the last

    def help_out(_: int) -> None:
        command = [sys.executable, "-m", __name__]
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        try:
            with subprocess.Popen(
                command,
                env={**os.environ, **paths},
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            ) as helper:
                assert helper.stdin is not None
                assert helper.stdout is not None
                while waiting:
                    name = waiting.pop()
                    if progress is not None:
                        progress(name, next(begun), len(names))
                    helper.stdin.write(f"{name}\n")
                    helper.stdin.flush()
                    if not helper.stdout.readline():
                        return
        except (OSError, IndexError):  # no processes here, or another helper took the last name
            return

    helpers = min(os.cpu_count() or 1, MOST_HELPERS)
    with ThreadPoolExecutor(helpers) as threads:
        list(threads.map(help_out, range(helpers)))


def _help() -> None:
    from . import compile_one

    for line in sys.stdin:
        compile_one(line.strip())
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    _help()
