"""A creation, a copy and a restore build one model each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from streamlearn.models.base import Model
from streamlearn.store import tensors
from tests.shard.fakes import Bench, Fakes

X = np.random.default_rng(2).normal(size=(20, 2)).astype(np.float32)


class Counting(Fakes):
    """Counts the models that it builds."""

    built = 0

    def create(self, kind: str, spec: Mapping[str, Any], max_row_cost: int | None = None) -> Model:
        self.built += 1
        return super().create(kind, spec, max_row_cost)

    def from_arrays(self, arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> Model:
        self.built += 1
        return super().from_arrays(arrays, metadata)


def test_each_model_is_built_once() -> None:
    bench = Bench(Counting())
    bench.create("a")
    assert bench.models.built == 1
    bench.learn(X[:10], "a")
    bench.shard.drain()
    hosted = bench.shard.hosted("a")
    earlier = hosted.snapshot()
    content = tensors.encode(earlier.arrays, earlier.metadata)
    bench.learn(X[10:], "a")
    bench.shard.drain()
    model, later = hosted.model, hosted.model.state_hash()
    bench.change(bench.shard.accept_copy("b", content, bench.next_lsn, 0))
    assert bench.models.built == 2
    bench.change(bench.shard.accept_restore("a", content, bench.next_lsn, 0))
    assert bench.models.built == 3  # the check of the content
    bench.shard.drain()
    assert bench.models.built == 3
    assert hosted.model is model
    copy = bench.shard.hosted("b").model
    assert copy.state_hash() == hosted.model.state_hash() != later
    bench.learn(X[10:], "a")
    bench.shard.drain()
    assert hosted.model.state_hash() == later
    assert copy.state_hash() != later  # it shares no memory


def test_a_creation_that_the_journal_refused_leaves_no_model() -> None:
    bench = Bench(Counting())
    bench.shard.accept_create("a", "sum", {"dim": 2}, 1, 0)  # not journalled
    bench.create("a", dim=3)
    assert bench.shard.hosted("a").model.dim == 3


def test_a_replay_builds_each_model_once() -> None:
    bench = Bench(Counting())
    bench.create("a")
    bench.create("b")
    replayed = Bench(Counting())
    for record in bench.journal:
        replayed.shard.enqueue(record)
    assert replayed.models.built == 2
