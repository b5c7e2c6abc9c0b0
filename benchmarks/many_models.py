"""One daemon with thousands of small models: memory, feed rate, time of a clean stop, and of a start.

The models are SOMs of 10×10×8. They are fed in turn, one sample per message, over the firehose, so that
consecutive samples never belong to one model. Then the same without alarms.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from streamlearn_client import Client
from streamlearn_client.aio import AsyncClient
from streamlearn_client.protocol import Learn, encode_request

from .processes import Daemon, daemon
from .timing import Row, Settings

DIM = 8
SPEC: dict[str, Any] = {"dim": DIM, "grid": [10, 10]}
WITHOUT_ALARMS = {**SPEC, "alarm": None}
CREATES_AT_ONCE = 64
ROUNDS = 20  # samples of each model
RATE_SECONDS = 300.0  # how long to wait for the last sample
FIGURES = {
    "create_ms_per_model": ("create, 64 requests at once", "ms/model"),
    "create_loop_cpu_ms_per_model": ("create, CPU of the loop", "ms/model"),
    "memory_mb": ("memory", "MB"),
    "memory_fed_mb": ("memory after some samples each", "MB"),
    "samples_per_second": ("single samples in turn", "samples/s"),
    "loop_cpu_us_per_sample": ("single samples in turn, CPU of the loop", "µs/sample"),
    "stop_seconds": ("clean stop", "s"),
    "start_seconds": ("start after it", "s"),
}


def rows(settings: Settings) -> Iterator[Row]:
    models = settings.choose(10_000, 5)
    for spec, what in ((SPEC, ""), (WITHOUT_ALARMS, " without alarms")):
        with tempfile.TemporaryDirectory() as directory:
            figures = measure(Path(directory), models, settings.choose(ROUNDS, 2), spec)
        for name, (title, unit) in FIGURES.items():
            yield Row(f"{models:,} SOMs of 10×10×{DIM}{what}: {title}", figures[name], unit)


def measure(directory: Path, models: int, rounds: int, spec: dict[str, Any] = SPEC) -> dict[str, float]:
    """Return all figures by name; memory in MB of 10⁶ bytes, times in seconds."""
    figures: dict[str, float] = {"models": models}
    settings = directory / "streamlearn.toml"
    settings.write_text(f'[limits]\nmodels = {models + 1}\n[log]\nlevel = "warning"\n')
    options = ("--config", str(settings))
    with daemon(directory / "data", options) as started:
        empty = started.memory_mb()
        asyncio.run(create(started.requests, ["first"], spec))  # loads the kernels
        first = started.memory_mb()
        names = [f"m{n:05d}" for n in range(models)]
        began, cpu = time.perf_counter(), started.loop_cpu()
        asyncio.run(create(started.requests, names, spec))
        figures |= {
            "create_ms_per_model": 1e3 * (time.perf_counter() - began) / models,
            "create_loop_cpu_ms_per_model": 1e3 * (started.loop_cpu() - cpu) / models,
            "memory_of_the_first_mb": first - empty,
            "memory_mb": started.memory_mb() - first,
        }
        figures |= feed(started, names, rounds)
        figures["memory_fed_mb"] = started.memory_mb() - first
        began = time.perf_counter()
        started.process.terminate()
        started.process.wait()
        figures["stop_seconds"] = time.perf_counter() - began
    with daemon(directory / "data", options) as started:
        figures["start_seconds"] = started.start_seconds
        with Client(started.requests) as client:
            figures["samples_after_the_start"] = client.describe(names[-1])["samples"]
    return figures


async def create(endpoint: str, names: list[str], spec: dict[str, Any]) -> None:
    """Create a model of each name, many requests at once."""
    waiting = asyncio.Semaphore(CREATES_AT_ONCE)
    async with AsyncClient(endpoint, timeout=60) as client:

        async def one(name: str) -> None:
            async with waiting:
                await client.create(name, kind="som", **spec)

        await asyncio.gather(*map(one, names))


def feed(started: Daemon, names: list[str], rounds: int) -> dict[str, float]:
    """Send ``rounds`` samples to each model in turn; return the rate and the CPU time of the loop."""
    context = multiprocessing.get_context("spawn")
    go, ready, done = context.Event(), context.Event(), context.Event()
    arguments = (started.firehose, names, rounds, ready, go, done)
    sender = context.Process(target=send, args=arguments, daemon=True)
    sender.start()
    ready.wait(120)
    with Client(started.requests) as client:
        cpu, began = started.loop_cpu(), time.perf_counter()
        go.set()
        deadline = began + RATE_SECONDS
        while client.describe(names[-1])["samples"] < rounds and time.perf_counter() < deadline:
            time.sleep(0.2)  # each query ends a slice
        seconds, cpu = time.perf_counter() - began, started.loop_cpu() - cpu
        learned = {client.describe(name)["samples"] for name in names[:: len(names) // 10 or 1]}
        if learned != {rounds}:
            lost = client.stats("first")["firehose_lost"]
            raise RuntimeError(f"models learned {learned} of {rounds} samples; {lost} messages were refused")
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
