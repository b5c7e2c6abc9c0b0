"""A gateway that `serve --http` started: it inherits its listening socket, and ends with the daemon."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

LAST_SECONDS = 5.0  # from the end of the daemon to the end of this process
NICE = 5  # the daemon's loop comes first
OOM_SCORE = "500"  # without memory, the system ends this process before the daemon


def inherit(descriptor: int) -> socket.socket:
    """Return the listening socket, and stop this process when its standard input ends."""
    os.nice(NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(OOM_SCORE)
    threading.Thread(target=_end_with_input, name="supervisor", daemon=True).start()
    return socket.socket(fileno=descriptor)


def _end_with_input() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_SECONDS)
    os._exit(1)
