"""`read`: parts of a live model, inline or from a copy on the query worker, within limits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models as real_models
from streamlearn.daemon.operations import queries
from streamlearn.errors import BadMessage, BadValue, TooLarge, UnknownModel
from streamlearn.models.maps.som import SOM
from streamlearn_client import AsyncClient, Client
from streamlearn_client.protocol import Request
from tests.daemon.harness import SECONDS, Running

X = np.random.default_rng(8).normal(50, [1, 20], (3000, 2)).astype(np.float32)
SOM_SPEC: dict[str, Any] = {"dim": 2, "grid": [4, 5], "scale": "standard", "drift": None}


@pytest.fixture
def real(serve: Callable[..., Running]) -> Running:
    """A daemon with real models: the map m has learned X."""
    running = serve(models=real_models)
    running.wire.create("m", "som", **SOM_SPEC)
    running.wire.learn(X)
    return running


def expected(x: np.ndarray = X) -> SOM:
    som = sl.SOM(**SOM_SPEC)
    som.learn(x)
    return som


def check(reading: Any, ack: dict[str, Any]) -> None:
    som = expected()
    np.testing.assert_array_equal(reading["weights"], som.weights)
    np.testing.assert_array_equal(reading["planes"], np.moveaxis(som.prototypes, -1, 0))
    np.testing.assert_array_equal(reading["u_matrix"], som.u_matrix())
    np.testing.assert_array_equal(reading["hits"], som.hits.reshape(4, 5))
    assert reading["quality"] == som.quality()
    assert (reading.samples, reading.kind, reading.model) == (len(X), "som", "m")
    assert reading.applied_lsn == ack["applied_lsn"]


WHAT = ["weights", "planes", "u_matrix", "hits", "quality"]


def test_both_clients_read_what_the_model_in_this_process_has(real: Running) -> None:
    ack = {"applied_lsn": 2}
    with Client(real.endpoints["requests"]) as client:
        check(client.read("m", WHAT), ack)
        assert list(client.read("m", "hits")) == ["hits"]
        with pytest.raises(KeyError, match="this reading has: hits"):
            client.read("m", "hits")["weights"]
        for wrong in ([], [1], 3):
            with pytest.raises((BadValue, TypeError)):
                client.read("m", wrong)  # type: ignore[arg-type]

    async def read() -> Any:
        async with AsyncClient(real.endpoints["requests"]) as client:
            return await client.read("m", WHAT)

    check(asyncio.run(read()), ack)


def test_what_a_kind_does_not_have_is_refused(real: Running) -> None:
    wire = real.wire
    refused = {"lags": "weights, prototypes, u_matrix", "x": "no such part"}
    for what, has in refused.items():
        with pytest.raises(BadValue, match=has):
            wire.call("read", "m", what=["hits", what])
    wire.create("net", "rnn", dim=2)
    with pytest.raises(BadValue, match="for labels, create a som, a competitive or a gng"):
        wire.call("read", "net", what=["labels"])
    with pytest.raises(BadValue, match="it has quality"):
        wire.call("read", "net", what=["parameters"])
    with pytest.raises(BadMessage, match="what must be a list of texts"):
        wire.call("read", "m", what=[])
    with pytest.raises(UnknownModel):
        wire.call("read", "none", what=["hits"])


def test_a_long_read_is_answered_from_a_copy_while_the_model_learns(
    real: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is held while the model learns on; the answer is the state at the request."""
    reached, released = threading.Event(), threading.Event()
    original = SOM.u_matrix

    def held(som: SOM) -> Any:
        assert threading.current_thread().name == "queries"
        reached.set()
        assert released.wait(SECONDS)
        return original(som)

    monkeypatch.setattr(SOM, "u_matrix", held)
    monkeypatch.setattr(queries, "READ_NS", 1e9)
    other = real.connect()
    number = other.send(Request("read", None, "m", {"what": WHAT}))
    assert reached.wait(SECONDS)
    assert real.wire.learn(X[:500])["applied_lsn"] == 3
    assert real.wire.call("describe", "m")["samples"] == len(X) + 500
    released.set()
    monkeypatch.undo()
    reply = other.receive()
    assert (reply.id, reply.ok["samples"], reply.ok["applied_lsn"]) == (number, len(X), 2)
    np.testing.assert_array_equal(reply.arrays["u_matrix"], expected().u_matrix())


def test_an_answer_above_a_limit_is_refused_before_it_is_computed(
    serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(models=real_models, limits={"unread_bytes": 64 * 1024, "frame_bytes": 48 * 1024})
    running.wire.create("m", "som", dim=4, grid=[50, 50])

    def computed(som: SOM) -> Any:
        raise AssertionError("it was computed")

    monkeypatch.setattr(SOM, "weights", property(computed))
    monkeypatch.setattr(SOM, "prototypes", property(computed))
    with pytest.raises(TooLarge, match="read fewer parts at a time, or use export"):
        running.wire.call("read", "m", what=["weights", "planes"])
    running.wire.create("wide", "som", dim=8, grid=[50, 50])
    with pytest.raises(TooLarge, match=r"weights has 80000 bytes.*export"):
        running.wire.call("read", "wide", what=["weights"])
    assert running.wire.call("read", "wide", what=["hits"])["arrays"]["hits"].shape == (50, 50)
