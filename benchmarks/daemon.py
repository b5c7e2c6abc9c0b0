"""Through a real daemon over TCP: what durability and the wire cost, and how long a query waits while
samples pour in."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
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
def daemon(directory: Path) -> Iterator[tuple[str, str]]:
    """A daemon process on free ports of the loopback; gives its requests and firehose endpoints."""
    ports = dict.fromkeys(("requests", "firehose", "events"), "tcp://127.0.0.1:*")
    options = [part for name, endpoint in ports.items() for part in (f"--{name}", endpoint)]
    command = [sys.executable, "-m", "streamlearn", "serve", "--data-dir", str(directory), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = next((line for line in process.stdout if "ready" in line), "")
            found = dict(part.split("=", 1) for part in ready.split() if "=" in part)
            yield found["requests"], found["firehose"]
        finally:
            process.terminate()


def durable_batches(requests: str, rounds: int, seed: int) -> Comparison:
    """One producer, batches of 256, every one acknowledged when it is on disk; beside the same batches
    in-process."""
    stream = np.random.default_rng(seed).random((400_000, DIM), dtype=np.float32)
    model = sl.SOM(**SPEC)
    with Client(requests) as client:
        client.create("bench", kind="som", **SPEC)

        def through() -> int:
            with client.stream("bench", batch=BATCH, ack="durable") as out:
                out.push_many(stream)
            return len(stream)

        def inside() -> int:
            for start in range(0, len(stream), BATCH):
                model.learn(stream[start : start + BATCH])
            return len(stream)

        name = f"SOM 10×10×{DIM} through the daemon: durable batches of {BATCH}"
        return compare(name, "in-process", through, inside, rounds)


def queries_under_load(requests: str, seed: int) -> Iterator[Comparison]:
    """One-sample ``predict``s, one after another, while another process keeps the firehose full."""
    with Client(requests) as client:
        client.create("poured", kind="som", **SPEC)
        samples = np.random.default_rng(seed).random((1, DIM), dtype=np.float32)
        idle = waits(client, samples, 1000)
        context = multiprocessing.get_context("spawn")
        stop = context.Event()
        pourer = context.Process(target=pour, args=(requests, stop, seed), daemon=True)
        pourer.start()
        before = client.describe("poured")["samples"]
        deadline = time.monotonic() + 60
        while client.describe("poured")["samples"] < before + 200_000 and time.monotonic() < deadline:
            time.sleep(0.05)
        began, first = time.perf_counter(), client.describe("poured")["samples"]
        full = waits(client, samples, 4000)
        poured = (client.describe("poured")["samples"] - first) / (time.perf_counter() - began)
        stop.set()
        pourer.join(timeout=10)
    yield Comparison("firehose, learned meanwhile", "no peer", poured, None, None, None, None)
    for percent in (50, 99):
        loaded, quiet = (float(np.percentile(each, percent)) for each in (full, idle))
        name = f"query p{percent} while the firehose is full"
        yield Comparison(
            name, "idle daemon", loaded * 1e3, quiet * 1e3, loaded / quiet, None, None, unit="ms"
        )


def waits(client: Client, samples: np.ndarray, count: int) -> list[float]:
    """How long each of ``count`` queries took, in seconds."""
    took = []
    for _ in range(count):
        began = time.perf_counter()
        client.predict("poured", samples)
        took.append(time.perf_counter() - began)
    return took


def pour(requests: str, stop: Event, seed: int) -> None:
    """Keep the firehose full until told to stop."""
    stream = np.random.default_rng(seed).random((BATCH, DIM), dtype=np.float32)
    with Client(requests) as client, client.firehose("poured") as firehose:
        while not stop.is_set():
            firehose.push(stream)


def disk(directory: Path, rounds: int) -> Comparison:
    """The limit under every durable ack: one batch's bytes, appended and fdatasync'd, nothing else."""
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
