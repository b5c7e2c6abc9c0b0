"""Arrival times never go back, and go on if the clock was set back far."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from streamlearn.daemon.durability.clock import STEP_NS, ArrivalClock
from streamlearn.daemon.runtime import Runtime
from streamlearn.store import FS, Journal, Record, RecordKind
from tests.daemon.harness import Running, X

SECOND = 10**9


class Clocks:
    def __init__(self, wall: int = 1_000 * STEP_NS) -> None:
        self.wall = wall
        self.steady = 77
        self.runtime = Runtime(wall_ns=lambda: self.wall, steady_ns=lambda: self.steady)

    def pass_time(self, nanoseconds: int) -> None:
        self.wall += nanoseconds
        self.steady += nanoseconds


def test_times_are_those_of_the_system_clock() -> None:
    clocks = Clocks()
    clock = ArrivalClock(clocks.runtime, clocks.wall - SECOND)
    for _ in range(3):
        assert clock.now() == clocks.wall
        clocks.pass_time(SECOND)


def test_a_restart_does_not_go_back() -> None:
    clocks = Clocks()
    last = clocks.wall + 5 * SECOND
    clock = ArrivalClock(clocks.runtime, last)
    assert clock.now() == last
    clocks.pass_time(3 * SECOND)
    assert clock.now() == last
    clocks.pass_time(3 * SECOND)
    assert clock.now() == clocks.wall == last + SECOND


def test_after_a_large_step_back_the_time_goes_on_at_once() -> None:
    """A schedule in seconds would stand still for as long as the step."""
    clocks = Clocks()
    clock = ArrivalClock(clocks.runtime)
    first = clock.now()
    clocks.wall -= 24 * STEP_NS
    assert clock.now() == first
    for number in range(1, 4):
        clocks.pass_time(SECOND)
        assert clock.now() == first + number * SECOND
    clocks.wall += 24 * STEP_NS
    assert clock.now() == clocks.wall


def test_the_large_step_may_be_between_two_starts() -> None:
    clocks = Clocks()
    last = clocks.wall + 50 * STEP_NS
    clock = ArrivalClock(clocks.runtime, last)
    clocks.pass_time(SECOND)
    assert clock.now() == last + SECOND


def test_times_never_decrease_and_stand_still_for_an_hour_at_most() -> None:
    random, clocks = Random(4), Clocks()
    clock = ArrivalClock(clocks.runtime)
    last, changed = clock.now(), clocks.steady
    for _ in range(5000):
        clocks.pass_time(random.randrange(60 * SECOND))
        if random.random() < 0.05:
            clocks.wall += random.choice([-1, 1]) * random.randrange(1, 10 * STEP_NS)
        now = clock.now()
        assert now >= last
        if now > last:
            changed = clocks.steady
        assert clocks.steady - changed <= STEP_NS + 60 * SECOND
        last = now


def test_a_daemon_continues_from_the_last_time_in_its_journal(serve: Callable[..., Running]) -> None:
    """The clock was five minutes ahead before the restart."""
    first = serve()
    first.wire.create()
    first.stop()
    ahead = time.time_ns() + 300 * SECOND
    journal = Journal.open(FS(), first.settings.data_dir / "journal")
    journal.append([Record(RecordKind.DELETE, 0, ahead, "m")])
    journal.close()
    second = serve()
    second.wire.create()
    second.wire.learn(X[:10])
    assert [record.time for record in second.journal.replay()][-2:] == [ahead, ahead]
