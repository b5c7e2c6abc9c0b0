"""Numbers of sources, lanes, joined messages and acknowledgements, without processes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.bridges.counters import Counters
from streamlearn.bridges.inputs import Join
from streamlearn.bridges.lane import Counts, Lane, Parcel
from streamlearn.bridges.mqtt.acknowledgements import Acknowledgements
from streamlearn.bridges.mqtt.joining import Joiner
from streamlearn.bridges.mqtt.messages import Message
from streamlearn.bridges.numbering import numbers_at, producer_of
from streamlearn.bridges.readings import NUMBERS, Reading
from streamlearn.errors import BadShape, Conflict, Fenced, Gap, StreamlearnError, UnknownProducer
from streamlearn.shard.producers import ProducerState
from streamlearn_client.protocol import Learn, Reply
from streamlearn_client.protocol.names import check_producer
from streamlearn_client.results import Position

NOW = 1_772_622_720_000_000_000


class Daemon:
    """The daemon's own table of producers, and the values that it accepted."""

    def __init__(self) -> None:
        self.table = ProducerState()
        self.values: list[float] = []
        self.refuses: set[float] = set()

    def position(self, _: str, producer: str):
        return numbers_at(Position(*self.table.position(producer)[:2]))

    def answer(self, batch: Learn) -> Reply:
        value = float(batch.x[0, 0])
        digest = hash(value) & (2**64 - 1)
        ok = {"lsn": 1, "durable_lsn": 1, "applied_lsn": 1, "duplicate": False, "rows": 1}
        try:
            known = self.table.check(batch.producer, batch.epoch, batch.seq, digest, NOW)
            if known is None and value in self.refuses:
                raise BadShape("refused")
        except StreamlearnError as error:
            return Reply(batch.id, {}, {}, error)
        if known is None:
            self.table.advance(batch.producer, batch.epoch, batch.seq, len(self.values) + 1, [digest])
            self.values.append(value)
        return Reply(batch.id, ok | {"duplicate": known is not None}, {})


class Bridge:
    """A lane, as a bridge that may be killed uses it."""

    def __init__(self, daemon: Daemon, producer: str | None = "mqtt x") -> None:
        self.daemon, self.done, self.refused = daemon, [], []
        self.counts, self._id = Counts(), 0
        self.lane = Lane(
            "m",
            producer,
            daemon.position,
            self._next_id,
            lambda *error: self.refused.append(error),
            self.counts,
        )

    def _next_id(self, _: Lane) -> int:
        self._id += 1
        return self._id << 40

    def add(self, number: int | None, value: float) -> None:
        batch = Learn("m", np.array([[value]], np.float32))
        self.lane.add(Parcel(batch, number, [lambda: self.done.append(value)]))

    def exchange(self, most: int = 1000, lose: bool = False) -> None:
        """Send what is due; the daemon answers at most so many, and the answers may be lost."""
        while batches := self.lane.to_send(0.0)[:most]:
            self.lane.sent(len(batches), 0.0)
            replies = [self.daemon.answer(each.message) for each in batches]
            if lose:
                return
            for reply in replies:
                self.lane.receive(reply, 0.0)


@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(1, 8), st.booleans()), max_size=6),
)
def test_each_number_is_learned_once_and_in_order_across_kills(steps, kills):
    numbers = np.cumsum(np.array(steps) + 1).tolist()  # with gaps
    daemon, acknowledged = Daemon(), 0
    for most, lose in kills:
        bridge = Bridge(daemon)
        for number in numbers[acknowledged:]:  # the broker sends again what is not acknowledged
            bridge.add(number, number)
        bridge.lane.to_send(0.0)
        for _ in range(2):
            bridge.exchange(most, lose)
        acknowledged += len(bridge.done)
    bridge = Bridge(daemon)
    for number in numbers[acknowledged:]:
        bridge.add(number, number)
    bridge.exchange()
    assert daemon.values == numbers
    assert acknowledged + len(bridge.done) == len(numbers)
    assert not len(bridge.lane)


def test_a_refused_message_is_passed_by():
    daemon = Daemon()
    daemon.refuses = {2.0, 3.0}
    for producer in "mqtt x", None:
        daemon.values.clear()
        bridge = Bridge(daemon, producer)
        for number in range(6):
            bridge.add(number if producer else None, number)
        bridge.exchange()
        assert daemon.values == [0, 1, 4, 5]
        assert bridge.done == [0, 1, 2, 3, 4, 5]
        assert [type(error) for _, error in bridge.refused] == [BadShape, BadShape]


def test_a_forgotten_producer_begins_above_what_was_forgotten():
    daemon = Daemon()
    bridge = Bridge(daemon)
    for number in range(3):
        bridge.add(number, number)
    bridge.exchange()
    for other in range(5000):
        daemon.table.advance(f"other {other}", NOW + other, 0, 9, [1])
    assert daemon.table.position("mqtt x").next_seq == 0
    for number in 3, 4, 7:
        bridge.add(number, number)
    bridge.exchange()
    assert daemon.values == [0, 1, 2, 3, 4, 7]
    position = daemon.position("m", "mqtt x")
    assert position.next == 8
    assert position.base % NUMBERS == 0
    assert position.base > NOW


@pytest.mark.parametrize(
    "error",
    [
        Gap("", expected_seq=0),
        Conflict("", expected_seq=1),
        Fenced("", epoch=9),
        UnknownProducer("", epoch=9),
    ],
)
def test_after_a_refused_number_the_position_decides(error):
    daemon = Daemon()
    bridge = Bridge(daemon)
    bridge.add(5, 5.0)
    (batch,) = bridge.lane.to_send(0.0)
    bridge.lane.sent(1, 0.0)
    bridge.lane.receive(Reply(batch.message.id, {}, {}, error), 0.0)
    bridge.exchange()
    assert daemon.values == bridge.done == [5.0]
    assert not bridge.refused


def test_names_of_producers_are_valid_and_distinct():
    sources = ["plant/x", "plant/" + "y" * 80, "plant/\n", "ü" * 40]
    names = {check_producer(producer_of(source, run)) for source in sources for run in ("", "1", "2")}
    assert len(names) == 12


# -------------------------------------------------------------------------------------------- joining


def joined(rows):
    return [(row.time, row.values) for row in rows]


def test_messages_within_the_window_are_one_sample():
    done = []
    joiner = Joiner(Join(window=1.0, wait=5.0), 2)
    S = 1_000_000_000
    assert joiner.add(Reading({"a": 1.0}), 10 * S, 0.0, lambda: done.append("a")) == []
    (row,) = joiner.add(Reading({"b": 2.0}), 10 * S + S // 2, 0.1, lambda: done.append("b"))
    assert (row.time, row.values) == (10 * S, {"a": 1.0, "b": 2.0})
    for each in row.done:
        each()
    assert done == ["a", "b"]
    # Within the window of a sample that was sent: late. Its message is done.
    assert joiner.add(Reading({"a": 9.0}), 10 * S + 900_000_000, 0.2, lambda: done.append("late")) == []
    assert (joiner.late, done[-1]) == (1, "late")


def test_an_incomplete_sample_waits_and_holds_back_the_later_ones():
    joiner = Joiner(Join(window=1.0, wait=5.0), 2)
    S = 1_000_000_000
    nothing = lambda: None  # noqa: E731
    assert joiner.add(Reading({"a": 1.0}), 10 * S, 0.0, nothing) == []
    assert joiner.add(Reading({"a": 2.0, "b": 2.0}), 12 * S, 1.0, nothing) == []
    assert joiner.deadline == 5.0
    assert joined(joiner.due(4.9)) == []
    assert joined(joiner.due(5.0)) == [(10 * S, {"a": 1.0}), (12 * S, {"a": 2.0, "b": 2.0})]
    assert joiner.deadline == math.inf
    assert len(joiner) == 0


def test_the_number_of_open_samples_is_bounded():
    joiner = Joiner(Join(window=1.0, wait=100.0, open=3), 2)
    emitted = [row for t in range(20) for row in joiner.add(Reading({"a": t}), 2 * t * 10**9, 0.0, list)]
    assert [row.values["a"] for row in emitted] == list(range(17))
    assert len(joiner) == 3


def test_what_the_daemon_has_is_not_joined_again():
    joiner = Joiner(Join(window=1.0), 2, after=10_000_999_999)
    assert joiner.add(Reading({"b": 1.0}), 10_500_000_000, 0.0, list) == []
    assert (joiner.late, len(joiner)) == (1, 0)
    joiner.add(Reading({"b": 1.0}), 11_500_000_000, 0.0, list)
    assert len(joiner) == 1


# ----------------------------------------------------------------------------------- acknowledgements


def message(mid, payload=b"x", dup=False, qos=1):
    return Message(1, "t", payload, qos, mid, dup, False)


def test_acknowledgements_have_the_order_of_the_messages():
    sent = []
    acknowledgements = Acknowledgements(lambda _, mid: sent.append(mid))
    receipts = [acknowledgements.receive(message(mid))[0] for mid in (1, 2, 3)]
    parts = [receipt.begin() for receipt in receipts]
    for receipt in receipts:
        receipt.finish()
    parts[1]()
    assert sent == []
    parts[0]()
    assert sent == [1, 2]
    parts[2]()
    assert sent == [1, 2, 3]


def test_a_message_that_is_sent_again_waits_for_the_first_one():
    sent = []
    acknowledgements = Acknowledgements(lambda _, mid: sent.append(mid))
    first, _ = acknowledgements.receive(message(7))
    durable = first.begin()
    first.finish()
    acknowledgements.connected(same_session=True)
    again, repeated = acknowledgements.receive(message(7, dup=True))
    assert repeated
    again.finish()
    assert sent == []
    durable()
    assert sent == [7]


@pytest.mark.parametrize(
    ("again", "same_session"),
    [
        (message(7, dup=False), True),  # a new message with this identifier
        (message(7, b"y", dup=True), True),
        (message(8, dup=True), True),
        (message(7, dup=True), False),
    ],
)
def test_another_message_is_not_taken_for_a_repeated_one(again, same_session):
    acknowledgements = Acknowledgements(lambda *_: None)
    receipt, _ = acknowledgements.receive(message(7))
    receipt.finish()
    acknowledgements.connected(same_session)
    assert not acknowledgements.receive(again)[1]


def test_a_message_that_was_acknowledged_may_come_again_because_the_acknowledgement_was_lost():
    acknowledgements = Acknowledgements(lambda *_: None)
    receipt, _ = acknowledgements.receive(message(7))
    receipt.finish()
    acknowledgements.connected(same_session=True)
    assert acknowledgements.receive(message(7, dup=True))[1]


def test_bad_messages_are_sampled_into_the_log(caplog):
    now = [0.0]
    counters = Counters(lambda: now[0])
    for number in range(1000):
        now[0] = number / 10  # 100 seconds
        counters.bad("input 0", "no JSON", "t", b"\xff" * 500)
        counters.bad("input 1", "no JSON", "t", b"")
    assert counters.counts["bad"] == 2000
    assert len(caplog.records) == 4  # two of each input
    facts = [record.facts for record in caplog.records]
    assert [each["others"] for each in facts] == [0, 0, 599, 599]
    assert all(len(each["payload"]) <= 480 for each in facts)
