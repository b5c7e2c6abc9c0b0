"""A thread for slow work that must not block the loop."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from streamlearn.daemon.runtime import Runtime
from streamlearn.daemon.self_pipe import SelfPipe

Done = Callable[[Any, Exception | None], None]


class Worker:
    """Run jobs in order on one thread. `collect` passes the results to callbacks on the loop's thread."""

    def __init__(self, self_pipe: SelfPipe, name: str, runtime: Runtime) -> None:
        self._self_pipe = self_pipe
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Done] | None] = runtime.queue()
        self._results: SimpleQueue[tuple[Done, Any, Exception | None]] = runtime.queue()
        self._lower_priority = runtime.lower_priority
        self._pending = 0
        self._thread = runtime.thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether any job is not yet collected."""
        return self._pending > 0

    def submit(self, work: Callable[[], Any], done: Done) -> None:
        """Run `work()` on the worker, then `done(result, None)` or `done(None, error)` on the loop."""
        self._pending += 1
        self._jobs.put((work, done))

    def collect(self) -> None:
        """Call `done` for every finished job."""
        while not self._results.empty():
            done, result, error = self._results.get()
            self._pending -= 1
            done(result, error)

    def stop(self, wait: bool = True) -> None:
        """End the thread after its last job. With `wait=False` the thread ends with the process instead."""
        self._jobs.put(None)
        if wait:
            self._thread.join()

    def _run(self) -> None:
        self._lower_priority()
        while self._run_next():
            self._self_pipe.wake()

    def _run_next(self) -> bool:
        """Run the next job; return `False` at the end. A separate frame, so that no job stays referenced."""
        job = self._jobs.get()
        if job is None:
            return False
        work, done = job
        try:
            self._results.put((done, work(), None))
        except Exception as error:  # noqa: BLE001 - passed on to `done`
            self._results.put((done, None, error))
        return True
