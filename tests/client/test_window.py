"""The window of a stream with an unreliable network and daemon, and a simulated clock."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn_client.errors import Busy, Fenced, Gap, StreamlearnError, StreamLost
from streamlearn_client.protocol import Learn, Reply, decode_reply, decode_request, encode_error, encode_reply
from streamlearn_client.window import Window
from tests.client.fake import FakeModel

SIZE = 5
ACK = {"lsn": 1, "durable_lsn": 1, "applied_lsn": 1, "duplicate": False, "rows": 1}


class Network:
    """A window, a daemon, the two directions of a connection between them, and a clock."""

    def __init__(self) -> None:
        self.window = Window("pump", "p", 1, "durable", SIZE)
        self.model = FakeModel("som", {"dim": 1}, 1)
        self.now = 0.0
        self.pushed = 0
        self.requests: deque = deque()
        self.replies: deque = deque()
        self.connected = True

    def push(self, count: int = 1) -> None:
        for _ in range(count):
            if not self.window.full:
                self.window.add(Learn("pump", np.array([[self.pushed]], "<f4")))
                self.pushed += 1

    def due(self) -> list[int]:
        """Return the sequence numbers of the batches that the window would send now."""
        return [decode_request(batch.frames).seq for batch in self.window.to_send(self.now)]

    def send(self, limit: int = SIZE) -> None:
        batches = self.window.to_send(self.now)[: limit if self.connected else 0]
        self.requests.extend(batch.frames for batch in batches)
        self.window.sent(len(batches), self.now)

    def serve(self, refuse: bool = False, answers: int = 1) -> None:
        if not self.requests:
            return
        learn = decode_request(self.requests.popleft())
        try:
            if refuse:
                raise Busy("later")
            reply = encode_reply(learn.id, {**ACK, "duplicate": self.model.take(learn)})
        except StreamlearnError as error:
            reply = encode_error(learn.id, error)
        self.replies.extend([reply] * answers)

    def receive(self) -> None:
        if self.replies:
            self.window.receive(decode_reply(self.replies.popleft()), self.now)

    def exchange_all(self) -> None:
        """Serve all requests, then receive all replies."""
        while self.requests:
            self.serve()
        while self.replies:
            self.receive()

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def disconnect(self) -> None:
        """Lose all messages in transit. The daemon keeps the batches that it received."""
        self.requests.clear()
        self.replies.clear()
        self.window.disconnected()

    def deliver_all(self) -> None:
        """Run without further faults until the window is empty."""
        self.connected = True
        for _ in range(200):
            self.send()
            self.exchange_all()
            if not len(self.window):
                return
            self.wait(max(0.0, min(self.window.next_send_time() - self.now, 40.0)))


def execute(network: Network, step: str) -> None:
    match step:
        case "push":
            network.push()
        case "send":
            network.send()
        case "send one":
            network.send(1)
        case "serve":
            network.serve()
        case "refuse":
            network.serve(refuse=True)
        case "answer twice":
            network.serve(answers=2)
        case "do not answer":
            network.serve(answers=0)
        case "lose a request":
            if network.requests:
                network.requests.popleft()
        case "receive":
            network.receive()
        case "wait":
            network.wait(0.5)
        case "wait long":
            network.wait(10)
        case "reconnect":
            network.disconnect()
        case "disconnect":
            network.disconnect()
            network.connected = False
        case "connect":
            network.connected = True


# Producers that the daemon forgets


def forget(network: Network) -> None:
    network.model.forget_producers()


@given(st.lists(st.sampled_from(["push", "send", "send one", "serve", "receive", "forget"]), max_size=120))
def test_a_forgotten_producer_begins_a_new_epoch(steps):
    """No attempt is in doubt: each batch is learned once and in order, and the stream goes on."""
    network = Network()
    for step in steps:
        if step == "forget":
            forget(network)
        else:
            execute(network, step)
        assert network.window.acknowledged + network.window.pending == network.pushed
    network.deliver_all()
    assert network.window.failure is None
    assert network.model.rows[:, 0].tolist() == list(range(network.pushed))
    assert network.window.acknowledged == network.pushed


REGULAR = "push, push, send, send one, serve, receive, wait, connect".split(", ")
FAULTS = "refuse, answer twice, do not answer, lose a request, wait long, reconnect, disconnect".split(", ")


@given(st.lists(st.sampled_from(REGULAR) | st.sampled_from(REGULAR + FAULTS), max_size=120))
def test_after_any_faults_each_batch_is_learned_once_and_in_order(steps):
    network = Network()
    for step in steps:
        execute(network, step)
        assert network.window.acknowledged <= len(network.model.batches) <= network.pushed
        assert network.window.acknowledged + network.window.pending == network.pushed
        assert network.window.failure is None
    network.deliver_all()
    assert not len(network.window)
    assert network.model.rows[:, 0].tolist() == list(range(network.pushed))
    assert network.window.acknowledged == network.pushed


@given(st.lists(st.sampled_from([*REGULAR, *REGULAR, *FAULTS, "forget"]), max_size=120))
def test_with_faults_and_a_forgotten_producer_no_batch_is_learned_twice(steps):
    """A batch may be in doubt. Then the stream fails, and says so."""
    network = Network()
    for step in steps:
        if step == "forget":
            forget(network)
        else:
            execute(network, step)
    if network.window.failure is None:
        network.deliver_all()
    learned = network.model.rows[:, 0].tolist()
    assert learned == list(range(len(learned)))
    assert network.window.acknowledged <= len(learned)
    if network.window.failure is None:
        assert len(learned) == network.window.acknowledged == network.pushed
    else:
        assert network.window.failure.detail["cause"]["code"] == "UNKNOWN_PRODUCER"
        assert "it is unknown whether the daemon learned" in network.window.failure.message


@pytest.mark.parametrize("event", ["disconnect", "timeout"])
def test_a_batch_in_doubt_is_not_resent_in_a_new_epoch(event):
    """The daemon learned the batch, the answer was lost, and the daemon forgot the producer."""
    network = Network()
    network.push(3)
    network.send()
    network.serve()
    network.replies.clear()
    if event == "disconnect":
        network.disconnect()
    else:
        network.requests.clear()
        network.wait(10)
    forget(network)
    network.push()
    network.send()
    network.exchange_all()
    failure = network.window.failure
    assert "it is unknown whether the daemon learned 3 of the samples" in failure.message
    assert failure.detail["unacknowledged"] == 4
    assert network.model.rows[:, 0].tolist() == [0]


def test_batches_before_the_refused_one_wait_for_their_acks():
    network = Network()
    network.push(4)
    network.send()
    network.serve()
    network.serve()
    forget(network)
    network.serve()
    network.serve()
    refusals = [network.replies.pop(), network.replies.pop()]
    acks = list(network.replies)
    network.replies = deque(reversed(refusals))  # a refusal does not wait for the disk, an ack does
    while network.replies:
        network.receive()
    assert network.due() == []
    network.replies.extend(acks)
    while network.replies:
        network.receive()
    assert network.due() == [0, 1]
    assert network.window.epoch > 1
    network.deliver_all()
    assert network.model.rows[:, 0].tolist() == [0, 1, 2, 3]


def test_an_answer_to_an_old_number_is_not_taken_for_one_to_a_new_number():
    network = Network()
    network.push(3)
    network.send()
    forget(network)
    network.model.floor = 9
    while network.requests:
        network.serve()
    old = network.replies.pop()
    network.receive()
    network.send()
    network.replies.clear()
    network.replies.append(old)
    network.receive()
    assert network.window.failure is None
    network.deliver_all()
    assert network.model.rows[:, 0].tolist() == [0, 1, 2]


def test_a_daemon_that_refuses_every_epoch_ends_the_stream():
    network = Network()
    network.push()
    for _ in range(10):
        network.model.floor = network.window.epoch + 1
        network.send()
        network.exchange_all()
    assert "refuses every new epoch" in network.window.failure.message


def test_without_faults_no_batch_is_resent():
    network = Network()
    for _ in range(20):
        network.push()
        network.send()
        network.serve()
        network.receive()
    assert (network.window.acknowledged, network.window.resent) == (20, 0)
    assert network.window.last_ack.lsn == 1


def test_an_ack_acknowledges_all_earlier_batches():
    network = Network()
    for _ in range(3):
        network.push()
    network.send()
    for _ in range(3):
        network.serve()
    network.replies.popleft()
    network.replies.popleft()
    network.receive()
    assert network.window.acknowledged == 3


def test_several_gaps_for_one_lost_batch_cause_one_resend():
    network = Network()
    for _ in range(SIZE):
        network.push()
    network.send()
    network.requests.popleft()
    while network.requests:
        network.serve()
    while network.replies:
        network.receive()
    network.send()
    assert len(network.requests) == SIZE
    assert network.window.resent == SIZE


def test_the_pause_doubles_with_each_refusal():
    network = Network()
    network.push()
    pauses = []
    for _ in range(10):
        network.send()
        network.serve(refuse=True)
        network.receive()
        assert not network.window.to_send(network.now)
        pauses.append(network.window.next_send_time() - network.now)
        network.wait(pauses[-1])
    assert pauses == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2, 2, 2])


def test_the_answer_timeout_doubles_with_each_resend():
    network = Network()
    network.push()
    times = []
    for _ in range(8):
        network.send()
        assert len(network.requests) == 1
        network.requests.clear()
        times.append(network.window.next_send_time() - network.now)
        network.wait(times[-1])
    assert times == pytest.approx([2, 4, 8, 16, 30, 30, 30, 30])


@pytest.mark.parametrize(("lost", "text"), [(1, "lost 1 batch that"), (2, "lost 2 batches that")])
def test_lost_acknowledged_batches_end_the_stream(lost, text):
    """A single lost batch counts: a resend can't repair it, because the window no longer has it."""
    network = Network()
    network.push(3)
    network.send()
    network.exchange_all()
    network.model.forget(lost)
    network.push()
    network.send()
    network.exchange_all()
    assert isinstance(network.window.failure, StreamLost)
    assert f"{text} it had acknowledged as 'durable'" in network.window.failure.message
    assert network.window.failure.detail["unacknowledged"] == 1
    assert isinstance(network.window.failure.__cause__, Gap)
    assert not network.window.to_send(network.now)


@pytest.mark.parametrize("error", [Fenced("newer", epoch=2), Gap("ahead", expected_seq=9)])
def test_a_final_refusal_ends_the_stream(error):
    network = Network()
    network.push()
    network.send()
    network.window.receive(Reply(0, {}, {}, error), network.now)
    assert isinstance(network.window.failure, StreamLost)
    assert network.window.failure.detail["cause"]["code"] == error.code
    assert network.window.failure.detail["unacknowledged"] == 1


def test_replies_with_unknown_ids_are_ignored():
    network = Network()
    network.push()
    network.send()
    for id in (None, 1, -1, "0", True):
        network.window.receive(Reply(id, {"lsn": 1}, {}), network.now)
    assert network.window.acknowledged == 0


# Single faults with exact timing. The random test above repairs these by waiting long enough.


def test_an_ack_between_a_rewind_and_the_resend_moves_the_cursor():
    """The timeout moves the cursor back to batch 0. After the late ack of batch 2 only batch 3 is due."""
    network = Network()
    network.push(3)
    network.send()
    while network.requests:
        network.serve()
    network.wait(2)
    assert network.due() == [0, 1, 2]
    while network.replies:
        network.receive()
    network.push()
    assert network.due() == [3]


def test_after_a_disconnect_all_unacknowledged_batches_are_due_at_once():
    """The loss of the connection loses the batches in transit. The resend must not wait for the timeout."""
    network = Network()
    network.push(3)
    network.send()
    network.serve()
    network.receive()
    network.disconnect()
    assert network.due() == [1, 2]


def test_late_gaps_after_the_resend_cause_no_second_resend():
    """All batches after a lost one are answered with the same GAP. Only the first GAP moves the cursor."""
    network = Network()
    network.push(SIZE)
    network.send()
    network.requests.popleft()
    while network.requests:
        network.serve()
    network.receive()
    network.send()
    assert len(network.requests) == SIZE
    while network.replies:
        network.receive()
        assert network.due() == []
    assert network.window.resent == SIZE


@pytest.mark.parametrize("event", ["disconnect", "timeout"])
def test_a_batch_that_is_lost_again_is_resent_again(event):
    """A GAP is a repetition only until the next resend from the start. After that it reports a new loss."""
    network = Network()
    network.push(3)
    for _ in range(2):
        network.send()
        network.requests.popleft()
        network.serve()
        network.receive()
        assert network.due() == [0, 1, 2]
        network.send()
        if event == "disconnect":
            network.disconnect()
        else:
            network.requests.clear()
            network.wait(10)
        assert network.due() == [0, 1, 2]


def test_an_ack_resets_the_pause():
    """Refusals before an ack must not slow down the batches after it."""
    network = Network()
    network.push(2)
    for _ in range(5):
        network.send(1)
        network.serve(refuse=True)
        network.receive()
        network.wait(network.window.next_send_time() - network.now)
    network.send(1)
    network.exchange_all()
    assert network.window.acknowledged == 1
    network.send(1)
    network.serve(refuse=True)
    network.receive()
    assert network.window.next_send_time() - network.now == pytest.approx(0.02)


def test_an_ack_resets_the_answer_timeout():
    """Lost answers before an ack must not delay the resends after it."""
    network = Network()
    network.push(2)
    for _ in range(5):
        network.send(1)
        network.requests.clear()
        network.wait(40)
    network.send(1)
    network.exchange_all()
    assert network.window.acknowledged == 1
    network.send(1)
    assert network.window.next_send_time() - network.now == pytest.approx(2)
