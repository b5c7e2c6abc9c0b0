"""Compiles kernels on all processors. Numba compiles one kernel at a time in a process, so this module starts
a worker that fills the cache.

``python -m streamlearn.kernels.compiler.parallel`` is the worker. It reads names of kernels, one per line,
and writes each name when it starts with that kernel. It translates all kernels to LLVM code itself,
because they share most of their pieces. A fork optimises a kernel's code, writes it into the cache, and ends.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from .progress import Progress

MAX_FORKS = 4  # each takes about 100 MB
SLOWEST = ("forecaster", "target", "tbptt", "bidirectional", "rollout")
LOWEST_PRIORITY = 19  # of nice(2): the worker then runs when nothing else does


class Compilation:
    """The compilation of the kernels ``names`` into the cache.

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
        # The slow ones are first, so that no fork is alone at the end. Beside serving the quick ones are
        # first, because then a new model more often finds its kernels compiled.
        self.names = sorted(names, key=lambda name: (name.partition(".")[0] in SLOWEST) == beside)
        self._progress = progress
        self._priority = LOWEST_PRIORITY if beside else 0
        self._forks = 0 if beside else min(os.cpu_count() or 1, MAX_FORKS)
        self._worker: subprocess.Popen[str] | None = None
        self.stopped = False

    def run(self) -> None:
        """Compile. Returns at the end, or when another thread calls `stop`."""
        if not self.names or self.stopped:
            return
        with suppress(OSError):  # no new processes, or the worker ended
            self._run_worker()

    def stop(self) -> None:
        """Kill the worker and its forks. Kernels that are not finished are not in the cache."""
        self.stopped = True
        if self._worker is not None and self._worker.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._worker.pid, signal.SIGKILL)

    def _run_worker(self) -> None:
        paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with subprocess.Popen(
            [sys.executable, "-m", __name__, str(self._priority), str(self._forks)],
            env={**os.environ, **paths},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        ) as self._worker:
            try:
                if self.stopped:  # before there was a worker
                    self.stop()
                assert self._worker.stdin is not None
                assert self._worker.stdout is not None
                self._worker.stdin.write("\n".join(self.names))
                self._worker.stdin.close()
                for started, line in enumerate(self._worker.stdout):
                    if self._progress is not None:
                        self._progress(line.strip(), started, len(self.names))
            except BaseException:  # the process is ending; do not wait for the compiler
                self.stop()
                raise


class _Forks:
    """Finishes translated kernels in forks of this process. At most ``most`` run while it continues."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._running = 0

    def finish(self, kernel: Callable[[], None]) -> None:
        """Start a fork that calls ``kernel``."""
        if os.fork() == 0:
            try:
                kernel()
            finally:
                os._exit(0)
        self._running += 1
        self.wait(self._most)

    def wait(self, most: int = 0) -> None:
        """Wait until at most ``most`` forks run."""
        while self._running > most:
            os.wait()
            self._running -= 1


def _serve(priority: int, forks: _Forks) -> None:
    os.nice(priority)
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type] # Numba would import it for BLAS
    from .. import declare_all
    from . import compile_one, faster, finish_by

    faster.install()
    finish_by(forks.finish)
    declare_all()
    gc.freeze()  # what is loaded now stays; searching it for garbage took 5 % of a compilation
    gc.set_threshold(20_000, 20, 100)
    for name in sys.stdin.read().split():
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
        compile_one(name)
    forks.wait()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), _Forks(int(sys.argv[2])))
