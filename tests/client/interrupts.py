"""Exceptions at every point where a signal handler can raise one, and operations that run without sockets."""

from __future__ import annotations

import asyncio
import dis
import math
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

import streamlearn_client
from streamlearn_client.protocol import decode_request
from streamlearn_client.replies import read_reply
from streamlearn_client.retry import Call, Exchange
from tests.client.fake import FakeModel, FakeModels

PACKAGE = str(Path(streamlearn_client.__file__).parent)
INTERRUPTIBLE = {"RESUME", "JUMP_BACKWARD", "CALL", "CALL_KW", "CALL_FUNCTION_EX"}
"""The instructions after which CPython runs signal handlers."""


class Stop(Exception):
    """An exception that a user's signal handler raises."""


class Halt(BaseException):
    """The same, outside of ``Exception``."""


EXCEPTIONS = [KeyboardInterrupt, SystemExit, asyncio.CancelledError, MemoryError, Stop, Halt]


def interrupt(step: int, exception: type[BaseException], action: Callable[[], Any]) -> bool:
    """Run ``action`` and raise ``exception`` at an interruptible instruction of the client or `threading`.

    ``step`` is the number of the instruction. Return ``False`` if the action has fewer instructions.
    """
    left = step
    interrupted = False
    last: dict[FrameType, str] = {}

    def trace_call(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        if not frame.f_code.co_filename.startswith((PACKAGE, threading.__file__)):
            return None
        frame.f_trace_opcodes = True
        return trace

    def trace(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
        nonlocal left, interrupted
        if event == "opcode":
            before = last.get(frame)
            last[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if before in INTERRUPTIBLE:
                left -= 1
                if left == 0:
                    interrupted = True
                    raise exception  # this also ends the tracing
        return trace

    previous = sys.gettrace()
    sys.settrace(trace_call)
    try:
        action()
    except exception:
        assert interrupted
    finally:
        sys.settrace(previous)
    return interrupted


def batch(number: int, rows: int = 1) -> np.ndarray:
    """Return a batch that no other number has."""
    return np.full((rows, 1), number, "f4")


class Memory:
    """A client without sockets: it executes operations on the models of a daemon."""

    def __init__(self, daemon: FakeModels) -> None:
        self.daemon = daemon
        self.calls = 0

    def answer(self, call: Call) -> Any:
        exchange = Exchange(call, 1, "memory", math.inf, math.inf)
        exchange.sent(0)
        frames = self.daemon.answer(decode_request([bytes(frame) for frame in exchange.frames]))
        if frames is None:
            exchange.time_left(math.inf)
        return exchange.receive(read_reply([bytes(frame) for frame in frames], "memory"), 0)

    def run(self, operation: Any) -> Any:
        """Execute an operation."""
        try:
            call = next(operation)
            while True:
                self.calls += 1
                try:
                    reply = self.answer(call)
                except streamlearn_client.StreamlearnError as error:
                    call = operation.throw(error)
                else:
                    call = operation.send(reply)
        except StopIteration as end:
            return end.value

    def abort(self, operation: Any, calls: int, received: bool, exception: type[BaseException]) -> bool:
        """Execute ``calls`` calls, then end the operation in the next one by an exception.

        ``received``: the daemon executes that call, and its answer is lost. Return whether the operation had
        so many calls.
        """
        try:
            call = next(operation)
            for _ in range(calls):
                call = operation.send(self.answer(call))
        except StopIteration:
            return False
        if received:
            self.answer(call)
        try:
            if exception is GeneratorExit:
                operation.close()
            else:
                operation.throw(exception())
        except exception:
            pass
        return True


def check_learned(model: FakeModel, acknowledged: list[int], in_doubt: list[int]) -> None:
    """Check that each acknowledged batch is learned once and in order, and no batch twice."""
    learned = [int(batch.x[0, 0]) for batch in model.batches]
    assert [number for number in learned if number in acknowledged] == acknowledged
    assert len(set(learned)) == len(learned)
    assert set(learned) <= {*acknowledged, *in_doubt}
