"""A real daemon over TCP: the cost of durability and of the protocol, and the query latency under load."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np

import streamlearn as sl
from streamlearn_client import Client

from .timing import Comparison, compare

DIM, BATCH = 8, 256
SPEC = {"dim": DIM, "grid": [10, 10], "sigma": 2.0, "learning_rate": 0.1}


def comparisons(rounds: int, seed: int) -> Iterator[Comparison]:
    with tempfile.TemporaryDirectory() as directory, daemon(Path(directory)) as (requests, _):
        yield durable_batches(requests, rounds, seed)
        yield from queries_under_load(requests, seed)
    with tempfile.TemporaryDirectory() as directory:
        yield disk(Path(directory), rounds)


@contextmanager
def daemon(directory: Path, options: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Run a daemon process on free loopback ports; yield its requests and firehose endpoints."""
    ports = dict.fromkeys(("requests", "firehose", "events"), "tcp://127.0.0.1:*")
    bound = [part for name, endpoint in ports.items() for part in (f"--{name}", endpoint)]
    command = [sys.executable, "-m", "streamlearn", "serve", "--data-dir", str(directory), *bound, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = next((line for line in process.stdout if "ready" in line), "")
            found = dict(part.split("=", 1) for part in ready.split() if "=" in part)
            yield found["requests"], found["firehose"]
        finally:
            process.terminate()


def durable_batches(requests: str, rounds: int, seed: int) -> Comparison:
    """One producer with durable batches of 256, against the same batches in-process."""
    stream = np.random.default_rng(seed).random((400_000, DIM), dtype=np.float32)
    model = sl.SOM(**SPEC)
    with Client(requests) as client:
        client.create("bench", kind="som", **SPEC)

        def over_tcp() -> int:
            with client.stream("bench", batch=BATCH, ack="durable") as out:
                out.push_many(stream)
            return len(stream)

        def in_process() -> int:
            for start in range(0, len(stream), BATCH):
                model.learn(stream[start : start + BATCH])
            return len(stream)

        name = f"SOM 10×10×{DIM} through the daemon: durable batches of {BATCH}"
        return compare(name, "in-process", over_tcp, in_process, rounds)


def queries_under_load(requests: str, seed: int) -> Iterator[Comparison]:
    """One-sample ``predict`` requests in sequence, while another process keeps the firehose full."""
    with Client(requests) as client:
        client.create("loaded", kind="som", **SPEC)
        samples = np.random.default_rng(seed).random((1, DIM), dtype=np.float32)
        idle = latencies(client, samples, 1000)
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        sender = context.Process(target=fill_firehose, args=(requests, stop, seed), daemon=True)
        sender.start()
        before = client.describe("loaded")["samples"]
        deadline = time.monotonic() + 60
        while client.describe("loaded")["samples"] < before + 200_000 and time.monotonic() < deadline:
            time.sleep(0.05)
        began, first = time.perf_counter(), client.describe("loaded")["samples"]
        loaded = latencies(client, samples, 4000)
        rate = (client.describe("loaded")["samples"] - first) / (time.perf_counter() - began)
        stop.set()
        sender.join(timeout=10)
    yield Comparison("firehose, samples learned during the queries", "no peer", rate, None, None, None, None)
    for percent in (50, 99):
        under_load, without = (float(np.percentile(times, percent)) for times in (loaded, idle))
        name = f"query p{percent} while the firehose is full"
        yield Comparison(
            name, "idle daemon", under_load * 1e3, without * 1e3, under_load / without, None, None, unit="ms"
        )


def latencies(client: Client, samples: np.ndarray, count: int) -> list[float]:
    """Return the duration of each of ``count`` queries in seconds."""
    durations = []
    for _ in range(count):
        began = time.perf_counter()
        client.predict("loaded", samples)
        durations.append(time.perf_counter() - began)
    return durations


def fill_firehose(requests: str, stop: Event, seed: int) -> None:
    """Keep the firehose full until ``stop`` is set."""
    stream = np.random.default_rng(seed).random((BATCH, DIM), dtype=np.float32)
    with Client(requests) as client, client.firehose("loaded") as firehose:
        while not stop.is_set():
            firehose.push(stream)


def disk(directory: Path, rounds: int) -> Comparison:
    """The physical limit of durable acks: append the bytes of one batch and call fdatasync."""
    payload = bytes(BATCH * DIM * 4)
    fd = os.open(directory / "limit", os.O_CREAT | os.O_RDWR)
    os.posix_fallocate(fd, 0, 64 << 20)
    rates = []
    for _ in range(rounds):
        began = time.perf_counter()
        for n in range(100):
            os.pwrite(fd, payload, n * len(payload))
            os.fdatasync(fd)
        rates.append(100 / (time.perf_counter() - began))
    os.close(fd)
    name = f"this disk: appends of {len(payload)} bytes, each synced"
    return Comparison(name, "no peer", float(np.median(rates)), None, None, None, None)
