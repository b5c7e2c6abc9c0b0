"""A daemon that measures its own functions: ``python -m benchmarks.traced_daemon serve …``.

At its end it writes the CPU time of the loop's thread by part, in seconds, to the file that TRACE_FILE
names. The time of a part excludes the parts that it calls. A measured call costs about a microsecond.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

# Functions by part, as module:object. A name that does not exist is an error.
PARTS = {
    "receive": ["streamlearn.daemon.intake.reader:Reader.read"],
    "decode": [
        "streamlearn.daemon.intake.lane:Lane.find",
        "streamlearn.daemon.loop:decode_request",
        "streamlearn.daemon.intake.run:Run.learn",
        "streamlearn.daemon.intake.run:Run.samples",
    ],
    "check": [
        "streamlearn.daemon.durability.group_commit:GroupCommit.learn",
        "streamlearn.daemon.durability.group_commit:GroupCommit.learn_run",
        "streamlearn.daemon.durability.group_commit:GroupCommit.learn_samples",
    ],
    "hash": ["streamlearn.shard.shard:content_digests"],
    "journal": ["streamlearn.daemon.durability.group_commit:GroupCommit._append"],
    "queue and slices": ["streamlearn.shard.shard:Shard.step"],
    "kernel": ["streamlearn.models.maps.som:SOM.learn_validated"],
    "ack": ["streamlearn.daemon.durability.group_commit:GroupCommit._send_ack"],
    "the rest of the turn": ["streamlearn.daemon.loop:Loop.turn"],
}
NOT_COUNTED = [  # waiting, and the first model of a kind, which loads the kernels
    "streamlearn.daemon.loop:Loop._poll",
    "streamlearn.daemon.operations.write_operations:WriteOperations._do_create",
]


class Trace:
    """CPU time by part. A call that begins stops the clock of its caller's part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._stack: list[str] = []
        self._since = 0

    def measured(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a clock."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **kwargs)
            self._switch(part)
            try:
                return function(*args, **kwargs)
            finally:
                self._switch(None)

        return call

    def _switch(self, part: str | None) -> None:
        """Begin a part, or with ``None`` end the current one."""
        now = time.thread_time_ns()
        if self._stack:
            self.seconds[self._stack[-1]] += (now - self._since) / 1e9
        if part is None:
            self._stack.pop()
        else:
            self._stack.append(part)
        self._since = time.thread_time_ns()

    def write(self, file: Path) -> None:
        """Write the seconds of all parts in the order of `PARTS`."""
        file.write_text(json.dumps({part: self.seconds[part] for part in PARTS}))


def patch(trace: Trace) -> None:
    """Replace the functions of all parts by measured ones."""
    for part, names in [*PARTS.items(), ("not counted", NOT_COUNTED)]:
        for name in names:
            module, _, path = name.partition(":")
            *owners, last = path.split(".")
            owner: Any = importlib.import_module(module)
            for each in owners:
                owner = getattr(owner, each)
            setattr(owner, last, trace.measured(part, getattr(owner, last)))


def main() -> None:
    from streamlearn import cli

    trace = Trace()
    patch(trace)
    atexit.register(trace.write, Path(os.environ["TRACE_FILE"]))
    cli.main()


if __name__ == "__main__":
    main()
