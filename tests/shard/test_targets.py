"""Keys, ids, later targets and reheats as records: split, replayed, resent and refused like samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.errors import BadShape, BadValue, Fenced, Gap, StreamlearnError, UnknownModel
from streamlearn.shard import Duplicate
from streamlearn.store.record import IDS, KEYS, RecordKind
from streamlearn_client.protocol import Learn, as_batch
from tests.shard.fakes import Bench, replayed
from tests.shard.ledger import Ledger

X = np.random.default_rng(8).normal(size=(60, 2)).astype(np.float32)
KEY = np.random.default_rng(9).integers(0, 4, 60)


def ledger(**spec: Any) -> Bench:
    bench = Bench()
    bench.create("m", "ledger", **spec)
    return bench


steps = st.lists(
    st.one_of(
        st.tuples(st.just("learn"), st.integers(1, 9)),
        st.tuples(st.just("targets"), st.lists(st.integers(0, 59), min_size=1, max_size=5)),
        st.tuples(st.just("reheat"), st.sampled_from([0.25, 0.5, 1.0])),
    ),
    max_size=14,
)


@given(steps, st.lists(st.integers(1, 20), min_size=1, max_size=5), st.booleans(), st.sampled_from([1, 3]))
def test_the_order_of_records_is_the_order_of_learning(
    story: list[tuple[str, Any]], slices: list[int], eager: bool, shows: int
) -> None:
    """However they are sliced and coalesced, and replayed: as one call after the other."""
    bench, twin = ledger(shows=shows), Ledger(dim=2, shows=shows)
    hosted = bench.shard.hosted("m")
    done = 0
    prediction: list[float] = []
    expected: list[float] = []

    def step() -> bool:
        hosted.slice_rows = slices[len(prediction) % len(slices)]
        applied = bench.shard.step()
        if applied is not None and applied.outputs is not None:
            assert applied.rows <= hosted.slice_rows
            prediction.extend(applied.outputs.prediction.tolist())
        return applied is not None

    for what, how in story:
        if what == "learn":
            part = slice(done, min(done + how, 60))
            if part.start == part.stop:
                continue
            ids = None if done % 2 else np.arange(part.start, part.stop)
            bench.learn(X[part], keys=KEY[part], ids=ids)
            expected += twin.learn(X[part], keys=KEY[part], ids=ids).prediction.tolist()
            done = part.stop
        elif what == "targets":
            bench.targets(how, np.ones(len(how)), keys=KEY[how])
            expected += twin.learn_targets(how, np.ones((len(how), 1)), KEY[how]).prediction.tolist()
        else:
            bench.change(bench.shard.accept_reheat("m", how, bench.next_lsn, 0))
            twin.reheat(how)
        if eager:
            step()
    while step():
        pass
    assert hosted.model.state_hash() == twin.state_hash()
    assert np.array_equal(prediction, expected, equal_nan=True)
    assert (hosted.backlog_rows, hosted.backlog_bytes) == (0, 0)
    assert replayed(bench.journal).hosted("m").model.state_hash() == twin.state_hash()


def test_a_slice_has_samples_or_targets_but_not_both() -> None:
    bench = ledger()
    bench.learn(X[:3], keys=1)
    bench.targets([0], [1], keys=[1])
    bench.targets([1], [1], keys=[1])
    bench.change(bench.shard.accept_reheat("m", 0.5, bench.next_lsn, 0))
    bench.learn(X[3:5], keys=1)
    steps = [bench.shard.step() for _ in range(4)]
    applied = [(step.kind, step.first, step.rows, step.lsn) for step in steps if step is not None]
    assert applied == [
        (RecordKind.LEARN, 0, 3, 2),
        (RecordKind.TARGETS, 3, 2, 4),
        (RecordKind.REHEAT, 0, 0, 5),
        (RecordKind.LEARN, 3, 2, 6),
    ]
    assert steps[1] is not None
    assert steps[1].outputs is not None
    assert steps[1].outputs.sample.tolist() == [0, 1]
    assert bench.shard.step() is None


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=6),
    st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
def test_matches_are_counted_by_record_whatever_the_slices(sent: list[list[int]], slices: list[int]) -> None:
    bench = ledger()
    bench.learn(X[:5], keys=1)
    hosted = bench.shard.hosted("m")
    waiting, lsns, expected = set(range(5)), [], []
    for ids in sent:
        record = bench.targets(ids, np.ones(len(ids)), keys=1)
        hosted.await_matches(record.lsn)
        lsns.append(record.lsn)
        expected.append(len(waiting & set(ids)))
        waiting -= set(ids)
    assert hosted.pop_matches(lsns[-1]) is None, "not applied yet"
    step = 0
    while hosted.has_backlog:
        hosted.slice_rows = slices[step % len(slices)]
        step += 1
        bench.shard.step()
    assert [hosted.pop_matches(lsn) for lsn in lsns[:-1]] == expected[:-1]
    assert hosted.pop_matches(lsns[0]) is None, "counted for one ack"
    assert hosted.matched_targets == sum(expected)
    assert hosted.unmatched_targets == sum(map(len, sent)) - sum(expected)


def test_targets_of_a_deleted_model_have_no_count() -> None:
    bench = ledger()
    bench.learn(X[:5], keys=1)
    hosted = bench.shard.hosted("m")
    record = bench.targets([1], [1], keys=1)
    hosted.await_matches(record.lsn)
    bench.change(bench.shard.accept_delete("m", bench.next_lsn, 0))
    assert hosted.applied_lsn > record.lsn
    assert hosted.pop_matches(record.lsn) is None


def test_the_optional_columns_of_a_record() -> None:
    for keyed in (True, False):
        bench = ledger(takes_keys=keyed)
        keys = {"keys": np.array([5, 5, 6])} if keyed else {}
        for record in (bench.learn(X[:3], **keys), bench.targets([0, 1, 2], [1, 2, 3], **keys)):
            assert record.optional_columns == KEYS * keyed + IDS
            assert len(record.payload) == 3 * (8 * keyed + 8 + 4 + 4 * record.x_cols)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30), st.data())
def test_whatever_is_sent_again_each_batch_of_either_kind_is_learned_once(
    sent: list[tuple[int, bool]], data: st.DataObject
) -> None:
    """Batches 0 to 5 of one producer, odd ones later targets, in any order and as often as may be."""
    bench, twin = ledger(), Ledger(dim=2)
    expected = 0
    for seq, refused in sent:
        batch = (
            as_batch("m", None, [1, 1], 1, [2 * seq - 2, 2 * seq - 1])
            if seq % 2
            else as_batch("m", X[2 * seq : 2 * seq + 2], keys=1)
        )
        batch = batch._replace(producer="p", epoch=1, seq=seq)
        if seq > expected:
            with pytest.raises(Gap) as gap:
                bench.accept(batch)
            assert gap.value.detail["expected_seq"] == expected
            continue
        made = bench.accept(batch)
        assert isinstance(made, Duplicate) == (seq < expected)
        if refused:
            bench.refuse()
            continue
        bench.commit()
        if seq == expected:
            expected += 1
            twin.learn_validated(
                twin.validate_targets(batch.ids, batch.y, batch.keys)
                if batch.x is None
                else twin.validate(batch.x, None, batch.keys)
            )
    assert bench.hash() == twin.state_hash()
    assert replayed(bench.journal).hosted("m").model.state_hash() == twin.state_hash()


ONE = np.ones((1, 1), np.float32)
BAD = {
    "no key": (Learn("m", X[:3]), BadShape),
    "targets too wide": (Learn("m", None, X[:1], keys=np.ones(1, int), ids=np.ones(1, int)), BadShape),
    "targets without a key": (Learn("m", None, ONE, ids=np.ones(1, int)), BadShape),
    "infinite targets": (
        Learn("m", None, np.inf * ONE, keys=np.ones(1, int), ids=np.ones(1, int)),
        BadValue,
    ),
    "targets of an old epoch": (
        Learn("m", None, ONE, "p", 0, 9, keys=np.ones(1, int), ids=np.ones(1, int)),
        Fenced,
    ),
    "keys where there are none": (Learn("sum", X[:3], keys=np.ones(3, int)), BadShape),
    "ids where no targets come later": (Learn("sum", X[:3], ids=np.ones(3, int)), BadShape),
    "targets where none come later": (Learn("sum", None, ONE, ids=np.ones(1, int)), BadShape),
    "targets of nobody": (Learn("nobody", None, ONE, ids=np.ones(1, int)), UnknownModel),
}


@pytest.mark.parametrize(("learn", "error"), BAD.values(), ids=BAD)
def test_a_refused_batch_changes_nothing(learn: Learn, error: type[StreamlearnError]) -> None:
    bench = ledger()
    bench.create("sum")
    bench.learn(X[:10], keys=KEY[:10], producer="p", epoch=1, seq=0)
    before = (bench.hash(), bench.hash("sum"), len(bench.journal))
    with pytest.raises(error):
        bench.accept(learn)
    assert (bench.hash(), bench.hash("sum"), len(bench.journal)) == before


@pytest.mark.parametrize("heat", [0.0, -1.0, 1.5, float("nan"), float("inf")])
def test_a_heat_that_the_model_does_not_take_makes_no_record(heat: float) -> None:
    bench = ledger()
    bench.learn(X[:10], keys=KEY[:10])
    before = bench.hash()
    with pytest.raises(BadValue):
        bench.shard.accept_reheat("m", heat, bench.next_lsn, 0)
    with pytest.raises(UnknownModel):
        bench.shard.accept_reheat("nobody", 1.0, bench.next_lsn, 0)
    assert bench.hash() == before
