"""The producer state against a simple model of the protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.errors import Fenced, Gap
from streamlearn.shard.producers import CAPACITY, ProducerState

batches = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2), st.integers(0, 4)), max_size=60)


@given(batches)
def test_each_batch_of_an_epoch_is_taken_once_and_in_order(sent: list[tuple[str, int, int]]) -> None:
    table = ProducerState()
    taken: dict[str, list[tuple[int, int]]] = {}
    for lsn, (producer, epoch, seq) in enumerate(sent, 1):
        mine = taken.setdefault(producer, [])
        newest = max((each for each, _ in mine), default=0)
        expected = sum(each == epoch for each, _ in mine)
        if epoch < newest:
            with pytest.raises(Fenced) as fenced:
                table.is_duplicate(producer, epoch, seq)
            assert fenced.value.detail["epoch"] == newest
        elif seq > expected:
            with pytest.raises(Gap) as gap:
                table.is_duplicate(producer, epoch, seq)
            assert gap.value.detail["expected_seq"] == expected
        elif seq < expected:
            assert table.is_duplicate(producer, epoch, seq)
        else:
            assert not table.is_duplicate(producer, epoch, seq)
            table.advance(producer, epoch, seq, lsn)
            mine.append((epoch, seq))


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.tuples(*[st.integers(0, 2**63 - 1)] * 3)))
def test_arrays_hold_the_whole_table_in_its_order(positions: dict[str, tuple[int, int, int]]) -> None:
    table = ProducerState(positions)
    again = ProducerState.from_arrays(table.to_arrays())
    assert again.to_arrays().keys() == table.to_arrays().keys()
    for name, array in table.to_arrays().items():
        assert (again.to_arrays()[name] == array).all()
    assert all(again.position(name) == position for name, position in positions.items())


def test_arrays_without_a_table_make_an_empty_one() -> None:
    assert len(ProducerState.from_arrays({})) == 0


def test_beyond_its_capacity_the_producer_heard_of_longest_ago_is_forgotten() -> None:
    table = ProducerState()
    for i in range(CAPACITY):
        table.advance(f"p{i}", 0, 0, i + 1)
    table.advance("p0", 0, 1, CAPACITY + 1)
    table.advance("new", 0, 0, CAPACITY + 2)
    assert len(table) == CAPACITY
    assert table.position("p1") == (0, 0, 0)
    assert table.position("p0") == (0, 2, CAPACITY + 1)


def test_a_copy_is_its_own() -> None:
    table = ProducerState()
    copy = table.copy()
    table.advance("p", 0, 0, 1)
    assert copy.position("p") == (0, 0, 0)
