"""What the daemon takes from the operating system, except files and sockets: time, threads and polling."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any

import zmq

from streamlearn.daemon.self_pipe import SelfPipe


@dataclass(frozen=True, slots=True)
class Runtime:
    """The clocks, and the constructors of everything that waits.

    The defaults are those of the operating system. With others, a whole daemon runs on one thread, under a
    scheduler and a clock of the caller.
    """

    wall_ns: Callable[[], int] = time.time_ns  # since 1970; may jump
    steady_ns: Callable[[], int] = time.monotonic_ns  # never goes back
    cpu_ns: Callable[[], int] = time.thread_time_ns  # CPU time of the calling thread
    thread: Callable[..., Thread] = Thread
    event: Callable[[], Event] = Event
    queue: Callable[[], SimpleQueue[Any]] = SimpleQueue
    self_pipe: Callable[[], SelfPipe] = SelfPipe
    poller: Callable[[], zmq.Poller] = zmq.Poller

    def steady(self) -> float:
        """Return the steady clock in seconds."""
        return self.steady_ns() / 1e9
