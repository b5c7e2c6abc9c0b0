"""Clients that send many requests before they read: each gets an answer."""

from __future__ import annotations

from collections.abc import Callable

import zmq

from streamlearn.daemon.config import LimitSettings
from streamlearn.errors import Busy
from streamlearn_client.protocol import Learn, Request
from tests.daemon.harness import SECONDS, Running, Wire, X
from tools.waiting import wait_for

MIB = 1 << 20


def test_5005_requests_before_the_first_answer_is_read(running: Running) -> None:
    behind = running.connect(zmq.DEALER)
    for number in range(5005):
        if number % 5:
            behind.send(Request("describe", None, "m"))
        else:
            behind.send(Learn("m", X[:1], None, "p", 1, number // 5))
    wait_for(lambda: running.wire.call("describe", "m")["samples"] == 1001)
    answers = [behind.receive() for _ in range(5005)]
    assert {answer.id for answer in answers} == set(range(1, 5006))
    assert all(answer.error is None for answer in answers)
    assert running.wire.call("stats")["replies_dropped"] == 0


def test_a_client_that_is_far_behind_is_refused_before_its_requests_are_executed(
    serve: Callable[..., Running],
) -> None:
    """The error names the limit. No answer is lost, and what was refused was not learned."""
    running = serve(limits=LimitSettings(unread_bytes=2 * MIB))
    running.wire.create()
    behind = Wire(running.context.socket(zmq.DEALER))
    behind.socket.sndhwm = behind.socket.rcvhwm = 10
    behind.socket.sndbuf = behind.socket.rcvbuf = 8192
    behind.socket.sndtimeo = int(SECONDS * 1000)
    behind.socket.connect(running.endpoints["requests"])
    sent = 0
    while running.wire.call("stats")["errors"].get("BUSY", 0) < 20:
        for _ in range(20):  # answers of almost 4 KiB, which is small
            behind.send(Learn("m", X[:1]))
            behind.send(Request("predict", None, "m", {}, X[:900]))
            sent += 2
        assert sent < 50_000
    answers = [behind.receive() for _ in range(sent)]
    assert running.wire.call("stats")["replies_dropped"] == 0
    errors = [answer.error for answer in answers if answer.error is not None]
    assert len(errors) >= 20
    assert all(isinstance(error, Busy) for error in errors)
    assert {error.detail["limit"] for error in errors} == {"limits.unread_bytes"}
    learned = sum("rows" in answer.ok for answer in answers)
    assert running.wire.call("describe", "m")["samples"] == learned < sent // 2
    assert behind.ask(Learn("m", X[:1]))["rows"] == 1
