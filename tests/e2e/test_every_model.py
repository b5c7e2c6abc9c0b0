"""Every example of every kind in a killed daemon: it recovers the models of this process bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.models import Model
from streamlearn_client import Client
from tests.conformance.examples import (
    BY_HAND,
    SPECS,
    hand_labels,
    make,
    outputs_hash,
    part,
    predict_arguments,
    stream,
)
from tests.e2e.daemon_process import SECONDS, DaemonProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

Step = tuple[str, dict[str, Any]]  # learn or learn_targets, and its arguments
SETTINGS = {"checkpoints__seconds": 3600}  # only requested checkpoints
FIRST, KILLED, LAST = range(3)  # before the checkpoint; between checkpoint and kill; after the restart


@pytest.fixture
def daemon_type() -> type[DaemonProcess]:
    """Each start loads only the kernels of the models that it finds."""
    return DaemonProcess


def steps(model: Model) -> list[list[Step]]:
    """Return the learning steps of the three parts.

    With late targets, some targets of the last samples before the kill arrive before it, others after it."""
    batch = stream(model, 90)
    batch.pop("times", None)  # the daemon sets the times
    parts: list[list[Step]] = [[("learn", part(batch, start, start + 30))] for start in (0, 30, 60)]
    if model.accepts_late_targets:
        targets = {name: batch[name].copy() for name in ("ids", "y", "keys") if name in batch}
        batch["y"][56:60] = np.nan
        targets["ids"][56] = -1  # an unknown id
        parts[KILLED].append(("learn_targets", part(targets, 56, 58)))
        parts[LAST].insert(0, ("learn_targets", part(targets, 58, 60)))
    return parts


class Peer:
    """A model in the daemon and its reference in this process, which learns the same samples without a stop.

    A model that `uses_time` is not its equal, because the daemon sets the times: such a model is
    compared with itself before the kill.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.kind, self.spec = SPECS[name]
        self.model = make(name)
        self.steps = steps(self.model)
        self.hashes: dict[int, str] = {}
        self.lsn = 0

    def create(self, client: Client) -> None:
        client.create(self.name, self.kind, **self.spec)
        for label, unit in hand_labels(self.model) if self.name.endswith(BY_HAND) else ():
            client.label(self.name, label, unit=unit)

    def learn(self, client: Client, number: int) -> None:
        for op, arguments in self.steps[number]:
            if op == "learn":
                batch = {**arguments}
                client.learn(self.name, batch.pop("X"), **batch)
                self.model.learn(**arguments)
            else:
                client.learn_targets(self.name, **arguments)
                self.model.learn_targets(**arguments)
        live = self.live_hash(client)
        self.hashes[number] = live if self.model.uses_time else self.model.state_hash()
        assert live == self.hashes[number], self.name

    def live_hash(self, client: Client) -> str:
        return str(client.describe(self.name)["state_hash"])

    def check_answers(self, client: Client) -> None:
        if self.model.uses_time:
            return
        arguments = predict_arguments(stream(self.model, 20, seed=3))
        outputs = client.predict(self.name, arguments["X"], keys=arguments.get("keys"))
        assert outputs_hash(outputs) == outputs_hash(self.model.predict(**arguments)), self.name
        if self.model.explains_targets:
            arguments["y"] = stream(self.model, 20, seed=3)["y"]
        explained = client.explain(self.name, arguments["X"], arguments.get("y"), arguments.get("keys"))
        assert outputs_hash(explained) == outputs_hash(self.model.explain(**arguments)), self.name

    def checkpoint(self, client: Client, data: Path) -> None:
        self.lsn = client.checkpoint(self.name)["lsn"]
        (file,) = data.glob(f"checkpoints/{self.name}@*/{self.lsn:020d}-*.safetensors")
        assert sl.load(file).state_hash() == self.hashes[FIRST], self.name


def test_killed_and_recovered_they_are_what_they_would_have_been(
    serve: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    peers = [Peer(name) for name in SPECS]
    daemon = serve(**SETTINGS)
    daemon.ready()
    with Client(daemon.requests, timeout=SECONDS) as client:
        for each in peers:
            each.create(client)
            each.learn(client, FIRST)
            each.checkpoint(client, tmp_path / "daemon" / "data")
            each.learn(client, KILLED)
        daemon.kill()
        serve(**SETTINGS).ready()
        for each in peers:
            assert each.live_hash(client) == each.hashes[KILLED], each.name
            each.learn(client, LAST)
            each.check_answers(client)
            client.restore(each.name, each.lsn)
            assert each.live_hash(client) == each.hashes[FIRST], each.name
