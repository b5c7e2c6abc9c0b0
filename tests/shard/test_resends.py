"""Resends through the shard: only the same content is a duplicate, before and after a restart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from streamlearn.errors import BadShape, BadValue, Conflict, UnknownProducer
from streamlearn.shard import Duplicate, Shard, Snapshot
from streamlearn.shard import producers as producer_table
from streamlearn.store.record import Record
from streamlearn_client.protocol import Learn, as_batch
from tests.shard.fakes import Bench, Fakes, replayed

X = np.random.default_rng(3).normal(size=(40, 2)).astype(np.float32)
NUMBER = {"producer": "p", "epoch": 1, "seq": 0}


def numbered(*arrays: Any, **number: Any) -> Learn:
    return as_batch("m", *arrays)._replace(**(NUMBER | number))


def recovered(bench: Bench, covered: int) -> Shard:
    """The shard after a checkpoint that covers the first records, and a replay of the others."""
    snapshot = replayed(bench.journal[:covered]).hosted("m").snapshot()
    shard = Shard(Fakes())
    shard.install(Snapshot(*snapshot))
    return replayed(bench.journal[covered:], into=shard)


ONE, ZERO = [[1.0], [1.0]], [[0.0], [0.0]]
CONTENTS: dict[str, list[tuple[Any, ...]]] = {  # of each kind of model: batches that differ in one column
    "ledger": [
        (X[:2], ONE, [1, 2], [7, 8]),
        (X[1:3], ONE, [1, 2], [7, 8]),
        (X[:2], ZERO, [1, 2], [7, 8]),
        (X[:2], None, [1, 2], [7, 8]),
        (X[:2], ONE, [1, 3], [7, 8]),
        (X[:2], ONE, [1, 2], [7, 9]),
        (X[:2], ONE, [1, 2], None),
        (None, ONE, [1, 2], [7, 8]),
        (None, ZERO, [1, 2], [7, 8]),
        (None, ONE, [1, 2], [8, 7]),
        (X[:1], [[1.0]], [1], [7]),
    ],
    "sum": [(X[:2],), (X[:2] + 1,), (-X[:2],), (X[:1],), (X[:2] * np.float32([1, -0.0]),)],
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_only_the_same_content_is_a_duplicate(kind: str) -> None:
    for first in CONTENTS[kind]:
        bench = Bench()
        bench.create(kind=kind)
        assert isinstance(bench.accept(numbered(*first)), Record)
        for restart in ("none", "unwritten", "replay", "checkpoint"):
            if restart == "unwritten":
                bench.commit()
            elif restart == "replay":
                bench.shard = replayed(bench.journal)
            elif restart == "checkpoint":
                bench.shard = recovered(bench, 2)
            for again in CONTENTS[kind]:
                if again is first:
                    assert isinstance(bench.accept(numbered(*again)), Duplicate)
                else:
                    with pytest.raises(Conflict) as conflict:
                        bench.accept(numbered(*again))
                    assert conflict.value.detail == {"expected_seq": 1}
        assert len(bench.journal) == 2


def test_a_checkpoint_and_a_replay_of_the_rest_make_the_same_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producer_table, "CAPACITY", 4)
    random = np.random.default_rng(11)
    bench = Bench()
    bench.create()
    for _ in range(200):
        name = f"{'~' * int(random.integers(2))}{random.integers(7)}"
        position = bench.shard.hosted("m").accepted_producers.position(name)
        epoch, seq = position.epoch + int(random.random() < 0.3 or not position.next_seq), position.next_seq
        batch = numbered(X[:1] * random.integers(9), producer=name, epoch=epoch, seq=seq)
        bench.accept(batch if epoch == position.epoch else batch._replace(seq=0))
        bench.commit()
        bench.shard.drain()
    expected = bench.shard.hosted("m").snapshot().arrays
    for covered in (1, 2, 57, 150, 201):
        found = recovered(bench, covered).hosted("m").snapshot().arrays
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], expected[name]) for name in found), covered


def test_a_forgotten_producer_is_learned_once_and_the_firehose_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(producer_table, "CAPACITY", 2)
    bench = Bench()
    bench.create()
    for name in ("p", "q", "r"):
        bench.accept(numbered(X[:2], producer=name, epoch=5))
    for seq in (0, 1):
        with pytest.raises(UnknownProducer) as unknown:
            bench.accept(numbered(X[:2], epoch=5, seq=seq))
        assert unknown.value.detail == {"epoch": 6}
    assert isinstance(bench.accept(numbered(X[:2], epoch=6)), Record)
    with pytest.raises(UnknownProducer):
        bench.accept(numbered(X[:2], producer="q", epoch=5, seq=1))
    assert isinstance(bench.accept(numbered(X[:2], producer="q", epoch=5, seq=1), lossy=True), Record)
    assert bench.shard.hosted("m").missing_batches == 0


def test_a_journal_of_an_earlier_version_with_extreme_numbers_is_replayed() -> None:
    """These numbers were accepted once. Every later checkpoint failed."""
    bench = Bench()
    bench.create()
    largest = 2**63 - 1
    numbers = [(0, largest), (1, largest - 1), (2, largest - 1), (3, 0), (largest, 0), (largest, largest)]
    for epoch, seq in numbers:
        record = bench.accept(as_batch("m", X[:1]))
        assert isinstance(record, Record)
        bench.refuse()
        record.producer, record.epoch, record.seq = "p", epoch, seq
        bench.change(record)
    expected = bench.hash()
    assert recovered(bench, 4).hosted("m").model.state_hash() == expected
    bench.shard = recovered(bench, len(bench.journal))
    assert bench.hash() == expected
    assert isinstance(bench.accept(numbered(X[:1], epoch=4)), Record), "the name is not locked"


def test_a_record_that_does_not_fit_the_model_is_refused_in_a_replay() -> None:
    """Kernels would read beyond its payload."""
    bench = Bench()
    bench.create(kind="ledger")
    for batch in (numbered(X[:2], ONE, [1, 2], [7, 8]), numbered(None, ONE, [1, 2], [7, 8], seq=1)):
        record = bench.accept(batch)
        assert isinstance(record, Record)
        bench.commit()
        replayed(bench.journal)
        for field in ("rows", "x_cols", "y_cols", "optional_columns"):
            usual = getattr(record, field)
            for value in {0, 1, 2, 3, 4, 2**16 - 1, 2**31, 2**32 - 1} - {usual}:
                setattr(record, field, value)
                with pytest.raises(BadShape):
                    replayed(bench.journal)
            setattr(record, field, usual)
    bench.create("sum")
    record = replace(record, lsn=bench.next_lsn, model="sum")
    with pytest.raises(BadShape):
        replayed([*bench.journal, record])


def test_extreme_numbers_are_refused_and_counted_without_overflow() -> None:
    bench = Bench()
    bench.create()
    largest = 2**63 - 1
    hosted = bench.shard.hosted("m")
    for epoch in range(3):
        bench.accept(numbered(X[:1], epoch=epoch, seq=largest - 1), lossy=True)
    assert hosted.missing_batches == largest
    for number in ({"seq": largest}, {"epoch": largest}, {"epoch": 2**62 + 1}):
        with pytest.raises(BadValue):
            bench.accept(numbered(X[:1], **number))
        record = bench.accept(numbered(X[:1], **number), lossy=True)
        assert isinstance(record, Record)
        assert (record.producer, record.epoch, record.seq) == ("", 0, 0), "learned, without a number"
    bench.hash()
    assert recovered(bench, len(bench.journal)).hosted("m").accepted_producers.position("p") == (
        2,
        largest,
        4,
    )
