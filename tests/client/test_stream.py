"""A stream against a fake daemon with injected faults: crashes, restarts, refusals, losses, duplicates."""

from __future__ import annotations

import random
import threading

import numpy as np
import pytest

from streamlearn_client import Client
from streamlearn_client.errors import (
    BadDtype,
    BadShape,
    BadSpec,
    BadValue,
    Busy,
    DiskFull,
    NoAnswer,
    ShuttingDown,
    StreamLost,
    UnknownModel,
)
from streamlearn_client.protocol import Learn
from tests.client.fake import DROP, IGNORE


@pytest.fixture
def pump(daemon):
    return daemon.add("pump", dim=2)


def numbered(start: int, stop: int) -> np.ndarray:
    return np.stack([np.arange(start, stop), -np.arange(start, stop)], axis=1).astype("f4")


def on_learn(outcomes):
    """Return a fault function that gives one outcome per batch, and no fault after the last one."""
    left = list(outcomes)
    return lambda request: left.pop(0) if isinstance(request, Learn) and left else None


# pushing


def test_pushed_one_by_one_and_many_at_once(client, pump):
    with client.stream("pump", batch=4, interval=1000) as stream:
        stream.push([0, 0])
        stream.push(np.array([1, -1], "f4"))
        stream.push_many(numbered(2, 13))
        stream.push_many(np.empty((0, 2)))
        stream.push((13, -13.0))
        stream.push_many(numbered(14, 16).astype("f8"))
    assert np.array_equal(pump.rows, numbered(0, 16))
    assert [len(batch.x) for batch in pump.batches] == [4, 4, 4, 4]
    assert (stream.acknowledged, stream.pending, stream.resent) == (16, 0, 0)
    assert stream.last_ack.rows == 4


def test_pushed_arrays_are_copied(client, pump):
    x = np.empty((4, 2), "f4")
    with client.stream("pump", batch=4) as stream:
        for i in range(0, 40, 4):
            x[:] = numbered(i, i + 4)
            stream.push_many(x)
            x[:] = np.nan
    assert np.array_equal(pump.rows, numbered(0, 40))


def test_a_slow_producer_does_not_wait_for_a_full_batch(client, pump, until):
    with client.stream("pump", batch=1000, interval=0.01) as stream:
        stream.push([0, 0])
        until(lambda: stream.acknowledged == 1)
        stream.push([1, -1])
        until(lambda: stream.acknowledged == 2)
    assert len(pump.batches) == 2


def test_flush(client, pump):
    with client.stream("pump", interval=1000) as stream:
        assert stream.flush() is None
        stream.push_many(numbered(0, 3))
        assert stream.pending == 3
        assert stream.flush().rows == 3
        assert (stream.acknowledged, stream.pending) == (3, 0)


def test_targets(daemon, client):
    oven = daemon.add("oven", dim=2, targets=1)
    with client.stream("oven", batch=4) as stream:
        stream.push([0, 0], y=5)
        stream.push([0, 0], [6])
        stream.push_many(numbered(0, 3), [7, 8, 9])
        for y in (None, [1, 2]):
            with pytest.raises(BadShape, match="takes 1"):
                stream.push([0, 0], y)
    assert np.concatenate([batch.y for batch in oven.batches]).tolist() == [[5], [6], [7], [8], [9]]


def test_invalid_samples_are_refused_at_once(client, pump):
    with client.stream("pump", batch=4) as stream:
        stream.push([0, 0])
        for bad, error in (
            ([1, 2, 3], BadShape),
            ([[1, 2]], BadShape),
            (5, BadShape),
            (["1", "2"], BadDtype),
            ([1, 1j], BadDtype),
            ([1, np.inf], BadValue),
            ([1, 1e39], BadValue),
        ):
            with pytest.raises(error):
                stream.push(bad)
        with pytest.raises(BadValue, match=r"-inf in column 1 \(row 2\)"):
            stream.push_many([[1, 2], [3, 4], [5, -np.inf]])
        with pytest.raises(BadShape):
            stream.push_many([1, 2])
        stream.push([1, np.nan])
    assert np.array_equal(pump.rows, [[0, 0], [1, np.nan]], equal_nan=True)


def test_invalid_settings_are_refused_when_the_stream_opens(daemon, client, pump):
    with pytest.raises(UnknownModel):
        client.stream("no-such")
    for wrong in (
        {"batch": 0},
        {"batch": 10**9},
        {"window": 0},
        {"window": 1025},
        {"interval": -1},
        {"timeout": 0},
        {"ack": "none"},
    ):
        with pytest.raises(BadValue):
            client.stream("pump", **wrong)


def test_threads_share_a_stream(client, pump):
    with client.stream("pump", batch=7, window=2) as stream:
        threads = [
            threading.Thread(target=lambda i=i: [stream.push([i, j]) for j in range(200)]) for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    rows = pump.rows
    for i in range(4):
        assert rows[rows[:, 0] == i, 1].tolist() == list(range(200))


# crashes of the daemon


@pytest.mark.parametrize("seed", range(3))
def test_with_repeated_crashes_each_sample_is_learned_once_and_in_order(daemon, client, pump, until, seed):
    """The daemon answers only some batches, and crashes at random times."""
    chance = random.Random(seed)
    daemon.fault = lambda request: DROP if isinstance(request, Learn) and chance.random() < 0.1 else None
    total = 3000
    with client.stream("pump", batch=8, window=16, interval=0.005) as stream:
        for i in range(0, total, 10):
            stream.push_many(numbered(i, i + 10))
            if chance.random() < 0.05:
                daemon.kill()
                daemon.start()
    assert np.array_equal(pump.rows, numbered(0, total))
    assert (stream.acknowledged, stream.pending) == (total, 0)


def test_a_stream_opened_and_used_during_a_restart(daemon, client, pump):
    stream = client.stream("pump", batch=2, window=4)
    daemon.kill()
    stream.push_many(numbered(0, 8))
    timer = threading.Timer(0.1, daemon.start)
    timer.start()
    stream.push_many(numbered(8, 20))
    stream.flush()
    stream.close()
    timer.join()
    assert np.array_equal(pump.rows, numbered(0, 20))


def test_a_batch_without_an_answer_is_resent(daemon, client, pump):
    """The connection is not lost."""
    daemon.fault = on_learn([DROP])
    with client.stream("pump", batch=4) as stream:
        stream.push_many(numbered(0, 4))
        assert stream.flush().duplicate
        assert stream.resent == 1
    assert np.array_equal(pump.rows, numbered(0, 4))


def test_duplicate_acks(daemon, client, pump):
    daemon.duplicates_answers = True
    with client.stream("pump", batch=2, window=4) as stream:
        stream.push_many(numbered(0, 100))
    assert np.array_equal(pump.rows, numbered(0, 100))
    assert stream.acknowledged == 100


def test_a_lost_batch_is_resent_after_a_gap(daemon, client, pump):
    daemon.fault = on_learn([None, IGNORE])
    with client.stream("pump", batch=2, window=8) as stream:
        stream.push_many(numbered(0, 40))
    assert np.array_equal(pump.rows, numbered(0, 40))
    assert stream.resent > 0


@pytest.mark.parametrize("refusal", [Busy, DiskFull, ShuttingDown])
def test_retryable_refusals_are_retried(daemon, client, pump, refusal):
    daemon.fault = on_learn([None, refusal("later"), refusal("later"), None, refusal("later")])
    with client.stream("pump", batch=2, window=8) as stream:
        stream.push_many(numbered(0, 40))
    assert np.array_equal(pump.rows, numbered(0, 40))


# back-pressure and time


def test_push_waits_for_space_until_the_timeout(daemon, client, pump):
    daemon.fault = lambda request: Busy("always") if isinstance(request, Learn) else None
    with client.stream("pump", batch=2, window=3, timeout=0.1) as stream:
        with pytest.raises(NoAnswer, match="8 samples wait") as caught:
            stream.push_many(numbered(0, 20))
        assert caught.value.detail["taken"] == 8
        with pytest.raises(NoAnswer):
            stream.push([8, -8])
        with pytest.raises(NoAnswer):
            stream.flush()
        assert stream.pending == 8
        daemon.fault = lambda request: None
        stream.flush(60)
        for start in range(8, 20, 6):  # as many as fit without an answer
            stream.push_many(numbered(start, start + 6))
            stream.flush(60)
    assert np.array_equal(pump.rows, numbered(0, 20))


def test_leaving_without_a_daemon_reports_the_unacknowledged_samples(daemon, client, pump):
    def push():
        with client.stream("pump", timeout=0.1) as stream:
            daemon.kill()
            stream.push_many(numbered(0, 5))

    with pytest.raises(StreamLost, match="5 samples wait") as caught:
        push()
    assert caught.value.detail["unacknowledged"] == 5


def test_an_exception_in_the_block_still_flushes(client, pump, monkeypatch):
    monkeypatch.setattr("streamlearn_client.stream.EXCEPTION_FLUSH_TIMEOUT", 60.0)

    def fails():
        with client.stream("pump") as stream:
            stream.push([0, 0])
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fails()
    assert len(pump.rows) == 1


def test_an_exception_in_the_block_is_raised(daemon, client, pump):
    def fails():
        with client.stream("pump", timeout=0.1) as stream:
            daemon.kill()
            stream.push([0, 0])
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        fails()
    assert (
        "1 samples that were pushed to the stream to 'pump' are not acknowledged" in caught.value.__notes__[0]
    )


# close and abort


def test_close_flushes(client, pump):
    stream = client.stream("pump", interval=1000)
    stream.push_many(numbered(0, 5))
    stream.close()
    assert np.array_equal(pump.rows, numbered(0, 5))
    assert (stream.pushed, stream.acknowledged, stream.pending) == (5, 5, 0)


def test_a_close_that_is_late_says_how_many_samples_are_left(daemon, client, pump):
    daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
    stream = client.stream("pump", batch=2)
    stream.push_many(numbered(0, 5))
    with pytest.raises(StreamLost, match="5 samples wait") as caught:
        stream.close(0.05)
    assert caught.value.detail["unacknowledged"] == 5
    stream.close()
    with pytest.raises(StreamLost, match="closed"):
        stream.push([0, 0])


def test_flush_keeps_what_a_late_daemon_did_not_acknowledge(daemon, client, pump):
    daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
    stream = client.stream("pump", batch=2)
    stream.push_many(numbered(0, 5))
    with pytest.raises(NoAnswer) as caught:
        stream.flush(0)
    assert caught.value.detail["pending"] == 5
    daemon.fault = lambda request: None
    stream.close(None)
    assert np.array_equal(pump.rows, numbered(0, 5))


def test_abort_discards(daemon, client, pump):
    stream = client.stream("pump", interval=1000)
    stream.push_many(numbered(0, 5))
    stream.abort()
    stream.abort()
    stream.close()
    assert not len(pump.rows)
    with pytest.raises(StreamLost, match="closed"):
        stream.flush()


def test_close_raises_a_failure_that_no_method_has_raised(daemon, client, pump):
    daemon.fault = on_learn([BadSpec("no"), BadSpec("no")])
    stream = client.stream("pump")
    stream.push([0, 0])
    with pytest.raises(StreamLost, match="BAD_SPEC"):
        stream.close()
    stream = client.stream("pump")
    stream.push([0, 0])
    with pytest.raises(StreamLost, match="BAD_SPEC"):
        stream.flush()
    stream.close()


def test_a_flush_waits_for_earlier_samples_only(daemon, client, pump):
    """Otherwise it would not end while another thread pushes."""
    stream = client.stream("pump", batch=1)

    def push_one_more(request):
        if isinstance(request, Learn) and request.seq == 1 and stream.pushed == 2:
            stream.push([2, -2])
        return IGNORE if isinstance(request, Learn) and request.seq > 1 else None

    daemon.fault = push_one_more
    stream.push_many(numbered(0, 2))
    stream.flush(60)
    assert (stream.pushed, stream.acknowledged) == (3, 2)
    daemon.fault = lambda request: None
    stream.close()
    assert np.array_equal(pump.rows, numbered(0, 3))


# streams that end


def test_a_newer_stream_of_the_same_producer_takes_over(client, pump):
    first = client.stream("pump", producer="press-7")
    first.push([0, 0])
    first.flush()
    with client.stream("pump", producer="press-7") as second:
        second.push([1, -1])
        second.flush()
        first.push([2, -2])
        with pytest.raises(StreamLost, match="FENCED") as caught:
            first.flush()
        assert caught.value.detail["unacknowledged"] == 1
        with pytest.raises(StreamLost):
            first.push([3, -3])
        first.close()
    assert np.array_equal(pump.rows, numbered(0, 2))


def test_a_newer_stream_wins_although_the_clock_ran_backwards(client, pump):
    pump.positions["press-7"] = (2**62, 5)
    with client.stream("pump", producer="press-7") as stream:
        stream.push([0, 0])
    assert stream.epoch > 2**62
    assert len(pump.rows) == 1


def test_a_daemon_that_lost_acknowledged_batches(client, pump):
    stream = client.stream("pump", batch=2, ack="received")
    stream.push_many(numbered(0, 8))
    stream.flush()
    pump.forget(2)
    stream.push_many(numbered(8, 10))
    with pytest.raises(StreamLost, match="lost 2 batches that it had acknowledged as 'received'"):
        stream.flush()
    stream.close()


def test_a_model_that_was_deleted(daemon, client, pump):
    stream = client.stream("pump")
    del daemon.models["pump"]
    stream.push([0, 0])
    with pytest.raises(StreamLost, match="UNKNOWN_MODEL") as caught:
        stream.flush()
    stream.close()
    assert isinstance(caught.value.__cause__, UnknownModel)


def test_an_unreadable_answer(daemon, client, pump):
    class Garbled(BadSpec):
        def to_wire(self):
            return "no map"

    daemon.fault = on_learn([Garbled("")])
    with pytest.raises(StreamLost, match="can't be read"), client.stream("pump") as stream:
        stream.push([0, 0])


def test_a_closed_stream_raises(client, pump):
    stream = client.stream("pump")
    stream.close()
    stream.close()
    for use in (stream.flush, lambda: stream.push([0, 0])):
        with pytest.raises(StreamLost, match="closed"):
            use()


def test_a_stream_outlives_its_client(daemon, pump):
    with Client(daemon.endpoint) as client:
        stream = client.stream("pump")
    with stream:
        stream.push([0, 0])
    assert len(pump.rows) == 1
