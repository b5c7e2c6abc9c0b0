"""The window of a stream with an unreliable network and daemon, and a simulated clock."""

from __future__ import annotations

from itertools import product

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn_client.errors import BadValue, Fenced, Gap, StreamLost, UnknownProducer
from streamlearn_client.protocol import Reply, as_batch, decode_request, encode_request
from streamlearn_client.window import Window
from tests.client.network import FAULTS, REGULAR, SIZE, Network, execute


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


def test_each_batch_has_the_names_of_its_own_keys():
    window = Window("pump", "p", 1, "durable", 4)
    for key in "left", "right", None:
        window.add(as_batch("pump", [[1.0]], None, key))
    window.add(as_batch("pump", [[1.0]], None, 7))
    sent = [decode_request([bytes(frame) for frame in batch.frames]) for batch in window.to_send(0.0)]
    assert [batch.key_names for batch in sent] == [("left",), ("right",), None, None]


def test_each_header_describes_the_arrays_of_its_own_batch():
    """The header is kept from one batch to the next as long as the arrays have the same shapes."""
    rows = [[[1.0]], [[2.0], [3.0]]]
    given = [
        {**dict(zip(("y", "keys", "ids", "times"), columns, strict=True)), "x": x}
        for x in rows
        for columns in product(*((None, value) for value in ([[4.0]] * len(x), 5, 6, 7)))
    ]
    given += [{"x": None, "y": [[4.0]], "ids": [6]}, {"x": None, "y": [[4.0, 5.0]], "ids": [6]}]
    batches = [as_batch("pump", **arrays) for arrays in given for _ in range(2)]
    window = Window("pump", "p", 40, "written", len(batches), first_id=1000)
    for batch in batches:
        window.add(batch)
    sent = [[bytes(frame) for frame in batch.frames] for batch in window.to_send(0.0)]
    for seq, (batch, frames) in enumerate(zip(batches, sent, strict=True)):
        numbered = batch._replace(producer="p", epoch=40, seq=seq, ack="written", id=1000 + seq)
        assert frames == [bytes(frame) for frame in encode_request(numbered)]


def test_a_window_begins_at_a_number_and_shares_a_connection():
    window = Window("pump", "p", 40, "durable", 4, first_seq=3, first_id=1000)
    for value in 1.0, 2.0:
        window.add(as_batch("pump", [[value]]))
    first, second = (batch.message for batch in window.to_send(0.0))
    assert [(each.id, each.epoch, each.seq) for each in (first, second)] == [(1003, 40, 3), (1004, 40, 4)]
    window.sent(2, 0.0)
    ok = {"lsn": 1, "durable_lsn": 1, "applied_lsn": 1, "duplicate": False, "rows": 1}
    window.receive(Reply(3, ok, {}), 0.0)  # of another window
    assert len(window) == 2
    window.receive(Reply(1004, ok, {}), 0.0)
    assert len(window) == 0


def test_a_window_whose_numbers_have_a_meaning_begins_no_new_epoch():
    window = Window("pump", "p", 40, "durable", 4, renews=False)
    window.add(as_batch("pump", [[1.0]]))
    window.sent(len(window.to_send(0.0)), 0.0)
    window.receive(Reply(0, {}, {}, UnknownProducer("forgotten", epoch=50)), 0.0)
    assert isinstance(window.failure, StreamLost)
    assert isinstance(window.failure.__cause__, UnknownProducer)
    assert window.epoch == 40


def test_a_batch_states_its_window():
    batch = as_batch("m", np.ones((1, 1)), np.ones((1, 1)), ["a"], [1], [2])
    batch = batch._replace(producer="p", epoch=1, channels=("flow",), window=1024)
    assert len(msgpack.unpackb(encode_request(batch)[0])) == 16  # all fields, and more than a short map has
    assert decode_request(encode_request(batch)).window == 1024
    header = {"v": 1, "op": "learn", "model": "m", "x": [[1.0]], "window": 1025}
    assert decode_request([msgpack.packb(header)]).window == 0  # without a producer
    for wrong in 1025, -1, "8", 1.0:
        with pytest.raises(BadValue, match="window must be"):
            decode_request([msgpack.packb(header | {"producer": "p", "epoch": 1, "seq": 0, "window": wrong})])


@pytest.mark.parametrize(("size", "stated"), [(1, 0), (256, 0), (257, 257), (1024, 1024)])
def test_a_window_that_every_daemon_has_is_not_stated(size: int, stated: int) -> None:
    window = Window("pump", "p", 1, "durable", size)
    window.add(as_batch("pump", [[1.0]]))
    (batch,) = window.to_send(0.0)
    header = msgpack.unpackb(batch.frames[0])
    assert (header.get("window", 0), decode_request(batch.frames).window) == (stated, stated)
