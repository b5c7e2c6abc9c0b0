"""Batches with an idempotency key are learned once: in any number of attempts, from several processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from streamlearn_client import AsyncClient, Client
from streamlearn_client.errors import BadValue, Conflict, Gap, StreamlearnError
from tests.daemon.harness import Running, X


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.endpoints["requests"], timeout=60) as client:
        yield client


def samples(client: Client) -> int:
    return int(client.describe("m")["samples"])


def test_a_repeated_batch_is_learned_once(running: Running, client: Client) -> None:
    first = client.learn("m", X[:5], idempotency_key="morning")
    with Client(running.endpoints["requests"], timeout=60) as other:
        second = other.learn("m", X[:5], idempotency_key="morning")
    assert (first.duplicate, second.duplicate) == (False, True)
    assert second.lsn == first.lsn
    assert samples(client) == 5
    assert not client.learn("m", X[:5], idempotency_key="noon").duplicate
    assert samples(client) == 10


def test_another_batch_with_the_same_key_is_refused(client: Client) -> None:
    client.learn("m", X[:5], idempotency_key="morning")
    with pytest.raises(Conflict):
        client.learn("m", X[5:9], idempotency_key="morning")
    assert samples(client) == 5


def test_a_batch_in_parts_continues_where_an_attempt_ended(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamlearn_client.session.rows_per_batch", lambda *_: 4)
    client.learn("m", X[:8], idempotency_key="file")
    ack = client.learn("m", X[:20], idempotency_key="file")
    assert ack.rows == 20
    assert samples(client) == 20


def test_numbered_parts_of_one_key(client: Client) -> None:
    for duplicate in (False, True):
        acks = [client.learn("m", X[5 * n : 5 * n + 5], idempotency_key="file", part=n) for n in range(3)]
        assert [ack.duplicate for ack in acks] == [duplicate] * 3
        assert samples(client) == 15
    with pytest.raises(Gap):
        client.learn("m", X[:5], idempotency_key="file", part=4)
    with pytest.raises(BadValue, match="part 1 needs an idempotency_key"):
        client.learn("m", X[:5], part=1)


def test_attempts_at_the_same_time_are_learned_once(running: Running, client: Client) -> None:
    async def both() -> None:
        endpoint = running.endpoints["requests"]
        async with AsyncClient(endpoint, timeout=60) as one, AsyncClient(endpoint, timeout=60) as two:
            for n in range(30):
                acks = await asyncio.gather(
                    *(each.learn("m", X[:3], idempotency_key=f"batch {n}") for each in (one, two, one))
                )
                assert sorted(ack.duplicate for ack in acks) == [False, True, True]

    asyncio.run(both())
    assert samples(client) == 90


def test_a_forgotten_producer_with_a_late_epoch_does_not_matter(client: Client) -> None:
    """Generated producers with the clock as their epoch are forgotten; then a new key is accepted still."""
    for n in range(4200):
        client.learn("m", X[:1], idempotency_key=f"{n}", ack="received")
    with Client(client.endpoint, timeout=60) as other:
        other.learn("m", X[:1])
    assert not client.learn("m", X[:1], idempotency_key="0").duplicate, "the first keys are forgotten"
    assert client.learn("m", X[:1], idempotency_key="4199").duplicate


def test_keys_survive_a_restart(serve: Callable[..., Running]) -> None:
    first = serve()
    first.wire.create()
    with Client(first.endpoints["requests"], timeout=60) as client:
        client.learn("m", X[:5], idempotency_key="morning")
    first.stop()
    second = serve()
    with Client(second.endpoints["requests"], timeout=60) as client:
        assert client.learn("m", X[:5], idempotency_key="morning").duplicate
        assert samples(client) == 5


@pytest.mark.parametrize("key", ["", "x" * 257, 7])
def test_a_bad_key_is_refused(client: Client, key: object) -> None:
    with pytest.raises(BadValue, match="idempotency_key must be text of 1 to 256 bytes"):
        client.learn("m", np.zeros((1, 2)), idempotency_key=key)  # type: ignore[arg-type]
    assert samples(client) == 0


def test_an_error_leaves_the_key_unused(client: Client) -> None:
    with pytest.raises(StreamlearnError):
        client.learn("m", np.zeros((1, 3)), idempotency_key="morning")
    assert not client.learn("m", X[:1], idempotency_key="morning").duplicate
