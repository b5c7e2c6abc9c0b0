"""Models that are exported, created from files, and cloned, while they learn; and files that are refused."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

import streamlearn as sl
from streamlearn import models as real_models
from streamlearn.daemon.operations import copies, transfers
from streamlearn.errors import (
    BadCheckpoint,
    BadMessage,
    BadName,
    BadShape,
    BadSpec,
    BadValue,
    FatalError,
    ModelExists,
    StreamlearnError,
    TooLarge,
    UnknownModel,
    UnknownTransfer,
)
from streamlearn.models import Model
from streamlearn.store import tensors
from streamlearn_client import AsyncClient, Client
from streamlearn_client.protocol import Learn, Request
from tests.conformance import mutations
from tests.daemon.harness import SECONDS, Running
from tools.waiting import wait_for

X = np.random.default_rng(8).normal(50, [1, 20], (3000, 2)).astype(np.float32)
SPEC: dict[str, Any] = {"dim": 2, "grid": [4, 5], "scale": "standard", "labels": 3}


@pytest.fixture
def real(serve: Callable[..., Running]) -> Running:
    """A daemon with real models: the map m has learned the first 2000 samples."""
    running = serve(models=real_models)
    running.wire.create("m", "som", **SPEC)
    running.wire.learn(X[:2000], producer="p", epoch=5, seq=0, y=labels(X[:2000]))
    return running


def labels(x: np.ndarray) -> np.ndarray:
    return (x[:, :1] > 50).astype(np.float32)


def reference(*parts: np.ndarray) -> Model:
    som = sl.SOM(**SPEC)
    for part in parts:
        som.learn(part, labels(part))
    return som


def client(running: Running) -> Client:
    return Client(running.endpoints["requests"])


def upload(running: Running, content: bytes, model: str = "new", name: str = "u") -> None:
    for offset in range(0, len(content), 40_000):
        part = np.frombuffer(content[offset : offset + 40_000], np.uint8)
        fields = {"upload": name, "bytes": len(content), "offset": offset}
        running.wire.ask(Request("upload", None, model, fields, content=part))


def create(running: Running, content: bytes, kind: str = "som", model: str = "new", **fields: Any) -> Any:
    upload(running, content, model)
    return running.wire.call("create", model, kind=kind, **({"state": "u"} | fields))


def restarted(running: Running, serve: Callable[..., Running], how: str) -> Running:
    """The daemon after a crash or a stop."""
    if how == "crash":
        running.daemon.loop.fail(FatalError("for a test"))
        running.join()
    running.stop()
    return serve(models=real_models)


def test_an_export_is_the_model_and_a_file_of_it_becomes_the_same_model(
    real: Running, serve: Callable[..., Running], tmp_path: Path
) -> None:
    path = tmp_path / "m.slm"
    with client(real) as sender:
        facts = sender.export("m", path)
        assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (facts["kind"], facts["samples"], facts["bytes"]) == ("som", 2000, path.stat().st_size)
        assert facts["lsn"] == 2
        assert sl.load(path).state_hash() == reference(X[:2000]).state_hash()
        assert not [name for name in tensors.decode(path.read_bytes())[0] if "producers" in name]
        made = sender.create("copy", from_file=path)
        assert (made["kind"], made["samples"]) == ("som", 2000)
        assert made["spec"] == sender.describe("m")["spec"]
        assert sender.position("copy", "p").next_seq == 0
        with pytest.raises(ModelExists):
            sender.create("copy", from_file=path)
        with pytest.raises(BadSpec, match="leave out dim"):
            sender.create("other", from_file=path, dim=2)
        with pytest.raises(BadSpec, match="of the kind 'som', not 'rnn'"):
            sender.create("other", "rnn", from_file=path)
        sender.learn("copy", X[2000:], labels(X[2000:]))
    again = restarted(real, serve, "crash")
    assert again.wire.hash("copy") == reference(X[:2000], X[2000:]).state_hash()
    assert again.wire.hash("m") == reference(X[:2000]).state_hash()


def test_the_asyncio_client_exports_clones_and_creates(real: Running, tmp_path: Path) -> None:
    async def move() -> list[str]:
        async with AsyncClient(real.endpoints["requests"]) as sender:
            await sender.export("m", tmp_path / "m.slm")
            await sender.create("copy", from_file=tmp_path / "m.slm")
            await sender.clone("m", "clone")
            return [(await sender.describe(name))["state_hash"] for name in ("m", "copy", "clone")]

    assert set(asyncio.run(move())) == {reference(X[:2000]).state_hash()}


def test_a_large_model_travels_in_parts(
    serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "LAST_SECONDS", 0.0)
    running = serve(models=real_models, limits={"frame_bytes": 5000})
    running.wire.create("m", "som", dim=8, grid=[30, 30])
    with client(running) as sender:
        facts = sender.export("m", tmp_path / "m")
        assert facts["bytes"] > 6 * 5000
        sender.create("copy", from_file=tmp_path / "m")
        assert sender.describe("copy")["state_hash"] == sender.describe("m")["state_hash"]
    first = running.wire.call("export", "m")
    again = [running.wire.call("export", "m", export=first["export"], offset=5000) for _ in range(2)]
    np.testing.assert_array_equal(again[0]["arrays"]["content"], again[1]["arrays"]["content"])
    with pytest.raises(BadValue, match="offsets begin at 0"):
        running.wire.call("export", "m", export=first["export"], offset=facts["bytes"])
    with pytest.raises(BadMessage, match="offset needs export"):
        running.wire.call("export", "m", offset=5)
    monkeypatch.setattr(transfers, "IDLE_SECONDS", 0.0)
    running.wire.call("export", "m", export=first["export"], offset=5000)
    used = running.daemon.context.budget.queries
    wait_for(lambda: used.used == 0, "the end of the export")
    with pytest.raises(UnknownTransfer, match="begin a new export"):
        running.wire.call("export", "m", export=first["export"], offset=10_000)


@pytest.mark.parametrize("op", ["export", "clone"])
def test_the_model_learns_while_a_copy_is_made(
    real: Running, op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is held while the model learns on; the copy is the state at the request."""
    reached, released = threading.Event(), threading.Event()
    original = tensors.encode

    def held(*arguments: Any) -> bytes:
        if threading.current_thread().name == "copies":
            reached.set()
            assert released.wait(SECONDS)
        return original(*arguments)

    monkeypatch.setattr(copies.tensors, "encode", held)
    other = real.connect()
    number = other.send(Request(op, None, "m", {"into": "clone"} if op == "clone" else {}))
    assert reached.wait(SECONDS)
    real.wire.learn(X[2000:], y=labels(X[2000:]))
    assert real.wire.hash() == reference(X[:2000], X[2000:]).state_hash()
    released.set()
    reply = other.receive()
    assert reply.id == number
    if op == "clone":
        assert reply.ok["cloned_lsn"] == 2
        assert real.wire.hash("clone") == reference(X[:2000]).state_hash()
    else:
        assert (reply.ok["lsn"], reply.ok["samples"]) == (2, 2000)
        arrays, _ = tensors.decode(reply.arrays["content"].tobytes())
        assert arrays["samples"][0] == 2000


@pytest.mark.parametrize("how", ["crash", "stop"])
def test_a_clone_has_the_same_state_and_is_independent(
    real: Running, serve: Callable[..., Running], how: str
) -> None:
    wire = real.wire
    made = wire.call("clone", "m", into="clone")
    assert (made["name"], made["samples"], made["cloned_lsn"]) == ("clone", 2000, 2)
    wire.learn(X[2000:2500], y=labels(X[2000:2500]))
    wire.learn(X[2500:], "clone", y=labels(X[2500:]))
    for wrong, error in (("m", ModelExists), ("clone", ModelExists), ("a/b", BadName)):
        with pytest.raises(error):
            wire.call("clone", "m", into=wrong)
    with pytest.raises(UnknownModel):
        wire.call("clone", "none", into="x")
    again = restarted(real, serve, how)
    assert again.wire.hash("clone") == reference(X[:2000], X[2500:]).state_hash()
    assert again.wire.hash("m") == reference(X[:2000], X[2000:2500]).state_hash()
    assert again.wire.call("position", "clone", producer="p")["next_seq"] == 0
    assert again.wire.call("position", "m", producer="p")["next_seq"] == 1


def changed(content: bytes, spec: dict[str, Any] | None = None, **arrays: Any) -> bytes:
    """A file with a valid digest and other arrays, or another spec."""
    found, metadata = tensors.decode(content)
    found |= {name: value for name, value in arrays.items() if value is not None}
    kept = {name: value for name, value in found.items() if arrays.get(name, 0) is not None}
    given = json.loads(metadata["spec"]) | (spec or {})
    return tensors.encode(kept, metadata | {"spec": json.dumps(given)})


def test_hostile_files_are_refused_before_anything_is_journalled(real: Running, tmp_path: Path) -> None:
    path = tmp_path / "m"
    reference(X[:50]).save(path)
    good = path.read_bytes()
    weights = tensors.decode(good)[0]["weights"]
    bad = np.array(weights)
    bad.reshape(-1)[0] = np.nan
    lsn = real.journal.next_lsn
    refused: list[tuple[bytes, type[StreamlearnError]]] = [
        (good[:-1], BadCheckpoint),
        (good[:50] + b"#" + good[51:], BadCheckpoint),
        (b"PK" + good, BadCheckpoint),
        (b"\xff" * 8 + good, BadCheckpoint),
        (save({"weights": weights}), BadCheckpoint),  # no digest
        (changed(good, weights=None), BadCheckpoint),
        (changed(good, weights=weights.astype(np.float64)), BadCheckpoint),
        (changed(good, weights=np.array(weights[:, :1])), BadCheckpoint),
        (changed(good, weights=bad), BadCheckpoint),
        (changed(good, further=bad), BadCheckpoint),
        (changed(good, **{"labels.winners": np.full(1024, 20, np.int32)}), BadCheckpoint),
        (changed(good, {"grid": [3000, 3000]}), BadCheckpoint),
        (changed(good, {"grid": [100_000, 100_000]}), BadSpec),
        (changed(good, {"grid": "x"}), BadSpec),
        (changed(good, {"dim": 2**70}), BadSpec),
        (changed(good, {"unknown": 1}), BadSpec),
    ]
    for content, error in refused:
        with pytest.raises((error, TooLarge)):
            create(real, content)
    with pytest.raises(BadCheckpoint, match="of the kind 'som', not 'rnn'"):
        create(real, good, "rnn")
    with pytest.raises(BadCheckpoint, match="not 'none'"):
        create(real, good, "none")
    assert real.journal.next_lsn == lsn
    assert "new" not in real.recovered.shard
    assert real.daemon.context.budget.queries.used == 0
    with pytest.raises(BadMessage, match="leave out spec"):
        create(real, good, spec={"dim": 2})
    create(real, good)
    assert real.wire.hash("new") == reference(X[:50]).state_hash()


def test_a_file_whose_rows_cost_too_much_is_refused(serve: Callable[..., Running], tmp_path: Path) -> None:
    running = serve(models=real_models)
    running.recovered.shard.max_row_cost = 1000
    sl.SOM(dim=2, grid=(30, 30)).save(tmp_path / "m")
    with pytest.raises(BadSpec, match="multiply-adds"):
        create(running, (tmp_path / "m").read_bytes())


def test_mutated_files_are_refused_or_become_models(real: Running) -> None:
    """Of the files of 60 seeds, none has an answer that is not typed, and the daemon goes on."""
    outcomes: dict[str, list[Any]] = {}
    for seed in range(60):
        _, content, mutation, _ = mutations.mutated(seed)
        kind = kind_of(content)
        outcome = "created"
        try:
            create(real, content or b"#", kind if kind in real_models.kinds() else "som")
            real.wire.call("delete", "new")
        except StreamlearnError as error:
            outcome = error.code
        outcomes.setdefault(outcome, []).append((seed, mutation))
    assert "INTERNAL" not in outcomes, outcomes["INTERNAL"]
    assert {"created", "BAD_CHECKPOINT"} <= outcomes.keys()
    assert real.wire.hash() == reference(X[:2000]).state_hash()


def kind_of(content: bytes) -> str:
    try:
        return str(tensors.decode(content)[1].get("kind"))
    except (StreamlearnError, AttributeError):
        return ""


def test_parts_of_an_upload(real: Running, serve: Callable[..., Running], tmp_path: Path) -> None:
    wire = real.wire

    def send(offset: int, part: bytes, total: int = 9, name: str = "u", model: str = "new") -> Any:
        fields = {"upload": name, "bytes": total, "offset": offset}
        content = np.frombuffer(part, np.uint8)
        return wire.ask(Request("upload", None, model, fields, content=content))["received"]

    with pytest.raises(UnknownTransfer):
        send(3, b"def")
    assert send(0, b"abc") == 3
    assert send(0, b"abc") == 3  # again
    with pytest.raises(BadValue, match="bytes from 3 on are missing"):
        send(6, b"ghi")
    with pytest.raises(BadValue, match="the upload has 9 bytes"):
        send(3, b"defghij")
    with pytest.raises(BadValue, match="the upload has 9 bytes"):
        send(3, b"def", total=8)
    with pytest.raises(BadValue, match="3 of 9 bytes"):
        wire.call("create", "new", kind="som", state="u")
    with pytest.raises(UnknownTransfer):  # of another model
        wire.call("create", "other", kind="som", state="u")
    assert send(3, b"defghi") == 9
    with pytest.raises(BadValue, match="SHA-256"):
        wire.call("create", "new", kind="som", state="u", sha256="0" * 64)
    with pytest.raises(UnknownTransfer):  # it is used once
        wire.call("create", "new", kind="som", state="u")
    for name in ("", "n" * 65):
        with pytest.raises(BadMessage, match="1 to 64 characters"):
            send(0, b"abc", name=name)
    with pytest.raises(TooLarge, match=r"limits\.memory_bytes"):
        send(0, b"abc", total=2**50)
    for number in range(transfers.MOST):
        send(0, b"abc", name=f"{number}")
    with pytest.raises(StreamlearnError) as error:
        send(0, b"abc")
    assert (error.value.code, error.value.retryable) == ("BUSY", True)
    real.wire.socket.close()
    again = restarted(real, serve, "stop")
    with pytest.raises(UnknownTransfer):
        again.wire.call("create", "new", kind="som", state="0")


def test_parameters_of_a_network(real: Running, tmp_path: Path) -> None:
    """Size and biases come from the arrays; a wrong array is refused and nothing is journalled."""
    net = sl.RNN(readout="adam", dim=2, hidden=3, scale=None)
    arrays = {name: np.array(values) for name, values in net.parameters.items()}
    lsn = real.journal.next_lsn
    wrong = [
        ({**arrays, "head.bias": arrays["head.bias"] * np.nan}, BadValue),
        ({**arrays, "head.weight": arrays["head.weight"][:, :2]}, BadShape),
        ({**arrays, "other.weight": arrays["head.bias"]}, BadSpec),
        ({"head.bias": arrays["head.bias"]}, BadSpec),
    ]
    with client(real) as sender:
        for given, error in wrong:
            with pytest.raises(error):
                sender.create("net", "rnn", parameters=given, scale=None)
        with pytest.raises(BadSpec, match="no parameters of PyTorch"):
            sender.create("net", "som", parameters=arrays)
        with pytest.raises(BadSpec, match=r"\.pt"):
            sender.create("net", "rnn", parameters=tmp_path / "net.pt")
        with pytest.raises(BadSpec, match="kind of the model is missing"):
            sender.create("net", parameters=arrays)
        assert real.journal.next_lsn == lsn
        made = sender.create("net", "rnn", parameters=arrays, scale=None)
        assert (made["dim"], made["spec"]["hidden"], made["spec"]["readout"]) == (2, 3, "adam")
        found = sender.read("net", "parameters")["parameters"]
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_create_of_which_the_answer_was_lost_is_repeated(
    real: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon forgets the upload before the create: the client sends the file again."""
    reference(X[:50]).save(tmp_path / "m")
    original, lost = transfers.Transfers.take_upload, [1]

    def forgetful(self: Any, model: str, name: str) -> bytearray:
        content = original(self, model, name)
        if lost:
            lost.pop()
            self._account.release(len(content))
            raise UnknownTransfer("for a test")
        return content

    monkeypatch.setattr(transfers.Transfers, "take_upload", forgetful)
    with client(real) as sender:
        sender.create("copy", from_file=tmp_path / "m")
    assert real.wire.hash("copy") == reference(X[:50]).state_hash()


def test_learning_during_an_export_waits_for_what_came_before(real: Running) -> None:
    other = real.connect()
    other.send(Learn("m", X[2000:], labels(X[2000:])))
    number = other.send(Request("export", None, "m"))
    replies = {}
    for _ in range(2):
        reply = other.receive()
        replies[reply.id] = reply.ok
    assert replies[number]["samples"] == 3000
