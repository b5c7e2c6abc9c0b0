"""Query latency of a raw client, idle and while another process keeps the firehose full.

Beside it stands a bare echo of frames of the same size, at the same time. Its latency is what sockets and the
operating system add.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import zmq

from streamlearn_client import Client
from streamlearn_client.protocol import Request, encode_request

from .processes import daemon
from .through_daemon import BATCH, SMALL_DIM, SMALL_MAP
from .timing import Row, Settings

ECHO = "bare echo"
MODEL = "loaded"


def rows(settings: Settings) -> Iterator[Row]:
    with (
        tempfile.TemporaryDirectory() as directory,
        daemon(Path(directory)) as started,
        Client(started.requests) as client,
        echo_process() as echo,
    ):
        client.create(MODEL, kind="som", **SMALL_MAP)
        x = np.random.default_rng(settings.seed).random((1, SMALL_DIM), dtype=np.float32)
        frames = [bytes(frame) for frame in encode_request(Request("predict", 1, MODEL, x=x))]
        count = settings.choose(2000, 30)
        yield from percentiles("idle", started.requests, echo, frames, count, settings)
        with full_firehose(started.requests, settings.seed):
            first = client.describe(MODEL)["samples"]
            deadline = time.monotonic() + 60
            while client.describe(MODEL)["samples"] < first + settings.choose(200_000, 1000):
                if time.monotonic() > deadline:
                    raise RuntimeError("the firehose is not full after 60 s")
                time.sleep(0.02)
            began, first = time.perf_counter(), client.describe(MODEL)["samples"]
            yield from percentiles("full firehose", started.requests, echo, frames, count, settings)
            learned = client.describe(MODEL)["samples"] - first
            yield Row("samples learned meanwhile", learned / (time.perf_counter() - began))


def percentiles(
    load: str, requests: str, echo: str, frames: list[bytes], count: int, settings: Settings
) -> Iterator[Row]:
    """Rows of the median and of 99 %, over all rounds; the two sides take turns in blocks of queries."""
    ours: list[float] = []
    theirs: list[float] = []
    with zmq.Context() as context, context.socket(zmq.DEALER) as real, context.socket(zmq.DEALER) as bare:
        for socket, endpoint in ((real, requests), (bare, echo)):
            socket.linger = 0
            socket.rcvtimeo = 30_000
            socket.connect(endpoint)
        reply = durations(real, frames, 1)[1]
        answer = [b"", *reply]  # the echo sends as many bytes as the daemon answers
        for _ in range(settings.rounds):
            ours += durations(real, frames, count)[0]
            theirs += durations(bare, answer, count)[0]
    for percent in (50, 99):
        a, b = (1e3 * float(np.percentile(times, percent)) for times in (ours, theirs))
        yield Row(f"predict of 1 sample, {load}, p{percent}", a, "ms", ECHO, b, a / b)


def durations(socket: zmq.Socket[bytes], frames: list[bytes], count: int) -> tuple[list[float], list[bytes]]:
    """Return the duration of each of ``count`` requests in seconds, and the last reply."""
    found, reply = [], []
    for _ in range(count):
        began = time.perf_counter()
        socket.send_multipart(frames)
        reply = socket.recv_multipart()
        found.append(time.perf_counter() - began)
    return found, reply


@contextmanager
def echo_process() -> Iterator[str]:
    """Run a process that echoes every message; yield its endpoint."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_echo, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.terminate()
        process.join(10)


def _echo(started: Connection) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        started.send(f"tcp://127.0.0.1:{socket.bind_to_random_port('tcp://127.0.0.1')}")
        while True:
            socket.send_multipart(socket.recv_multipart())


@contextmanager
def full_firehose(requests: str, seed: int) -> Iterator[None]:
    """Let another process keep the firehose full."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    process = context.Process(target=_fill, args=(requests, stop, seed), daemon=True)
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join(10)


def _fill(requests: str, stop: Event, seed: int) -> None:
    stream = np.random.default_rng(seed).random((BATCH, SMALL_DIM), dtype=np.float32)
    with Client(requests) as client, client.firehose(MODEL) as firehose:
        while not stop.is_set():
            firehose.push(stream)
