"""The first model of a kind waits for its kernels; everything else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from threading import Event
from typing import Any

import numpy as np
import pytest

from streamlearn import models
from streamlearn.daemon import kernels
from streamlearn.errors import BadSpec, Busy, ShuttingDown, UnknownModel
from streamlearn.kernels import Compilation
from streamlearn_client.protocol import Learn, Request
from tests.daemon.harness import SECONDS, Running, X
from tests.shard.fakes import SlowSum
from tools.waiting import wait_for

CREATE = Request("create", None, "new", {"kind": "slow", "spec": {"dim": 2}})


class Compiler:
    """Stands for the compiler: kernels of the kind ``slow`` are loaded when a test says so."""

    def __init__(self) -> None:
        self.finish = Event()
        self.loaded = False
        self.error: Exception | None = None
        self.loads = 0

    def load(self, kind: str, spec: Any = None, run: Any = None) -> None:
        self.loads += 1
        assert kind == "slow"
        assert self.finish.wait(SECONDS)
        if self.error is not None:
            raise self.error
        self.loaded = True


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, let_go: Event) -> Iterator[Compiler]:
    let_go.set()  # models of the kind ``slow`` learn at once
    compiler = Compiler()
    monkeypatch.setattr(kernels, "load", compiler.load)
    monkeypatch.setattr(models, "kernels_loaded", lambda kind, spec=None: kind != "slow" or compiler.loaded)
    monkeypatch.setattr(models, "valid_spec", lambda *_: None)
    yield compiler
    compiler.finish.set()


def test_requests_for_the_new_model_wait_in_order_and_others_go_on(
    compiler: Compiler, running: Running
) -> None:
    wire = running.wire
    created = wire.send(CREATE)
    learned = wire.send(Learn("new", X[:100], producer="p", epoch=1, seq=0))
    described = wire.send(Request("describe", None, "new", {}))
    wait_for(lambda: compiler.loads == 1)
    assert wire.call("describe", "m")["samples"] == 0
    assert wire.ask(Learn("m", X[:10]))["rows"] == 10
    assert wire.silent()
    compiler.finish.set()
    replies = {reply.id: reply.ok for reply in (wire.receive(), wire.receive(), wire.receive())}
    assert set(replies) == {created, learned, described}
    assert replies[created]["spec"]["dim"] == 2
    assert replies[learned]["rows"] == 100
    assert replies[created]["lsn"] < replies[learned]["lsn"]
    expected = SlowSum(dim=2)
    expected.learn(X[:100])
    assert wire.call("describe", "new")["state_hash"] == expected.state_hash()
    assert wire.ask(CREATE._replace(model="another"))["kind"] == "slow"
    assert compiler.loads == 1


def test_a_kind_whose_kernels_fail_is_left_to_create(compiler: Compiler, running: Running) -> None:
    """`create` then finds the error itself. The requests behind it get their own answers."""
    compiler.error = BadSpec("no such number")
    compiler.finish.set()
    wire = running.wire
    bad = CREATE._replace(fields={"kind": "slow", "spec": {"dim": -1}})
    wire.send(bad)
    wire.send(Learn("new", X[:1]))
    assert isinstance(wire.receive().error, BadSpec)
    assert isinstance(wire.receive().error, UnknownModel)


def test_a_stop_refuses_the_requests_that_wait(
    compiler: Compiler, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = running.wire
    ids = {wire.send(CREATE), wire.send(Learn("new", X[:1]))}
    wait_for(lambda: compiler.loads == 1)
    running.daemon.loop.stop()
    replies = [wire.receive(), wire.receive()]
    assert {reply.id for reply in replies} == ids
    assert all(isinstance(reply.error, ShuttingDown) for reply in replies)
    running.join()
    assert running.failure is None
    compiler.finish.set()  # the end of the daemon waits for its threads


def test_the_number_of_requests_that_wait_is_limited(
    compiler: Compiler, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "MOST_WAITING", 3)
    wire = running.wire
    waiting = {wire.send(CREATE), *(wire.send(Learn("new", X[:1])) for _ in range(2))}
    refused = wire.send(Learn("new", X[:1]))
    reply = wire.receive()
    assert reply.id == refused
    assert isinstance(reply.error, Busy)
    compiler.finish.set()
    assert {wire.receive().id for _ in range(3)} == waiting


NUMBERS = np.arange(500)
LARGE = {  # two of each have more than 12 kB, one has less than 10 kB
    "x": Learn("new", X[:1000]),
    "y": Learn("new", None, y=X[:500], ids=NUMBERS),
    "keys": Learn("new", X[:500, :1].copy(), keys=NUMBERS),
    "ids": Learn("new", X[:500, :1].copy(), ids=NUMBERS),
    "predict": Request("predict", None, "new", {}, X[:1000]),
    "create": CREATE._replace(model="more", fields={"kind": "slow", "spec": {"dim": 2, "a": "b" * 1000}}),
    "other fields": Request("restore", None, "new", {"name": "c" * 1000}),
}


@pytest.mark.parametrize("field", LARGE)
def test_the_bytes_of_requests_that_wait_are_limited(
    field: str, compiler: Compiler, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "MOST_BYTES", 12_000)
    wire = running.wire
    waiting = {wire.send(CREATE), wire.send(Learn("new", X[:1]))}
    large = LARGE[field]
    waiting.add(wire.send(large))
    refused = wire.send(large._replace(model="third") if field == "create" else large)
    reply = wire.receive()
    assert reply.id == refused
    assert isinstance(reply.error, Busy)
    compiler.finish.set()
    assert {wire.receive().id for _ in range(3)} == waiting


def test_a_request_that_goes_on_frees_its_bytes_while_others_wait(
    compiler: Compiler, running: Running
) -> None:
    loader, resumed = running.daemon.kernels, []
    header = kernels.MOST_BYTES // (2 * kernels.HEADER_FACTOR)
    for model in ("first", "second"):
        loader.wait(CREATE._replace(model=model), header, partial(resumed.append, model))
    with pytest.raises(Busy):
        loader.wait(Learn("second", X[:1]), 1, partial(resumed.append, "more"))
    loader._resume("first")
    loader.wait(Learn("second", X[:1]), 1, partial(resumed.append, "more"))
    assert resumed == ["first"]
    compiler.finish.set()
    wait_for(lambda: resumed == ["first", "second", "more"])


def test_a_model_that_exists_does_not_wait(compiler: Compiler, running: Running) -> None:
    """Its kernels are loaded. A `create` of another kind with its name is refused at once."""
    wire = running.wire
    wire.send(CREATE._replace(model="m"))
    error = wire.receive().error
    assert error is not None
    assert error.code == "MODEL_EXISTS"
    assert compiler.loads == 0


def test_a_stop_ends_the_compilers(monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Running]) -> None:
    """Kernels beside serving are compiled by processes. None of them outlives the daemon."""
    running_now: list[Compilation] = []
    ended = Event()

    def run(self: Compilation) -> None:
        running_now.append(self)
        assert ended.wait(SECONDS)

    def stop(self: Compilation) -> None:
        self.stopped = True
        ended.set()

    monkeypatch.setattr(Compilation, "run", run)
    monkeypatch.setattr(Compilation, "stop", stop)
    monkeypatch.setattr(kernels.kernels, "not_cached", lambda: ["som.learn"])
    running = serve()
    running.daemon.kernels.compile_rest()
    wait_for(lambda: running_now)
    running.stop()
    assert running_now[0].stopped


def test_a_stop_during_the_search_for_kernels_compiles_nothing(
    monkeypatch: pytest.MonkeyPatch, serve: Callable[..., Running]
) -> None:
    """The daemon looks for kernels in the cache on a thread, which may find some missing after a stop."""
    searching, stopped = Event(), Event()
    compiled: list[Compilation] = []

    def not_cached() -> list[str]:
        searching.set()
        assert stopped.wait(SECONDS)
        return ["som.learn"]

    def run(self: Compilation) -> None:
        compiled.append(self)

    monkeypatch.setattr(Compilation, "run", run)
    monkeypatch.setattr(kernels.kernels, "not_cached", not_cached)
    running = serve()
    running.daemon.kernels.compile_rest()
    assert searching.wait(SECONDS)
    running.stop()
    stopped.set()
    for thread in threading.enumerate():
        if thread.name == "compiler":
            thread.join(SECONDS)
            assert not thread.is_alive()
    assert not compiled
