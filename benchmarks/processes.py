"""Daemon processes of the benchmarks, and what /proc tells about them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple


class Daemon(NamedTuple):
    """A running daemon. Its main thread is the loop."""

    process: subprocess.Popen[str]
    requests: str
    firehose: str
    start_seconds: float  # from the start of the process to its ready line

    def loop_cpu(self) -> float:
        """CPU time of the loop's thread so far, in seconds."""
        return _thread_cpu(self.process.pid, self.process.pid)

    def cpu(self) -> float:
        """CPU time of all threads that live, in seconds."""
        return process_cpu(self.process.pid)

    def memory_mb(self) -> float:
        """Resident memory in MB of 10⁶ bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def process_cpu(pid: int) -> float:
    """CPU time of all threads of a process that live, in seconds."""
    return sum(_thread_cpu(pid, int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir())


def family(pid: int) -> list[int]:
    """The process and all that it started."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def _thread_cpu(pid: int, thread: int) -> float:
    """CPU time of a thread in seconds, to the nanosecond (Linux)."""
    try:
        return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0]) / 1e9
    except FileNotFoundError:  # the thread has ended
        return 0.0


@contextmanager
def daemon(
    directory: Path,
    options: Sequence[str] = (),
    environment: dict[str, str] | None = None,
    module: str = "streamlearn",
) -> Iterator[Daemon]:
    """Run a daemon on free loopback ports until the end of the block, and stop it cleanly."""
    ports = dict.fromkeys(("requests", "firehose", "events"), "tcp://127.0.0.1:*")
    bound = [part for name, endpoint in ports.items() for part in (f"--{name}", endpoint)]
    command = [sys.executable, "-m", module, "serve", "--data-dir", str(directory), *bound, *options]
    # A line for each of 10,000 new models would hide the results.
    variables = os.environ | {"STREAMLEARN_LOG__LEVEL": "warning"} | (environment or {})
    variables.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its bytecode
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=variables) as process:
        try:
            assert process.stdout is not None
            ready = next((line for line in process.stdout if "ready" in line), "")
            if not ready:
                raise RuntimeError("the daemon did not start; its reason is printed above")
            seconds = time.perf_counter() - began
            found = dict(part.split("=", 1) for part in ready.split() if "=" in part)
            yield Daemon(process, found["requests"], found["firehose"], seconds)
        finally:
            process.terminate()


@contextmanager
def busy_process() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """A process that keeps a core busy, but only within the blocks that the result opens."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:

        @contextmanager
        def running() -> Iterator[None]:
            process.send_signal(signal.SIGCONT)
            try:
                yield
            finally:
                process.send_signal(signal.SIGSTOP)

        process.send_signal(signal.SIGSTOP)
        try:
            yield running
        finally:
            process.kill()
