"""Which checkpoints are kept: against a slow oracle that was written from the documentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn.store.retention import DAY_NS, HOUR_NS, Retention, retained

MINUTE_NS = 60 * 10**9
MODELS = (("m", 1), ("m", 7), ("n", 2))


def info(lsn: int, time: int, name: str = "", size: int = 1, copy: int = 0, model: int = 0) -> CheckpointInfo:
    path = Path(f"/{model}/{lsn}-{copy}")
    return CheckpointInfo(*MODELS[model], lsn, path, size, time, copy, "0" * 16, name)


def oracle(infos: Sequence[CheckpointInfo], policy: Retention) -> set[CheckpointInfo]:
    """Decide for one checkpoint at a time, by counting the newer ones."""

    def newer(other: CheckpointInfo, one: CheckpointInfo) -> bool:
        same = (other.model, other.create_lsn) == (one.model, one.create_lsn)
        return same and (other.lsn, other.copy) > (one.lsn, one.copy)

    def is_user_named(one: CheckpointInfo) -> bool:
        return one.name != "" and not one.name.startswith("undo-")

    def is_always_kept(one: CheckpointInfo) -> bool:
        newer_ones = [each for each in infos if newer(each, one)]
        regular = [each for each in newer_ones if not each.name.startswith("undo-")]
        is_newest_regular = not one.name.startswith("undo-") and len(regular) < policy.newest
        return is_user_named(one) or is_newest_regular or len(newer_ones) < policy.newest

    def in_tier(one: CheckpointInfo, length: int, count: int) -> bool:
        later = [each.time // length for each in infos if newer(each, one)]
        return one.time // length not in later and len(set(later)) < count

    def undoes(one: CheckpointInfo) -> bool:
        newer_ones = [each for each in infos if newer(each, one) and each.name.startswith("undo-")]
        return one.name.startswith("undo-") and len(newer_ones) < policy.undo

    kept = [
        one
        for one in infos
        if is_always_kept(one)
        or in_tier(one, 3_600_000_000_000, policy.hourly)
        or in_tier(one, 86_400_000_000_000, policy.daily)
        or undoes(one)
    ]
    while policy.max_bytes and sum(one.bytes for one in kept) > policy.max_bytes:
        removable = [one for one in kept if not is_always_kept(one)]
        if not removable:
            break
        kept.remove(min(removable, key=lambda one: (one.lsn, one.copy, one.model)))
    return set(kept)


times = st.one_of(
    st.integers(0, 10 * DAY_NS),
    st.integers(0, 300).map(lambda hours: hours * HOUR_NS),
    st.sampled_from((0, 2**62)),  # a clock that jumps
)


@given(
    drawn=st.lists(
        st.tuples(
            times, st.sampled_from(("", "", "", "a", "b", "undo-5")), st.integers(0, 50), st.integers(0, 2)
        ),
        max_size=40,
    ),
    order=st.randoms(use_true_random=False),
    policy=st.builds(
        Retention,
        st.integers(1, 4),
        st.integers(0, 6),
        st.integers(0, 5),
        st.integers(1, 3),
        st.one_of(st.just(0), st.integers(1, 400)),
    ),
)
def test_the_choice_equals_that_of_the_oracle(drawn, order, policy) -> None:  # type: ignore[no-untyped-def]
    infos = [
        info(100 + number // 2, time, name, size, number % 2, model)  # two copies of each lsn
        for number, (time, name, size, model) in enumerate(drawn)
    ]
    order.shuffle(infos)
    assert retained(infos, policy) == oracle(infos, policy)


def run(minutes: Sequence[int], policy: Retention) -> list[CheckpointInfo]:
    """What is left after a checkpoint at each of these minutes, each followed by a removal."""
    left: list[CheckpointInfo] = []
    for lsn, minute in enumerate(minutes):
        left = sorted(retained([*left, info(lsn, minute * MINUTE_NS)], policy), key=lambda each: -each.lsn)
    return left


DEFAULT = Retention(2, 24, 7)


def test_a_checkpoint_per_minute_leaves_two_then_hours_then_days() -> None:
    end = 10 * 24 * 60  # minutes; the last checkpoint is at the end of hour 23
    left = run(range(end), DEFAULT)
    minutes = [each.time // MINUTE_NS for each in left]
    last = end - 1
    hours = [last - 60 * hour for hour in range(24)]
    days = [last - 24 * 60 * day for day in range(7)]
    assert minutes == sorted({last, last - 1, *hours, *days}, reverse=True)


def test_a_clock_that_jumps_removes_only_its_share() -> None:
    day = 24 * 60
    before = run(range(3 * day), DEFAULT)
    jumped = [*range(3 * day), 400 * day, 400 * day + 1, *range(3 * day, 3 * day + 30)]
    left = run(jumped, DEFAULT)
    lost = {each.time for each in before} - {each.time for each in left}
    # The wrong time takes one hour and one day; the true time the newest two and one hour.
    assert len(lost) <= 5
    assert len(left) >= len(before) - 2


def test_a_pause_of_a_month_removes_no_hour_and_no_day() -> None:
    day = 24 * 60
    before = run(range(3 * day), DEFAULT)
    left = run([*range(3 * day), 40 * day], DEFAULT)
    lost = {each.time for each in before} - {each.time for each in left}
    assert len(lost) <= 2  # the second newest, and the oldest hour


def test_names_and_the_newest_are_kept_above_the_limit_of_bytes() -> None:
    infos = [info(lsn, lsn * HOUR_NS, "pin" if lsn == 3 else "", size=100) for lsn in range(10)]
    policy = Retention(2, 24, 7, max_bytes=500)
    assert sorted(each.lsn for each in retained(infos, policy)) == [3, 6, 7, 8, 9]
    assert sorted(each.lsn for each in retained(infos, Retention(2, 24, 7, max_bytes=1))) == [3, 8, 9]


def test_the_limit_of_bytes_takes_the_oldest_state_of_any_model() -> None:
    infos = [info(lsn, lsn * HOUR_NS, size=10, model=lsn % 3) for lsn in range(30)]
    kept = sorted(each.lsn for each in retained(infos, Retention(2, 24, 7, max_bytes=120)))
    assert kept == list(range(18, 30))
