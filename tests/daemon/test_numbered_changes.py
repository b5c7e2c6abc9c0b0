"""Changes with an idempotency key are executed once: in any number of attempts, also after a crash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from streamlearn import models as real_models
from streamlearn.errors import BadMessage, BadValue, Conflict, FatalError, Gap
from streamlearn_client import Client
from streamlearn_client.session import once_producer
from tests.daemon.harness import SECONDS, Running

X = np.random.default_rng(8).normal(size=(300, 2)).astype(np.float32)
SPEC: dict[str, Any] = {"dim": 2, "grid": [3, 3], "alarm": True}
CHANGES: dict[str, Callable[[Client, str | None], dict[str, Any]]] = {
    "label": lambda client, key: client.label("pump", "ok", x=[1, 2], idempotency_key=key),
    "feedback": lambda client, key: client.feedback("pump", [5.0, 5.0], "fault", idempotency_key=key),
    "reheat": lambda client, key: client.reheat("pump", 0.5, idempotency_key=key),
    "pause": lambda client, key: client.pause("pump", idempotency_key=key),
    "resume": lambda client, key: client.resume("pump", idempotency_key=key),
    "restore": lambda client, key: client.restore("pump", name="begin", idempotency_key=key),
}
EVENTS = {
    "label": "labelled",
    "feedback": "judged",
    "reheat": "reheated",
    "pause": "paused",
    "resume": "resumed",
    "restore": "restored",
}


def prepared(client: Client) -> None:
    client.create("pump", "som", **SPEC)
    client.learn("pump", X[:100])
    client.checkpoint("pump", "begin")
    client.learn("pump", X[100:])


def state(client: Client) -> tuple[int, str]:
    found = client.describe("pump")
    return found["applied_lsn"], found["state_hash"]


@pytest.mark.parametrize("change", CHANGES)
def test_a_repeated_change_is_executed_once(serve: Callable[..., Running], change: str) -> None:
    """By the same client, by another one, behind further samples, and by another daemon after a crash."""
    running, execute = serve(models=real_models), CHANGES[change]
    with Client(running.endpoints["requests"]) as client, client.subscribe(kind=EVENTS[change]) as events:
        prepared(client)
        first = execute(client, "Ⅰ")
        assert "duplicate" not in first
        after = state(client)
        again = execute(client, "Ⅰ")
        assert (again["duplicate"], again["lsn"], state(client)) == (True, first["lsn"], after)
        client.learn("pump", X[:20])
        after = state(client)
        with Client(running.endpoints["requests"]) as other:
            assert execute(other, "Ⅰ")["lsn"] == first["lsn"]
            assert state(client) == after
        if change == "restore":
            assert (again["undo_name"], again["undo_lsn"]) == (first["undo_name"], first["undo_lsn"])
        with pytest.raises(Conflict):
            client.label("pump", "another", unit=3, idempotency_key="Ⅰ")
        with pytest.raises(Conflict):
            client.learn("pump", X[:3], idempotency_key="Ⅰ")
        assert events.next_event(SECONDS).lsn == first["lsn"]
        later = execute(client, None)
        assert events.next_event(SECONDS).lsn == later["lsn"], "a repetition publishes nothing"
        after = state(client)
    running.daemon.loop.fail(FatalError("for a test"))
    running.join()
    running.stop()
    again_served = serve(models=real_models)
    with Client(again_served.endpoints["requests"]) as client:
        assert state(client) == after
        repeated = execute(client, "Ⅰ")
        assert (repeated["duplicate"], repeated["lsn"], state(client)) == (True, first["lsn"], after)
        assert "duplicate" not in execute(client, "Ⅱ")
        assert state(client)[0] > after[0]


def test_keys_survive_a_checkpoint_and_a_restore(serve: Callable[..., Running]) -> None:
    running = serve(models=real_models)
    with Client(running.endpoints["requests"]) as client:
        prepared(client)
        first = client.label("pump", "ok", unit=3, idempotency_key="k")
        client.restore("pump", lsn=first["lsn"] - 1)
        assert client.read("pump", "labels")["label_names"] == []
        assert client.label("pump", "ok", unit=3, idempotency_key="k")["duplicate"]
        assert client.read("pump", "labels")["label_names"] == []
        client.checkpoint("pump")
        before = state(client)
    running.stop()
    with Client(serve(models=real_models).endpoints["requests"]) as client:
        assert client.label("pump", "ok", unit=3, idempotency_key="k")["lsn"] == first["lsn"]
        assert state(client) == before


def test_wrong_numbers_are_refused_and_change_nothing(serve: Callable[..., Running]) -> None:
    running = serve(models=real_models)
    with Client(running.endpoints["requests"]) as client:
        prepared(client)
        before = state(client)
        number = {"producer": once_producer("k"), "epoch": 1, "seq": 0}
        for missing in number:
            part = {name: value for name, value in number.items() if name != missing}
            with pytest.raises(BadMessage, match=f"belong together; {missing} is missing"):
                running.wire.call("label", "pump", label="ok", unit=1, **part)
        with pytest.raises(Gap):
            running.wire.call("label", "pump", label="ok", unit=1, **number | {"seq": 1})
        with pytest.raises(BadMessage, match="takes no number"):
            running.wire.call("restore", "pump", name="begin", into="other", **number)
        with pytest.raises(BadValue):
            client.restore("pump", name="begin", into="other", idempotency_key="k")
        with pytest.raises(BadValue, match="0 to 8"):
            client.label("pump", "ok", unit=9, idempotency_key="k")
        assert state(client) == before
        assert "duplicate" not in client.label("pump", "ok", unit=8, idempotency_key="k")  # no error is kept
