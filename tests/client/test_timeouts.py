"""One rule for all timeouts, and channels that another thread closes."""

from __future__ import annotations

import asyncio
import math
import threading
import time

import numpy as np
import pytest

from streamlearn_client import AsyncClient, Client
from streamlearn_client.errors import BadValue, NoAnswer
from streamlearn_client.protocol import EventMessage, Learn
from streamlearn_client.timeouts import Deadline, check_timeout
from tests.client.fake import IGNORE

NO_LIMIT = [None, math.inf, 1e12, 10**400, np.float32(np.inf), np.int64(2**62), 1e308]
REFUSED = [-1, -0.001, -math.inf, math.nan, "5", "", b"5", True, False, [5], (5,), 1j, np.float64(np.nan)]


@pytest.fixture
def pump(daemon):
    return daemon.add("pump", dim=1)


@pytest.mark.parametrize("value", NO_LIMIT)
def test_no_limit(value):
    assert check_timeout(value) == math.inf
    assert Deadline(check_timeout(value)).remaining() == math.inf


@pytest.mark.parametrize("value", [1, 0.5, 1e-9, np.float32(2), np.int8(3), 86400 * 365])
def test_a_limit(value):
    assert check_timeout(value) == float(value)


@pytest.mark.parametrize("value", REFUSED)
def test_refused_everywhere(daemon, client, pump, value):
    uses = [
        lambda: Client(daemon.endpoint, timeout=value),
        lambda: AsyncClient(daemon.endpoint, timeout=value),
        lambda: client.stream("pump", timeout=value),
        lambda: client.stream("pump", interval=value),
        lambda: client.subscribe("pump", timeout=value),
    ]
    with client.stream("pump") as stream, client.subscribe("pump") as events:
        uses += [lambda: stream.flush(value), lambda: stream.close(value), lambda: events.next_event(value)]
        for use in uses:
            with pytest.raises(BadValue, match="None for no limit") as caught:
                use()
            assert caught.value.detail["field"] in ("timeout", "interval")

    async def refuse():
        async with AsyncClient(daemon.endpoint) as client:
            with pytest.raises(BadValue):
                client.subscribe("pump", timeout=value)
            async with client.stream("pump") as stream, client.subscribe("pump") as events:
                for call in (stream.flush(value), stream.close(value), events.next_event(value)):
                    with pytest.raises(BadValue):
                        await call

    asyncio.run(refuse())


@pytest.mark.parametrize("value", [None, math.inf, 1e12])
def test_no_limit_everywhere(daemon, pump, value):
    with Client(daemon.endpoint, timeout=value) as client:
        assert client.learn("pump", [0]).rows == 1
        with client.stream("pump", timeout=value) as stream, client.firehose("pump") as firehose:
            stream.push([1])
            stream.flush(value)
            firehose.push([2])
            stream.close(value)
        with client.subscribe("pump", timeout=value) as events:
            daemon.publish(EventMessage("created", "pump", 1))
            daemon.publish(EventMessage("deleted", "pump", 1))
            assert next(events).kind == "created"
            assert events.next_event(value).kind == "deleted"

    async def use():
        async with AsyncClient(daemon.endpoint, timeout=value) as client:
            assert (await client.learn("pump", [3])).rows == 1
            async with client.stream("pump", timeout=value) as stream, client.firehose("pump") as firehose:
                await stream.push([4])
                await stream.flush(value)
                await firehose.push([5])
                await stream.close(value)
            async with client.subscribe("pump", timeout=value) as events:
                daemon.publish(EventMessage("created", "pump", 1))
                assert (await anext(events)).kind == "created"

    asyncio.run(use())


def test_zero_does_not_wait_where_waiting_is_optional(daemon, client, pump):
    daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
    stream = client.stream("pump")
    stream.push([0])
    with pytest.raises(NoAnswer):
        stream.flush(0)
    stream.abort()
    for use in (lambda: Client(daemon.endpoint, timeout=0), lambda: client.stream("pump", timeout=0)):
        with pytest.raises(BadValue, match="more than 0"):
            use()


# close() in another thread


def test_close_ends_an_iteration_in_another_thread(daemon, client, pump):
    for turn in range(20):
        events = client.subscribe("pump")
        seen = []
        thread = threading.Thread(target=lambda events=events, seen=seen: seen.extend(events))
        thread.start()
        if turn % 2:
            daemon.publish(EventMessage("created", "pump", 1))
            wait(lambda seen=seen: seen)
        events.close()
        thread.join(60)
        assert not thread.is_alive()
        assert events.next_event() is None
        assert events._connection.socket.closed


def wait(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_close_ends_an_asyncio_iteration(daemon, pump):
    async def main(closed_by_thread):
        async with (
            AsyncClient(daemon.endpoint, timeout=60) as client,
            client.subscribe("pump") as events,
        ):
            iterations = [asyncio.create_task(collect(events)) for _ in range(3)]
            await asyncio.sleep(0)
            if closed_by_thread:
                await asyncio.to_thread(asyncio.run, events.close())
            else:
                await events.close()
            async with asyncio.timeout(60):
                assert await asyncio.gather(*iterations) == [[], [], []]
            assert await events.next_event() is None

    asyncio.run(main(False))
    asyncio.run(main(True))


async def collect(events):
    return [event async for event in events]


def test_a_cancelled_next_event_loses_no_event(daemon, pump):
    async def main():
        async with (
            AsyncClient(daemon.endpoint, timeout=60) as client,
            client.subscribe("pump") as events,
        ):
            seen = []
            for lsn in range(200):
                daemon.publish(EventMessage("created", "pump", lsn))
            async with asyncio.timeout(60):
                while len(seen) < 200:
                    try:
                        async with asyncio.timeout(0.0002):
                            seen.append((await events.next_event()).lsn)
                    except TimeoutError:
                        await asyncio.sleep(0)
            assert seen == list(range(200))

    asyncio.run(main())


def test_closing_a_firehose_ends_a_push_that_waits(daemon, client, pump):
    client.hello()
    client.timeout = None
    firehose = client.firehose("pump")
    daemon.kill()
    raised = []

    def push():
        try:
            while True:
                firehose.push([0])
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=push)
    thread.start()
    firehose.close()
    thread.join(60)
    assert "closed" in str(raised[0])
