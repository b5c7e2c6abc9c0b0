"""Which lsns of a model can be restored."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamlearn.history import reachable


@given(
    checkpoints=st.lists(st.integers(3, 20), max_size=5),
    create_lsn=st.integers(1, 3),
    first_lsn=st.integers(1, 22),
    last_lsn=st.integers(20, 22),
)
def test_an_lsn_is_reachable_from_a_state_at_it_or_with_all_records_since(
    checkpoints: list[int], create_lsn: int, first_lsn: int, last_lsn: int
) -> None:
    journal = set(range(first_lsn, last_lsn + 1))
    states = {*checkpoints, *({create_lsn} & journal)}
    expected = {
        lsn
        for lsn in range(1, last_lsn + 1)
        if any(state <= lsn and set(range(state + 1, lsn + 1)) <= journal for state in states)
    }
    ranges = reachable(checkpoints, create_lsn, first_lsn, last_lsn)
    assert {lsn for first, last in ranges for lsn in range(first, last + 1)} == expected
    assert ranges == sorted(ranges)
    assert all(before[1] < after[0] for before, after in pairwise(ranges))


def test_a_model_without_checkpoints_is_reached_from_its_creation_or_not_at_all() -> None:
    assert reachable([], 5, 1, 9) == [(5, 9)]
    assert reachable([], 5, 6, 9) == []
    assert reachable([4, 7, 8], 2, 8, 12) == [(4, 4), (7, 12)]
