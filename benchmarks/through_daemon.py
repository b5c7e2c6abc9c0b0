"""Samples through a real daemon over TCP: batches, single samples, and the client's senders."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import zmq

import streamlearn as sl
from streamlearn_client import Client, Stream

from .processes import Daemon, busy_process, daemon
from .sending import Job, bare_receiver, sender
from .timing import Contestant, Quality, Row, Settings, compare, over, paired

BATCH, DIM = 256, 16
MAP = {"dim": DIM, "grid": [20, 20], "sigma": 2.0, "learning_rate": 0.1}
SMALL_DIM = 8
SMALL_MAP = {"dim": SMALL_DIM, "grid": [10, 10], "sigma": 2.0, "learning_rate": 0.1}
IN_PROCESS = "in-process"
BESIDE = "in-process, beside a busy process"  # as a daemon learns beside its clients


def rows(settings: Settings) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory, daemon(Path(directory)) as started:
        yield from batches(started, settings)
        yield from single_samples(started, settings)
        yield from senders(started, settings)


def batches(started: Daemon, settings: Settings) -> Iterator[Row]:
    """One producer with durable batches of 256, against the same batches in-process.

    On most machines a busy core slows the other: they share a cache, memory, or are threads of one core. The
    client keeps one busy, so there are figures of learning in-process with and without that.
    """
    stream = np.random.default_rng(settings.seed).random((BATCH * 64, DIM), dtype=np.float32)
    model = sl.SOM(**MAP)
    with Client(started.requests) as client, busy_process() as busy:
        client.create("batches", kind="som", **MAP)

        def through(n: int) -> None:
            with client.stream("batches", batch=BATCH, ack="durable") as out:
                over(stream, out.push_many)(n)

        def in_process(n: int) -> None:
            over(stream, in_batches)(n)

        def beside(n: int) -> None:
            with busy():
                in_process(n)

        def in_batches(part: np.ndarray) -> None:
            for first in range(0, len(part), BATCH):
                model.learn(part[first : first + BATCH])

        through(len(stream))
        in_process(len(stream))
        error = "quantization_error"
        quality = Quality(
            "quantization error", client.describe("batches")["quality"][error], model.quality()[error]
        )
        name = f"SOM 20×20×{DIM}, durable batches of {BATCH}"
        for title, clock, theirs in (
            (f"{name}, CPU of the loop", started.loop_cpu, time.thread_time),
            (f"{name}, wall clock", time.perf_counter, time.perf_counter),
        ):
            ours = Contestant("daemon", through, clock, BATCH)
            peers = [
                Contestant(IN_PROCESS, in_process, theirs, BATCH),
                Contestant(BESIDE, beside, theirs, BATCH),
            ]
            yield from compare(title, ours, peers, settings, {IN_PROCESS: quality})


def single_samples(started: Daemon, settings: Settings) -> Iterator[Row]:
    """One sample per message from a raw sender, against bare sockets that only receive."""
    messages = settings.choose(100_000, 500)
    with sender() as send, Client(started.requests) as client:
        for ack, window, endpoint, peer in (
            ("none", 0, started.firehose, "bare PUSH → PULL"),
            ("durable", 256, started.requests, "bare DEALER → ROUTER, echoed"),
            ("durable", 1024, started.requests, "bare DEALER → ROUTER, echoed"),
        ):
            model = f"singles-{ack}-{window}"
            client.create(model, kind="som", **SMALL_MAP)
            ours: list[float] = []
            theirs: list[float] = []
            loop: list[float] = []
            learned = 0
            with bare_receiver(echo=ack != "none") as bare:
                for n in range(settings.rounds):
                    job = Job(endpoint, model, messages, 1, SMALL_DIM, ack, n * messages, window)
                    used = started.loop_cpu()
                    ours.append(send(job))
                    learned = _learned(client, model, (n + 1) * messages)
                    loop.append(messages / (started.loop_cpu() - used))
                    theirs.append(send(job._replace(endpoint=bare)))
            way = f"requests, window of {window:,}, durable" if window else "firehose"
            name = f"single samples of {SMALL_DIM}, {way}"
            arrived = Quality("share learned", learned / (settings.rounds * messages), None)
            yield paired(name, ours, Contestant(peer, len), theirs, arrived)
            yield Row(f"{name}, CPU of the loop", statistics.median(loop))


def _learned(client: Client, model: str, sent: int) -> int:
    """Wait until all samples are learned, or until none was learned for 5 s. Return their number."""
    learned, since = 0, time.monotonic()
    while learned < sent and time.monotonic() < since + 5:
        time.sleep(0.2)  # each query ends a slice
        now: int = client.describe(model)["samples"]
        if now > learned:
            learned, since = now, time.monotonic()
    return learned


def senders(started: Daemon, settings: Settings) -> Iterator[Row]:
    """The client's own methods with one sample per call, against a bare send of prepared frames."""
    sample = np.random.default_rng(settings.seed).random(SMALL_DIM, dtype=np.float32)
    with Client(started.requests) as client, zmq.Context() as context, bare_receiver(echo=False) as bare:
        client.create("senders", kind="som", **SMALL_MAP)
        client.create("pushed", kind="som", **SMALL_MAP)
        with context.socket(zmq.PUSH) as socket, client.firehose("senders") as firehose:
            socket.linger = 0
            socket.connect(bare)
            frames = [bytes(120), sample.tobytes()]
            ours = Contestant("Firehose.push", _repeat(lambda: firehose.push(sample)))
            peer = Contestant("bare send of two frames", _repeat(lambda: socket.send_multipart(frames)))
            yield from compare("Firehose.push of one sample, CPU of the caller", ours, [peer], settings)
        with client.stream("pushed", batch=BATCH) as out:
            pushed = Contestant("Stream.push", _repeat(lambda: out.push(sample)))
            yield from compare("Stream.push of one sample, CPU of the caller", pushed, [], settings)
        for interval, when in ((0.05, "as batches"), (0, "at once")):
            with client.stream("pushed", batch=BATCH, interval=interval) as out:
                durable = Contestant("Stream.push", _pushes(out, sample), time.perf_counter)
                name = f"Stream.push of one sample, sent {when}, until all are durable, wall clock"
                yield from compare(name, durable, [], settings)


def _pushes(out: Stream, sample: np.ndarray) -> Callable[[int], None]:
    def run(n: int) -> None:
        for _ in range(n):
            out.push(sample)
        out.flush()

    return run


def _repeat(call: Callable[[], object]) -> Callable[[int], None]:
    def run(n: int) -> None:
        for _ in range(n):
            call()

    return run
