"""The window of a stream against a network and a daemon that do everything but keep a promise."""

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


class World:
    """A window, a daemon, the two directions of a connection between them, and a clock."""

    def __init__(self) -> None:
        self.window = Window("pump", "p", 1, "durable", SIZE)
        self.model = FakeModel("som", {"dim": 1}, 1)
        self.now = 0.0
        self.made = 0
        self.requests: deque = deque()
        self.replies: deque = deque()
        self.connected = True

    def push(self) -> None:
        if not self.window.full:
            self.window.add(Learn("pump", np.array([[self.made]], "<f4")))
            self.made += 1

    def send(self, most: int = SIZE) -> None:
        batches = self.window.to_send(self.now)[: most if self.connected else 0]
        self.requests.extend(batch.frames for batch in batches)
        self.window.sent(len(batches), self.now)

    def serve(self, refuse: bool = False, answers: int = 1) -> None:
        if not self.requests:
            return
        learn = decode_request(self.requests.popleft())
        try:
            if refuse:
                raise Busy("later")
            reply = encode_reply(learn.id, {"lsn": 1, "duplicate": self.model.take(learn)})
        except StreamlearnError as error:
            reply = encode_error(learn.id, error)
        self.replies.extend([reply] * answers)

    def hear(self) -> None:
        if self.replies:
            self.window.receive(decode_reply(self.replies.popleft()), self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def crash(self) -> None:
        """Everything under way is gone; what the daemon took is not."""
        self.requests.clear()
        self.replies.clear()
        self.window.disconnected()

    def settle(self) -> None:
        """From now on all goes well."""
        self.connected = True
        for _ in range(200):
            self.send()
            while self.requests:
                self.serve()
            while self.replies:
                self.hear()
            if not len(self.window):
                return
            self.wait(max(0.0, min(self.window.wakeup() - self.now, 40.0)))


def act(world: World, step: str) -> None:
    match step:
        case "push":
            world.push()
        case "send":
            world.send()
        case "send one":
            world.send(1)
        case "serve":
            world.serve()
        case "refuse":
            world.serve(refuse=True)
        case "answer twice":
            world.serve(answers=2)
        case "do not answer":
            world.serve(answers=0)
        case "lose a request":
            if world.requests:
                world.requests.popleft()
        case "hear":
            world.hear()
        case "wait":
            world.wait(0.5)
        case "wait long":
            world.wait(10)
        case "crash":
            world.crash()
        case "disconnect":
            world.crash()
            world.connected = False
        case "connect":
            world.connected = True


GOOD = "push, push, send, send one, serve, hear, wait, connect".split(", ")
BAD = "refuse, answer twice, do not answer, lose a request, wait long, crash, disconnect".split(", ")


@given(st.lists(st.sampled_from(GOOD) | st.sampled_from(GOOD + BAD), max_size=120))
def test_whatever_happens_each_batch_is_taken_once_and_in_order(steps):
    world = World()
    for step in steps:
        act(world, step)
        assert world.window.acknowledged <= len(world.model.batches) <= world.made
        assert world.window.acknowledged + world.window.pending == world.made
        assert world.window.failure is None
    world.settle()
    assert not len(world.window)
    assert world.model.rows[:, 0].tolist() == list(range(world.made))
    assert world.window.acknowledged == world.made


def test_nothing_is_sent_twice_when_all_goes_well():
    world = World()
    for _ in range(20):
        world.push()
        world.send()
        world.serve()
        world.hear()
    assert (world.window.acknowledged, world.window.resent) == (20, 0)
    assert world.window.last_ack.lsn == 1


def test_one_acknowledgement_clears_all_before_it():
    world = World()
    for _ in range(3):
        world.push()
    world.send()
    for _ in range(3):
        world.serve()
    world.replies.popleft()
    world.replies.popleft()
    world.hear()
    assert world.window.acknowledged == 3


def test_a_hole_is_sent_again_once_however_many_gaps_it_causes():
    world = World()
    for _ in range(SIZE):
        world.push()
    world.send()
    world.requests.popleft()
    while world.requests:
        world.serve()
    while world.replies:
        world.hear()
    world.send()
    assert len(world.requests) == SIZE
    assert world.window.resent == SIZE


def test_a_refusal_is_followed_by_longer_and_longer_pauses():
    world = World()
    world.push()
    pauses = []
    for _ in range(10):
        world.send()
        world.serve(refuse=True)
        world.hear()
        assert not world.window.to_send(world.now)
        pauses.append(world.window.wakeup() - world.now)
        world.wait(pauses[-1])
    assert pauses == pytest.approx([0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2, 2, 2])


def test_silence_is_followed_by_another_try_after_longer_and_longer_times():
    world = World()
    world.push()
    times = []
    for _ in range(8):
        world.send()
        assert len(world.requests) == 1
        world.requests.clear()
        times.append(world.window.wakeup() - world.now)
        world.wait(times[-1])
    assert times == pytest.approx([2, 4, 8, 16, 30, 30, 30, 30])


def test_batches_that_were_acknowledged_and_lost_are_said_to_be():
    world = World()
    for _ in range(3):
        world.push()
    world.send()
    for _ in range(3):
        world.serve()
        world.hear()
    world.model.forget(2)
    world.push()
    world.send()
    world.serve()
    world.hear()
    assert isinstance(world.window.failure, StreamLost)
    assert "lost 2 batches that it had acknowledged as 'durable'" in world.window.failure.message
    assert world.window.failure.detail["unacknowledged"] == 1
    assert isinstance(world.window.failure.__cause__, Gap)
    assert not world.window.to_send(world.now)


@pytest.mark.parametrize("error", [Fenced("newer", epoch=2), Gap("ahead", expected_seq=9), Gap("what")])
def test_what_can_not_be_mended_ends_the_stream(error):
    world = World()
    world.push()
    world.send()
    world.window.receive(Reply(0, {}, {}, error), world.now)
    assert isinstance(world.window.failure, StreamLost)
    assert world.window.failure.detail["cause"]["code"] == error.code
    assert world.window.failure.detail["unacknowledged"] == 1


def test_answers_to_nothing_are_left_out():
    world = World()
    world.push()
    world.send()
    for id in (None, 1, -1, "0", True):
        world.window.receive(Reply(id, {"lsn": 1}, {}), world.now)
    assert world.window.acknowledged == 0
