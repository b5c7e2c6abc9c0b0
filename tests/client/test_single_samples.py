"""Single float32 samples, which streams and firehoses send without the general conversion."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import numpy as np
import pytest

from streamlearn_client import AsyncClient, Client
from streamlearn_client.errors import BadMessage, BadShape, BadValue, NoAnswer, StreamLost, UnknownModel
from streamlearn_client.protocol import Learn, Limits, Request
from tests.client.fake import IGNORE
from tests.client.test_stream import numbered


@pytest.fixture
def pump(daemon):
    return daemon.add("pump", dim=2)


def test_float32_samples_of_every_layout_in_memory(client, pump):
    """They are converted without the general conversion. Their values may overflow if they are squared."""
    wide = numbered(0, 40).repeat(2, axis=1)[:, ::2]  # not contiguous
    raw = bytearray(9)
    unaligned = np.frombuffer(memoryview(raw)[1:], "<f4")
    expected = [*wide[:5], *np.array([[3e38, 1e-45], [np.nan, 7], [np.nan, -3e38]], "<f4"), [5, 6]]
    with client.stream("pump", batch=4, interval=1000) as stream:
        for sample in wide[:5]:
            assert not sample.flags.c_contiguous
            stream.push(sample)
        with np.errstate(all="raise"):
            for sample in expected[5:8]:
                stream.push(sample)
        unaligned[:] = 5, 6
        stream.push(unaligned)
        unaligned[:] = np.nan  # the stream has a copy
        for sample in ([1, np.inf], [-np.inf, 0], [np.nan, np.inf]):
            with pytest.raises(BadValue, match="inf in column"):
                stream.push(np.array(sample, "<f4"))
        for shape in (1, 3, (1, 2), ()):
            with pytest.raises(BadShape):
                stream.push(np.zeros(shape, "<f4"))
        stream.push(np.array([1, 2], ">f4"))
    assert np.array_equal(pump.rows, np.array([*expected, [1, 2]], "<f4"), equal_nan=True)


@pytest.mark.parametrize("dim", [1, 3, 64, 65, 200])
def test_infinities_are_found_in_every_channel(daemon, client, dim):
    """Also beside values whose bytes look like infinity across the border of two values."""
    wide = daemon.add("wide", dim=dim)
    finite = [np.full(dim, value, "<f4") for value in (0, -1.5, np.nan, np.finfo("<f4").max, 1e-45)]
    across = np.array([1, 0x3F807F80, 1, 0x3F80FF80], "<u4")  # 1.0 and some, after a tiny value
    finite.append(np.resize(across, dim).view("<f4"))
    with client.stream("wide", batch=16) as stream:
        for sample in finite:
            assert not np.isinf(sample).any()
            stream.push(sample)
            for channel in range(dim):
                wrong = sample.copy()
                wrong[channel] = np.inf if channel % 2 else -np.inf
                with pytest.raises(BadValue, match=f"inf in column {channel} "):
                    stream.push(wrong)
    assert np.array_equal(wide.rows, finite, equal_nan=True)


@pytest.mark.parametrize("seed", range(4))
def test_samples_one_by_one_between_batches_keep_their_order(client, pump, seed):
    print("seed", seed)
    rng = random.Random(seed)
    rows = numbered(0, 300)
    with client.stream("pump", batch=7, window=3, interval=1000) as stream:
        at = 0
        while at < len(rows):
            if rng.random() < 0.7:
                stream.push(rows[at])
                at += 1
            else:
                many = rng.randrange(1, 20)
                stream.push_many(rows[at : at + many])
                at += many
            assert stream.pushed == min(at, len(rows))
    assert np.array_equal(pump.rows, rows)


@pytest.mark.parametrize("pushed_before", [0, 1, 5, 7])
def test_the_sample_that_completes_a_batch_sends_it(client, pump, until, pushed_before):
    """However many samples wait, and whether they were added one by one or together."""
    rows = numbered(0, 40)
    with client.stream("pump", batch=8, interval=None) as stream:
        if pushed_before:
            stream.push_many(rows[:pushed_before])
        for end in (8, 16, 24, 32, 40):
            for row in rows[stream.pushed : end - 1]:
                stream.push(row)
            until(lambda: not stream._sender._wakeup._signalled)  # the thread has seen all others
            stream.push(rows[end - 1])
            until(lambda end=end: len(pump.rows) == end)
    assert np.array_equal(pump.rows, rows)


@pytest.mark.parametrize("pushed_before", [0, 3, 7])
def test_a_full_stream_accepts_no_further_sample(daemon, client, pump, pushed_before):
    rows = numbered(0, 30)
    daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
    with client.stream("pump", batch=4, window=2, interval=None, timeout=0.05) as stream:
        if pushed_before:
            stream.push_many(rows[:pushed_before])
        for row in rows[pushed_before:12]:
            stream.push(row)
        for _ in range(3):
            with pytest.raises(NoAnswer):
                stream.push(rows[12])
        assert stream.pushed == stream.pending == 12
        stream.abort()


def test_without_an_interval_samples_wait_for_nothing_but_the_batch_in_transit(daemon, client, pump, until):
    rows, gate = numbered(0, 6), threading.Event()
    daemon.fault = lambda request: gate.wait(60) and None if isinstance(request, Learn) else None
    with client.stream("pump", batch=8, window=1, interval=0) as stream:
        stream.push(rows[0])
        until(lambda: stream._sender.window.pending)
        for row in rows[1:]:
            stream.push(row)
        gate.set()
        until(lambda: stream.acknowledged == 6)
        stream.push(rows[0])
        until(lambda: stream.acknowledged == 7)
    assert [batch.rows for batch in pump.batches] == [1, 5, 1]


def test_a_failed_stream_accepts_no_further_sample(daemon, client, pump, until):
    rows, gate = numbered(0, 10), threading.Event()
    daemon.fault = lambda request: UnknownModel(f"{gate.wait(60)}") if isinstance(request, Learn) else None
    with client.stream("pump", batch=8, interval=None) as stream:
        for row in rows[:8]:
            stream.push(row)
        until(lambda: len(stream._sender.window))
        stream.push(rows[8])
        gate.set()
        until(lambda: stream._sender.window.failure)
        with pytest.raises(StreamLost):
            stream.push(rows[9])
        stream.abort()


TIMES = np.arange(300) * 10**9 + 1_700_000_000_000_000_000


def times_of(pump) -> list[int | None]:
    """The time of each row; None for rows without one."""
    found: list[int | None] = []
    for batch in pump.batches:
        found += [None] * batch.rows if batch.times is None else batch.times.tolist()
    return found


@pytest.mark.parametrize("seed", range(3))
def test_samples_with_and_without_times_keep_them(daemon, client, pump, until, seed):
    """Times that are integers take the short way of a single sample; all others are converted."""
    print("seed", seed)
    rng, rows = random.Random(seed), numbered(0, 300)
    expected: list[int | None] = []
    with (
        client.stream("pump", batch=7, window=3, interval=1000) as stream,
        client.firehose("pump") as firehose,
    ):
        for i, time in enumerate(TIMES.tolist()):
            form = rng.randrange(5)
            given = [None, time, np.datetime64(time, "ns"), np.int64(time), time][form]
            expected.append(None if form == 0 else time)
            if form == 4:
                stream.push_many(rows[i : i + 1], times=[time])
            else:
                stream.push(rows[i], times=given)
        stream.flush()
        assert times_of(pump) == expected
        assert np.array_equal(pump.rows, rows)
        for time in (TIMES[0].item(), None, np.datetime64(5, "ns"), -7):
            firehose.push(rows[0], times=time)
        until(lambda: len(times_of(pump)) == 304)
    assert times_of(pump)[300:] == [TIMES[0], None, 5, -7]
    for push in (stream.push, firehose.push):
        with pytest.raises(BadValue, match="times"):
            push(rows[0], times=-(2**63))


def test_single_samples_of_a_firehose(daemon, client, pump, until):
    """A float32 vector is sent as it is. Anything else, also between two of them, is converted first."""
    x = np.arange(16, dtype="<f4").reshape(8, 2)[:, ::-1]  # not contiguous
    values = [x[0], x[1], x[2:4], list(x[4]), x[5], np.array(x[6], ">f4"), x[7]]
    with client.firehose("pump", producer="me") as firehose:
        for value in values:
            firehose.push(value)
        reused = np.zeros(2, "<f4")
        firehose.push(reused)
        reused[:] = 9  # the firehose has a copy
        for wrong in (np.zeros(0, "<f4"), np.zeros((0, 2), "<f4"), np.float32(1)):
            with pytest.raises(BadShape):
                firehose.push(wrong)
        until(lambda: len(pump.batches) == 8)
        assert firehose.sent == 8
    assert np.array_equal(pump.rows, [*x, [0, 0]])
    assert [batch.seq for batch in pump.batches] == list(range(8))


def test_a_daemon_that_refuses_cumulative_acks_serves_the_stream(daemon, client, pump):
    asked = []

    def refuse(request):
        if isinstance(request, Request) and request.fields.get("cumulative_acks"):
            asked.append(request)
            return BadMessage("hello has no field 'cumulative_acks'")
        return None

    daemon.fault = refuse
    with client.stream("pump", batch=1) as stream:
        stream.push_many(numbered(0, 20))
        stream.flush()
        daemon.kill()
        daemon.start()
        stream.push_many(numbered(20, 40))
    assert np.array_equal(pump.rows, numbered(0, 40))
    assert len(asked) == 2, "asked once per connection"


def test_a_large_batch_is_sent_to_the_firehose_in_parts(daemon, client, pump, until):
    x = np.arange(300_000, dtype="<f4").reshape(-1, 2)  # 1.2 MB
    ids = np.arange(len(x))
    with client.firehose("pump", producer="me") as firehose:
        firehose.push(x, ids=ids)
        until(lambda: sum(len(batch.x) for batch in pump.batches) == len(x))
        assert firehose.sent == 2
    assert np.array_equal(pump.rows, x)
    assert np.array_equal(np.concatenate([batch.ids for batch in pump.batches]), ids)
    assert [batch.seq for batch in pump.batches] == [0, 1]
    daemon.limits = Limits(frame_bytes=1 << 21)  # 128 KiB for the firehose
    with Client(daemon.endpoint) as other, other.firehose("pump") as firehose:
        firehose.push(x)
        until(lambda: sum(len(batch.x) for batch in pump.batches) == 2 * len(x))
        assert firehose.sent == 10
    assert max(batch.x.nbytes for batch in pump.batches[2:]) <= 1 << 17


def test_samples_of_an_asyncio_stream_do_not_overtake_those_that_wait(daemon, pump):
    """The first samples wait for space. A later one is added after them, also if there is space by then."""
    rows, gate = numbered(0, 30), threading.Event()

    def hold(request):
        if isinstance(request, Learn):
            assert gate.wait(60)

    async def main():
        async with AsyncClient(daemon.endpoint) as client, client.stream("pump", batch=2, window=1) as stream:
            for row in rows[:4]:
                await stream.push(row)
            with pytest.raises(BadValue):
                await stream.push(np.array([np.inf, 0], "<f4"))
            waiting = [asyncio.create_task(stream.push(row)) for row in rows[4:20]]
            while not stream._push_lock.locked():
                await asyncio.sleep(0)
            assert stream.pushed == 4
            gate.set()
            while stream.stream._sender.window.acknowledged < 4:
                time.sleep(0.001)  # no waiting task runs meanwhile
            for row in rows[20:]:
                await stream.push(row)
            await asyncio.gather(*waiting)

    daemon.fault = hold
    asyncio.run(main())
    assert np.array_equal(pump.rows, rows)
