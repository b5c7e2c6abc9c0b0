"""Acks, whatever happens in whatever order: sent once each, and none before its claim is true."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from streamlearn.daemon.acks import Ack, HeldAcks
from streamlearn.daemon.replies import Asker
from streamlearn.shard import Delivery, Entry
from tests.shard.fakes import RunningSum

happenings = st.lists(
    st.tuples(
        st.sampled_from(["durable ack", "written ack", "resend", "sync", "learn", "time"]),
        st.integers(0, 1),
        st.integers(1, 3),
    ),
    max_size=80,
)


@given(happenings)
def test_acks_are_sent_once_each_and_never_too_early(happened: list[tuple[str, int, int]]) -> None:
    entries = [Entry(name, RunningSum(dim=1), 0, 0, Delivery()) for name in "ab"]
    held = HeldAcks()
    written = durable = 0
    now = 0.0
    owed: list[Ack] = []

    def send(acks: Iterable[Ack]) -> None:
        for ack in acks:
            assert ack in owed
            owed.remove(ack)
            if ack.asker.id == "durable":
                assert ack.lsn <= durable
            assert ack.lsn <= ack.entry.applied_lsn or ack.deadline <= now

    for number, (what, which, amount) in enumerate(happened):
        entry = entries[which]
        if what in ("durable ack", "written ack", "resend"):
            written += what != "resend"
            level = "written" if what == "written ack" else "durable"
            ack = Ack(written, entry, Asker([b"%d" % number], level), 1, what == "resend", now + 5)
            owed.append(ack)
            if level == "written":
                held.until_learned(ack)
            else:
                held.until_durable(ack)
        elif what == "sync":
            durable = min(written, durable + amount)
            send(held.durable(durable))
        elif what == "learn":
            entry.applied_lsn = min(written, entry.applied_lsn + amount)
            send(held.learned(entry))
        else:
            now += amount
            send(held.overdue(now))
    durable = written
    send(held.durable(durable))
    for entry in entries:
        entry.applied_lsn = written
        send(held.learned(entry))
    assert not owed
    assert not held
