"""The asyncio client: the same interface as the blocking one, and concurrency."""

from __future__ import annotations

import asyncio
import inspect

import numpy as np
import pytest

from streamlearn_client import AsyncClient, Client
from streamlearn_client.aio_channels import AsyncFirehose, AsyncSubscription
from streamlearn_client.aio_stream import AsyncStream
from streamlearn_client.errors import BadShape, NoAnswer, UnknownModel
from streamlearn_client.firehose import Firehose
from streamlearn_client.protocol import EventMessage
from streamlearn_client.stream import Stream
from streamlearn_client.subscription import Subscription
from tests.client.fake import IGNORE, once

X = np.arange(24, dtype="<f4").reshape(3, 8)


@pytest.fixture
def pump(daemon):
    return daemon.add("pump", dim=8)


def run(daemon, use, **options):
    async def main():
        async with AsyncClient(daemon.endpoint, **{"timeout": 60, **options}) as client:
            return await use(client)

    return asyncio.run(main())


def public(cls) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_")
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Client, AsyncClient),
        (Stream, AsyncStream),
        (Firehose, AsyncFirehose),
        (Subscription, AsyncSubscription),
    ],
)
def test_both_have_the_same_names(one, other):
    assert public(one) == public(other)


def test_every_operation(daemon):
    async def use(client):
        await client.create("pump", "som", dim=8, grid=(3, 3))
        ack = await client.learn("pump", X)
        out = await client.predict("pump", X)
        assert (ack.rows, out.winner.tolist()) == (3, [0, 1, 2])
        assert (await client.describe("pump"))["dim"] == 8
        assert [model["name"] for model in await client.models()] == ["pump"]
        assert await client.checkpoint("pump")
        assert await client.checkpoints("pump")
        assert await client.restore("pump")
        assert await client.reheat("pump", 0.5)
        assert await client.feedback("pump", [0.5, 1.0], "fault", "bearing")
        assert (await client.forecast("pump", 3)).shape == (3, 2)
        assert (await client.sample("pump", 3, key=7)).tolist() == [7, 7, 7]
        assert await client.stats()
        assert await client.hello()
        assert (await client.position("pump")).next_seq == 1
        with pytest.raises(BadShape):
            await client.learn("pump", [])
        await client.delete("pump")
        with pytest.raises(UnknownModel):
            await client.describe("pump")

    run(daemon, use)


def test_calls_run_concurrently(daemon, pump):
    """The daemon answers the first call after all others."""
    daemon.fault = lambda request: IGNORE if getattr(request, "op", "") == "checkpoint" else None

    async def use(client):
        slow = asyncio.create_task(client.checkpoint("pump"))
        await asyncio.gather(*(client.predict("pump", X) for _ in range(50)))
        assert not slow.done()
        daemon.fault = lambda request: None
        await slow

    run(daemon, use)


def test_concurrent_batches_for_one_model_are_numbered_in_order(daemon, pump):
    async def use(client):
        await asyncio.gather(*(client.learn("pump", X) for _ in range(20)))

    run(daemon, use)
    assert [batch.seq for batch in pump.batches] == list(range(20))


def test_a_daemon_that_does_not_run(daemon):
    daemon.kill()

    async def use(client):
        with pytest.raises(NoAnswer, match="streamlearn serve"):
            await client.models()

    run(daemon, use, timeout=0.1)


def test_a_daemon_that_restarts(daemon, pump):
    async def use(client):
        await client.learn("pump", X)
        await asyncio.to_thread(daemon.kill)
        pending = asyncio.create_task(client.learn("pump", X))
        await asyncio.to_thread(daemon.start)
        await pending

    run(daemon, use)
    assert len(pump.batches) == 2


def test_a_call_that_is_not_repeated_detects_every_connection_loss(daemon):
    async def use(client):
        for turn in range(20):
            daemon.fault = once("create", IGNORE, daemon.restart_soon)
            await client.create(f"pump{turn}", "som", dim=8)

    run(daemon, use)
    assert len(daemon.models) == 20


def test_a_call_can_be_cancelled(daemon, pump):
    async def use(client):
        daemon.fault = lambda request: IGNORE
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.models(), 0.05)
        daemon.fault = lambda request: None
        assert len(await client.models()) == 1

    run(daemon, use)


def test_a_stream(daemon, pump):
    async def use(client):
        async with client.stream("pump", batch=2, window=2) as stream:
            for row in np.repeat(X, 20, axis=0):
                await stream.push(row)
            await stream.push_many(X)
            await stream.flush()
            assert (stream.acknowledged, stream.pending) == (63, 0)
            assert stream.last_ack is not None

    run(daemon, use)
    assert np.array_equal(pump.rows, np.concatenate([np.repeat(X, 20, axis=0), X]))


def test_events(daemon, pump):
    async def use(client):
        async with client.subscribe("pump", timeout=60) as events:
            daemon.publish(EventMessage("created", "pump", 4))
            daemon.publish(EventMessage("deleted", "pump", 5))
            kinds = []
            async for event in events:
                kinds.append(event.kind)
                if event.kind == "deleted":
                    break
            assert await events.next_event(0) is None
        return kinds

    assert run(daemon, use) == ["created", "deleted"]


def test_the_firehose(daemon, pump, until):
    async def use(client):
        async with client.firehose("pump") as firehose:
            await firehose.push(X)
            await firehose.push(X)
            assert firehose.sent == 2

    run(daemon, use)
    until(lambda: len(pump.batches) == 2)
