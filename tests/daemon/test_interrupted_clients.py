"""Clients that are cancelled and interrupted at random moments, with a real daemon and its producer table."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from streamlearn_client import AsyncClient, Client
from streamlearn_client.results import Ack
from tests.daemon.harness import Running

TURNS = 60
SEED = 20260102
IN_DOUBT = np.ones((100, 2), "f4")
LATER = np.full((1, 2), 2, "f4")


class Stop(Exception):
    """An exception that a user's signal handler raises."""


def check_turn(running: Running, before: int, ack: Ack) -> int:
    """Check a turn: an interrupted batch, then an acknowledged one. Return the number of learned samples."""
    samples = int(running.wire.call("describe", "m")["samples"])
    assert not ack.duplicate
    assert samples - before in (len(LATER), len(LATER) + len(IN_DOUBT))
    return samples


def test_cancelled_calls(running: Running) -> None:
    async def use() -> None:
        chance = random.Random(SEED)
        samples = 0
        async with AsyncClient(running.endpoints["requests"], timeout=60) as client:
            for _ in range(TURNS):
                task = asyncio.create_task(client.learn("m", IN_DOUBT))
                await asyncio.sleep(chance.uniform(0, 0.002))
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                samples = check_turn(running, samples, await client.learn("m", LATER))

    asyncio.run(use())


def interrupt_after(
    seconds: float, error: type[BaseException], action: Callable[[list[bool]], object]
) -> None:
    """Run ``action``. Raise ``error`` in it from a signal handler, after some seconds, and catch it.

    The argument of ``action`` is true until the signal arrives.
    """
    inside: list[bool] = []
    waiting = [True]

    def handler(*_: object) -> None:
        waiting.clear()
        if inside:
            inside.clear()
            raise error

    previous = signal.signal(signal.SIGUSR1, handler)
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGUSR1))
    timer.start()
    try:
        inside.append(True)
        action(waiting)
        inside.clear()
    except error:
        pass
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, previous)


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop])
def test_interrupted_calls(running: Running, error: type[BaseException]) -> None:
    chance = random.Random(SEED)
    samples = 0
    with Client(running.endpoints["requests"], timeout=60) as client:
        client.hello()
        for _ in range(TURNS):
            interrupt_after(chance.uniform(0, 0.002), error, lambda _: client.learn("m", IN_DOUBT))
            samples = check_turn(running, samples, client.learn("m", LATER))


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stop])
def test_interrupted_streams(running: Running, error: type[BaseException]) -> None:
    chance = random.Random(SEED)
    with Client(running.endpoints["requests"], timeout=60) as client, client.stream("m", batch=4) as stream:

        def push(waiting: list[bool]) -> None:
            while waiting:
                stream.push(LATER[0])

        for _ in range(TURNS):
            interrupt_after(chance.uniform(0, 0.001), error, push)
        stream.flush()
        assert stream.acknowledged == stream.pushed
        assert running.wire.call("describe", "m")["samples"] == stream.pushed


def test_a_producer_that_the_daemon_forgets(running: Running) -> None:
    """More senders than the table holds. Nobody loses a batch, and nobody notices."""
    client = Client(running.endpoints["requests"], timeout=60)
    with client, client.stream("m", batch=1) as stream:
        client.learn("m", LATER)
        stream.push(LATER[0])
        stream.flush()
        for number in range(4100):
            running.wire.learn(LATER, producer=f"~{number}", epoch=time.time_ns(), ack="received")
        assert not client.learn("m", LATER).duplicate
        stream.push(LATER[0])
        stream.flush()
        assert running.wire.call("describe", "m")["samples"] == 4104
