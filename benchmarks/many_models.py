"""One daemon with thousands of small models: memory, feed rate, time of a clean stop, and of a start.

    python -m benchmarks.many_models --models 10000

The models are SOMs of 10×10×8. They are fed in turn, one sample per message, over the firehose, so that
consecutive samples never belong to one model. Figures are printed as JSON, one object.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from streamlearn_client import Client
from streamlearn_client.aio import AsyncClient
from streamlearn_client.protocol import Learn, encode_request

DIM = 8
SPEC: dict[str, Any] = {"dim": DIM, "grid": [10, 10]}
CREATES_AT_ONCE = 64
ROUNDS = 5  # samples of each model
RATE_SECONDS = 120.0  # how long to wait for the last sample


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_models", description=__doc__)
    parser.add_argument("--models", type=int, default=10_000, help="number of models (default 10000)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"samples of each model ({ROUNDS})")
    parser.add_argument("--data-dir", type=Path, help="where to make the data directory, for another disk")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.data_dir) as directory:
        print(json.dumps(measure(Path(directory), options.models, options.rounds)))


def measure(directory: Path, models: int, rounds: int) -> dict[str, float]:
    """Return all figures by name; memory in MB of 10⁶ bytes, times in seconds."""
    figures: dict[str, float] = {"models": models}
    settings = directory / "streamlearn.toml"
    settings.write_text(f'[limits]\nmodels = {models + 1}\n[log]\nlevel = "warning"\n')
    with daemon(directory / "data", settings) as (process, endpoints):
        empty = resident_mb(process.pid)
        asyncio.run(create(endpoints["requests"], ["first"]))  # loads the kernels
        first = resident_mb(process.pid)
        names = [f"m{n:05d}" for n in range(models)]
        began, cpu = time.perf_counter(), loop_seconds(process.pid)
        asyncio.run(create(endpoints["requests"], names))
        figures |= {
            "create_ms_per_model": 1e3 * (time.perf_counter() - began) / models,
            "create_loop_cpu_ms_per_model": 1e3 * (loop_seconds(process.pid) - cpu) / models,
            "memory_of_the_first_mb": first - empty,
            "memory_mb": resident_mb(process.pid) - first,
        }
        figures |= feed(process.pid, endpoints, names, rounds)
        figures["memory_fed_mb"] = resident_mb(process.pid) - first
        began, cpu = time.perf_counter(), process_seconds(process.pid)
        process.terminate()
        stopped_cpu = cpu
        while process.poll() is None:
            time.sleep(0.01)
            stopped_cpu = process_seconds(process.pid) or stopped_cpu
        figures |= {"stop_seconds": time.perf_counter() - began, "stop_cpu_seconds": stopped_cpu - cpu}
    began = time.perf_counter()
    with daemon(directory / "data", settings) as (process, endpoints):
        figures["start_seconds"] = time.perf_counter() - began
        with Client(endpoints["requests"]) as client:
            figures["samples_after_the_start"] = client.describe(names[-1])["samples"]
    return figures


@contextmanager
def daemon(data: Path, settings: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run a daemon on free loopback ports; yield its process and its endpoints."""
    ports = dict.fromkeys(("requests", "firehose", "events"), "tcp://127.0.0.1:*")
    bound = [part for name, endpoint in ports.items() for part in (f"--{name}", endpoint)]
    command = [sys.executable, "-m", "streamlearn", "serve", "--config", str(settings)]
    command += ["--data-dir", str(data), *bound]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = next((line for line in process.stdout if "ready" in line), "")
            yield process, dict(part.split("=", 1) for part in ready.split() if "=" in part)
        finally:
            process.terminate()


async def create(endpoint: str, names: list[str]) -> None:
    """Create a model of each name, many requests at once."""
    waiting = asyncio.Semaphore(CREATES_AT_ONCE)
    async with AsyncClient(endpoint, timeout=60) as client:

        async def one(name: str) -> None:
            async with waiting:
                await client.create(name, kind="som", **SPEC)

        await asyncio.gather(*map(one, names))


def feed(pid: int, endpoints: dict[str, str], names: list[str], rounds: int) -> dict[str, float]:
    """Send ``rounds`` samples to each model in turn; return the rate and the CPU time of the loop."""
    context = multiprocessing.get_context("spawn")
    go, ready, done = context.Event(), context.Event(), context.Event()
    arguments = (endpoints["firehose"], names, rounds, ready, go, done)
    sender = context.Process(target=send, args=arguments, daemon=True)
    sender.start()
    ready.wait(120)
    with Client(endpoints["requests"]) as client:
        cpu, began = loop_seconds(pid), time.perf_counter()
        go.set()
        deadline = began + RATE_SECONDS
        while client.describe(names[-1])["samples"] < rounds and time.perf_counter() < deadline:
            time.sleep(0.02)
        seconds, cpu = time.perf_counter() - began, loop_seconds(pid) - cpu
        stats = client.stats("first")
        assert not stats["firehose_lost"], stats
        learned = {client.describe(name)["samples"] for name in names[:: len(names) // 10 or 1]}
        assert learned == {rounds}, f"samples were not learned within {RATE_SECONDS} s: {learned}"
    done.set()
    sender.join(10)
    samples = rounds * len(names)
    return {"samples_per_second": samples / seconds, "loop_cpu_us_per_sample": 1e6 * cpu / samples}


def send(endpoint: str, names: list[str], rounds: int, ready: Any, go: Any, done: Any) -> None:
    """Runs in a process of its own: encode all messages, then send them as fast as possible.

    The connection stays open until all is learned: what a closed one has not delivered may be lost.
    """
    stream = np.random.default_rng(1).random((rounds, len(names), 1, DIM), dtype=np.float32)
    messages = [
        encode_request(Learn(name, stream[seq, n], producer="feed", epoch=1, seq=seq, ack="none"))
        for seq in range(rounds)
        for n, name in enumerate(names)
    ]
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        ready.set()
        go.wait()
        for frames in messages:
            socket.send_multipart(frames)
        done.wait()


def resident_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def loop_seconds(pid: int) -> float:
    """Return the CPU time of the loop's thread, which is the main thread."""
    return _cpu_seconds(Path(f"/proc/{pid}/task/{pid}/stat"))


def process_seconds(pid: int) -> float:
    """Return the CPU time of a process; 0 if it has ended."""
    return _cpu_seconds(Path(f"/proc/{pid}/stat"))


def _cpu_seconds(path: Path) -> float:
    try:
        fields = path.read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
