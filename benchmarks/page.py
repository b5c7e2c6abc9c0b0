"""What a gateway and an open page cost: 500 models, 50,000 samples a second, with and without them.

Latency of queries at the daemon, the time of a frame in a real Chromium, the processors that each process
takes, and the page's memory. The page shows all models first, then one map. An operator's browser runs on
another machine. Here all other programs have real-time priority, if the user may set it, and the browser gets
what they leave while queries are timed. Without that, a browser at the lowest priority still keeps a
processor for a slice of the scheduler (3 ms) when the daemon wakes up, and that would be timed too.

`python -m benchmarks.page SECONDS` prints the memory of both pages every minute.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from streamlearn_client import Client
from tools.browser import Browser

from .processes import Daemon, daemon, family, process_cpu
from .timing import Row, Settings

MODELS, RATE, BATCH, DIM = 500, 50_000, 100, 8
CHART = "#/model/m0"
_REAL_TIME = os.SCHED_RR, os.sched_param(1)
FRAMES = """new Promise((done) => {
  const times = []; let last = performance.now(); const end = last + SECONDS * 1000;
  const step = (now) => { times.push(now - last); last = now; if (now < end) requestAnimationFrame(step);
    else done(times.sort((a, b) => a - b)); };
  requestAnimationFrame(step);
})"""


def rows(settings: Settings) -> Iterator[Row]:
    """Measure without a gateway, with one, and with a page."""
    models, seconds = settings.choose(MODELS, 20), settings.choose(10.0, 2.0)
    with _real_time(), tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with daemon(folder / "data") as started, Client(started.requests, timeout=60) as client:
            for number in range(models):
                client.create(f"m{number}", "som", dim=DIM, grid=[10, 10])
            with _feeding(started, models):
                time.sleep(2)
                alone = _query_p99(client, seconds)
                with _gateway(started.requests) as (url, pid):
                    time.sleep(2)
                    shares = _Shares({"daemon": [started.process.pid], "gateway": [pid]})
                    served = _query_p99(client, seconds)
                    yield Row(
                        f"query p99, {models} models, gateway", served * 1e3, "ms", "no gateway", alone * 1e3
                    )
                    yield from shares.rows("no page")
                    yield from _page(client, folder, url, seconds, alone, shares)


class _Shares:
    """How much of one core each program takes, since the last call."""

    def __init__(self, programs: dict[str, list[int]]) -> None:
        self.programs = programs
        self._used: dict[str, float] = {}
        self.begin()

    def begin(self) -> None:
        self._began = time.perf_counter()
        self._used = {name: self._cpu(name) for name in self.programs}

    def _cpu(self, name: str) -> float:
        return sum(process_cpu(pid) for pid in self.programs[name])

    def rows(self, what: str) -> Iterator[Row]:
        seconds = time.perf_counter() - self._began
        for name, before in self._used.items():
            yield Row(f"{name}, {what}", 100 * (self._cpu(name) - before) / seconds, "% of a core")


def _page(
    client: Client, folder: Path, url: str, seconds: float, alone: float, shares: _Shares
) -> Iterator[Row]:
    browser = Browser(folder / "chromium")
    _set_priority(family(browser.pid), 0)
    try:
        for view, what in (("", "all models"), (CHART, "one map")):
            browser.open(f"{url}/{view}")
            browser.wait("document.querySelector('h1') !== null")
            time.sleep(3)
            heap = _heap_mb(browser)
            shares.programs["browser"] = family(browser.pid)
            _set_priority(shares.programs["browser"], 19)
            shares.begin()
            shown = _query_p99(client, seconds)
            yield Row(f"query p99, page of {what}", shown * 1e3, "ms", "no gateway", alone * 1e3)
            yield from shares.rows(f"page of {what}")
            _set_priority(shares.programs["browser"], None)
            times = browser.run(FRAMES.replace("SECONDS", str(min(seconds, 20.0))))
            yield Row(f"frame time p99, page of {what}", float(np.quantile(times, 0.99)), "ms")
            yield Row(f"page's memory of {what}, growth", _heap_mb(browser) - heap, "MB")
    finally:
        browser.close()


def memory(seconds: float) -> None:
    """Print the memory of a page of all models and of a page of one map, side by side, every minute.

    10,000 samples a second are enough: a page gets as many events as from 50,000.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        with daemon(folder / "data") as started, Client(started.requests, timeout=60) as client:
            for number in range(MODELS):
                client.create(f"m{number}", "som", dim=DIM, grid=[10, 10])
            with _feeding(started, MODELS, RATE // 5), _gateway(started.requests) as (url, _):
                pages = {view: Browser(folder / f"chromium{i}") for i, view in enumerate(("", CHART))}
                try:
                    for view, page in pages.items():
                        page.open(f"{url}/{view}")
                    end = time.monotonic() + seconds
                    while time.monotonic() < end:
                        time.sleep(60)
                        left = (end - time.monotonic()) / 60
                        found = ", ".join(
                            f"{view or 'all models'} {_heap_mb(page):.2f} MB" for view, page in pages.items()
                        )
                        print(f"{found}, {left:.0f} min left", flush=True)
                finally:
                    for page in pages.values():
                        page.close()


@contextmanager
def _real_time() -> Iterator[None]:
    """Give this thread, and the programs and threads that it starts, real-time priority if it may."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, *_REAL_TIME)
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _set_priority(pids: list[int], nice: int | None) -> None:
    """Set the priority of programs. None: real time, like the others, if the user may set it."""
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(ProcessLookupError):  # it ended
                os.sched_setscheduler(int(task.name), os.SCHED_OTHER, os.sched_param(0))
                os.setpriority(os.PRIO_PROCESS, int(task.name), nice or 0)
                if nice is None:
                    with suppress(PermissionError):
                        os.sched_setscheduler(int(task.name), *_REAL_TIME)


def _heap_mb(browser: Browser) -> float:
    browser.call("HeapProfiler.collectGarbage")
    return float(browser.call("Runtime.getHeapUsage")["usedSize"]) / 1e6


def _query_p99(client: Client, seconds: float) -> float:
    x, times, end = np.zeros((1, DIM), np.float32), [], time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        client.predict("m0", x)
        times.append(time.perf_counter() - began)
        time.sleep(0.002)
    return float(np.quantile(times, 0.99))


@contextmanager
def _feeding(started: Daemon, models: int, rate: int = RATE) -> Iterator[None]:
    """Send ``rate`` samples a second to all models in turn, in a thread, over the firehose."""
    ended = threading.Event()
    x = np.random.default_rng(0).normal(size=(BATCH, DIM)).astype(np.float32)

    def send() -> None:
        with Client(started.requests, timeout=60) as client:
            hoses = [client.firehose(f"m{number}") for number in range(min(models, 100))]
            began, sent = time.perf_counter(), 0
            while not ended.is_set():
                hoses[sent // BATCH % len(hoses)].push(x)
                sent += BATCH
                ahead = sent / rate - (time.perf_counter() - began)
                if ahead > 0:
                    time.sleep(ahead)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _gateway(endpoint: str) -> Iterator[tuple[str, int]]:
    command = [
        sys.executable,
        "-m",
        "streamlearn",
        "gateway",
        "--http",
        "127.0.0.1:0",
        "--endpoint",
        endpoint,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1], process.pid
        finally:
            process.terminate()


if __name__ == "__main__":
    memory(float(sys.argv[1]))
