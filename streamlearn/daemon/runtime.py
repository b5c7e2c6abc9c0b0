"""What the daemon takes from the operating system, except files and sockets: time, threads and polling."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread, get_native_id
from typing import Any

import zmq

from streamlearn.daemon.interrupts import RequestInterrupts
from streamlearn.daemon.self_pipe import SelfPipe

WORKER_NICE = 5  # the share of a worker on a busy processor is then a third of the loop's


def lower_priority() -> None:
    """Make the calling thread yield the processor to the loop. Without permission nothing changes."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, get_native_id(), WORKER_NICE)  # of the thread, on Linux


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
    lower_priority: Callable[[], None] = lower_priority  # of the calling thread
    event: Callable[[], Event] = Event
    queue: Callable[[], SimpleQueue[Any]] = SimpleQueue
    self_pipe: Callable[[], SelfPipe] = SelfPipe
    poller: Callable[[], zmq.Poller] = zmq.Poller
    interrupts: Callable[[zmq.Socket[bytes], Callable[[], int]], RequestInterrupts] = RequestInterrupts

    def steady(self) -> float:
        """Return the steady clock in seconds."""
        return self.steady_ns() / 1e9
