"""Forked processes, and programs that end with open streams."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import time
import traceback

import pytest

from streamlearn_client import AsyncClient, Client
from streamlearn_client.errors import WrongProcess
from streamlearn_client.protocol import EventMessage, Learn
from tests.client.fake import IGNORE


@pytest.fixture
def pump(daemon):
    return daemon.add("pump", dim=1)


def in_child(action) -> None:
    """Run ``action`` in a forked process. Fail if it raises, or does not end within a minute."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            action()
            code = 0
        except BaseException:  # noqa: BLE001 - the traceback is the message
            traceback.print_exc()
        finally:
            os._exit(code)
    deadline = time.monotonic() + 60
    while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, 9)
            os.waitpid(child, 0)
            pytest.fail("the child process did not end within a minute")
        time.sleep(0.005)
    assert status[1] == 0


def test_inherited_objects_raise_at_once(daemon, client, pump, until):
    with (
        client.stream("pump") as stream,
        client.firehose("pump") as firehose,
        client.subscribe("pump") as events,
    ):
        client.learn("pump", [1])
        stream.push([2])

        def use():
            for call in (
                lambda: client.learn("pump", [3]),
                client.models,
                lambda: client.stream("pump"),
                lambda: client.firehose("pump"),
                lambda: client.subscribe("pump"),
                lambda: stream.push([3]),
                lambda: stream.push_many([[3]]),
                stream.flush,
                lambda: stream.pending,
                lambda: firehose.push([3]),
                events.next_event,
                lambda: next(events),
            ):
                with pytest.raises(WrongProcess, match="create a new"):
                    call()
            for each in (stream, firehose, events, client):
                each.close()
            stream.abort()
            with client, stream, firehose, events:
                pass

        in_child(use)
        stream.push([4])
        stream.flush()
        firehose.push([5])
        client.learn("pump", [6])
        daemon.publish(EventMessage("created", "pump", 1))
        assert next(events).kind == "created"
    until(lambda: len(pump.rows) == 5)  # the firehose has no ack
    assert sorted(pump.rows[:, 0]) == [1, 2, 4, 5, 6]


@pytest.mark.parametrize("lock", ["_transport._lock", "_sender._lock"])
def test_a_fork_while_another_thread_holds_a_lock(daemon, client, pump, lock):
    with client.stream("pump") as stream:
        owner = client if lock.startswith("_transport") else stream
        first, second = lock.split(".")

        def use():
            with pytest.raises(WrongProcess):
                client.models()
            with pytest.raises(WrongProcess):
                stream.push([1])
            stream.close()
            client.close()

        with getattr(getattr(owner, first), second):
            in_child(use)


def test_collecting_inherited_objects_disturbs_nobody(daemon, client, pump):
    objects = [client.stream("pump"), client.firehose("pump"), client.subscribe("pump"), client]

    def collect():
        objects.clear()
        for name in ("client", "stream", "firehose", "events"):
            globals().pop(name, None)
        gc.collect()
        with Client(daemon.endpoint, timeout=60) as own:
            own.learn("pump", [1])

    in_child(collect)
    client.learn("pump", [2])
    objects[0].push([3])
    objects[0].close()
    for each in objects[1:3]:
        each.close()
    assert pump.rows[:, 0].tolist() == [1, 2, 3]


def test_an_inherited_asyncio_client(daemon, pump):
    async def main():
        async with (
            AsyncClient(daemon.endpoint, timeout=60) as client,
            client.stream("pump") as stream,
            client.subscribe("pump") as events,
        ):
            await client.learn("pump", [1])

            async def use():
                for call in (client.models(), stream.push([2]), stream.flush(), events.next_event()):
                    with pytest.raises(WrongProcess):
                        await call
                for each in (stream, events, client):
                    await each.close()

            in_child(lambda: run_coroutine(use()))
            await stream.push([3])

    asyncio.run(main())
    assert pump.rows[:, 0].tolist() == [1, 3]


def run_coroutine(coroutine) -> None:
    """Run a coroutine that never waits."""
    with pytest.raises(StopIteration):
        coroutine.send(None)


# programs that end with open streams


def program(text: str, endpoint: str) -> subprocess.CompletedProcess[str]:
    source = f"ENDPOINT = {endpoint!r}\n" + text
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False
    )


LEFT_OPEN = """
from streamlearn_client import Client
client = Client(ENDPOINT)
stream = client.stream("pump", interval=1000)
for i in range(100):
    stream.push([i])
"""
LEFT_OPEN_BY_ASYNCIO = """
import asyncio
from streamlearn_client import AsyncClient
async def main():
    client = AsyncClient(ENDPOINT)
    stream = await client.stream("pump", interval=1000).__aenter__()
    for i in range(100):
        await stream.push([i])
asyncio.run(main())
"""
LEFT_OPEN_IN_A_WORKER = """
import multiprocessing
def work(endpoint):
    from streamlearn_client import Client
    global stream
    stream = Client(endpoint).stream("pump", interval=1000)
    for i in range(100):
        stream.push([i])
if __name__ == "__main__":
    worker = multiprocessing.get_context("fork").Process(target=work, args=(ENDPOINT,))
    worker.start()
    worker.join()
"""
FORKED = (
    LEFT_OPEN
    + """
import os, sys
if os.fork() == 0:
    sys.exit()
os.wait()
"""
)


@pytest.mark.parametrize("text", [LEFT_OPEN, LEFT_OPEN_BY_ASYNCIO, LEFT_OPEN_IN_A_WORKER, FORKED])
def test_a_stream_left_open_is_flushed(daemon, pump, text):
    done = program(text, daemon.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert pump.rows[:, 0].tolist() == list(range(100))


@pytest.mark.parametrize("text", [LEFT_OPEN, LEFT_OPEN_BY_ASYNCIO, LEFT_OPEN_IN_A_WORKER])
def test_samples_of_a_stream_left_open_that_cannot_be_delivered_are_reported(daemon, pump, text):
    daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
    short = "import streamlearn_client.open_streams as exits\nexits.EXIT_FLUSH_TIMEOUT = 0.05\n"
    done = program(short + text, daemon.endpoint)
    assert "a stream to 'pump' was still open" in done.stderr
    assert "100 of its 100 samples are not acknowledged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_stream_is_not_reported(daemon, pump):
    done = program(LEFT_OPEN + "stream.abort()\n", daemon.endpoint)
    assert (done.returncode, done.stderr) == (0, "")
    assert not len(pump.rows)
