"""Bad input: a refused request leaves the shard unchanged (R7)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from streamlearn.errors import (
    BadDtype,
    BadName,
    BadShape,
    BadSpec,
    BadValue,
    Fenced,
    Gap,
    ModelExists,
    StreamlearnError,
    UnknownModel,
)
from streamlearn.store.record import Record, RecordKind
from streamlearn_client.protocol import Learn
from tests.shard.fakes import Bench
from tests.shard.test_shard import X, reference

BAD_BATCHES = {
    "too narrow": (Learn("m", X[:3, :1].copy()), BadShape),
    "too wide": (Learn("m", np.zeros((3, 3), np.float32)), BadShape),
    "infinite": (Learn("m", np.array([[0, 1], [2, -np.inf]], np.float32)), BadValue),
    "a target that is not taken": (Learn("m", X[:3], X[:3]), BadShape),
    "unknown model": (Learn("nobody", X[:3]), UnknownModel),
    "a hole": (Learn("m", X[:3], producer="p", epoch=1, seq=7), Gap),
    "fenced": (Learn("m", X[:3], producer="p", epoch=0, seq=0), Fenced),
    "poison under a number that is next": (
        Learn("m", np.full((1, 2), np.inf, np.float32), producer="p", epoch=1, seq=1),
        BadValue,
    ),
}


@pytest.mark.parametrize(("learn", "error"), BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_a_bad_batch_changes_nothing(learn: Learn, error: type[StreamlearnError]) -> None:
    bench = Bench()
    bench.create()
    bench.learn(X[:10], producer="p", epoch=1, seq=0)
    hosted = bench.shard.hosted("m")
    before = (
        bench.hash(),
        hosted.accepted_lsn,
        hosted.accepted_producers.position("p"),
        hosted.backlog_bytes,
    )
    with pytest.raises(error) as raised:
        bench.accept(learn)
    assert raised.value.message
    assert (
        bench.hash(),
        hosted.accepted_lsn,
        hosted.accepted_producers.position("p"),
        hosted.backlog_bytes,
    ) == before
    assert bench.shard.step() is None
    bench.learn(X[10:20], producer="p", epoch=1, seq=1)
    assert bench.hash() == reference(X[:20])


def test_doubles_do_not_pass_for_floats() -> None:
    bench = Bench()
    bench.create()
    with pytest.raises(BadDtype):
        bench.shard.accept_learn(Learn("m", np.array([["a", "b"]])), 2, 0)


@pytest.mark.parametrize(
    ("name", "kind", "spec", "error"),
    [
        ("m", "sum", {"dim": 2}, ModelExists),
        ("../m", "sum", {"dim": 2}, BadName),
        ("n", "sum", {"dim": 0, "seed": -1}, BadSpec),
        ("n", "sum", {"dim": 2, "dims": 2}, BadSpec),
        ("n", "nothing", {}, BadSpec),
    ],
)
def test_a_bad_create_changes_nothing(
    name: str, kind: str, spec: dict[str, Any], error: type[StreamlearnError]
) -> None:
    bench = Bench()
    bench.create()
    bench.learn(X[:10])
    with pytest.raises(error):
        bench.shard.accept_create(name, kind, spec, 3, 0)
    assert [hosted.name for hosted in bench.shard] == ["m"]
    assert bench.hash() == reference(X[:10])


def test_a_missing_model_can_be_neither_deleted_nor_restored() -> None:
    bench = Bench()
    for accept in (
        lambda: bench.shard.accept_delete("m", 1, 0),
        lambda: bench.shard.accept_restore("m", b"", 1, 0),
        lambda: bench.shard.enqueue(Record(RecordKind.DELETE, 1, 0, "m")),
    ):
        with pytest.raises(UnknownModel, match="none was created"):
            accept()
