"""Compiles kernels on all processors. Numba compiles one kernel at a time in a process, so this module starts
worker processes that fill the cache.

``python -m streamlearn.kernels.compiler.parallel`` is a worker. It reads names of kernels, one per line, and
writes each name back when that kernel is compiled.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

MAX_WORKERS = 4  # each takes about 300 MB
SLOWEST = ("tbptt.learn", "bidirectional.learn")  # to start first


def compile_all(names: Sequence[str], progress: Callable[[str, int, int], None] | None = None) -> None:
    """Compile the kernels ``names`` into the cache. Calls ``progress(name, started, total)`` before each.

    A kernel that fails here is left for the caller to compile, who then gets the error.
    """
    started = count()
    pending = sorted(names, key=lambda name: name not in SLOWEST)
    pending.reverse()  # the last one is next
    running: list[subprocess.Popen[str]] = []

    def run_worker(_: int) -> None:
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
            ) as worker:
                running.append(worker)
                assert worker.stdin is not None
                assert worker.stdout is not None
                while pending:
                    name = pending.pop()
                    if progress is not None:
                        progress(name, next(started), len(names))
                    worker.stdin.write(f"{name}\n")
                    worker.stdin.flush()
                    if not worker.stdout.readline():
                        return
        except (OSError, IndexError):  # no new processes allowed, or another worker took the last name
            return

    workers = min(os.cpu_count() or 1, MAX_WORKERS, len(names))
    with ThreadPoolExecutor(max(workers, 1)) as threads:
        try:
            list(threads.map(run_worker, range(workers)))
        except BaseException:  # the process is ending; do not wait for the compiler
            pending.clear()
            for worker in running:
                worker.kill()
            raise


def _serve() -> None:
    from . import compile_one

    for line in sys.stdin:
        compile_one(line.strip())
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
