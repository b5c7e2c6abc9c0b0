"""The producer table against a simple model of the protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamlearn.errors import (
    BadCheckpoint,
    BadValue,
    Conflict,
    Fenced,
    Gap,
    StreamlearnError,
    UnknownProducer,
)
from streamlearn.shard import producers
from streamlearn.shard.producers import AHEAD_NS, CAPACITY, LAST_EPOCH, LAST_SEQ, ProducerState
from streamlearn_client.protocol.messages import RESEND_WINDOW

NOW = 1_800_000_000 * 10**9
LARGEST = 2**63 - 1

numbers = st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 4), st.integers(1, 2))


@given(st.lists(numbers, max_size=60))
def test_each_number_of_an_epoch_is_accepted_once_and_in_order(
    sent: list[tuple[str, int, int, int]],
) -> None:
    table = ProducerState()
    accepted: dict[str, list[tuple[int, int]]] = {}  # (epoch, digest) of each accepted batch
    lsns: dict[str, int] = {}
    for lsn, (producer, epoch, seq, digest) in enumerate(sent, 1):
        mine = accepted.setdefault(producer, [])
        newest = max((each for each, _ in mine), default=0)
        digests = [of for each, of in mine if each == epoch]
        if epoch < newest:
            with pytest.raises(Fenced) as fenced:
                table.check(producer, epoch, seq, digest, NOW)
            assert fenced.value.detail == {"epoch": newest}
        elif seq > len(digests):
            with pytest.raises(Gap) as gap:
                table.check(producer, epoch, seq, digest, NOW)
            assert gap.value.detail == {"expected_seq": len(digests)}
        elif seq == len(digests):
            assert table.check(producer, epoch, seq, digest, NOW) is None
            table.advance(producer, epoch, seq, lsn, [digest])
            mine.append((epoch, digest))
            lsns[producer] = lsn
        elif digests[seq] == digest:
            assert table.check(producer, epoch, seq, digest, NOW) == (epoch, len(digests), lsns[producer])
        else:
            with pytest.raises(Conflict) as conflict:
                table.check(producer, epoch, seq, digest, NOW)
            assert conflict.value.detail == {"expected_seq": len(digests)}


def filled(count: int, producer: str = "p", *, wide: bool = False) -> ProducerState:
    """A table with batches 0 to count − 1 of one producer; the digest of batch i is 1000 + i."""
    table = ProducerState()
    for seq in range(count):
        table.advance(producer, 1, seq, seq + 1, [1000 + seq], wide=wide)
    return table


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("count", [1, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025, 3000])
def test_a_resend_is_a_duplicate_as_long_as_its_digest_is_remembered(count: int, wide: bool) -> None:
    live, window = filled(count, wide=wide), 1024 if wide else 256
    for table in (live, ProducerState.from_arrays(live.to_arrays()), live.copy()):
        for seq in range(count):
            if seq >= count - window:
                assert table.check("p", 1, seq, 1000 + seq, NOW) == (1, count, count)
                with pytest.raises(Conflict, match="other content"):
                    table.check("p", 1, seq, 7, NOW)
            else:
                with pytest.raises(Conflict, match="no digest"):
                    table.check("p", 1, seq, 1000 + seq, NOW)


def test_a_window_holds_from_the_batch_that_states_it() -> None:
    """The wide window of the last batch is not filled from what is left of earlier ones, and ends with it."""

    def recognized(table: ProducerState, count: int) -> int:
        known = 0
        for seq in range(count):
            try:
                table.check("p", 1, seq, 1000 + seq, NOW)
            except Conflict:
                assert not known
            else:
                known += 1
        return known

    live = filled(300)
    for table in (live, ProducerState.from_arrays(live.to_arrays())):
        for seq in range(300, 400):
            table.advance("p", 1, seq, seq + 1, [1000 + seq], wide=True)
        assert recognized(table, 400) == 356
        table.advance("p", 1, 400, 401, [1400])
        assert recognized(table, 401) == 256
        assert recognized(table.copy(), 401) == 256
        table.advance("p", 1, 401, 402, [1401], wide=True)
        assert recognized(table, 402) == 257


def test_numbers_missing_from_the_firehose_are_never_duplicates() -> None:
    table = filled(3)
    table.advance("p", 1, 5, 4, [1005])
    assert table.check("p", 1, 5, 1005, NOW) == (1, 6, 4)
    for seq in range(5):
        with pytest.raises(Conflict):
            table.check("p", 1, seq, 1000 + seq, NOW)


@pytest.mark.parametrize("prefix", ["p", "~"])
def test_a_forgotten_producer_is_unknown_and_its_batches_are_not_learned_twice(prefix: str) -> None:
    table = ProducerState()
    for i in range(CAPACITY):
        table.advance(f"{prefix}{i}", 10 + i % 7, 0, i + 1, [1])
    table.advance(f"{prefix}0", 10, 1, CAPACITY + 1, [1])
    table.advance(f"{prefix}new", 0, 0, CAPACITY + 2, [1])
    assert len(table) == CAPACITY
    assert table.position(f"{prefix}0") == (10, 2, CAPACITY + 1)
    forgotten = f"{prefix}1"  # epoch 11
    assert table.position(forgotten) == (11, 0, 0)
    for again in (table, table.copy(), ProducerState.from_arrays(table.to_arrays())):
        for seq in (0, 1, 9):
            with pytest.raises(UnknownProducer) as unknown:
                again.check(forgotten, 11, seq, 1, NOW)
            assert unknown.value.detail == {"epoch": 12}
        assert again.check(forgotten, 12, 0, 1, NOW) is None
        assert again.check(f"{prefix}0", 10, 2, 1, NOW) is None  # a known producer keeps its small epoch
        with pytest.raises(Gap) as gap:  # never forgotten: this producer has lost batches
            again.check(forgotten, 12, 4, 1, NOW)
        assert gap.value.detail == {"expected_seq": 0}


def test_producers_with_generated_names_never_displace_named_ones() -> None:
    table = ProducerState()
    table.advance("pump", 5, 0, 1, [1])
    for i in range(2 * CAPACITY):
        table.advance(f"~{i}", 50, 0, i + 2, [1])
    assert table.position("pump") == (5, 1, 1)
    assert table.check("new", 0, 0, 1, NOW) is None
    with pytest.raises(UnknownProducer):
        table.check("~0", 50, 0, 1, NOW)
    for i in range(2 * CAPACITY):
        table.advance(f"n{i}", 5, 0, i, [1])
    assert len(table) == 2 * CAPACITY
    assert table.position(f"~{2 * CAPACITY - 1}").next_seq == 1
    with pytest.raises(UnknownProducer):
        table.check("pump", 5, 1, 1, NOW)


def test_an_epoch_may_be_a_day_ahead_of_the_clock_and_always_one_above_the_last() -> None:
    table = ProducerState()
    largest = NOW + AHEAD_NS
    with pytest.raises(BadValue) as refused:
        table.check("p", largest + 1, 0, 1, NOW)
    assert refused.value.detail == {"field": "epoch", "largest": largest}
    assert str(largest) in refused.value.message
    assert table.check("p", largest, 0, 1, NOW) is None
    table.advance("p", largest, 0, 1, [1])
    assert table.check("p", largest, 1, 2, 0) is None, "the clock was set back: the same epoch continues"
    assert table.check("p", largest + 1, 0, 1, 0) is None, "and the next one may begin"
    with pytest.raises(BadValue) as refused:
        table.check("p", largest + 2, 0, 1, 0)
    assert refused.value.detail["largest"] == largest + 1


@pytest.mark.parametrize("clock", [0, NOW, LARGEST])
@pytest.mark.parametrize(
    "epoch", [0, 1, 2**31, 2**32, 2**53, NOW, LAST_EPOCH - 1, LAST_EPOCH + 1, LARGEST - 1, LARGEST]
)
@pytest.mark.parametrize("seq", [0, 1, 2**31, 2**53, LARGEST - 1, LARGEST])
def test_no_record_of_any_journal_locks_a_producer_out(clock: int, epoch: int, seq: int) -> None:
    """Journals of earlier versions hold any epoch and any seq."""
    table = ProducerState()
    table.advance("p", epoch, seq, 1, [9])
    for again in (table, ProducerState.from_arrays(table.to_arrays())):
        assert again.check("p", again.position("p").epoch + 1, 0, 1, clock) is None
        position = again.position("p")
        if position.next_seq:
            assert position == (epoch, min(seq, LAST_SEQ) + 1, 1)
        else:
            assert epoch > LAST_EPOCH
        if epoch > LAST_EPOCH or seq > LAST_SEQ:
            with pytest.raises(StreamlearnError):
                again.check("p", epoch, seq, 9, clock)
        else:
            assert again.check("p", epoch, seq, 9, clock) == position
    assert (
        max(int(array.max(initial=0)) for array in table.to_arrays().values() if array.dtype == "i8")
        <= LARGEST
    )


names = st.text(min_size=1, max_size=8)
entries = st.tuples(st.integers(0, LAST_EPOCH), st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=4))


@given(st.dictionaries(names, entries), st.integers(0, LAST_SEQ))
def test_arrays_hold_the_whole_table_in_its_order(
    content: dict[str, tuple[int, list[int]]], first: int
) -> None:
    table = ProducerState()
    for lsn, (name, (epoch, digests)) in enumerate(content.items()):
        for seq, digest in enumerate(digests, first):
            table.advance(name, epoch, min(seq, LAST_SEQ), lsn, [digest])
    again = ProducerState.from_arrays(table.to_arrays())
    assert_equal(again.to_arrays(), table.to_arrays())
    assert all(again.position(name) == table.position(name) for name in content)


def assert_equal(left: dict[str, NDArray[Any]], right: dict[str, NDArray[Any]]) -> None:
    assert left.keys() == right.keys()
    for name, array in left.items():
        assert array.dtype == right[name].dtype
        assert array.tolist() == right[name].tolist(), name


def test_arrays_without_a_table_make_an_empty_one() -> None:
    assert len(ProducerState.from_arrays({})) == 0


def test_a_table_of_an_earlier_version_has_no_digests() -> None:
    arrays = {
        "producers.names": np.frombuffer(b"pqq", np.uint8),
        "producers.ends": np.array([1, 3]),
        "producers.positions": np.array([[1, 5, 9], [LARGEST, 5, 9]]),
    }
    table = ProducerState.from_arrays(arrays)
    assert table.position("p") == (1, 5, 9)
    assert table.position("qq") == (0, 0, 0)
    assert table.check("p", 1, 5, 3, NOW) is None
    with pytest.raises(Conflict, match="no digest"):
        table.check("p", 1, 4, 3, NOW)


DAMAGES = {
    "names": [lambda a: a[:-1], lambda a: np.full_like(a, 0xFF), lambda a: a.astype(np.int8)],
    "ends": [
        lambda a: a[::-1].copy(),
        lambda a: a * 1000,
        lambda a: -a,
        lambda a: a[:-1],
        lambda a: a.astype("f8"),
    ],
    "positions": [
        lambda a: -a,
        lambda a: a[:, :2],
        lambda a: a[:1],
        lambda a: a.ravel(),
        lambda a: a.astype("f4"),
    ],
    "digests": [lambda a: a[:-1], lambda a: a.astype(np.int64), lambda a: np.repeat(a, 2)],
    "digest_ends": [lambda a: a[:1], lambda a: -a, lambda a: a[::-1].copy(), lambda a: a + 2**62],
    "floors": [lambda a: a[:1], lambda a: a - 1, lambda a: a.astype(np.uint64)],
}


@pytest.mark.parametrize(
    ("name", "index"), [(name, i) for name, damages in DAMAGES.items() for i in range(len(damages))]
)
def test_a_damaged_table_is_refused(name: str, index: int) -> None:
    table = filled(3)
    table.advance("other", 1, 0, 9, [5])
    arrays = table.to_arrays()
    arrays[f"producers.{name}"] = DAMAGES[name][index](arrays[f"producers.{name}"])
    with pytest.raises(BadCheckpoint, match="producer table"):
        ProducerState.from_arrays(arrays)


def test_a_copy_is_independent() -> None:
    table = filled(2)
    copy = table.copy()
    table.advance("p", 1, 2, 3, [1002])
    table.advance("q", 1, 0, 4, [1])
    assert copy.position("p") == (1, 2, 2)
    assert copy.position("q") == (0, 0, 0)
    assert_equal(copy.to_arrays(), filled(2).to_arrays())


def test_the_largest_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producers, "CAPACITY", 3)
    table = ProducerState()
    for i in range(20):
        for seq in range(3 * RESEND_WINDOW):
            table.advance(f"{'~' * (i % 2)}{i}", 1, seq, 1, [1])
    arrays = table.to_arrays()
    assert len(arrays["producers.ends"]) == 2 * 3
    assert len(arrays["producers.digests"]) == 2 * 3 * RESEND_WINDOW
