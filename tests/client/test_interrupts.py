"""A call that ends without an answer, at any point and by any exception, harms no later call."""

from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from streamlearn_client import Client
from streamlearn_client.errors import (
    BadValue,
    Conflict,
    Fenced,
    Gap,
    NoAnswer,
    ProtocolError,
    UnknownProducer,
)
from streamlearn_client.protocol import Learn, Limits
from streamlearn_client.session import Session
from tests.client.fake import DROP, IGNORE, FakeModels, once
from tests.client.interrupts import EXCEPTIONS, Memory, Stop, batch, check_learned, interrupt

LATER = [101, 102, 103]


@pytest.fixture
def models():
    models = FakeModels(Limits(rows=4))
    models.add("pump", dim=1)
    return models


def learn(session, number, rows=1):
    return session.learn("pump", batch(number, rows), None, None, None, "durable")


# Operations without sockets, ended at every call

FLOWS = {
    "learn": lambda session: learn(session, 1),
    "learn in parts": lambda session: learn(session, 1, 10),
    "create": lambda session: session.create("pump", "som", {"dim": 1}),
    "delete": lambda session: session.delete("pump"),
    "restore": lambda session: session.restore("pump", None, None, None),
    "restore into": lambda session: session.restore("pump", None, None, "pump"),
    "reheat": lambda session: session.reheat("pump", 1.0),
    "pause": lambda session: session.pause("pump"),
    "resume": lambda session: session.resume("pump"),
    "feedback": lambda session: session.feedback("pump", 1, "normal", ""),
    "position": lambda session: session.position("pump", "p"),
    "predict": lambda session: session.predict("pump", batch(0), None),
    "stream": lambda session: session.stream_config("pump", "p", 1, 1, "durable"),
}


@pytest.mark.parametrize("producer", [None, "press-7"])
@pytest.mark.parametrize("received", [False, True])
@pytest.mark.parametrize("exception", [*EXCEPTIONS, GeneratorExit, NoAnswer, ProtocolError, TimeoutError])
@pytest.mark.parametrize("flow", FLOWS)
def test_an_operation_ended_at_any_call(models, flow, exception, received, producer):
    for warm in (True, False):
        for calls in count():
            session, memory = Session(producer, "memory"), Memory(models)
            if "pump" not in models.models:
                models.add("pump", dim=1)
            if warm:
                memory.run(learn(session, 0))
            if flow == "create":
                del models.models["pump"]
            exc = exception if exception not in (NoAnswer, ProtocolError) else _with_text(exception)
            if not memory.abort(FLOWS[flow](session), calls, received, exc):
                break
            if "pump" not in models.models:
                memory.run(session.create("pump", "som", {"dim": 1}))
            for number in LATER:
                assert not memory.run(learn(session, number)).duplicate
            model = models.models["pump"]
            learned = [int(part.x[0, 0]) for part in model.batches]
            assert learned[-3:] == LATER
            if warm and flow not in ("create", "delete"):
                assert learned.count(0) == 1
            assert learned.count(1) <= (3 if flow == "learn in parts" else 1)
            models.add("pump", dim=1)


def _with_text(kind):
    class WithText(kind):
        def __init__(self):
            super().__init__("no answer")
            self.in_doubt = True

    return WithText


def test_a_session_interrupted_at_any_instruction(models):
    """Also between the receipt of the answer and the update of the batch's number."""
    session, memory = Session(None, "memory"), Memory(models)
    memory.run(session.limits())
    acknowledged, in_doubt = [], []
    for step in count(1):
        in_doubt.append(2 * step)
        if not interrupt(step, Stop, lambda step=step: memory.run(learn(session, 2 * step))):
            break
        assert not memory.run(learn(session, 2 * step + 1)).duplicate
        acknowledged.append(2 * step + 1)
    assert step > 50
    check_learned(models.models["pump"], acknowledged, in_doubt)


# Refusals


def test_a_forgotten_producer_begins_a_new_epoch_by_itself(daemon, client):
    pump = daemon.add("pump", dim=1)
    client.learn("pump", batch(0))
    for number in (1, 2):
        pump.forget_producers()
        assert client.learn("pump", batch(number)).rows == 1
        assert client.learn("pump", batch(number + 10)).rows == 1
    check_learned(pump, [0, 1, 11, 2, 12], [])


def test_a_forgotten_producer_with_a_batch_in_doubt(daemon, client):
    """The daemon learned the batch, lost the answer and forgot the producer: the client must not resend."""
    pump = daemon.add("pump", dim=1)

    def crash_and_forget(request):
        if isinstance(request, Learn) and outcomes:
            outcome = outcomes.pop()
            if outcome is DROP:
                daemon.restart_soon()
            return outcome
        return None

    client.learn("pump", batch(0))
    outcomes = [UnknownProducer("forgotten", epoch=pump.batches[0].epoch + 9), DROP]
    daemon.fault = crash_and_forget
    with pytest.raises(UnknownProducer) as caught:
        client.learn("pump", batch(1))
    assert caught.value.in_doubt
    assert "may or may not have learned" in caught.value.__notes__[0]
    assert not client.learn("pump", batch(2)).duplicate
    check_learned(pump, [0, 2], [1])


def test_an_epoch_beyond_the_daemons_clock_is_replaced(daemon, client):
    """The clock of the client is fast."""
    pump = daemon.add("pump", dim=1)
    largest = 10**18

    def refuse(request):
        if isinstance(request, Learn) and request.epoch > largest:
            return BadValue("too far ahead", field="epoch", largest=largest)
        return None

    daemon.fault = refuse
    for number in range(3):
        client.learn("pump", batch(number))
    assert {part.epoch for part in pump.batches} == {largest}


def test_a_daemon_that_refuses_every_epoch(daemon, client):
    daemon.add("pump", dim=1)
    daemon.fault = lambda request: UnknownProducer("no", epoch=5) if isinstance(request, Learn) else None
    with pytest.raises(UnknownProducer):
        client.learn("pump", batch(0))
    daemon.fault = lambda request: (
        UnknownProducer("no", epoch=2**63 - 1) if isinstance(request, Learn) else None
    )
    with pytest.raises(BadValue, match="no epochs left"):
        client.learn("pump", batch(0))


@pytest.mark.parametrize("refusal", [Conflict("other content"), Gap("lost", expected_seq=0)])
def test_after_a_conflict_or_gap_the_client_begins_a_new_epoch(daemon, client, refusal):
    pump = daemon.add("pump", dim=1)
    client.learn("pump", batch(0))
    daemon.fault = once("learn", refusal)
    with pytest.raises(type(refusal)) as caught:
        client.learn("pump", batch(1))
    assert "did not learn this batch" in caught.value.__notes__[0]
    client.learn("pump", batch(2))
    assert [(part.seq, part.epoch - pump.batches[0].epoch) for part in pump.batches] == [(0, 0), (0, 1)]


def test_an_interrupted_client_takes_no_name_back(daemon):
    """A newer client of the same name stays in charge."""
    pump = daemon.add("pump", dim=1)
    with Client(daemon.endpoint, producer="me") as old, Client(daemon.endpoint, producer="me") as new:
        old.learn("pump", batch(0))
        new.learn("pump", batch(1))
        daemon.fault = lambda request: IGNORE if isinstance(request, Learn) else None
        old.timeout = 0.05
        with pytest.raises(NoAnswer):
            old.learn("pump", batch(2))
        daemon.fault = lambda request: None
        old.timeout = 60
        for _ in range(2):
            with pytest.raises(Fenced):
                old.learn("pump", batch(3))
        new.learn("pump", batch(4))
    check_learned(pump, [0, 1, 4], [])


# Real sockets, interrupted at every instruction


def test_a_client_interrupted_at_any_instruction(daemon):
    pump = daemon.add("pump", dim=1)
    acknowledged, in_doubt = [], []
    with Client(daemon.endpoint, timeout=60) as client:
        client.hello()
        for step in count(1):
            in_doubt.append(2 * step)
            if not interrupt(
                step, KeyboardInterrupt, lambda step=step: client.learn("pump", batch(2 * step))
            ):
                break
            assert not client.learn("pump", batch(2 * step + 1)).duplicate
            acknowledged.append(2 * step + 1)
    assert step > 50
    check_learned(pump, acknowledged, in_doubt)


@pytest.mark.parametrize("exception", [KeyboardInterrupt, Stop])
def test_a_stream_interrupted_at_any_instruction(daemon, client, exception):
    """``pushed`` says whether an interrupted push added its sample, and each added sample is learned once."""
    pump = daemon.add("pump", dim=1)
    added = []
    with client.stream("pump", batch=3, window=4) as stream:
        for step in count(1):
            before = stream.pushed
            interrupted = interrupt(step, exception, lambda step=step: stream.push(np.array([step], "f4")))
            added += [step] * (stream.pushed - before)
            if not interrupted:
                break
        for flush_step in count(1):
            if not interrupt(flush_step, exception, stream.flush):
                break
        stream.flush()
        assert stream.pending == 0
    assert min(step, flush_step) > 10
    assert pump.rows[:, 0].tolist() == added


def test_a_close_interrupted_at_any_instruction(daemon, client):
    pump = daemon.add("pump", dim=1)
    for step in count(1):
        stream = client.stream("pump")
        stream.push([step])
        interrupted = interrupt(step, KeyboardInterrupt, stream.close)
        stream.close()
        assert stream.pending == 0
        if not interrupted:
            break
    assert step > 20
    assert pump.rows[:, 0].tolist() == list(range(1, step + 1))


def test_a_firehose_interrupted_at_any_instruction(daemon, client, until):
    pump = daemon.add("pump", dim=1)
    acknowledged, in_doubt = [], []
    with client.firehose("pump") as firehose:
        for step in count(1):
            in_doubt.append(2 * step)
            if not interrupt(step, KeyboardInterrupt, lambda step=step: firehose.push(batch(2 * step))):
                break
            firehose.push(batch(2 * step + 1))
            acknowledged.append(2 * step + 1)
        until(lambda: any(int(part.x[0, 0]) == 2 * step for part in pump.batches))
    assert step > 20
    until(lambda: {int(part.x[0, 0]) for part in pump.batches} >= set(acknowledged))
    learned = [int(part.x[0, 0]) for part in pump.batches]
    assert len(set(learned)) == len(learned)
