"""The shard in memory: codec → shard → a list of records → another shard, and equal hashes (R2, R5, R7)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn import models as real_models
from streamlearn.errors import (
    BadCheckpoint,
    BadSpec,
    Conflict,
    Fenced,
    Gap,
)
from streamlearn.shard import Duplicate, Shard
from streamlearn.shard.hosted_model import CALL_NS, FIRST_SLICE, FIRST_SLICE_COST, LONGEST_SLICE_COST
from streamlearn.store import tensors
from streamlearn.store.record import Record
from streamlearn_client.protocol import Learn
from tests.shard.fakes import Bench, RunningSum, replayed

X = np.random.default_rng(7).normal(size=(120, 2)).astype(np.float32)


def reference(x: np.ndarray, **spec: Any) -> str:
    model = RunningSum(**({"dim": 2} | spec))
    model.learn(x)
    return model.state_hash()


def rows_of(n: int) -> st.SearchStrategy[list[int]]:
    """Cuts of `n` rows into batches."""
    return st.lists(st.integers(0, n), max_size=12).map(lambda cuts: sorted({0, n, *cuts}))


@given(cuts=rows_of(120), slices=st.lists(st.integers(1, 50), min_size=1, max_size=9), eager=st.booleans())
def test_no_split_into_batches_and_slices_changes_anything(
    cuts: list[int], slices: list[int], eager: bool
) -> None:
    bench = Bench()
    bench.create()
    hosted = bench.shard.hosted("m")
    distances: list[np.ndarray] = []
    firsts: list[int] = []

    def step() -> bool:
        hosted.slice_rows = slices[len(distances) % len(slices)]
        applied = bench.shard.step()
        if applied is None:
            return False
        assert applied.outputs is not None
        assert len(applied.outputs) == applied.rows <= hosted.slice_rows
        firsts.append(applied.first)
        distances.append(applied.outputs.distance)
        return True

    for start, stop in pairwise(cuts):
        bench.learn(X[start:stop])
        if eager:
            step()
    while step():
        pass
    whole = RunningSum(dim=2)
    outputs = whole.learn(X)
    assert hosted.model.state_hash() == whole.state_hash()
    assert np.array_equal(np.concatenate(distances), outputs.distance)
    assert firsts == np.cumsum([0, *map(len, distances[:-1])]).tolist()
    assert hosted.applied_lsn == hosted.accepted_lsn == len(bench.journal)
    assert (hosted.backlog_rows, hosted.backlog_bytes) == (0, 0)
    assert replayed(bench.journal).hosted("m").model.state_hash() == whole.state_hash()


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("som", {"grid": [3, 4], "scale": "standard"}),
        ("competitive", {"units": 5}),
        ("rnn", {"readout": "adam", "hidden": 4, "tbptt": [4, 8]}),
    ],
)
def test_real_models_are_split_and_replayed_alike(kind: str, spec: dict[str, Any]) -> None:
    bench = Bench(real_models)
    bench.create("m", kind, **spec)
    bench.shard.hosted("m").slice_rows = 7
    for start in range(0, 120, 11):
        bench.learn(X[start : start + 11])
    model = real_models.create(kind, {"dim": 2} | spec)
    model.learn(X)
    assert bench.hash() == model.state_hash()
    assert replayed(bench.journal, real_models).hosted("m").model.state_hash() == model.state_hash()


def test_targets_travel_with_their_samples() -> None:
    bench = Bench()
    bench.create(targets=3)
    y = np.arange(36, dtype=np.float32).reshape(12, 3)
    bench.learn(X[:5], y=y[:5])
    bench.learn(X[5:12], y=y[5:12])
    bench.shard.hosted("m").slice_rows = 4
    model = RunningSum(dim=2, targets=3)
    model.learn(X[:12], y)
    assert bench.hash() == model.state_hash()
    assert replayed(bench.journal).hosted("m").model.state_hash() == model.state_hash()


def test_small_records_are_coalesced_and_a_long_one_is_learned_in_parts() -> None:
    bench = Bench()
    bench.create()
    hosted = bench.shard.hosted("m")
    for i in range(10):
        bench.learn(X[i : i + 1])
    applied = bench.shard.step()
    assert applied is not None
    assert (applied.rows, applied.lsn, hosted.has_backlog) == (10, 11, False)
    bench.learn(X[10:110])
    hosted.slice_rows = 40
    for rows, whole in ((40, False), (40, False), (20, True)):
        applied = bench.shard.step()
        assert applied is not None
        assert (applied.rows, hosted.between_records) == (rows, whole)
        assert hosted.applied_lsn == (12 if whole else 11)
    assert bench.hash() == reference(X[:110])


def test_the_end_of_every_record_is_the_end_of_some_slice() -> None:
    """Otherwise a checkpoint might never be possible under a steady stream."""
    bench = Bench()
    bench.create()
    hosted = bench.shard.hosted("m")
    hosted.slice_rows = 9
    ends = []
    for start in range(0, 120, 10):
        bench.learn(X[start : start + 10])
    while bench.shard.step():
        if hosted.between_records:
            ends.append(hosted.applied_lsn)
    assert ends == list(range(2, 14))


def test_models_take_turns() -> None:
    bench = Bench()
    for name in ("a", "b"):
        bench.create(name)
        bench.shard.hosted(name).slice_rows = 5
        bench.learn(X[:10], name)
    steps = []
    while applied := bench.shard.step():
        steps.append(applied.hosted.name)
    assert steps == ["a", "b", "a", "b"]


def test_the_pace_of_slices_follows_the_goal_within_bounds() -> None:
    bench = Bench()
    bench.create()
    hosted = bench.shard.hosted("m")
    assert hosted.slice_rows == FIRST_SLICE
    hosted.adapt_slice(100, 1_000_000, 1_000_000)
    assert hosted.slice_rows == 100
    hosted.adapt_slice(1, 10**12, 1_000_000)
    assert hosted.slice_rows == 1
    for _ in range(200):
        hosted.adapt_slice(1000, 0, 1_000_000)
    assert 1000 < hosted.slice_rows <= 65536


def test_the_overhead_of_short_calls_does_not_slow_the_pace() -> None:
    bench = Bench()
    bench.create()
    hosted = bench.shard.hosted("m")
    hosted.adapt_slice(10_000, 2_000_000, 4_000_000)
    assert hosted.nanoseconds_per_row == 200
    hosted.adapt_slice(8, CALL_NS - 1, 4_000_000)
    assert hosted.nanoseconds_per_row == 200
    hosted.adapt_slice(8, CALL_NS, 4_000_000)  # the rows of so long a call are slow
    slow = hosted.nanoseconds_per_row
    assert slow > 10_000
    hosted.adapt_slice(8, 800, 4_000_000)
    assert hosted.nanoseconds_per_row < slow


def test_a_slice_is_bounded_by_the_largest_cost_of_its_rows() -> None:
    """Expensive rows may follow many cheap ones, so the measured pace is no bound."""
    bench = Bench(real_models)
    bench.create("net", "hamming", units=100, dim=4, threshold=0.0)
    hosted = bench.shard.hosted("net")
    assert hosted.row_cost > 1_000_000
    assert 1 <= hosted.slice_rows <= FIRST_SLICE_COST // hosted.row_cost
    for _ in range(200):
        hosted.adapt_slice(1000, 1000, 1_000_000)
    assert 1 < hosted.slice_rows <= LONGEST_SLICE_COST // hosted.row_cost
    bench.create("slow", "hamming", units=100, dim=4, max_iterations=1 << 30, threshold=0.0)
    slow = bench.shard.hosted("slow")
    assert slow.slice_rows == 1
    slow.adapt_slice(1, 1, 1_000_000)
    assert slow.slice_rows == 1


def test_a_new_model_with_expensive_rows_is_refused_but_an_old_one_is_replayed() -> None:
    bench = Bench(real_models)
    bench.create("old", "hamming", units=100, max_iterations=1 << 30)
    bench.shard.max_row_cost = 200_000_000
    with pytest.raises(BadSpec, match="lower max_iterations or units"):
        bench.create("new", "hamming", units=100, max_iterations=1 << 30)
    bench.create("new", "hamming", units=100, max_iterations=100)
    assert [hosted.name for hosted in bench.shard] == ["old", "new"]
    again = Shard(real_models)
    for record in bench.journal:
        again.enqueue(record)
    assert [hosted.name for hosted in again] == ["old", "new"]


# ------------------------------------------------------------------------------------------ exactly once


def batch(i: int, seq: int | None = None, epoch: int = 1, producer: str = "p") -> Learn:
    return Learn("m", X[10 * i : 10 * i + 10], producer=producer, epoch=epoch, seq=i if seq is None else seq)


def test_a_resend_is_a_duplicate_wherever_the_first_one_is() -> None:
    bench = Bench()
    bench.create()
    bench.accept(batch(0))
    assert bench.accept(batch(0)) == Duplicate(2, 10)  # accepted, not journalled
    bench.commit()
    assert bench.accept(batch(0)) == Duplicate(2, 10)  # journalled, not learned
    bench.learn(X[10:20], producer="p", epoch=1, seq=1)
    bench.shard.drain()
    assert bench.accept(batch(0)) == Duplicate(3, 10)  # learned
    assert bench.hash() == reference(X[:20])
    assert replayed(bench.journal).hosted("m").accepted_producers.position("p") == (1, 2, 3)


def test_holes_and_old_epochs_are_refused_among_records_still_in_flight() -> None:
    bench = Bench()
    bench.create()
    bench.accept(batch(0))
    with pytest.raises(Gap) as gap:
        bench.accept(batch(2))
    assert gap.value.detail["expected_seq"] == 1
    bench.accept(batch(1, seq=0, epoch=2))
    with pytest.raises(Fenced) as fenced:
        bench.accept(batch(1))
    assert fenced.value.detail["epoch"] == 2
    with pytest.raises(Gap):
        bench.accept(batch(2, seq=1, epoch=3))
    bench.accept(batch(2, seq=0, producer="q"))
    assert bench.hash() == reference(X[:30])


def test_a_batch_that_the_journal_refused_is_forgotten() -> None:
    bench = Bench()
    bench.create()
    bench.learn(X[:10], producer="p", epoch=1, seq=0)  # journalled, not yet learned
    bench.accept(batch(1))
    bench.accept(batch(2))
    bench.refuse()
    with pytest.raises(Gap) as gap:
        bench.accept(batch(2))
    assert gap.value.detail["expected_seq"] == 1
    assert isinstance(bench.accept(batch(0)), Duplicate)
    assert isinstance(bench.accept(batch(1)), Record)
    assert bench.hash() == reference(X[:20])


def test_a_lossy_transport_counts_a_gap_and_continues() -> None:
    bench = Bench()
    bench.create()
    bench.accept(batch(0), lossy=True)
    bench.accept(batch(3), lossy=True)
    assert isinstance(bench.accept(batch(3), lossy=True), Duplicate)
    with pytest.raises(Conflict):
        bench.accept(batch(1), lossy=True)
    assert bench.shard.hosted("m").missing_batches == 2
    assert bench.hash() == reference(np.concatenate([X[:10], X[30:40]]))


@given(st.lists(st.integers(0, 11), max_size=60), st.sets(st.integers(0, 59)), st.sets(st.integers(0, 59)))
def test_whatever_is_sent_again_each_batch_is_learned_once(
    sent: list[int], commits: set[int], restarts: set[int]
) -> None:
    """A client that sends what it likes, and a daemon that is killed and replays what was journalled."""
    bench = Bench()
    bench.create()
    for i, number in enumerate(sent):
        try:
            bench.accept(batch(number))
        except Gap:
            assert number > bench.shard.hosted("m").accepted_producers.position("p")[1]
        if i in commits:
            bench.commit()
        if i in restarts:
            bench.accepted.clear()
            bench.shard = replayed(bench.journal)
    bench.commit()
    learned = bench.shard.hosted("m").accepted_producers.position("p")[1]
    assert bench.hash() == reference(X[: 10 * learned])


# --------------------------------------------------------------------------------- checkpoints and replay


@given(cuts=rows_of(120), slice_rows=st.integers(1, 40), take=st.integers(0, 200))
def test_any_checkpoint_and_the_records_after_it_make_the_same_model(
    cuts: list[int], slice_rows: int, take: int
) -> None:
    bench = Bench()
    bench.create()
    hosted = bench.shard.hosted("m")
    hosted.slice_rows = slice_rows
    for seq, (start, stop) in enumerate(pairwise(cuts)):
        bench.learn(X[start:stop], producer="p", epoch=1, seq=seq)
    snapshot = hosted.snapshot()
    for _ in range(take):
        if bench.shard.step() and hosted.between_records:
            snapshot = hosted.snapshot()
    recovered = Shard(bench.models)
    content = tensors.decode(tensors.encode(snapshot.arrays, snapshot.metadata))
    recovered.install(snapshot._replace(arrays=content[0], metadata=content[1]))
    assert recovered.hosted("m").accepted_producers.position("p")[2] == (
        snapshot.lsn if snapshot.lsn > 1 else 0
    )
    replayed(bench.journal, into=recovered)
    assert recovered.hosted("m").model.state_hash() == bench.hash()
    assert recovered.hosted("m").accepted_producers.position("p") == hosted.accepted_producers.position("p")
    assert recovered.hosted("m").applied_lsn == hosted.applied_lsn


def content_of(model: RunningSum) -> bytes:
    return tensors.encode(model.state, model.metadata())


def checkpoint(bench: Bench, name: str = "m") -> bytes:
    bench.shard.drain()
    snapshot = bench.shard.hosted(name).snapshot()
    return tensors.encode(snapshot.arrays, snapshot.metadata)


def test_a_restore_takes_the_model_back_but_not_its_producers() -> None:
    bench = Bench()
    bench.create()
    bench.learn(X[:10], producer="p", epoch=1, seq=0)
    before = checkpoint(bench)
    bench.learn(X[10:20], producer="p", epoch=1, seq=1)
    bench.change(bench.shard.accept_restore("m", before, bench.next_lsn, 0))
    assert isinstance(bench.accept(batch(1)), Duplicate)
    bench.learn(X[20:30], producer="p", epoch=1, seq=2)
    wanted = reference(np.concatenate([X[:10], X[20:30]]))
    assert bench.hash() == wanted
    again = replayed(bench.journal)
    assert again.hosted("m").model.state_hash() == wanted
    assert again.hosted("m").accepted_producers.position("p") == (1, 3, 5)


def test_a_checkpoint_after_a_restore_has_the_producers_of_the_journal_not_of_the_restored_file() -> None:
    """A restored file has the producer state of its own time. If the restore loaded it, the next checkpoint
    would save it, and after the next restart a resend would be learned a second time.
    """
    bench = Bench()
    bench.create()
    bench.learn(X[:10], producer="p", epoch=1, seq=0)
    before = checkpoint(bench)
    bench.learn(X[10:20], producer="p", epoch=1, seq=1)
    bench.change(bench.shard.accept_restore("m", before, bench.next_lsn, 0))
    bench.shard.drain()
    hosted = bench.shard.hosted("m")
    assert hosted.applied_producers.position("p") == (1, 2, 3)
    restarted = Bench()
    restarted.shard.install(hosted.snapshot())
    restarted.journal = list(bench.journal)
    assert isinstance(restarted.accept(batch(1)), Duplicate)
    assert isinstance(restarted.accept(batch(2)), Record)
    assert restarted.hash() == reference(np.concatenate([X[:10], X[20:30]]))


def test_a_restore_keeps_its_place_among_batches_still_to_be_learned() -> None:
    bench = Bench()
    bench.create()
    before = checkpoint(bench)
    bench.learn(X[:50])
    bench.change(bench.shard.accept_restore("m", before, bench.next_lsn, 0))
    bench.learn(X[50:60])
    bench.shard.hosted("m").slice_rows = 8
    assert bench.hash() == reference(X[50:60])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint",
        tensors.encode({}, {"spec": '{"dim": 2}'}),
        content_of(RunningSum(dim=3)),
        content_of(RunningSum(dim=2, keep=0.25)),
    ],
    ids=["empty", "noise", "no state", "other dim", "other spec"],
)
def test_a_restore_from_anything_but_a_checkpoint_of_this_spec_is_refused(content: bytes) -> None:
    bench = Bench()
    bench.create()
    bench.learn(X[:10])
    with pytest.raises(BadCheckpoint):
        bench.shard.accept_restore("m", content, bench.next_lsn, 0)
    assert bench.hash() == reference(X[:10])


def test_a_model_deleted_and_made_again_is_another_one() -> None:
    bench = Bench()
    bench.create()
    bench.learn(X[:10], producer="p", epoch=1, seq=0)
    old = bench.shard.hosted("m")
    bench.change(bench.shard.accept_delete("m", bench.next_lsn, 0))
    assert "m" not in bench.shard
    assert not bench.shard.has_backlog  # its queue was discarded
    assert old.applied_lsn == 3
    bench.create(keep=0.25)
    bench.learn(X[10:20], producer="p", epoch=1, seq=0)
    assert bench.hash() == reference(X[10:20], keep=0.25)
    assert replayed(bench.journal).hosted("m").model.state_hash() == reference(X[10:20], keep=0.25)
