"""Keys, ids and late targets, sent by each class of the client: in order and exactly once."""

from __future__ import annotations

import asyncio
import random

import numpy as np
import pytest

from streamlearn_client import AsyncClient
from streamlearn_client.errors import BadDtype, BadShape, BadValue, NoAnswer
from streamlearn_client.protocol import Learn, Limits, identifier
from tests.client.fake import DROP

A = identifier("a")


@pytest.fixture
def fleet(daemon):
    return daemon.add("fleet", dim=2, targets=1, needs_keys=True, accepts_late_targets=True)


@pytest.fixture
def oven(daemon):
    return daemon.add("oven", dim=1, targets=1, accepts_late_targets=True)


def numbered(start: int, stop: int) -> np.ndarray:
    return np.arange(start, stop, dtype="f4").reshape(-1, 1)


def rows_of(model) -> list[tuple[str, float]]:
    """Return the received rows: ("x", sample) or ("y", id of a late target)."""
    return [
        ("x", row[0]) if batch.x is not None else ("y", id)
        for batch in model.batches
        for row, id in zip(batch.y if batch.x is None else batch.x, batch.ids, strict=True)
    ]


# client.learn


def test_learn(client, fleet):
    client.learn("fleet", [[1, 2], [3, 4]], keys=["a", 7], ids=[10, 11])
    client.learn("fleet", [[5, 6], [7, 8]], [[1], [np.nan]], keys="a")
    ack = client.learn_targets("fleet", [10, 11], [0.5, 0.25], keys=["a", 7])
    client.learn_targets("fleet", "one", 3, keys=7, ack="written")
    assert (ack.rows, ack.duplicate) == (2, False)
    assert (ack.matched, ack.unmatched) == (2, 0)
    assert client.learn("fleet", [[1, 2]], keys=1).matched is None
    samples, more, late, one, _ = fleet.batches
    assert (samples.keys.tolist(), samples.ids.tolist(), samples.y) == ([A, 7], [10, 11], None)
    assert (more.keys.tolist(), more.ids, more.y[0, 0]) == ([A, A], None, 1)
    assert (late.x, late.ids.tolist(), late.keys.tolist()) == (None, [10, 11], [A, 7])
    assert late.y.tolist() == [[0.5], [0.25]]
    assert (one.ids.tolist(), one.y.tolist(), one.ack) == ([identifier("one")], [[3]], "written")
    assert [batch.seq for batch in fleet.batches] == [0, 1, 2, 3, 4]


def test_targets_without_a_waiting_sample_are_counted(daemon, client, oven):
    daemon.limits = Limits(rows=3)
    client.learn("oven", numbered(0, 5), ids=list(range(5)))
    ack = client.learn_targets("oven", [3, 4, 5, 6, 7], numbered(0, 5))
    assert (ack.rows, ack.matched, ack.unmatched) == (5, 2, 3)
    with client.stream("oven", batch=2) as stream:
        stream.push_targets([0, 1, 2, 9, 8], numbered(0, 5))
        assert (stream.flush().matched, stream.matched, stream.unmatched) == (0, 3, 2)


def test_predict(daemon, client, fleet):
    client.predict("fleet", [[1, 2], [3, 4]], keys=["a", 7])
    assert daemon.requests[-1].keys.tolist() == [A, 7]
    client.predict("fleet", [[1, 2], [3, 4]], "a")
    assert daemon.requests[-1].keys.tolist() == [A, A]


def test_explain(daemon, client, fleet):
    out = client.explain("fleet", [[1, 2], [3, 4]], [[0.5], [None]], keys=["a", 7])
    assert out.expected.shape == out.contribution.shape == (2, 2)
    assert np.array_equal(daemon.requests[-1].y, np.array([[0.5], [np.nan]], np.float32), equal_nan=True)
    assert daemon.requests[-1].keys.tolist() == [A, 7]
    client.explain("fleet", [1, 2], keys="a")
    assert daemon.requests[-1].y is None
    with pytest.raises(BadShape):
        client.explain("fleet", [[1, 2], [3, 4]], [[0.5]], "a")


def test_large_batches_are_split_with_all_their_arrays(daemon, client, fleet):
    daemon.limits = Limits(rows=4, frame_bytes=24)
    x, ids = np.arange(20, dtype="f4").reshape(10, 2), np.arange(10)
    assert client.learn("fleet", x, x[:, :1], keys=ids + 100, ids=ids).rows == 10
    client.learn_targets("fleet", ids, x[:, :1], keys=7)
    assert [batch.rows for batch in fleet.batches] == [3, 3, 3, 1] * 2
    for batches in (fleet.batches[:4], fleet.batches[4:]):
        assert np.concatenate([batch.ids for batch in batches]).tolist() == ids.tolist()
        assert np.concatenate([batch.y for batch in batches]).tolist() == x[:, :1].tolist()
    assert np.concatenate([batch.keys for batch in fleet.batches]).tolist() == [*(ids + 100), *[7] * 10]


def test_the_client_refuses_arrays_of_different_lengths(client, fleet):
    for call, error in (
        (lambda: client.learn("fleet", [[1, 2]], keys=[1, 2]), BadShape),
        (lambda: client.learn("fleet", [[1, 2]], keys=1.5), BadDtype),
        (lambda: client.learn("fleet", [[1, 2]], keys=1, ids=2**63), BadValue),
        (lambda: client.learn("fleet", None, [[1]], keys=1), BadShape),
        (lambda: client.learn_targets("fleet", [1, 2], [[1]], keys=1), BadShape),
        (lambda: client.learn_targets("fleet", [[1], [2, 3]], [[1], [2]], keys=1), BadShape),
        (lambda: client.learn_targets("fleet", [], []), BadShape),
        (lambda: client.learn_targets("fleet", [1], None), BadShape),
        (lambda: client.predict("fleet", [[1, 2]], keys=[1, 2]), BadShape),
    ):
        with pytest.raises(error):
            call()
    assert not fleet.batches


# streams


def test_a_stream_of_samples_and_their_targets_in_order(client, oven):
    reported = []
    with client.stream("oven", batch=4, window=3) as stream:
        for i in range(0, 60, 3):
            stream.push_many(numbered(i, i + 3), ids=range(i, i + 3))
            reported += [("x", i), ("x", i + 1), ("x", i + 2)]
            if i % 2:
                stream.push_targets([i, i + 1], [[0], [1]])
                reported += [("y", i), ("y", i + 1)]
    assert rows_of(oven) == reported
    assert all(batch.rows <= 4 for batch in oven.batches)
    assert stream.acknowledged == len(reported)


@pytest.mark.parametrize("seed", range(2))
def test_with_repeated_crashes_each_row_is_learned_once_and_in_order(daemon, client, oven, seed):
    chance = random.Random(seed)
    daemon.fault = lambda request: DROP if isinstance(request, Learn) and chance.random() < 0.1 else None
    reported = []
    with client.stream("oven", batch=8, window=16, interval=0.005) as stream:
        for i in range(600):
            if chance.random() < 0.5:
                stream.push([i], ids=i)
                reported.append(("x", i))
            else:
                stream.push_targets(i, chance.random())
                reported.append(("y", i))
            if chance.random() < 0.02:
                daemon.kill()
                daemon.start()
    assert rows_of(oven) == reported


def test_all_rows_of_a_batch_have_the_same_arrays(client, oven):
    with client.stream("oven", batch=100, interval=1000) as stream:
        stream.push([1])
        stream.push([2])
        stream.push([3], [4])
        stream.push([5], [6], ids=7)
        stream.push_targets(8, 9)
        stream.push_targets([9, 10], [11, 12])
        stream.push([1])
    assert [sorted(batch.arrays) for batch in oven.batches] == [
        ["x"], ["x", "y"], ["ids", "x", "y"], ["ids", "y"], ["x"],
    ]  # fmt: skip
    assert [batch.rows for batch in oven.batches] == [2, 1, 1, 3, 1]


def test_keys_in_a_stream(client, fleet):
    with client.stream("fleet", batch=3) as stream:
        stream.push([1, 2], keys="a", ids=1)
        stream.push_many([[3, 4], [5, 6], [7, 8]], keys=[7, "a", 8], ids=[2, 3, 4])
        stream.push_targets([1, 2], [0, 1], keys=["a", 7])
    assert [batch.keys.tolist() for batch in fleet.batches] == [[A, 7, A], [8], [A, 7]]
    assert [batch.ids.tolist() for batch in fleet.batches] == [[1, 2, 3], [4], [1, 2]]


def test_the_stream_refuses_arrays_that_the_model_does_not_accept(daemon, client, fleet):
    daemon.add("pump", dim=2)
    with client.stream("fleet") as fleets, client.stream("pump") as pumps:
        for push, message in (
            (lambda: pumps.push([1, 2], keys=1), "has no keys"),
            (lambda: pumps.push([1, 2], ids=1), "leave ids out"),
            (lambda: pumps.push_targets(1, 2), "accepts no late targets"),
            (lambda: fleets.push([1, 2]), "needs a key"),
            (lambda: fleets.push_targets(1, 2), "needs a key"),
            (lambda: fleets.push_targets(1, [2, 3], keys=1), "takes 1"),
            (lambda: fleets.push([1, 2], [2, 3], keys=1), "takes 1"),
            (lambda: fleets.push_many([[1, 2]], keys=[1, 2]), "keys has shape"),
        ):
            with pytest.raises(BadShape, match=message):
                push()
        with pytest.raises(BadValue, match="has inf"):
            fleets.push_targets(1, np.inf, keys=1)
    assert not fleet.batches
    assert not daemon.models["pump"].batches


def test_rows_with_alternating_arrays_use_bounded_memory(daemon, client, oven):
    """Each of these rows is a batch. So the window is full long before the stream is."""
    daemon.fault = lambda request: DROP if isinstance(request, Learn) else None
    stream = client.stream("oven", batch=8, window=2, interval=1000, timeout=0.1)
    for i in range(12):
        stream.push([i], ids=i)
        stream.push_targets(i, i)
    with pytest.raises(NoAnswer):
        stream.push([12], ids=12)
    assert stream.pending == 24
    daemon.fault = lambda request: None
    stream.flush(60)
    assert rows_of(oven) == [row for i in range(12) for row in (("x", i), ("y", i))]
    stream.close()


# asyncio and firehose


def test_asyncio(daemon, fleet, until):
    async def main():
        async with AsyncClient(daemon.endpoint, timeout=60) as client:
            await client.learn("fleet", [1, 2], keys="a", ids=1)
            assert (await client.learn_targets("fleet", [1], [2], keys="a")).rows == 1
            await client.predict("fleet", [1, 2], keys="a")
            async with client.stream("fleet", batch=2, window=1) as stream:
                for i in range(20):
                    await stream.push([i, i], keys=i, ids=i)
                    await stream.push_targets(i, i, keys=i)
                await stream.push_many([[0, 0]], keys=0, ids=[0])
            async with client.firehose("fleet") as firehose:
                await firehose.push([1, 2], keys="a", ids=1)
                await firehose.push_targets([1], [2], keys="a")

    asyncio.run(main())
    until(lambda: len(fleet.batches) == 2 + 41 + 2)
    kinds = "".join("x" if batch.x is not None else "y" for batch in fleet.batches)
    assert kinds == "xy" + "xy" * 20 + "x" + "xy"


def test_the_firehose(daemon, client, fleet, until):
    with client.firehose("fleet", producer="me") as firehose:
        firehose.push([[1, 2], [3, 4]], keys=["a", 7], ids=[1, 2])
        firehose.push_targets([1, 2], [5, 6], keys=["a", 7])
        with pytest.raises(BadShape):
            firehose.push_targets([1, 2], [5], keys=1)
        assert firehose.sent == 2
    until(lambda: len(fleet.batches) == 2)
    assert [(batch.producer, batch.seq) for batch in fleet.batches] == [("me", 0), ("me", 1)]
    assert [batch.keys.tolist() for batch in fleet.batches] == [[A, 7]] * 2
