"""Requests that arrive while a model learns end the slice, and are answered before the rest of a batch."""

from __future__ import annotations

import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numba as nb
import numpy as np
import pytest
import zmq

from streamlearn.daemon import interrupts
from streamlearn.daemon.interrupts import PAUSE_NS, QUESTION_NS, RequestInterrupts
from streamlearn.kernels.stream.interrupt import requested
from streamlearn.kernels.stream.interrupt_words import EVERY, LEFT, NEVER, POLL, POLLFD
from streamlearn.models.batch import Batch
from streamlearn.models.outputs import ModelOutputs
from streamlearn.shard.hosted_model import HostedModel
from streamlearn_client.protocol import Learn
from tests.daemon.harness import SECONDS, Running, X, reference
from tests.daemon.sides import Clock, Side
from tests.shard.fakes import Fakes, RunningSum

ROW_NS = 1000.0


@nb.njit("i8(u1[::1], i8)", nogil=True)
def learn(interrupt, rows):
    for n in range(rows):
        if requested(interrupt):
            return n + 1
    return rows


class Sockets:
    """A ROUTER, a client, and a clock."""

    def __init__(self) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        port = self.router.bind_to_random_port("tcp://127.0.0.1")
        self.client = self.context.socket(zmq.DEALER)
        self.client.connect(f"tcp://127.0.0.1:{port}")
        self.now = 10**9
        self.interrupts = RequestInterrupts(self.router, lambda: self.now)
        self.send()  # the connection is there when the first message is
        self.read()

    def send(self) -> None:
        self.client.send(b"")

    def arrived(self) -> None:
        """Wait until a message is here, without the socket: the descriptor still reports it."""
        poll = select.poll()
        poll.register(int(self.router.get(zmq.FD)), select.POLLIN)
        assert poll.poll(SECONDS * 1000)

    def read(self) -> None:
        assert self.router.poll(int(SECONDS * 1000))
        while self.router.poll(0):
            self.router.recv_multipart()

    def slice(self, rows: int = 100_000) -> int:
        """Learn a slice, and return how many rows it did."""
        return int(learn(self.interrupts.begin_slice(rows, ROW_NS), rows))


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    found = Sockets()
    yield found
    found.context.destroy(0)


def test_a_slice_ends_by_itself_while_no_request_arrives(sockets):
    assert sockets.slice() == 100_000
    assert not sockets.interrupts.waiting(sockets.now)


def test_a_request_ends_a_slice_at_the_next_look(sockets):
    rows = int(QUESTION_NS / ROW_NS)
    interrupt = sockets.interrupts.begin_slice(100_000, ROW_NS)
    assert learn(interrupt, 5 * rows) == 5 * rows
    sockets.send()
    sockets.arrived()
    assert learn(interrupt, 100_000) <= rows
    assert sockets.interrupts.waiting(sockets.now)


def test_a_request_that_waits_before_a_slice_ends_it_too(sockets):
    """The descriptor reports an arrival once. Sending a reply may already have consumed the report."""
    sockets.send()
    sockets.arrived()
    assert sockets.router.get(zmq.EVENTS) & zmq.POLLIN  # consumes it
    assert not select.select([sockets.router.get(zmq.FD)], [], [], 0)[0]
    assert sockets.slice() == 1


def test_after_batches_slices_run_for_a_while(sockets):
    sockets.interrupts.have_read(sockets.now, 0, batches=True)
    sockets.send()
    sockets.arrived()
    assert not sockets.interrupts.waiting(sockets.now)
    pause = int(PAUSE_NS / ROW_NS)
    assert sockets.slice() == pause
    sockets.now += PAUSE_NS
    assert sockets.interrupts.waiting(sockets.now)
    sockets.read()
    sockets.interrupts.have_read(sockets.now, 0, batches=False)
    sockets.send()
    sockets.arrived()
    assert sockets.slice() == 1


@pytest.mark.parametrize(("read_ns", "rows"), [(30_000, 30), (10 * PAUSE_NS, PAUSE_NS // 1000)])
def test_after_a_read_that_left_queries_slices_run_as_long_as_it_took(sockets, read_ns, rows):
    sockets.interrupts.have_read(sockets.now, read_ns, batches=False)
    sockets.send()
    sockets.arrived()
    assert not sockets.interrupts.waiting(sockets.now)
    assert sockets.slice() == rows
    sockets.now += read_ns
    assert sockets.interrupts.waiting(sockets.now)


@pytest.mark.parametrize("queries", [1, 2, 3])
def test_a_long_query_leaves_something_only_if_another_one_waits(tmp_path, queries):
    side = Side(tmp_path, clock := Clock())
    reader, handled = side.daemon.loop._requests, []

    def handle(identity, frames):
        handled.append(frames)
        clock.now += 10**9

    reader._handle = handle
    for _ in range(queries):
        side.sockets.requests.inbox.append([side.link("a").peer, b"not an ordinary batch"])
    for n in range(1, queries + 1):
        assert reader.read(1000) == (n == queries)
        assert len(handled) == n


def test_short_slices_are_not_interrupted_and_slow_rows_ask_each_time(sockets):
    assert sockets.interrupts.begin_slice(3, ROW_NS) is NEVER
    words = sockets.interrupts.begin_slice(3, 10.0 * QUESTION_NS).view(np.int64)
    assert (words[EVERY], words[LEFT]) == (1, 1)
    words = sockets.interrupts.begin_slice(256, 0.0).view(np.int64)  # the pace is not known yet
    assert (words[EVERY], words[LEFT]) == (1, 1)


class Patient(RunningSum):
    """Learns one row whenever a request arrives; all rows once ``let_go`` is set."""

    kind: ClassVar[str] = "patient"
    let_go: ClassVar[bool] = False

    def _learn(self, batch: Batch) -> ModelOutputs:
        if not Patient.let_go:
            words = self.interrupt.view(np.int64)
            poll = select.poll()
            poll.register(int(words[POLLFD:].view(np.int32)[0]), select.POLLIN)
            while not Patient.let_go and words[POLL] and not poll.poll(10):
                pass
            words[LEFT] = 1  # the model in Python does not poll
        return super()._learn(batch)


class Models(Fakes):
    kinds = Fakes.kinds | {"patient": Patient}


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    Patient.let_go = False
    monkeypatch.setattr(interrupts, "PAUSE_NS", 0)
    # On a busy machine slices would become single rows, which are not interrupted.
    monkeypatch.setattr(HostedModel, "adapt_slice", lambda *_, **__: None)
    daemon = Running(tmp_path, Models())
    yield daemon
    Patient.let_go = True
    daemon.stop()
    assert daemon.failure is None


def test_queries_are_answered_in_the_middle_of_a_batch(running):
    running.wire.create("m", "patient")
    running.wire.create("other")
    learning = running.wire.send(Learn("m", X[:100]))
    asking = running.connect()
    samples = [asking.call("predict", "m", x=X[:1])["samples"] for _ in range(20)]
    assert samples == sorted(samples)
    assert 0 < samples[-1] < 100
    assert running.wire.silent()
    assert asking.call("stats")["models"]["m"]  # every other request is served too
    other = asking.send(Learn("other", X[:7]))
    Patient.let_go = True
    assert asking.receive().id == other
    assert running.wire.receive().id == learning
    whole = Patient(dim=2)
    whole.learn(X[:100])
    assert running.wire.hash("m") == whole.state_hash()
    assert running.wire.hash("other") == reference(X[:7])
