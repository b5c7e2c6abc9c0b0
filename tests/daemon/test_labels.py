"""Labels by hand and by name: journalled, undone by a restore, the same after a crash."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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


def test_names_of_labels_in_streams_and_in_a_csv(serve: Callable[..., Running], tmp_path: Path) -> None:
    """A stream, an asyncio stream and `streamlearn push` learn the same as the numbers of the classes."""
    running, som = serve(models=real_models), sl.SOM(**SPEC)
    endpoint = running.endpoints["requests"]
    names = ["ok" if x[0] > 0 else "worn" for x in X[:60]]
    som.learn(X[:60], [[float(name == "worn")] for name in names])

    async def send() -> None:
        async with AsyncClient(endpoint) as client:
            await client.create("aio", "som", **SPEC)
            async with client.stream("aio") as stream:
                await stream.push(X[0], names[0])
                await stream.push_many(X[1:60], names[1:])

    asyncio.run(send())
    with Client(endpoint) as client:
        client.create("sync", "som", **SPEC)
        with client.stream("sync") as stream:
            stream.push(X[0], [names[0]])
            stream.push_many(X[1:60], np.array(names[1:]))
            with pytest.raises(BadValue, match="has no label 'oil'; its labels are ok, worn"):
                stream.push(X[0], "oil")
            with pytest.raises(BadValue, match="has no label 'oil'"):
                stream.push_many(X[:1], ["oil"])
        file = tmp_path / "labels.csv"
        rows = "".join(f"{a!s},{b!s},{name}\n" for (a, b), name in zip(X[:60], names, strict=True))
        for model, header in (("header", "a,b,condition\n"), ("bare", "")):
            client.create(model, "som", **SPEC)
            command = [sys.executable, "-m", "streamlearn", "push", file, "-m", model, "--target", "3"]
            file.write_text(header + rows)
            subprocess.run([*command, "-e", endpoint], check=True, capture_output=True)
            file.write_text(f"{header}1,2,oil\n")
            done = subprocess.run([*command, "-e", endpoint], capture_output=True, text=True)
            assert done.returncode == 11, done.stderr
            assert f"line {1 + bool(header)}: 'oil' in column 3" in done.stderr
            assert "no label of the model (ok, worn, 2, 3)" in done.stderr
        found = {each["name"]: client.describe(each["name"])["state_hash"] for each in client.models()}
    assert found == dict.fromkeys(("aio", "bare", "header", "sync"), som.state_hash())


@pytest.mark.parametrize("kind", ["som", "competitive", "gng"])
def test_labels_by_hand_of_a_model_that_was_created_without_labels(
    serve: Callable[..., Running], kind: str
) -> None:
    """Answers, events, clone, export, restore, and the journal after a crash: the same as a local model."""
    spec = {"som": {"grid": [3, 3]}, "competitive": {"units": 9}, "gng": {"max_units": 9, "insert_every": 5}}
    running, model = serve(models=real_models), real_models.create(kind, {"dim": 2, **spec[kind]})
    with Client(running.endpoints["requests"]) as client, client.subscribe(kind="output") as events:
        client.create("pump", kind, dim=2, **spec[kind])
        client.learn("pump", X[:200])
        assert "label" not in events.next_event(SECONDS).outputs.arrays
        assert "label" not in client.predict("pump", X).arrays
        model.learn(X[:200])
        winner = int(model.predict([[0.25, -1.0]]).winner[0])
        worn, other = (winner + 1) % 9, (winner + 2) % 9
        lsn = client.label("pump", "bearing worn", unit=worn)["lsn"]
        client.label("pump", "ok", x=[0.25, -1.0])
        client.label("pump", "nothing", unit=other)
        client.label("pump", None, unit=other)
        model.label("bearing worn", unit=worn)
        model.label("ok", x=[0.25, -1.0])
        model.label("nothing", unit=other)
        model.label(None, unit=other)
        reading = client.read("pump", "labels")
        assert reading["label_names"] == ["bearing worn", "ok", "nothing"]
        np.testing.assert_array_equal(reading["labels"], model.labels)
        found = client.predict("pump", X)
        np.testing.assert_array_equal(found.label, model.predict(X).label)
        assert set(found.label.tolist()) == {-1, 0, 1}
        client.learn("pump", X[200:250])
        np.testing.assert_array_equal(
            events.next_event(SECONDS).outputs.label, model.learn(X[200:250]).arrays["label"]
        )
        clone = client.clone("pump", "twin")
        assert clone["cloned_lsn"] > lsn
        described = client.describe("pump")
        assert described["state_hash"] == client.describe("twin")["state_hash"] == model.state_hash()
        assert described["label_names"] == reading["label_names"]
        assert described["target_dim"] == 0
        with pytest.raises(BadValue, match="the values of sample 3 are not kept"):
            client.label("pump", "ok", sample=3)
        client.restore("pump", lsn=lsn - 1)
        assert client.read("pump", "labels")["label_names"] == []
        assert "label" not in client.predict("pump", X).arrays
        client.restore("pump", lsn=described["applied_lsn"])
        assert client.describe("pump")["state_hash"] == model.state_hash()
    running.daemon.loop.fail(FatalError("for a test"))
    running.join()
    running.stop()
    again = serve(models=real_models)
    assert again.wire.hash("pump") == again.wire.hash("twin") == model.state_hash()
    assert again.wire.call("describe", "twin")["label_names"] == reading["label_names"]
