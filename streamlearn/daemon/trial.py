"""A trial of a record that may kill the process, in a process of its own."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from streamlearn.daemon.sdnotify import Watchdog
from streamlearn.store.fs import Lock

POLL_SECONDS = 0.005


def survives(lock: Lock, watchdog: Watchdog, step: Callable[[], bool]) -> bool:
    """Call `step` in a child process until it returns false; return whether the child survived.

    The child is a copy of this process, so this one's models do not change. Call it before threads exist. If
    no child can be started, the answer is false: the caller has other evidence. A step that takes longer than
    `watchdog.seconds` hangs.
    """
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        _run(lock, watchdog.seconds, step)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        watchdog.feed_start()
        time.sleep(POLL_SECONDS)


def _run(lock: Lock, seconds: float, step: Callable[[], bool]) -> None:
    """Runs in the child. Never returns."""
    try:
        lock.release()  # it stays locked as long as the parent has it
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        going_on = True
        while going_on:
            signal.setitimer(
                signal.ITIMER_REAL, seconds
            )  # its default action ends the process, also inside a kernel
            going_on = step()
        os._exit(0)
    finally:
        os._exit(1)
