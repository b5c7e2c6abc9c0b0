"""Slices that end early: no end changes anything, and all counts of rows are right."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.shard import Applied
from streamlearn.store import tensors
from streamlearn.store.record import Place
from streamlearn_client.protocol import as_batch
from tests.shard.fakes import Bench, RunningSum, replayed
from tests.shard.interrupts import Cuts
from tests.shard.ledger import Ledger
from tests.shard.test_shard import rows_of

X = np.random.default_rng(11).normal(size=(120, 2)).astype(np.float32)
CUTS = st.lists(st.integers(1, 30), max_size=40)


def steps(bench: Bench) -> list[Applied]:
    """Apply everything, and check after each slice what the model counts."""
    hosted, found = bench.shard.hosted("m"), []
    rows = {record.lsn: record.rows for record in bench.journal}
    before = hosted.applied_lsn, 0  # the last whole record, rows of the next one
    while (applied := bench.shard.step()) is not None:
        found.append(applied)
        lsn, done = before
        done += applied.rows
        while lsn < len(bench.journal) and done >= rows[lsn + 1] and hosted.applied_lsn > lsn:
            lsn += 1
            done -= rows[lsn]
        assert (hosted.applied_lsn, hosted.between_records) == (lsn, done == 0)
        assert applied.lsn == (lsn + 1 if done else lsn)
        assert hosted.backlog_rows == sum(rows[later] for later in range(lsn + 1, len(rows) + 1)) - done
        before = lsn, done
    return found


@given(cuts=rows_of(120), ends=CUTS, slice_rows=st.integers(1, 60))
def test_no_end_of_a_slice_changes_anything(cuts: list[int], ends: list[int], slice_rows: int) -> None:
    bench = Bench()
    bench.create()
    bench.shard.interrupts = Cuts(ends)
    hosted = bench.shard.hosted("m")
    for start, stop in pairwise(cuts):
        bench.learn(X[start:stop], producer="p", epoch=1, seq=cuts.index(start))
    hosted.slice_rows = slice_rows
    applied = steps(bench)
    whole = RunningSum(dim=2)
    outputs = whole.learn(X)
    assert hosted.model.state_hash() == whole.state_hash()
    assert np.array_equal(np.concatenate([each.outputs.distance for each in applied]), outputs.distance)
    assert [each.first for each in applied] == np.cumsum([0, *(each.rows for each in applied[:-1])]).tolist()
    assert (hosted.backlog_rows, hosted.backlog_bytes, hosted.learned) == (0, 0, 120)
    assert hosted.applied_lsn == len(bench.journal)
    assert hosted.applied_producers.to_arrays().keys() == hosted.accepted_producers.to_arrays().keys()
    assert replayed(bench.journal).hosted("m").model.state_hash() == whole.state_hash()


def test_an_interrupted_slice_is_marked_and_has_at_least_one_row() -> None:
    bench = Bench()
    bench.create()
    bench.shard.interrupts = Cuts([1, 4, 10, 5])
    for start in range(0, 20, 5):
        bench.learn(X[start : start + 5])
    applied = steps(bench)
    # Record 1 creates the model, records 2 to 5 have five rows each.
    assert [(each.rows, each.lsn, each.interrupted) for each in applied] == [
        (1, 2, True),
        (4, 2, False),
        (10, 4, True),
        (5, 5, False),
    ]


def test_a_checkpoint_is_possible_though_every_slice_is_interrupted() -> None:
    bench = Bench()
    bench.create()
    bench.shard.interrupts = Cuts([3] * 100)
    for start in range(0, 120, 10):
        bench.learn(X[start : start + 10])
    hosted, ends = bench.shard.hosted("m"), []
    while bench.shard.step() is not None:
        if hosted.between_records:
            ends.append(hosted.applied_lsn)
    assert ends == list(range(2, 14))


@given(ends=CUTS, shows=st.sampled_from([1, 7]), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_late_targets_and_outputs_with_gaps(ends: list[int], shows: int, sizes: list[int]) -> None:
    """Samples and late targets by turns: the matches of each record are counted, however it is cut."""
    bench = Bench()
    bench.create("m", "ledger", shows=shows)
    bench.shard.interrupts = Cuts(ends)
    hosted, twin = bench.shard.hosted("m"), Ledger(dim=2, shows=shows)
    waiting: dict[int, int] = {}  # lsn of late targets: how many find a sample
    start = 0
    for n in sizes:
        bench.accept(as_batch("m", X[start : start + n], keys=1))
        twin.learn(X[start : start + n], keys=1)
        ids = [start + n - 1, start, -5] if n > 1 else [start]
        lsn = bench.next_lsn
        bench.accept(as_batch("m", None, np.ones((len(ids), 1)), 1, ids))
        waiting[lsn] = int((twin.learn_targets(ids, np.ones((len(ids), 1)), 1).sample >= 0).sum())
        start += n
    bench.commit()
    for lsn in waiting:
        hosted.await_matches(lsn)
    steps(bench)
    assert hosted.model.state_hash() == twin.state_hash()
    assert {lsn: hosted.pop_matches(lsn) for lsn in waiting} == waiting
    assert hosted.matched_targets == sum(waiting.values())


class Places:
    """A watch that remembers the places."""

    def __init__(self) -> None:
        self.places: list[Place] = []

    def enter(self, create_lsn: int, place: Place) -> None:
        self.places.append(place)

    def leave(self) -> None:
        pass


def test_the_place_where_a_process_may_die_begins_after_the_rows_that_were_done() -> None:
    bench = Bench()
    watch: Any = Places()
    bench.shard._watch = watch
    bench.create()
    bench.shard.interrupts = Cuts([3, 100, 9])
    bench.learn(X[:5])
    bench.learn(X[5:15])
    steps(bench)
    assert watch.places == [Place(2, 0, 3, 15), Place(2, 3, 2, 2), Place(3, 0, 3, 10), Place(3, 9, 3, 1)]


def test_an_interrupted_slice_does_not_change_the_length_of_slices_unless_it_was_too_long() -> None:
    """The time of a call would count as that of the one row that was done."""
    bench = Bench()
    bench.create()
    hosted = bench.shard.hosted("m")
    hosted.adapt_slice(1000, 1_000_000, target_ns=4_000_000)
    pace, rows = hosted.nanoseconds_per_row, hosted.slice_rows
    hosted.adapt_slice(1, 50_000, target_ns=4_000_000, interrupted=True)
    assert (hosted.nanoseconds_per_row, hosted.slice_rows) == (pace, rows)
    hosted.adapt_slice(1, 5_000_000, target_ns=4_000_000, interrupted=True)
    assert hosted.nanoseconds_per_row > pace


@pytest.mark.parametrize("rows", [1, 5, 10])
def test_a_restore_between_slices_keeps_its_place(rows: int) -> None:
    bench = Bench()
    bench.create()
    bench.learn(X[:10])
    bench.shard.drain()
    checkpoint = bench.shard.hosted("m").snapshot()
    content = tensors.encode(checkpoint.arrays, checkpoint.metadata)
    bench.learn(X[10:20])
    bench.change(bench.shard.accept_restore("m", content, bench.next_lsn, 1))
    bench.learn(X[20:30])
    bench.shard.interrupts = Cuts([rows] * 30)
    steps(bench)
    whole = RunningSum(dim=2)
    whole.learn(np.concatenate((X[:10], X[20:30])))
    assert bench.hash() == whole.state_hash()
