"""Cancelled calls of the asyncio client: they harm no later call, and a cancelled push added nothing."""

from __future__ import annotations

import asyncio
import pkgutil
import threading
from contextlib import suppress

import numpy as np
import pytest

from streamlearn_client import AsyncClient
from streamlearn_client.errors import NoAnswer, StreamLost
from streamlearn_client.protocol import Learn, Request
from tests.client.fake import IGNORE
from tests.client.interrupts import Stop, batch, check_learned


@pytest.fixture
def pump(daemon):
    return daemon.add("pump", dim=1)


def run(daemon, use, **options):
    async def main():
        async with AsyncClient(daemon.endpoint, **{"timeout": 60, **options}) as client:
            return await use(client)

    return asyncio.run(main())


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


class Gate:
    """A fault that holds the daemon in a request until `open`."""

    def __init__(self, op: str) -> None:
        self._op = op
        self.entered, self._open = threading.Event(), threading.Event()

    def __call__(self, request):
        if (request.op if isinstance(request, Request) else "learn") == self._op:
            self.entered.set()
            assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()


async def cancelled(task) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("steps", range(12))
def test_a_learn_cancelled_after_some_steps_of_the_loop(daemon, pump, steps):
    async def use(client):
        await client.learn("pump", batch(0))
        acknowledged, in_doubt = [0], []
        for turn in range(1, 5):
            task = asyncio.create_task(client.learn("pump", batch(10 * turn)))
            for _ in range(steps):
                await asyncio.sleep(0)
            await cancelled(task)
            in_doubt.append(10 * turn)
            assert not (await client.learn("pump", batch(10 * turn + 1))).duplicate
            acknowledged.append(10 * turn + 1)
        return acknowledged, in_doubt

    check_learned(pump, *run(daemon, use))


@pytest.mark.parametrize("how", ["cancel", "wait_for", "close"])
def test_the_late_answer_of_a_cancelled_learn_reaches_no_other_call(daemon, pump, how):
    async def use(client):
        await client.learn("pump", batch(0))
        gate = daemon.fault = Gate("learn")
        if how == "close":
            coroutine = client.learn("pump", batch(1))
            coroutine.send(None)
            await until(gate.entered.is_set)
            coroutine.close()
        elif how == "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.learn("pump", batch(1)), 0.05)
        else:
            task = asyncio.create_task(client.learn("pump", batch(1)))
            await until(gate.entered.is_set)
            await cancelled(task)
        later = asyncio.create_task(client.learn("pump", batch(2)))
        await asyncio.sleep(0)
        gate.open()
        assert not (await later).duplicate

    run(daemon, use)
    check_learned(pump, [0, 2], [1])


@pytest.mark.parametrize("op", ["create", "delete"])
def test_learning_goes_on_after_a_cancelled_create_or_delete(daemon, op):
    async def use(client):
        await client.create("pump", "som", dim=1)
        await client.learn("pump", batch(0))
        if op == "create":
            await client.delete("pump")
        gate = daemon.fault = Gate(op)
        call = client.create("pump", "som", dim=1) if op == "create" else client.delete("pump")
        task = asyncio.create_task(call)
        await until(gate.entered.is_set)
        await cancelled(task)
        gate.open()
        daemon.fault = lambda request: None
        if op == "delete":
            await client.create("pump", "som", dim=1)
        assert not (await client.learn("pump", batch(1))).duplicate

    run(daemon, use)
    check_learned(daemon.models["pump"], [1], [])


def test_cancelled_learns_that_take_turns(daemon, pump):
    """Of 20 concurrent batches every other one is cancelled."""

    async def use(client):
        tasks = [asyncio.create_task(client.learn("pump", batch(i))) for i in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results[::2])
        assert not any(result.duplicate for result in results[1::2])

    run(daemon, use)
    check_learned(pump, list(range(1, 20, 2)), list(range(0, 20, 2)))


# streams and firehoses


def test_a_cancelled_push_added_nothing(daemon, pump):
    async def use(client):
        async with client.stream("pump", batch=1, window=2) as stream:
            daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
            for i in range(10):
                try:
                    await asyncio.wait_for(stream.push([i]), 0.02)
                except TimeoutError:
                    assert stream.pushed == i
                    daemon.fault = lambda request: None
                    await stream.push([i])
                assert stream.pushed == i + 1

    run(daemon, use)
    assert pump.rows[:, 0].tolist() == list(range(10))


def test_a_cancelled_push_many_added_all_or_nothing(daemon, pump):
    async def use(client):
        async with client.stream("pump", batch=2, window=1) as stream:
            daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
            await stream.push_many([[0], [1], [2], [3]])
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(stream.push_many([[4], [5], [6]]), 0.02)
            assert stream.pushed == 4
            daemon.fault = lambda request: None
            await stream.push_many([[4], [5], [6]])

    run(daemon, use)
    assert pump.rows[:, 0].tolist() == list(range(7))


def test_a_cancelled_flush_or_close_keeps_the_samples(daemon, pump):
    async def use(client):
        async with client.stream("pump") as stream:
            daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
            await stream.push([0])
            for call in (stream.flush, stream.close):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(call(), 0.02)
            with pytest.raises(NoAnswer):
                await stream.flush(0)
            await stream.push([1])
            daemon.fault = lambda request: None

    run(daemon, use)
    assert pump.rows[:, 0].tolist() == [0, 1]


async def fails(client):
    async with client.stream("pump", timeout=0.05) as stream:
        await stream.push([3])
        raise KeyError("mine")


def test_close_abort_and_the_end_of_the_block(daemon, pump):
    async def use(client):
        async with client.stream("pump", interval=None) as stream:
            await stream.push([0])
            await stream.close()
            assert stream.acknowledged == 1
        async with client.stream("pump", interval=None) as stream:
            await stream.push([1])
            await stream.abort()
            with pytest.raises(StreamLost, match="closed"):
                await stream.push([1])
        daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
        with pytest.raises(StreamLost, match="1 samples wait"):
            async with client.stream("pump", timeout=0.05) as stream:
                await stream.push([2])
        with pytest.raises(KeyError) as caught:
            await fails(client)
        assert "1 samples that were pushed" in caught.value.__notes__[0]

    run(daemon, use)
    assert pump.rows[:, 0].tolist() == [0]


def test_a_cancelled_block_keeps_its_stream_from_hanging(daemon, pump, monkeypatch):
    monkeypatch.setattr("streamlearn_client.stream.EXCEPTION_FLUSH_TIMEOUT", 60.0)

    async def use(client):
        pushed = asyncio.Event()

        async def push():
            async with client.stream("pump", interval=None) as stream:
                await stream.push([0])
                pushed.set()
                await asyncio.sleep(1000)

        task = asyncio.create_task(push())
        await pushed.wait()
        await cancelled(task)

    run(daemon, use)
    assert pump.rows[:, 0].tolist() == [0]


def test_a_closed_coroutine_flushes_its_stream(daemon, pump, monkeypatch):
    monkeypatch.setattr("streamlearn_client.stream.EXCEPTION_FLUSH_TIMEOUT", 60.0)

    async def use(client):
        stream = client.stream("pump", interval=None)

        async def push():
            async with stream:
                await stream.push([0])
                await asyncio.get_running_loop().create_future()

        coroutine = push()
        while True:
            awaited = coroutine.send(None)
            if stream._stream is not None and stream.pushed:
                break
            if awaited is None:
                await asyncio.sleep(0)
            else:  # wait as a task does
                awaited._asyncio_future_blocking = False
                await asyncio.wait([awaited])
        coroutine.close()

    run(daemon, use)
    assert pump.rows[:, 0].tolist() == [0]


async def until_cancelled(firehose):
    """Push until a push is cancelled. The socket may accept batches shortly after the connection is lost."""
    with suppress(TimeoutError):
        while True:
            await asyncio.wait_for(firehose.push(batch(1)), 0.2)


def test_a_cancelled_firehose_push_sent_nothing(daemon, pump):
    async def use(client):
        async with client.firehose("pump") as firehose:
            await firehose.push(batch(0))
            await until(lambda: pump.batches)
            await asyncio.to_thread(daemon.kill)
            await until_cancelled(firehose)
            sent = firehose.sent
            await asyncio.to_thread(daemon.start)
            await firehose.push(batch(2))
            assert firehose.sent == sent + 1
            await until(lambda: len(pump.batches) > 1)

    run(daemon, use)
    check_learned(pump, [0, 2], [])


# the client itself


def test_closing_the_client_ends_calls_that_wait(daemon, pump):
    daemon.fault = lambda request: IGNORE

    async def use(client):
        task = asyncio.create_task(client.models())
        await until(lambda: daemon.requests)
        await client.close()
        with pytest.raises(NoAnswer, match="closed before the answer"):
            await task

    run(daemon, use, timeout=None)


@pytest.mark.parametrize(
    "point",
    ["streamlearn_client.aio_transport.read_reply", "streamlearn_client.sockets.Connection.process_event"],
)
def test_a_task_that_a_signal_handler_ended_is_replaced(daemon, pump, monkeypatch, point):
    """asyncio does not pass on an exception that ends a task, and calls would wait for it in vain."""
    reported = []

    async def use(client):
        await client.learn("pump", batch(0))
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
        raise_once_at(monkeypatch, point)
        daemon.fault = lambda request: daemon.restart_soon() if not reported else None
        assert (await client.learn("pump", batch(1))).rows == 1
        assert (await client.learn("pump", batch(2))).rows == 1

    run(daemon, use)
    assert isinstance(reported[0]["exception"], Stop)
    check_learned(pump, [0, 1, 2], [])


def raise_once_at(monkeypatch, point):
    module, _, name = point.rpartition(".")
    owner = pkgutil.resolve_name(module)
    original = getattr(owner, name)

    def interrupted(*arguments):
        monkeypatch.setattr(owner, name, original)
        raise Stop

    monkeypatch.setattr(owner, name, interrupted)


def test_a_client_is_used_by_several_event_loops_in_turn(daemon, pump):
    client = AsyncClient(daemon.endpoint, timeout=60)
    for number in range(3):
        asyncio.run(client.learn("pump", batch(number)))
    asyncio.run(client.close())
    assert np.array_equal(pump.rows[:, 0], [0, 1, 2])
