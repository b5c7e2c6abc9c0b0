"""A raw sender and bare sockets: what ZeroMQ alone does with the same frames.

The sender is a process of its own. It encodes all messages first, so that it is faster than any receiver. Its
rate over the second half of the messages is the receiver's rate, because by then all buffers are full.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import msgpack
import numpy as np
import zmq

from streamlearn_client.protocol import Learn, encode_request
from streamlearn_client.sockets import BlockingSocket

SEND_MORE = int(zmq.SNDMORE)  # an enumeration costs as much as sending


class Job(NamedTuple):
    """Send ``messages`` batches of ``rows`` samples to ``endpoint``, as one producer."""

    endpoint: str
    model: str
    messages: int
    rows: int
    dim: int
    ack: str  # "none": over a PUSH socket; else as requests, with a window
    first: int  # the first number of the batches
    window: int = 0  # unacknowledged requests; each states it


@contextmanager
def sender() -> Iterator[Any]:
    """Run a sender process. Call the result with a job; it returns samples per second."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there,), daemon=True)
    process.start()

    def run(job: Job) -> float:
        here.send(job)
        rate: float = here.recv()
        return rate

    try:
        yield run
    finally:
        here.send(None)
        process.join(10)


def _serve(jobs: Connection) -> None:
    epoch = time.time_ns()
    with zmq.Context() as context:
        push = None
        while (job := jobs.recv()) is not None:
            if push is not None:  # it was open until the receiver had everything
                push.close()
            push = None
            if job.ack == "none":
                push = context.socket(zmq.PUSH, BlockingSocket)
                jobs.send(_push(push, job, epoch))
            else:
                jobs.send(_request(context, job, epoch))
        if push is not None:
            push.close()


def encoded(job: Job, epoch: int) -> list[list[bytes]]:
    """Return the frames of all messages."""
    x = np.random.default_rng(job.first).random((job.rows, job.dim), dtype=np.float32)
    found = []
    for n in range(job.messages):
        seq = job.first + n
        batch = Learn(
            job.model, x, producer="bench", epoch=epoch, seq=seq, ack=job.ack, id=seq, window=job.window
        )
        found.append([bytes(frame) for frame in encode_request(batch)])
    return found


def _push(socket: zmq.Socket[bytes], job: Job, epoch: int) -> float:
    messages, half = encoded(job, epoch), job.messages // 2
    socket.linger = 0
    socket.connect(job.endpoint)
    began = 0.0
    for n, (header, samples) in enumerate(messages):
        if n == half:
            began = time.perf_counter()
        socket.send(header, SEND_MORE)
        socket.send(samples)
    return (job.messages - half) * job.rows / (time.perf_counter() - began)


def _request(context: zmq.Context[zmq.Socket[bytes]], job: Job, epoch: int) -> float:
    """Keep a window of requests unacknowledged."""
    messages = encoded(job, epoch)
    with context.socket(zmq.DEALER, BlockingSocket) as socket:
        socket.linger = 0
        socket.connect(job.endpoint)
        # The daemon then acknowledges many requests by one reply. A bare socket echoes this as it is.
        socket.send(msgpack.packb({"v": 1, "id": 0, "op": "hello", "cumulative_acks": True}))
        socket.recv_multipart()
        sent = acknowledged = 0
        began = time.perf_counter()
        while acknowledged < job.messages:
            while sent < min(job.messages, acknowledged + job.window):
                header, samples = messages[sent]
                socket.send(header, SEND_MORE)
                socket.send(samples)
                sent += 1
            acknowledged += _acks(socket.recv_multipart())
            while socket.get(zmq.EVENTS) & zmq.POLLIN:
                acknowledged += _acks(socket.recv_multipart())
        return job.messages * job.rows / (time.perf_counter() - began)


def _acks(reply: list[bytes]) -> int:
    """Number of requests that a reply acknowledges; 1 for an echo."""
    header = msgpack.unpackb(reply[0])
    if "error" in header:
        raise RuntimeError(f"a batch was refused: {header['error']}")
    return int(header.get("ok", {}).get("acks", 1))


@contextmanager
def bare_receiver(echo: bool) -> Iterator[str]:
    """Receive (and echo) messages on a thread with bare sockets; yield the endpoint."""
    stop = threading.Event()
    with zmq.Context() as context, context.socket(zmq.ROUTER if echo else zmq.PULL) as socket:
        socket.sndhwm = 0  # a ROUTER drops what exceeds it
        port = socket.bind_to_random_port("tcp://127.0.0.1")

        def receive() -> None:
            while not stop.is_set():
                if socket.poll(50):
                    while True:
                        try:
                            message = socket.recv_multipart(zmq.DONTWAIT)
                        except zmq.Again:
                            break
                        if echo:
                            socket.send_multipart(message)

        thread = threading.Thread(target=receive)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{port}"
        finally:
            stop.set()
            thread.join()
