"""The window of a stream whose producer the daemon forgets."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.client.network import FAULTS, REGULAR, Network, execute


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
