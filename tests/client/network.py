"""A window of a stream, a daemon, and an unreliable network between them, with a simulated clock."""

from __future__ import annotations

from collections import deque

import numpy as np

from streamlearn_client.errors import Busy, StreamlearnError
from streamlearn_client.protocol import Learn, decode_reply, decode_request, encode_error, encode_reply
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


REGULAR = "push, push, send, send one, serve, receive, wait, connect".split(", ")
FAULTS = "refuse, answer twice, do not answer, lose a request, wait long, reconnect, disconnect".split(", ")
