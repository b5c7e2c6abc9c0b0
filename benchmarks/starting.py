"""Compilation, start, memory of an idle daemon, and replay of the journal after a crash."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import streamlearn as sl
from streamlearn_client import Client

from .processes import Daemon, daemon
from .through_daemon import BATCH, DIM, IN_PROCESS, MAP, SMALL_DIM, SMALL_MAP
from .timing import Contestant, Row, Settings, over, paired

LIBRARIES = "import numpy, numba, zmq, msgpack"
SETTLED_SECONDS = 0.3  # a daemon whose threads used no CPU for so long is idle


def compilation(settings: Settings) -> Iterator[Row]:
    """CPU time of ``streamlearn warmup`` with an empty cache. In quick mode the cache is not empty."""
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | ({} if settings.quick else {"NUMBA_CACHE_DIR": cache})
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "streamlearn", "warmup"]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        yield Row("all kernels compiled, empty cache: CPU time", cpu, "s")
        yield Row(f"the same on {os.cpu_count()} cores: wall clock", time.perf_counter() - began, "s")


def start(settings: Settings) -> Iterator[Row]:
    """From the start of the process to the ready line, with compiled kernels in the cache."""
    seconds, again, imports, idle, first = [], [], [], [], []
    for _ in range(settings.rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", LIBRARIES], check=True)
        imports.append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory() as directory:
            with daemon(Path(directory)) as started:
                seconds.append(started.start_seconds)
                wait_until_idle(started)
                idle.append(started.memory_mb())
                with Client(started.requests) as client:
                    client.create("first", kind="som", **SMALL_MAP)
                    client.learn("first", np.zeros((BATCH, SMALL_DIM), np.float32))
                wait_until_idle(started)
                first.append(started.memory_mb())
            with daemon(Path(directory)) as started:
                again.append(started.start_seconds)
    peer = Contestant("Python with the libraries alone", len)
    yield paired("warm start", seconds, peer, imports, unit="s")
    yield paired("warm start with a map", again, peer, imports, unit="s")
    yield Row("memory of an idle daemon", float(np.median(idle)), "MB")
    yield Row("memory after the first map, 10×10×8", float(np.median(first)), "MB")


def wait_until_idle(started: Daemon) -> None:
    """Wait until the daemon uses hardly any CPU, for at most 60 s."""
    deadline, before = time.monotonic() + 60, started.cpu()
    while time.monotonic() < deadline:
        time.sleep(SETTLED_SECONDS)
        now = started.cpu()
        if now - before < 0.05 * SETTLED_SECONDS:
            return
        before = now


NO_CHECKPOINTS = {"STREAMLEARN_CHECKPOINTS__SAMPLES": str(10**12), "STREAMLEARN_CHECKPOINTS__SECONDS": "1e6"}


def replay(settings: Settings) -> Iterator[Row]:
    """A start after kill -9, which learns the journal again, against learning the same batches live.

    CPU time of the loop's thread, without that of the same start with no samples.
    """
    batches = settings.choose(8000, 4)
    stream = np.random.default_rng(settings.seed).random((BATCH * 50, DIM), dtype=np.float32)
    model = sl.SOM(**MAP)
    learned: list[float] = []
    live: list[float] = []
    with tempfile.TemporaryDirectory() as data:
        with tempfile.TemporaryDirectory() as other:
            with daemon(Path(other)) as started, Client(started.requests) as client:
                client.create("replayed", kind="som", **MAP)
                started.process.kill()
            starts = []
            for _ in range(settings.rounds):
                with daemon(Path(other)) as started:
                    starts.append(started.loop_cpu())
                    started.process.kill()
            start_cpu = float(np.median(starts))
        with daemon(Path(data), environment=NO_CHECKPOINTS) as started, Client(started.requests) as client:
            client.create("replayed", kind="som", **MAP)
            with client.stream("replayed", batch=BATCH) as out:
                over(stream, out.push_many)(batches * BATCH)
            started.process.kill()
        for _ in range(settings.rounds):
            began = time.thread_time()
            for n in range(batches):
                model.learn(stream[n % 50 * BATCH :][:BATCH])
            live.append(batches * BATCH / (time.thread_time() - began))
            with daemon(Path(data), environment=NO_CHECKPOINTS) as started:
                used = started.loop_cpu()
                learned.append(batches * BATCH / max(used - start_cpu, 1e-3))
                with Client(started.requests) as client:
                    samples = client.describe("replayed")["samples"]
                if samples != batches * BATCH:
                    raise RuntimeError(f"{samples} samples after the replay, not {batches * BATCH}")
                started.process.kill()
    name = f"SOM 20×20×{DIM}, replay of batches of {BATCH}, CPU of the loop"
    yield paired(name, learned, Contestant(IN_PROCESS, len), live)
