"""The blocking client against a fake daemon on real sockets, with injected faults."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import zmq

from streamlearn_client import Client, errors
from streamlearn_client.errors import (
    BadDtype,
    BadName,
    BadShape,
    BadSpec,
    BadValue,
    Busy,
    Fenced,
    Gap,
    ModelExists,
    NoAnswer,
    ShuttingDown,
    TooLarge,
    UnknownModel,
)
from streamlearn_client.protocol import (
    EventMessage,
    Limits,
    Request,
    decode_reply,
    encode_request,
    identifier,
)
from tests.client.fake import DROP, IGNORE, once

X = np.arange(24, dtype="<f4").reshape(3, 8)


@pytest.fixture
def pump(daemon):
    return daemon.add("pump", dim=8)


# without faults


def test_every_operation(daemon, client):
    class Decay:
        start, end, tau = 0.5, 0.1, 100

    client.create("pump", kind="som", dim=8, grid=(3, 3), learning_rate=Decay())
    spec = daemon.models["pump"].spec
    assert spec == {"dim": 8, "grid": [3, 3], "learning_rate": {"start": 0.5, "end": 0.1, "tau": 100}}
    ack = client.learn("pump", X)
    assert (ack.lsn, ack.duplicate, ack.rows) == (2, False, 3)
    assert np.array_equal(daemon.models["pump"].rows, X)
    out = client.predict("pump", X)
    assert out.winner.tolist() == [0, 1, 2]
    assert out.applied_lsn == 2
    assert client.describe("pump")["kind"] == "som"
    assert [model["name"] for model in client.models()] == ["pump"]
    assert client.checkpoint("pump")["lsn"] == 2
    assert [checkpoint["lsn"] for checkpoint in client.checkpoints("pump")] == [2]
    assert client.restore("pump", lsn=ack.lsn)
    assert client.position("pump").next_seq == 1
    assert client.position("pump", "somebody else").epoch == 0
    assert client.stats("pump")
    assert client.hello()["limits"]["rows"] == 1 << 20
    client.delete("pump")
    assert client.models() == []
    with pytest.raises(UnknownModel):
        client.describe("pump")


def test_batches_are_numbered_per_model(daemon, client, pump):
    other = daemon.add("other", dim=8)
    for _ in range(3):
        client.learn("pump", X)
        client.learn("other", X)
    for model in (pump, other):
        assert [batch.seq for batch in model.batches] == [0, 1, 2]
        assert len({(batch.producer, batch.epoch) for batch in model.batches}) == 1


def test_feedback(daemon, client, pump):
    assert client.feedback("pump", 3, "normal")["lsn"] == daemon.lsn
    assert daemon.requests[-1].fields == {"verdict": "normal", "name": "", "sample": 3}
    assert client.feedback("pump", [0.5, np.nan], "fault", "bearing")["lsn"] == daemon.lsn
    assert daemon.requests[-1].fields == {"verdict": "fault", "name": "bearing"}
    assert np.array_equal(daemon.requests[-1].x, [[0.5, np.nan]], equal_nan=True)


def test_forecast_sample_and_reheat(daemon, client, pump):
    ahead = client.forecast("pump", 3)
    assert (ahead.dtype, ahead.shape) == (np.float32, (3, 2))
    assert "key" not in daemon.requests[-1].fields
    client.forecast("pump", np.int64(2), key="a")
    assert daemon.requests[-1].fields == {"steps": 2, "key": identifier("a")}
    drawn = client.sample("pump", 5, temperature=np.float32(0.5), seed=2, key=7)
    assert (drawn.dtype, drawn.tolist()) == (np.int32, [7] * 5)
    assert daemon.requests[-1].fields == {"n": 5, "temperature": 0.5, "seed": 2, "key": 7}
    assert client.reheat("pump")["lsn"] == daemon.lsn
    assert daemon.requests[-1].fields == {"heat": 1.0}
    client.reheat("pump", np.float32(0.5))
    assert daemon.requests[-1].fields == {"heat": 0.5}


def test_threads_share_a_client(client, pump):
    threads = [
        threading.Thread(target=lambda: [client.learn("pump", X[:1]) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pump.batches) == 80


def test_the_daemon_answers_req_sockets(daemon, pump):
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.connect(daemon.endpoint)
        socket.send_multipart(encode_request(Request("predict", 1, "pump", {}, X)))
        assert socket.poll(20_000)
        assert decode_reply(socket.recv_multipart()).arrays["winner"].tolist() == [0, 1, 2]


# input that the client refuses


def test_the_client_refuses_invalid_input(daemon, client, pump):
    for bad, error in (([["a"]], BadDtype), ([1j], BadDtype), ([[1e40]], BadValue), ([], BadShape)):
        with pytest.raises(error):
            client.learn("pump", bad)
        with pytest.raises(error):
            client.predict("pump", bad)
    with pytest.raises(BadName):
        client.describe("no/such")
    with pytest.raises(BadSpec):
        client.create("new", "som", dim=object())
    with pytest.raises(BadValue, match="firehose"):
        client.learn("pump", X, ack="none")
    with pytest.raises(BadValue, match="durable, received, written"):
        client.learn("pump", X, ack="maybe")
    with pytest.raises(BadName):
        Client(daemon.endpoint, producer="")
    with pytest.raises(BadValue, match="HOST:PORT"):
        Client("over there")
    with pytest.raises(BadValue):
        Client(daemon.endpoint, timeout=0)
    for call in (
        lambda: client.forecast("pump", 1.5),
        lambda: client.forecast("pump", -1),
        lambda: client.sample("pump", 3, seed=2**63),
        lambda: client.sample("pump", 3, temperature="hot"),
        lambda: client.reheat("pump", heat=True),
    ):
        with pytest.raises(BadValue):
            call()
    with pytest.raises(BadDtype):
        client.forecast("pump", 1, key=[1])
    assert not pump.batches


def test_batches_larger_than_one_message(daemon, client, pump):
    daemon.limits = Limits(rows=4, frame_bytes=96)
    x = np.arange(80, dtype="f4").reshape(10, 8)
    assert client.learn("pump", x).rows == 10
    assert [len(batch.x) for batch in pump.batches] == [3, 3, 3, 1]
    assert np.array_equal(pump.rows, x)
    with pytest.raises(TooLarge, match="send them in parts"):
        client.predict("pump", x)
    with pytest.raises(TooLarge, match="one sample has 100 bytes"):
        client.learn("pump", np.zeros((1, 25)))


def test_initial_weights_may_be_an_array_that_fits_a_header(daemon, client):
    weights = np.arange(60, dtype="f4").reshape(3, 4, 5) / 7
    daemon.limits = Limits(control_header_bytes=700)
    client.create("pump", kind="som", dim=5, grid=(3, 4), init=weights)
    assert daemon.models["pump"].spec["init"] == weights.tolist()
    with pytest.raises(TooLarge, match=r"the parameters take \d+ bytes and may take 700") as caught:
        client.create("other", kind="som", dim=5, grid=(6, 4), init=np.concatenate([weights, weights]))
    assert caught.value.detail["limit"] == "limits.control_header_bytes"
    assert caught.value.detail["most"] == 700
    assert "other" not in daemon.models


def test_the_error_has_the_number_of_accepted_samples(daemon, client, pump):
    daemon.limits = Limits(rows=4)
    daemon.fault = lambda request: errors.BadValue("no") if getattr(request, "seq", 0) == 2 else None
    with pytest.raises(BadValue) as caught:
        client.learn("pump", np.zeros((10, 8)))
    assert caught.value.detail["accepted"] == 8


# a daemon that does not run, stops, or does not answer


def test_without_a_daemon_calls_end_in_time(daemon):
    daemon.kill()
    with Client(daemon.endpoint, timeout=0.1) as client:
        for call in (client.models, client.hello, lambda: client.learn("pump", X)):
            with pytest.raises(NoAnswer, match="streamlearn serve") as caught:
                call()
            assert caught.value.detail["endpoint"] == daemon.endpoint
        for call in (client.stream, client.firehose, client.subscribe):
            with pytest.raises(NoAnswer):
                call("pump")


def test_a_client_works_before_and_after_a_daemon_restart(daemon, pump):
    daemon.kill()
    with Client(daemon.endpoint, timeout=60) as client:
        timer = threading.Timer(0.1, daemon.start)
        timer.start()
        assert client.learn("pump", X).rows == 3
        timer.join()
        daemon.kill()
        daemon.start()
        assert client.learn("pump", X).rows == 3
        assert len(pump.batches) == 2


@pytest.mark.parametrize("fault", [DROP, IGNORE])
def test_a_learn_with_a_lost_answer_is_resent_and_learned_once(daemon, client, pump, fault):
    """The daemon crashes before (IGNORE) or after (DROP) it executes the request."""
    daemon.fault = once("learn", fault, daemon.restart_soon)
    assert client.learn("pump", X).duplicate is (fault == DROP)
    assert len(pump.batches) == 1


@pytest.mark.parametrize("fault", [DROP, IGNORE])
def test_a_create_with_a_lost_answer(daemon, client, fault):
    daemon.fault = once("create", fault, daemon.restart_soon)
    client.create("pump", "som", dim=8, grid=(3, 3))
    assert daemon.models["pump"].spec == {"dim": 8, "grid": [3, 3]}


def test_a_create_with_a_lost_answer_while_another_client_creates_the_name(daemon, client):
    def create_by_another_client():
        daemon.add("pump", dim=9)
        daemon.restart_soon()

    daemon.fault = once("create", IGNORE, create_by_another_client)
    with pytest.raises(ModelExists):
        client.create("pump", "som", dim=8)


def test_a_call_that_is_not_repeated_detects_every_connection_loss(daemon, client):
    for turn in range(20):
        daemon.fault = once("create", IGNORE, daemon.restart_soon)
        client.create(f"pump{turn}", "som", dim=8)
        assert sum(request.op == "create" for request in daemon.requests) == 2 * (turn + 1)


def test_a_second_create_of_a_name_is_refused(client, pump):
    with pytest.raises(ModelExists):
        client.create("pump", "som", dim=8)


@pytest.mark.parametrize("fault", [DROP, IGNORE])
def test_a_delete_with_a_lost_answer(daemon, client, pump, fault):
    daemon.fault = once("delete", fault, daemon.restart_soon)
    client.delete("pump")
    assert not daemon.models


def test_a_delete_with_a_lost_answer_keeps_a_new_model_of_the_name(daemon, client, pump):
    def replace_model():
        daemon.add("pump", dim=9)
        daemon.restart_soon()

    daemon.fault = once("delete", IGNORE, replace_model)
    client.delete("pump")
    assert daemon.models["pump"].spec == {"dim": 9}


@pytest.mark.parametrize("op", ["restore", "reheat"])
def test_operations_that_are_not_idempotent_are_not_repeated(daemon, client, pump, op):
    daemon.fault = once(op, DROP, daemon.restart_soon)
    with pytest.raises(NoAnswer):
        getattr(client, op)("pump")
    assert sum(request.op == op for request in daemon.requests) == 1


@pytest.mark.parametrize("refusal", [Busy("later"), ShuttingDown("later")])
def test_a_retryable_refusal_is_retried(daemon, client, pump, refusal):
    daemon.fault = once("learn", refusal)
    assert client.learn("pump", X).rows == 3
    assert len(pump.batches) == 1


def test_duplicate_answers(daemon, client, pump):
    daemon.duplicates_answers = True
    for _ in range(3):
        client.learn("pump", X)
        assert client.predict("pump", X).winner.tolist() == [0, 1, 2]
    assert len(pump.batches) == 3


def test_after_no_answer_the_next_batch_has_a_new_number(daemon, client, pump, until):
    """With the number of the lost batch, the daemon would treat the next batch as a resend."""
    client.learn("pump", X)
    daemon.fault = lambda request: DROP
    client.timeout = 0.1
    with pytest.raises(NoAnswer) as caught:
        client.learn("pump", X + 1)
    assert caught.value.detail["seq"] == 1
    daemon.fault = lambda request: None
    client.timeout = 60
    until(lambda: len(pump.batches) == 2)
    assert not client.learn("pump", X + 2).duplicate
    assert np.array_equal(pump.rows, np.concatenate([X, X + 1, X + 2]))


def test_a_daemon_that_lost_acknowledged_batches(client, pump):
    client.learn("pump", X, ack="received")
    client.learn("pump", X, ack="received")
    pump.forget(1)
    with pytest.raises(Gap) as caught:
        client.learn("pump", X)
    assert "lost batches that it had acknowledged" in caught.value.__notes__[0]
    assert client.learn("pump", X).rows == 3


def test_learning_continues_after_the_model_was_created_again(client, pump):
    client.learn("pump", X)
    client.delete("pump")
    client.create("pump", "som", dim=8)
    assert not client.learn("pump", X).duplicate


def test_the_newer_of_two_clients_with_one_name_wins(daemon, pump):
    with Client(daemon.endpoint, producer="me") as first, Client(daemon.endpoint, producer="me") as second:
        first.learn("pump", X)
        second.learn("pump", X)
        with pytest.raises(Fenced):
            first.learn("pump", X)
        second.learn("pump", X)


def test_an_unreadable_answer(daemon, client):
    daemon.fault = lambda request: errors.StreamlearnError("odd")
    with pytest.raises(errors.Unrecognised, match="odd"):
        client.models()


def test_a_closed_client_raises(daemon):
    client = Client(daemon.endpoint)
    client.close()
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.models()


# events and the firehose


def test_events(daemon, client, pump):
    with client.subscribe("pump", timeout=60) as events:
        arrays = {"winner": np.array([3, 4], "<i4")}
        daemon.publish(EventMessage("output", "pumpkin", 8, 0, 2, 5, arrays))
        daemon.publish(EventMessage("output", "pump", 9, 512, 2, 5, arrays))
        daemon.publish(EventMessage("deleted", "pump", 10))
        event = next(events)
        assert (event.kind, event.model, event.lsn, event.first, event.rows) == ("output", "pump", 9, 512, 2)
        assert event.outputs.winner.tolist() == [3, 4]
        assert next(events).kind == "deleted"
        assert events.next_event(timeout=0) is None
        events.timeout = 0.01
        assert list(events) == []
    assert list(events) == []


def test_without_a_publisher_subscribe_ends_in_time(daemon):
    with (
        Client(daemon.endpoint, events="tcp://127.0.0.1:1", timeout=0.1) as client,
        pytest.raises(NoAnswer, match="events endpoint"),
    ):
        client.subscribe("pump")


def test_the_firehose(daemon, client, pump, until):
    with client.firehose("pump", producer="me") as firehose:
        for _ in range(3):
            firehose.push(X)
        until(lambda: len(pump.batches) == 3)
        assert firehose.sent == 3
    assert [(batch.producer, batch.seq, batch.ack) for batch in pump.batches] == [
        ("me", seq, "none") for seq in range(3)
    ]


def test_a_firehose_without_a_daemon_does_not_hang(daemon, client, pump, until):
    client.hello()
    client.timeout = 0.1
    with client.firehose("pump") as firehose:
        until(lambda: not refuses(firehose))
        daemon.kill()
        until(lambda: refuses(firehose))


class Hopeful:
    """A socket that loses its connection after every successful poll."""

    def __init__(self, socket) -> None:
        self._socket = socket

    def __getattr__(self, name):
        return getattr(self._socket, name)

    def poll(self, *_):
        return zmq.POLLOUT


def test_a_firehose_with_a_lost_connection_does_not_hang(daemon, client, pump, until, monkeypatch):
    client.hello()
    client.timeout = 0.1
    with client.firehose("pump") as firehose:
        daemon.kill()
        until(lambda: refuses(firehose))
        monkeypatch.setattr(firehose._connection, "socket", Hopeful(firehose._connection.socket))
        assert refuses(firehose)


def refuses(firehose) -> bool:
    """Return whether a push fails. The socket may accept messages shortly after the loss."""
    try:
        firehose.push(X)
    except NoAnswer as error:
        return "firehose endpoint" in error.message
    return False
