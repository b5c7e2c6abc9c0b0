"""Which events a subscription receives."""

from __future__ import annotations

import pytest

from streamlearn_client.errors import BadValue
from streamlearn_client.protocol import EventMessage


def test_events_of_one_kind_and_of_all_models(daemon, client):
    with client.subscribe("pump", "checkpoint") as some, client.subscribe(None) as all_:
        daemon.publish(EventMessage("output", "pump", 1))
        daemon.publish(EventMessage("checkpoint", "pump", 2))
        assert some.next_event(20).lsn == 2
        assert all_.next_event(20).lsn == 1
    with pytest.raises(BadValue, match="no 'outputs' events"):
        client.subscribe("pump", "outputs")
    for wrong in ({"kind": "outputs"}, {"models": []}, {"models": "pump"}):
        with pytest.raises(BadValue):
            client.subscribe(**wrong)


def test_one_kind_of_all_models_and_several_kinds_of_several_models(daemon, client):
    with (
        client.subscribe(kind="restored") as restored,
        client.subscribe(models=["pump", "pump"], kind=["output", "drift"]) as some,
        client.subscribe("pump-2", "output") as one,
    ):
        sent = [("output", "pump-2"), ("drift", "pump"), ("drift", "pump-2"), ("output", "pump")]
        for lsn, (kind, model) in enumerate(sent):
            daemon.publish(EventMessage(kind, model, lsn))
        daemon.publish(EventMessage("restored", "oven", 9))
        assert (restored.next_event(20).model, restored.next_event(0)) == ("oven", None)
        assert [some.next_event(20).lsn for _ in range(2)] == [1, 3]
        assert some.next_event(0) is None  # a prefix also matches pump-2
        assert (one.next_event(20).lsn, one.next_event(0)) == (0, None)
