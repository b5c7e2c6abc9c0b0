"""One exchange with timeouts, lost connections and refusals, without sockets."""

from __future__ import annotations

import pytest

from streamlearn_client.errors import BadSpec, Busy, NoAnswer
from streamlearn_client.protocol import Reply, Request, decode_request
from streamlearn_client.retry import AnswerLost, Call, Exchange

OK = Reply(7, {"a": 1}, {})


def exchange(idempotent: bool = True) -> Exchange:
    return Exchange(
        Call(Request("stats", None, "pump"), idempotent), 7, "tcp://host:1", deadline=10, timeout=10
    )


def test_the_request_carries_the_id():
    assert decode_request(exchange().frames) == Request("stats", 7, "pump")


def test_an_answer():
    call = exchange()
    assert call.due
    call.sent(0)
    assert not call.due
    assert call.receive(OK._replace(id=6), 0) is None
    assert call.receive(OK, 0) == OK


def test_without_an_answer_the_request_is_resent_and_then_fails():
    call = exchange()
    call.sent(0)
    assert call.time_left(0) == 2
    call.time_left(2)
    assert call.due
    call.sent(2)
    assert call.time_left(2) == 4
    with pytest.raises(NoAnswer, match="did not answer stats within 10 s") as caught:
        call.time_left(10)
    assert caught.value.detail == {"endpoint": "tcp://host:1", "op": "stats", "sent": True}


def test_a_request_that_is_not_idempotent_is_not_resent():
    call = exchange(idempotent=False)
    call.connection_lost()
    call.sent(0)
    assert call.time_left(0) == 10
    with pytest.raises(AnswerLost, match="was lost before the answer to stats"):
        call.connection_lost()


def test_a_daemon_that_never_ran():
    with pytest.raises(NoAnswer, match="streamlearn serve") as caught:
        exchange().time_left(10)
    assert caught.value.detail["sent"] is False


def test_a_lost_connection_leads_to_a_resend():
    call = exchange()
    call.sent(0)
    call.connection_lost()
    assert call.due


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_retryable_refusal_leads_to_a_resend_after_a_pause(idempotent):
    call = exchange(idempotent)
    call.sent(0)
    assert call.receive(OK._replace(error=Busy("later")), 0) is None
    call.connection_lost()
    assert not call.due
    assert call.time_left(0) == pytest.approx(0.05)
    call.time_left(0.06)
    assert call.due
    call.sent(0.06)
    assert call.receive(OK._replace(error=Busy("later")), 0.06) is None
    assert call.time_left(0.06) == pytest.approx(0.1)
    with pytest.raises(Busy):
        call.time_left(10)


def test_a_final_refusal_is_raised():
    call = exchange()
    call.sent(0)
    with pytest.raises(BadSpec):
        call.receive(OK._replace(error=BadSpec("no")), 0)
