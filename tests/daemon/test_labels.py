"""Labels by hand and by name: journalled, undone by a restore, the same after a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models as real_models
from streamlearn.errors import BadMessage, BadValue, FatalError
from streamlearn_client import AsyncClient, Client
from tests.daemon.harness import SECONDS, Running

X = np.random.default_rng(8).normal(size=(300, 2)).astype(np.float32)
NAMES = np.array(["ok", "worn"])[(X[:, 0] > 0).astype(int)]
SPEC = {"dim": 2, "grid": [3, 3], "labels": 4, "label_names": ["ok", "worn"], "scale": None}


def test_labels_by_hand(serve: Callable[..., Running]) -> None:
    running, som = serve(models=real_models), sl.SOM(**SPEC)
    with Client(running.endpoints["requests"]) as client, client.subscribe(kind="labelled") as events:
        client.create("pump", "som", **SPEC)
        client.learn("pump", X, NAMES, ids=np.arange(300) + 1000)
        som.learn(X, NAMES, ids=np.arange(300) + 1000)
        client.learn("pump", X[:2], ids=["a", "b"])
        som.learn(X[:2], ids=["a", "b"])
        client.checkpoint("pump", "before")
        before = client.describe("pump")["state_hash"]
        assert before == som.state_hash()
        lsn = client.label("pump", "bearing worn", unit=4)["lsn"]
        assert events.next_event(SECONDS).lsn == lsn
        client.label("pump", "ok", sample="a")
        client.label("pump", "leak", x=[0.25, np.nan])
        client.label("pump", "worn", unit=np.int64(0))
        client.label("pump", None, unit=0)
        som.label("bearing worn", unit=4)
        som.label("ok", sample="a")
        som.label("leak", x=[0.25, np.nan])
        reading = client.read("pump", "labels")
        assert reading["label_names"] == ["ok", "worn", "bearing worn", "leak"]
        np.testing.assert_array_equal(reading["labels"], som.labels)
        assert reading["labels"].ravel()[4] == 2
        after = client.describe("pump")
        assert after["state_hash"] == som.state_hash()
        assert after["label_names"] == reading["label_names"]
        with pytest.raises(BadValue, match="no class left"):
            client.label("pump", "oil", unit=1)
        with pytest.raises(BadValue, match="has no label 'oil'; its labels are ok, worn"):
            client.learn("pump", X[:1], ["oil"])
        with pytest.raises(BadValue, match="give one of them"):
            client.label("pump", "ok")
        with pytest.raises(BadMessage):
            running.wire.call("label", "pump", label="ok", x=X[:2])
        client.create("net", "rnn", dim=2)
        with pytest.raises(BadValue, match="this rnn has no labels"):
            client.label("net", "ok", unit=1)
    running.daemon.loop.fail(FatalError("for a test"))
    running.join()
    running.stop()
    again = serve(models=real_models)
    assert again.wire.hash("pump") == som.state_hash()
    again.wire.call("restore", "pump", name="before")
    assert again.wire.hash("pump") == before


def test_names_of_late_labels_with_asyncio(serve: Callable[..., Running]) -> None:
    running, som = serve(models=real_models), sl.SOM(**SPEC)

    async def send() -> str:
        async with AsyncClient(running.endpoints["requests"]) as client:
            await client.create("pump", "som", **SPEC)
            await client.learn("pump", X[:20], ids=np.arange(20))
            ack = await client.learn_targets("pump", [3, 4], ["worn", None])
            assert (ack.matched, ack.unmatched) == (2, 0)
            await client.label("pump", "leak", unit=7)
            return str((await client.describe("pump"))["state_hash"])

    found = asyncio.run(send())
    som.learn(X[:20], ids=np.arange(20))
    som.learn_targets([3, 4], [[1], [np.nan]])
    som.label("leak", unit=7)
    assert found == som.state_hash()
