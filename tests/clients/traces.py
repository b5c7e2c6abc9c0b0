"""Runs of the Python client's window over an unreliable network, for windows in other languages to repeat."""

from __future__ import annotations

from random import Random
from typing import Any

from streamlearn_client.errors import BadValue, UnknownProducer
from streamlearn_client.protocol import decode_reply, decode_request, encode_error
from tests.client import network

STEPS = [*network.REGULAR, *network.FAULTS, "forget", "epoch"]


class Recorder(network.Network):
    """A network that records what happens to its window."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[dict[str, Any]] = []

    def push(self, count: int = 1) -> None:
        before = self.pushed
        super().push(count)
        if self.pushed > before:
            self._record("add")

    def send(self, limit: int = network.SIZE) -> None:
        limit = limit if self.connected else 0
        waiting = len(self.requests)
        super().send(limit)
        requests = [decode_request(frames) for frames in list(self.requests)[waiting:]]
        # A limit of 0 still asks for what is due, which may rewind the window.
        self._record("send", limit=limit, sent=[[each.epoch, each.seq] for each in requests])

    def receive(self) -> None:
        if self.replies:
            (frame,) = self.replies.popleft()
            if self.window.failure is None:
                self.window.receive(decode_reply([frame]), self.now)
                self._record("receive", reply=bytes(frame).hex())

    def disconnect(self) -> None:
        super().disconnect()
        self._record("disconnect")

    def refuse_epoch(self, error: UnknownProducer | BadValue) -> None:
        """Answer the first request by a refusal of its epoch."""
        if self.requests:
            self.replies.append(encode_error(decode_request(self.requests.popleft()).id, error))

    def _record(self, step: str, **facts: Any) -> None:
        window = self.window
        failure = None if window.failure is None else window.failure.detail["cause"]["code"]
        after = {
            "epoch": window.epoch,
            "acknowledged": window.acknowledged,
            "pending": window.pending,
            "resent": window.resent,
            "length": len(window),
            "failure": failure,
        }
        self.steps.append({"step": step, "now": self.now * 1000, **facts, "after": after})


def trace(seed: int, length: int = 120) -> dict[str, Any]:
    """Return the steps of one run: the same for one seed."""
    rng, recorder = Random(seed), Recorder()
    faults = STEPS if seed % 4 == 0 else STEPS[: -2 if seed % 4 == 1 else len(network.REGULAR)]
    for _ in range(length):
        step = rng.choice(faults if rng.random() < 0.4 else network.REGULAR)
        if step == "forget":
            recorder.refuse_epoch(UnknownProducer("begin", epoch=recorder.window.epoch + 3))
        elif step == "epoch":
            recorder.refuse_epoch(BadValue("too far", field="epoch", largest=recorder.window.epoch + 1))
        else:
            network.execute(recorder, step)
    return {"seed": seed, "size": network.SIZE, "steps": recorder.steps}
