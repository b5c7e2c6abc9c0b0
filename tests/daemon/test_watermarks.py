"""Waiting for an lsn: every waiter is called once, and none before its condition holds."""

from __future__ import annotations

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from streamlearn.daemon.durability.watermarks import Watermarks
from streamlearn.shard import HostedModel, ProducerState
from tests.shard.fakes import RunningSum

events = st.lists(
    st.tuples(
        st.sampled_from(["durable ack", "written ack", "resend", "read", "sync", "learn", "time", "delete"]),
        st.integers(0, 1),
        st.integers(1, 3),
    ),
    max_size=80,
)


def new_model(name: str = "m", lsn: int = 0) -> HostedModel:
    return HostedModel(name, RunningSum(dim=1), 0, lsn, ProducerState())


@given(events)
def test_every_waiter_is_called_once_and_not_before_its_lsn(happened: list[tuple[str, int, int]]) -> None:
    models = [new_model(name) for name in "ab"]
    watermarks = Watermarks()
    written = durable = 0
    now = 0.0
    pending: set[int] = set()
    deleted: list[HostedModel] = []

    def sent(number: int, level: str, lsn: int, hosted: HostedModel, deadline: float | None) -> None:
        pending.remove(number)
        if level == "durable":
            assert lsn <= durable
        overdue = deadline is not None and deadline <= now
        assert lsn <= hosted.applied_lsn or overdue or hosted in deleted

    for number, (what, which, amount) in enumerate(happened):
        hosted = models[which]
        if what in ("durable ack", "written ack", "resend", "read"):
            written += what in ("durable ack", "written ack")
            level = "durable" if what in ("durable ack", "resend") else "written"
            deadline = None if what == "read" else now + 5
            run = partial(sent, number, level, written, hosted, deadline)
            wait = partial(
                watermarks.when_applied,
                hosted,
                written,
                lambda _, run=run: run(),
                deadline=deadline,
                between_records=what == "read",
            )
            pending.add(number)
            if level == "durable":
                watermarks.when_durable(written, wait)
            else:
                wait()
        elif what == "sync":
            durable = min(written, durable + amount)
            watermarks.advance_durable(durable)
        elif what == "learn":
            hosted.applied_lsn = max(hosted.applied_lsn, min(written, hosted.applied_lsn + amount))
            watermarks.advance_applied(hosted)
        elif what == "delete":
            written += 1
            hosted.discard_queue(written)
            deleted.append(hosted)
            watermarks.model_deleted(hosted)
            models[which] = new_model(hosted.name, written)
        else:
            now += amount
            watermarks.expire(now)
        assert watermarks.idle == (not pending)
    durable = written
    watermarks.advance_durable(durable)
    for hosted in models:
        hosted.applied_lsn = written
        watermarks.advance_applied(hosted)
    assert not pending
    assert watermarks.idle


def test_waiters_of_one_lsn_are_called_in_the_order_of_their_registration() -> None:
    watermarks, hosted = Watermarks(), new_model()
    called: list[str] = []
    for name in ("first", "second", "third"):
        watermarks.when_durable(1, partial(called.append, f"durable {name}"))
        watermarks.when_applied(hosted, 1, lambda _, name=name: called.append(f"applied {name}"))
    watermarks.advance_durable(1)
    hosted.applied_lsn = 1
    watermarks.advance_applied(hosted)
    assert called == [
        f"{what} {name}" for what in ("durable", "applied") for name in ("first", "second", "third")
    ]


def test_a_deletion_notifies_the_waiters() -> None:
    watermarks, hosted = Watermarks(), new_model()
    called: list[HostedModel | None] = []
    watermarks.when_applied(hosted, 5, called.append, deadline=10.0)
    watermarks.when_applied(hosted, 4, called.append, between_records=True)
    hosted.discard_queue(6)
    watermarks.model_deleted(hosted)
    assert called == [None, None]
    watermarks.expire(20.0)
    watermarks.advance_applied(hosted)
    assert called == [None, None]
    assert watermarks.idle


def test_an_expired_waiter_is_called_before_its_record_is_applied_and_not_again() -> None:
    watermarks, hosted = Watermarks(), new_model()
    called: list[HostedModel | None] = []
    watermarks.when_applied(hosted, 1, called.append, deadline=10.0)
    watermarks.expire(9.9)
    assert not called
    watermarks.expire(10.0)
    assert called == [hosted]
    hosted.applied_lsn = 1
    watermarks.advance_applied(hosted)
    assert called == [hosted]
