"""Threads as tasks of one scheduler, and what they wait on, in place of those of `threading` and `queue`.

A task is a greenlet: it runs until it waits, or until an operation of the disk. Then the scheduler chooses
which task runs next. So one seed decides every interleaving, and no two tasks ever run at the same time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet

Ready = Callable[[], bool]


class Task:
    """One thread of the daemon. It is ready when ``ready()`` is true, or when the clock reaches ``until``."""

    def __init__(self, tasks: Tasks, run: Callable[[], None], name: str) -> None:
        self.name = name
        self.ready: Ready | None = None  # None: always
        self.until: int | None = None  # steady ns
        self.where = "start"
        self.failure: BaseException | None = None
        self._tasks = tasks
        self._run = run
        self._greenlet = greenlet(self._guarded, tasks.scheduler)

    def _guarded(self) -> None:
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001 - the scheduler looks at it
            self.failure = error

    @property
    def done(self) -> bool:
        return self._greenlet.dead

    def resume(self) -> None:
        """Run the task until its next pause."""
        self.ready = self.until = None
        self._greenlet.switch()

    def kill(self) -> None:
        """End the task where it is."""
        if self._greenlet and not self._greenlet.dead:
            self._greenlet.throw(GreenletExit)

    # `threading.Thread`

    def start(self) -> None:
        self._tasks.all.append(self)

    def join(self, timeout: float | None = None) -> None:
        self._tasks.wait("join", lambda: self.done)

    def is_alive(self) -> bool:
        return not self.done


class Tasks:
    """The tasks of one process."""

    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.all: list[Task] = []
        self.scheduler = getcurrent()
        self.killed = False
        self._now_ns = now_ns

    def thread(self, target: Callable[[], None], name: str = "", daemon: bool | None = None) -> Task:
        return Task(self, target, name)

    @property
    def running(self) -> Task | None:
        """The task that runs now; ``None`` in the scheduler."""
        current = getcurrent()
        return next((task for task in self.all if task._greenlet is current), None)

    def wait(self, where: str, ready: Ready | None = None, until: int | None = None) -> None:
        """Pause the running task. In the scheduler itself nothing waits."""
        if self.killed:
            raise GreenletExit
        task = self.running
        if task is None:
            return
        task.where, task.ready, task.until = where, ready, until
        self.scheduler.switch()

    def runnable(self) -> list[Task]:
        now = self._now_ns()
        return [
            task
            for task in self.all
            if not task.done
            and (
                (task.ready is None and task.until is None)
                or (task.ready is not None and task.ready())
                or (task.until is not None and task.until <= now)
            )
        ]

    def next_deadline(self) -> int | None:
        """The earliest time at which a waiting task becomes ready by itself."""
        return min(
            (task.until for task in self.all if not task.done and task.until is not None), default=None
        )

    def kill(self) -> None:
        """End all tasks at once, as ``kill -9`` does: whatever they still do has no effect."""
        self.killed = True
        for task in reversed(self.all):  # the loop last: it may wait for a lock of another task
            task.kill()


class Event:
    """`threading.Event`."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._tasks.wait("event", self.is_set)
        return self._set


class Queue:
    """`queue.SimpleQueue`."""

    def __init__(self, tasks: Tasks) -> None:
        self._tasks = tasks
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)

    def empty(self) -> bool:
        return not self._items

    def qsize(self) -> int:
        return len(self._items)

    def get(self) -> Any:
        while not self._items:
            self._tasks.wait("queue", lambda: bool(self._items))
        return self._items.popleft()


class SelfPipe:
    """`daemon.self_pipe.SelfPipe`."""

    def __init__(self) -> None:
        self.readable = False

    def wake(self) -> None:
        self.readable = True

    def drain(self) -> None:
        self.readable = False

    def close(self) -> None:
        self.readable = False


class Poller:
    """`zmq.Poller` of sources that have ``readable``."""

    def __init__(self, tasks: Tasks, now_ns: Callable[[], int]) -> None:
        self._tasks = tasks
        self._now_ns = now_ns
        self._sources: list[Any] = []

    def register(self, source: Any, flags: int = 0) -> None:
        if source not in self._sources:
            self._sources.append(source)

    def unregister(self, source: Any) -> None:
        self._sources.remove(source)

    def poll(self, timeout: int | None = None) -> list[tuple[Any, int]]:
        until = None if timeout is None else self._now_ns() + timeout * 1_000_000
        self._tasks.wait("poll", lambda: any(source.readable for source in self._sources), until)
        return [(source, 1) for source in self._sources if source.readable]
