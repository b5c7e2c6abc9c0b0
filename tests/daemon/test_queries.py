"""Long queries run on the query worker, from a copy of the model; short ones run on the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from streamlearn import models
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.network.replies import ReplyAddress
from streamlearn.daemon.operations import queries
from streamlearn.daemon.operations.queries import Queries, Query
from streamlearn.errors import BadShape, BadValue, Busy, Internal, ShuttingDown, UnknownModel
from streamlearn.models.batch import Batch
from streamlearn.models.outputs import ModelOutputs, row_bytes
from streamlearn.shard import HostedModel
from streamlearn_client.protocol import Learn, Request
from tests.daemon.contexts import context_of
from tests.daemon.harness import SECONDS, Running, X
from tests.shard.fakes import Bench, Fakes, RunningSum

LONG, SHORT = X[:100], X[:1]
PACE = 1e6  # ns per row: a made-up pace of queries


class Held(RunningSum):
    """Answers long queries when the test sets ``released``."""

    reached: ClassVar[threading.Event]
    released: ClassVar[threading.Event]

    def predict_validated(self, batch: Batch) -> ModelOutputs:
        if batch.rows == len(LONG):
            self.reached.set()
            assert self.released.wait(SECONDS)
        assert threading.current_thread().name == ("queries" if batch.rows == len(LONG) else "loop")
        return super().predict_validated(batch)


class HeldFakes(Fakes):
    kinds: ClassVar = {"sum": Held}


@pytest.fixture
def held(serve: Callable[..., Running]) -> Iterator[Running]:
    """A daemon with models m and n, where m has learned ten samples."""
    Held.reached, Held.released = threading.Event(), threading.Event()
    running = serve(models=HeldFakes())
    running.wire.create()
    running.wire.create("n")
    running.wire.learn(X[:10])
    yield running
    Held.released.set()


def take_long(running: Running, name: str = "m", **fields: Any) -> int:
    """Send a query that the daemon expects to be long, without waiting for the reply."""
    running.recovered.shard.hosted(name).nanoseconds_per_query_row = PACE
    return running.wire.send(Request("predict", None, name, {}, fields.get("x", LONG)))


def prediction(*learned: np.ndarray) -> np.ndarray:
    """The answer of a local model that learned these samples."""
    model = RunningSum(dim=2)
    for x in learned:
        model.learn(x)
    return model.predict(LONG).distance


def test_a_long_query_delays_no_other_request(held: Running) -> None:
    other = held.connect()
    query = take_long(held)
    assert Held.reached.wait(SECONDS)
    assert other.learn(X[10:20])["applied_lsn"] == 4
    assert other.call("predict", "m", x=SHORT)["samples"] == 20
    assert other.call("predict", "n", x=SHORT)["samples"] == 0
    assert other.call("checkpoint", "m")["lsn"] == 4
    assert held.wire.silent()
    Held.released.set()
    reply = held.wire.receive()
    assert (reply.id, reply.ok) == (query, {"applied_lsn": 3, "samples": 10})
    assert reply.arrays["distance"].tobytes() == prediction(X[:10]).tobytes()
    assert held.wire.call("stats")["query_seconds"]["count"] == 3
    assert held.wire.call("stats", "m")["models"]["m"]["queries"] == 2


def test_a_few_rows_that_may_cost_much_run_on_the_worker(held: Running) -> None:
    """Whatever earlier queries took: their rows may have been cheap."""
    hosted = held.recovered.shard.hosted("m")
    hosted.nanoseconds_per_query_row = 1.0
    assert held.wire.call("predict", "m", x=LONG[:99])["samples"] == 10  # on the loop
    hosted.query_cost = 200_000_000
    query = held.wire.send(Request("predict", None, "m", {}, LONG))
    assert Held.reached.wait(SECONDS)
    assert held.connect().call("predict", "n", x=SHORT)["samples"] == 0
    assert held.wire.silent()
    Held.released.set()
    assert held.wire.receive().id == query


def test_long_queries_are_answered_in_order_each_as_of_when_it_came(held: Running) -> None:
    other = held.connect()
    first, again = take_long(held), take_long(held)
    held.wire.call("hello")  # after this reply the earlier requests are accepted
    other.learn(X[10:20])
    later, stranger = take_long(held), take_long(held, "n")
    held.wire.call("hello")
    Held.released.set()
    replies = [held.wire.receive() for _ in range(4)]
    assert [reply.id for reply in replies] == [first, again, later, stranger]
    assert [reply.ok["samples"] for reply in replies] == [10, 10, 20, 0]
    for reply, learned in zip(replies, ([X[:10]], [X[:10]], [X[:20]], []), strict=True):
        assert reply.arrays["distance"].tobytes() == prediction(*learned).tobytes()


@pytest.mark.parametrize("change", ["delete", "restore"])
def test_a_long_query_is_answered_from_its_copy_after_a_change(held: Running, change: str) -> None:
    other = held.connect()
    other.call("checkpoint", "m")
    other.learn(X[10:20])
    take_long(held)
    assert Held.reached.wait(SECONDS)
    other.call(change, "m")
    Held.released.set()
    reply = held.wire.receive()
    assert reply.ok == {"applied_lsn": 4, "samples": 20}
    assert reply.arrays["distance"].tobytes() == prediction(X[:20]).tobytes()
    if change == "delete":
        assert "m" not in other.call("stats")["models"]
        other.create()
    assert other.call("predict", "m", x=SHORT)["samples"] == (0 if change == "delete" else 10)


def test_too_much_queued_work_is_refused(held: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_QUEUED_NS", PACE * len(LONG))
    wire = held.wire
    taken = [take_long(held), take_long(held)]
    refused = take_long(held)
    reply = wire.receive()
    assert reply.id == refused
    assert isinstance(reply.error, Busy)
    assert reply.error.retryable
    assert reply.error.detail == {"limit": "queued work", "waiting": 2}
    Held.released.set()
    assert [wire.receive().id for _ in taken] == taken
    again = take_long(held)
    assert wire.receive().id == again


def test_too_much_queued_memory_is_refused_and_equal_states_are_copied_once(held: Running) -> None:
    state = sum(array.nbytes for array in RunningSum(dim=2).state.values())
    assert state < LONG.nbytes
    model = held.recovered.shard.hosted("m").model
    query = LONG.nbytes + len(LONG) * row_bytes(model, model.outputs_class)
    account = held.daemon.context.budget.queries
    account.limit = 2 * query + 2 * state  # two queries, one copy, and the worker's model
    other = held.connect()
    taken = [take_long(held), take_long(held)]
    refused = take_long(held)
    assert held.wire.receive().id == refused
    Held.released.set()
    assert [held.wire.receive().id for _ in taken] == taken
    Held.reached.clear()
    Held.released.clear()
    taken = [take_long(held)]
    assert Held.reached.wait(SECONDS)
    other.learn(X[10:20])
    refused = take_long(held)
    assert held.wire.receive().id == refused
    Held.released.set()
    assert held.wire.receive().id == taken[0]


def test_errors_of_long_queries_are_answered(
    held: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    wire = held.wire
    take_long(held, x=np.zeros((100, 3), np.float32))
    with pytest.raises(BadShape):
        raise wire.receive().error or AssertionError
    with pytest.raises(UnknownModel):
        wire.call("predict", "nobody", x=LONG)
    with pytest.raises(BadValue):
        wire.call("forecast", "m", steps=10**12)
    monkeypatch.setattr(Held, "predict_validated", lambda *_: 1 / 0)
    take_long(held)
    assert isinstance(wire.receive().error, Internal)
    assert "ZeroDivisionError" in caplog.text
    monkeypatch.undo()
    Held.released.set()
    take_long(held)
    assert wire.receive().ok["samples"] == 10


def test_a_stop_answers_the_running_query_and_refuses_the_others(held: Running) -> None:
    taken, waiting = take_long(held), take_long(held)
    assert Held.reached.wait(SECONDS)
    held.wire.call("hello")
    held.daemon.loop.stop()
    reply = held.wire.receive()
    assert reply.id == waiting
    assert isinstance(reply.error, ShuttingDown)
    Held.released.set()
    assert held.wire.receive().id == taken
    held.join()
    assert held.failure is None


def test_a_stop_does_not_wait_for_ever(held: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "SHUTDOWN_SECONDS", 0.0)
    taken = take_long(held)
    assert Held.reached.wait(SECONDS)
    held.daemon.loop.stop()
    reply = held.wire.receive()
    assert reply.id == taken
    assert isinstance(reply.error, ShuttingDown)
    held.join()
    assert held.failure is None
    assert held.checkpoints.list("m", 1)[0].lsn == 3
    held.stop()


def test_a_forecast_and_a_sample_may_be_long_as_well(serve: Callable[..., Running]) -> None:
    spec = {"readout": "adam", "dim": 1, "hidden": 4, "symbols": 3, "loss": "cross_entropy"}
    net = models.create("rnn", spec)
    x = np.arange(50, dtype=np.float32).reshape(-1, 1) % 3
    net.learn(x)
    running = serve(models=models)
    running.wire.call("create", "net", kind="rnn", spec=spec)
    running.wire.learn(x, "net")
    hosted = running.recovered.shard.hosted("net")
    for fields in ({"op": "forecast", "steps": 40}, {"op": "sample", "n": 40, "seed": 7}):
        op = fields.pop("op")
        for pace in (PACE, 1.0):
            hosted.nanoseconds_per_query_row = pace
            reply = running.wire.call(op, "net", **fields)
            assert reply["samples"] == 50
            assert np.array_equal(reply["arrays"][op], getattr(net, op)(**fields))


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("rnn", {"readout": "adam", "dim": 2, "hidden": 8, "keys": 3, "scale": "standard"}),
        ("som", {"dim": 2, "grid": [3, 4], "scale": "standard", "init": "pca"}),
    ],
)
def test_every_answer_is_of_the_very_state_that_it_names(
    serve: Callable[..., Running], kind: str, spec: dict[str, Any]
) -> None:
    model = models.create(kind, spec)  # and its kernels are compiled
    running = serve(models=models, learning={"backlog_seconds": SECONDS})
    asking = running.connect()
    running.wire.call("create", "m", kind=kind, spec=spec)
    hosted = running.recovered.shard.hosted("m")
    keys = np.arange(len(X)) % 3 if "keys" in spec else None
    part = None if keys is None else keys[: len(LONG)]
    batch = Learn("m", np.tile(X, (5, 1)), keys=None if keys is None else np.tile(keys, 5))
    running.wire.send(batch)
    answers = []
    while not answers or answers[-1]["samples"] < batch.rows:
        hosted.nanoseconds_per_query_row = PACE
        answers.append(asking.call("predict", "m", x=LONG, keys=part))
    x, done = batch.x, 0
    assert x is not None
    for answer in answers:
        upto = answer["samples"]
        if upto > done:
            model.learn(x[done:upto], keys=None if batch.keys is None else batch.keys[done:upto])
            done = upto
        expected = model.predict(LONG, part).arrays
        assert expected.keys() == answer["arrays"].keys()
        for name, array in expected.items():
            assert array.tobytes() == answer["arrays"][name].tobytes()
    running.wire.receive()


# ------------------------------------------------------------------------------------- which queries are long


class Scene:
    """Queries with a fake worker and fake replies that count calls."""

    def __init__(self, **spec: Any) -> None:
        bench = Bench()
        bench.create(**spec)
        self.hosted: HostedModel = bench.shard.hosted("m")
        self.submitted = self.answered = 0
        self.busy = False
        context = context_of(query_worker=self, replies=self, metrics=Metrics())
        self.queries = Queries(context, 2_000_000)

    def submit(self, work: object, done: object) -> None:
        self.submitted += 1

    def check(self, *_: object) -> None:
        """Every answer fits."""

    def ok(self, *_: object) -> None:
        self.answered += 1

    def is_long(self, rows: int, pace: float) -> bool:
        self.hosted.nanoseconds_per_query_row = pace
        before = self.submitted
        self.queries._jobs.clear()
        self.queries.run(self.hosted, Query(ReplyAddress([], None), rows, lambda model: {}))
        return self.submitted > before


def test_a_query_longer_than_a_slice_is_long() -> None:
    scene = Scene()
    assert scene.is_long(rows=2001, pace=1000.0)
    assert not scene.is_long(rows=2000, pace=1000.0)
    assert not scene.is_long(rows=7, pace=1e9)  # a slice of learning is a row at least
    assert scene.is_long(rows=8, pace=1e9)


def test_a_query_cheaper_than_a_copy_is_short() -> None:
    scene = Scene(dim=1 << 20)  # 4 MiB
    assert not scene.is_long(rows=10, pace=2.05e5)
    assert scene.is_long(rows=10, pace=2.15e5)
    assert Scene().is_long(rows=10, pace=2.05e5)


def test_an_unmeasured_row_is_assumed_to_read_the_state_once() -> None:
    scene = Scene(dim=1 << 18)
    assert scene.is_long(rows=100, pace=0.0)
    assert not Scene().is_long(rows=100, pace=0.0)


def test_the_pace_is_that_of_earlier_answers() -> None:
    scene = Scene()
    assert scene.is_long(rows=100, pace=1e6)
    assert not scene.is_long(rows=100, pace=1e4)
    quick = scene.hosted.nanoseconds_per_query_row
    assert 0 < quick < 1e4
    scene.hosted.record_query_pace(100, 100 * int(1e6))
    assert scene.hosted.nanoseconds_per_query_row == pytest.approx(0.75 * quick + 0.25e6)
    scene.hosted.record_query_pace(100, 1000)
    assert scene.hosted.nanoseconds_per_query_row == 10.0


def test_the_replica_is_freed_after_a_time_without_long_queries() -> None:
    scene = Scene()
    replica = scene.queries._replica
    query = Query(ReplyAddress([], None), 100, lambda model: {})
    replica.evaluate(query, queries._StateCopy(scene.hosted))
    assert replica._model is not None
    scene.busy = True
    scene.queries.tick(100.0)
    scene.busy = False
    scene.queries.tick(100.0 + queries.REPLICA_IDLE_SECONDS / 2)
    assert replica._model is not None
    scene.queries.tick(100.0 + queries.REPLICA_IDLE_SECONDS)
    assert replica._model is None
