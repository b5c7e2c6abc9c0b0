"""One call against time, broken connections and refusals, without sockets."""

from __future__ import annotations

import pytest

from streamlearn_client.calls import Call, Exchange, Unanswered
from streamlearn_client.errors import BadSpec, Busy, NoAnswer
from streamlearn_client.protocol import Reply, Request, decode_request

OK = Reply(7, {"a": 1}, {})


def exchange(repeat: bool = True) -> Exchange:
    return Exchange(
        Call(Request("describe", None, "pump"), repeat), 7, "tcp://there:1", deadline=10, timeout=10
    )


def test_the_request_carries_the_id():
    assert decode_request(exchange().frames) == Request("describe", 7, "pump")


def test_an_answer():
    each = exchange()
    assert each.due
    each.sent(0)
    assert not each.due
    assert each.receive(OK._replace(id=6), 0) is None
    assert each.receive(OK, 0) == OK


def test_silence_leads_to_another_try_and_then_to_no_answer():
    each = exchange()
    each.sent(0)
    assert each.wait(0) == 2
    each.wait(2)
    assert each.due
    each.sent(2)
    assert each.wait(2) == 4
    with pytest.raises(NoAnswer, match="did not answer describe within 10 s") as caught:
        each.wait(10)
    assert caught.value.detail == {"endpoint": "tcp://there:1", "op": "describe", "sent": True}


def test_what_must_not_be_repeated_is_not():
    each = exchange(repeat=False)
    each.lost()
    each.sent(0)
    assert each.wait(0) == 10
    with pytest.raises(Unanswered):
        each.lost()


def test_a_daemon_that_was_never_there():
    with pytest.raises(NoAnswer, match="streamlearn serve") as caught:
        exchange().wait(10)
    assert caught.value.detail["sent"] is False


def test_a_broken_connection_leads_to_another_try():
    each = exchange()
    each.sent(0)
    each.lost()
    assert each.due


@pytest.mark.parametrize("repeat", [True, False])
def test_a_refusal_for_the_moment_leads_to_another_try_after_a_pause(repeat):
    each = exchange(repeat)
    each.sent(0)
    assert each.receive(OK._replace(error=Busy("later")), 0) is None
    each.lost()
    assert not each.due
    assert each.wait(0) == pytest.approx(0.05)
    each.wait(0.06)
    assert each.due
    each.sent(0.06)
    assert each.receive(OK._replace(error=Busy("later")), 0.06) is None
    assert each.wait(0.06) == pytest.approx(0.1)
    with pytest.raises(Busy):
        each.wait(10)


def test_a_refusal_for_good_is_raised():
    each = exchange()
    each.sent(0)
    with pytest.raises(BadSpec):
        each.receive(OK._replace(error=BadSpec("no")), 0)
