"""Compiles kernels on all processors. Numba compiles one kernel at a time in a process, so this module starts
worker processes that fill the cache.

``python -m streamlearn.kernels.compiler.parallel`` is a worker. It reads names of kernels, one per line, and
writes each name back when that kernel is compiled.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from .progress import Progress

MAX_WORKERS = 4  # each takes about 200 MB
SLOWEST = ("forecaster", "target", "tbptt", "bidirectional", "rollout")
LOWEST_PRIORITY = 19  # of nice(2): a worker then runs when nothing else does


class Compilation:
    """The compilation of the kernels ``names`` into the cache. Neighbours should share code.

    `run` calls ``progress(name, started, total)`` before each. A kernel that fails here is left for the
    caller to compile, who then gets the error. ``beside`` compiles one after another at the lowest priority.
    """

    def __init__(
        self,
        names: Sequence[str],
        progress: Progress | None = None,
        *,
        beside: bool = False,
    ) -> None:
        self._total = len(names)
        # The last is next: a slow one, so that no worker is alone at the end. Beside serving a quick one is
        # next, because then a new model more often finds its kernels compiled. Each process compiles the
        # functions that its kernels share, so every second worker takes the first: workers share little.
        self._pending = sorted(names, key=lambda name: (name.partition(".")[0] in SLOWEST) != beside)
        self._progress = progress
        self._started = count()
        self._priority = LOWEST_PRIORITY if beside else 0
        self._workers = 1 if beside else min(os.cpu_count() or 1, MAX_WORKERS, self._total)
        self._running: list[subprocess.Popen[str]] = []
        self.stopped = False

    def run(self) -> None:
        """Compile. Returns at the end, or when another thread calls `stop`."""
        if not self._pending:
            return
        with ThreadPoolExecutor(self._workers) as threads:
            try:
                list(threads.map(self._run_worker, range(self._workers)))
            except BaseException:  # the process is ending; do not wait for the compiler
                self.stop()
                raise

    def stop(self) -> None:
        """Kill the workers. Kernels that are not finished are not in the cache."""
        self.stopped = True
        self._pending.clear()
        for worker in self._running:
            worker.kill()

    def next(self, worker: int) -> str:
        """Remove and return the name of the next kernel of a worker. IndexError if none is left."""
        return self._pending.pop(0 if worker % 2 else -1)

    def _run_worker(self, worker_number: int) -> None:
        command = [sys.executable, "-m", __name__, str(self._priority)]
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
                self._running.append(worker)
                assert worker.stdin is not None
                assert worker.stdout is not None
                while self._pending:
                    name = self.next(worker_number)
                    if self._progress is not None:
                        self._progress(name, next(self._started), self._total)
                    worker.stdin.write(f"{name}\n")
                    worker.stdin.flush()
                    if not worker.stdout.readline():
                        return
        except (OSError, IndexError):  # no new processes, a stop, or another worker took the last name
            return


def _serve(priority: int) -> None:
    os.nice(priority)
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type] # Numba would import it for BLAS
    from .. import declare_all
    from . import compile_one

    declare_all()
    gc.freeze()  # what is loaded now stays; searching it for garbage took 5 % of a compilation
    gc.set_threshold(20_000, 20, 100)
    for line in sys.stdin:
        compile_one(line.strip())
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
