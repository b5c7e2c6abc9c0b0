"""A replay joins records. The state, the producer table and the counts are those of a replay without."""

from __future__ import annotations

import random
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamlearn.models.batch import Batch
from streamlearn.models.batch import joined as joined_batch
from streamlearn.replay import Replay, ReplayOptions
from streamlearn.shard import Joiner, Shard
from streamlearn.shard.record_codec import decode_batch, encode_payload, optional_columns
from streamlearn.store.deaths import DeathLog
from streamlearn.store.record import Record, RecordKind
from streamlearn_client.protocol import Learn
from tests.shard.fakes import Bench, Fakes, replayed

X = np.random.default_rng(4).normal(size=(4000, 2)).astype(np.float32)


class FakeJournal:
    """Records with read-only payloads, as a journal yields them."""

    id, first_lsn = 1, 1

    def __init__(self, records: list[Record]) -> None:
        self.records = records
        self.written_lsn = records[-1].lsn

    def replay(self) -> Any:
        names = [name for name in Record.__slots__ if name not in ("payload", "digests")]
        for record in self.records:
            fields = {name: getattr(record, name) for name in names}
            yield Record(**fields, payload=memoryview(bytes(record.payload)))


def script(seed: int) -> Bench:
    """Records of two models: single samples and batches, of producers and without, and other records."""
    choose, bench = random.Random(seed), Bench()
    bench.create()
    bench.create("keyed", "ledger")
    numbers = dict.fromkeys("ab", 0)
    at = 0
    for _ in range(60):
        producer, rows = choose.choice(["a", "b", ""]), choose.choice([1, 1, 1, 3])
        timed, window = choose.random() < 0.5, choose.choice([0, 0, 256, 257, 1024])
        for _ in range(choose.choice([1, 2, 30])):
            fields: dict[str, Any] = {}
            if producer:
                fields = {"producer": producer, "epoch": 1, "seq": numbers[producer]}
                fields["window"] = window
            if timed:
                fields["times"] = 1000 + np.arange(at, at + rows)
            bench.learn(X[at : at + rows], **fields)
            at += rows
            if producer:
                numbers[producer] += 1
            for _ in range(choose.choice([0] * 9 + [8])):
                bench.learn(X[at : at + 2], "keyed", keys=[1, 2])
        other = choose.random()
        if other < 0.1:
            bench.change(bench.shard.accept_reheat("keyed", 0.5, bench.next_lsn, bench.next_lsn))
        elif other < 0.15:
            bench.change(bench.shard.accept_delete("m", bench.next_lsn, bench.next_lsn))
            bench.create()
            numbers = dict.fromkeys("ab", 0)
        elif other < 0.3 and producer:
            numbers[producer] += choose.randrange(1, 1 << 40)
            fields = {"producer": producer, "epoch": 1, "seq": numbers[producer]}
            bench.accept(Learn("m", X[at : at + 1], **fields), lossy=True)
            bench.commit()
            numbers[producer] += 1
            at += 1
    return bench


def replay(records: list[Record], joined: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Shard, Replay]:
    shard = Shard(Fakes())
    with monkeypatch.context() as patch:
        if not joined:
            patch.setattr(Joiner, "add", lambda self, record, hosted: iter([(record, 1)]))
        run = Replay(shard, {}, {}, DeathLog(None), ReplayOptions())
        run.run(FakeJournal(records))
    return shard, run


@pytest.mark.parametrize("seed", range(4))
def test_joined_records_give_the_same_models(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    print("seed", seed)
    bench = script(seed)
    records = bench.journal
    live = bench.hash(), bench.hash("keyed")
    calls = 0
    enqueue = Shard.enqueue

    def counted(self: Shard, record: Record) -> bool:
        nonlocal calls
        calls += 1
        return enqueue(self, record)

    monkeypatch.setattr(Shard, "enqueue", counted)
    shards, counts = [], []
    for joined in (True, False):
        calls = 0
        shard, run = replay(records, joined, monkeypatch)
        shards.append(shard)
        counts.append((run.records, run.rows, run.last_arrival))
        assert (calls < 0.5 * len(records)) == joined
    assert counts[0] == counts[1]
    for name, state_hash in zip(("m", "keyed"), live, strict=True):
        for shard in (*shards, replayed(records)):
            hosted, expected = shard.hosted(name), bench.shard.hosted(name)
            assert hosted.model.state_hash() == state_hash
            assert (hosted.applied_lsn, hosted.applied_time) == (expected.applied_lsn, expected.applied_time)
            assert hosted.slice_rows == expected.slice_rows
            snapshot, live_snapshot = hosted.snapshot(), expected.snapshot()
            assert snapshot.arrays.keys() == live_snapshot.arrays.keys()
            for array, value in live_snapshot.arrays.items():
                np.testing.assert_array_equal(snapshot.arrays[array], value, array)


def test_a_joined_record_has_the_columns_of_all() -> None:
    """Keys, times, samples and targets of each record follow those of the records before."""
    random = np.random.default_rng(5)
    batches = [
        Batch(
            random.normal(size=(rows, 2)).astype(np.float32),
            random.normal(size=(rows, 1)).astype(np.float32),
            keys=random.integers(0, 9, rows),
            times=random.integers(0, 1 << 60, rows),
        )
        for rows in (2, 2, 2)
    ]
    records = [
        Record(
            RecordKind.LEARN, lsn, lsn, "m", rows=batch.rows, x_cols=2, y_cols=1,
            payload=encode_payload(batch), optional_columns=optional_columns(batch), batches=batch.rows // 2,
        )
        for lsn, batch in enumerate(batches, start=1)
    ]  # fmt: skip
    joiner, hosted = Joiner(), SimpleNamespace(applied_lsn=0, model=SimpleNamespace(uses_time=True))
    assert not [done for record in records for done in joiner.add(record, hosted)]
    ((record, count),) = joiner.close()
    assert (count, record.rows, record.batches, record.lsn, record.first_lsn) == (3, 6, 3, 3, 1)
    expected, found = joined_batch(batches), decode_batch(record, uses_time=True)
    for name in ("x", "y", "keys", "times"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    without = replace(records[0], optional_columns=1, payload=records[0].payload[: 2 * 20])
    assert list(joiner.add(without, hosted)) == [(without, 1)]  # each record has its own arrival time
