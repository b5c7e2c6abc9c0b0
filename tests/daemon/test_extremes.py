"""Extreme numbers in every field of every operation: a typed error or a valid answer, and the daemon goes on.

The cases come from `OPS`, so they cover new operations and fields. Between them the daemon takes checkpoints,
crashes, restarts and stops. Every restart must give the same models.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
import zmq

from streamlearn import models as real_models
from streamlearn.errors import FatalError, by_code
from streamlearn_client.protocol import OPS, decode_reply
from streamlearn_client.protocol.messages import ARRAYS
from tests.daemon.harness import Running
from tests.extremes import OTHERS, PACKED_INTEGERS, with_extremes

EXTREMES = (*PACKED_INTEGERS, *OTHERS)
Header = dict[str, Any]

NETWORKS: dict[str, Header] = {
    "late": {"dim": 2, "hidden": 2, "keys": 3, "target": "later", "outputs": 1, "delay": 4},
    "next": {
        "dim": 2,
        "hidden": 2,
        "alarm": {"above": 1, "clear": 0.5},
        "learning_rate": {"start": 0.1, "end": 0.01, "tau": 5},
    },
    "symbols": {"dim": 1, "hidden": 2, "symbols": 3, "loss": "cross_entropy"},
}
X = {"late": [[1.0, 2.0]], "next": [[1.0, 2.0]], "symbols": [[1.0]]}
USUAL = {
    int: 1,
    float: 1.0,
    str: "name",
    dict: {},
    list: ["a", "b"],
    object: 1,
}  # of fields that are not here:
VALUES: Header = {
    "model": "late",
    "kind": "som",
    "spec": {"dim": 2, "grid": [2, 2]},
    "producer": "p",
    "ack": "written",
    "verdict": "fault",
    "what": ["quality", "parameters"],
    "content": {"dtype": "|u1", "shape": [3]},
    "bytes": 3,
}
COMPANIONS = {
    "epoch": ("producer", "seq"),
    "seq": ("producer", "epoch"),
    "y": ("keys", "ids"),
    "ids": ("y", "keys"),
}
FOR_LATE: Header = {"x": [[1.0, 2.0]], "y": [[0.5]], "keys": [1], "ids": [2], "times": [3]}
INTEGERS = ("keys", "ids", "times")


def usual(op: str, *fields: str, model: str = "late") -> Header:
    """A valid message with the required fields and some others."""
    header: Header = {"v": 1, "id": 0, "op": op}
    needed = {*OPS[op].required, *fields} | {other for field in fields for other in COMPANIONS.get(field, ())}
    if op == "learn":
        needed |= {"x", "keys"} if model == "late" else {"x"}
    if op in ("predict", "explain") and model == "late":
        needed |= {"keys"}
    for field in OPS[op].fields:
        if field in needed:
            header[field] = VALUES.get(field, USUAL.get(OPS[op].fields[field]))
            if field in ARRAYS:
                header[field] = X[model] if field == "x" and model != "late" else FOR_LATE[field]
    if "model" in header:
        header["model"] = "absent" if op in ("create", "delete") else model
    return header


def cases() -> Iterator[tuple[Header, list[bytes]]]:
    """A header and its array frames, for each field and each extreme."""
    for op, (fields, _) in OPS.items():
        for model in NETWORKS if "model" in fields and op not in ("create", "delete") else ["late"]:
            for field in fields if model != "late" else ("v", "id", *fields):
                header = usual(op, field, model=model) if field in fields else usual(op, model=model)
                for value in with_extremes(header[field], EXTREMES):
                    yield {**header, field: value}, [b"abc"] if "content" in header else []
                if field in ARRAYS:
                    dtype = "<i8" if field in INTEGERS else "<f4"
                    frame = np.ones(1 if field in INTEGERS else len(X[model][0]), dtype).tobytes()
                    shape = [1] if field in INTEGERS else [1, len(X[model][0])]
                    for changed in with_extremes(shape, EXTREMES):
                        yield {**header, field: {"dtype": dtype, "shape": changed}}, [frame]
    for producer in ("p", "~q"):
        for epoch in PACKED_INTEGERS:
            for seq in PACKED_INTEGERS:
                yield usual("learn") | {"producer": producer, "epoch": epoch, "seq": seq}, []


class Daemons:
    """One data directory, and the daemon that serves it now."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running = self.start()

    def start(self) -> Running:
        self.running = Running(self.directory, real_models)
        self.socket = self.running.wire.socket
        self.firehose = self.running.connect(zmq.PUSH, "firehose").socket
        return self.running

    def state(self) -> dict[str, Any]:
        """The hash and the producers' positions of each model."""
        call = self.running.wire.call
        names = [model["name"] for model in call("models")["models"]]
        return {
            name: (
                call("describe", name)["state_hash"],
                *(call("position", name, producer=producer) for producer in ("p", "~q")),
            )
            for name in names
        }

    def restart(self, how: str) -> None:
        """Restart after a crash or a stop, with or without a checkpoint before it."""
        before = self.state()
        if how == "checkpoint":
            for name in before:
                self.running.wire.call("checkpoint", name)
        if how == "stop":
            self.running.daemon.loop.stop()
        else:
            self.running.daemon.loop.fail(FatalError("for a test"))
        self.running.join()
        if how == "stop":
            assert self.running.failure is None, self.running.failure
        self.running.stop()
        self.start()
        assert self.state() == before, how

    def send(self, header: Header, frames: list[bytes], caplog: pytest.LogCaptureFixture) -> None:
        """Send a message, which gets an answer, and to the firehose if it is a batch."""
        packed = [msgpack.packb(header), *frames]
        self.socket.send_multipart(packed)
        if header["op"] == "learn":
            self.firehose.send_multipart([msgpack.packb({**header, "ack": "none"}), *frames])
        if header.get("ack") == "none":
            return
        assert self.socket.poll(60_000), f"no answer to {header}"
        reply = decode_reply(self.socket.recv_multipart())
        if reply.error is not None:
            assert reply.error.code in by_code.keys() - {"INTERNAL"}, (header, reply.error)
            assert reply.error.message
        assert not caplog.records, (header, caplog.records)


def test_whatever_the_numbers_the_daemon_goes_on_and_restarts_with_the_same_models(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, extremes: int
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sent = list(cases())
    chance.shuffle(sent)
    daemons = Daemons(tmp_path)
    try:
        for name, spec in NETWORKS.items():
            daemons.running.wire.call("create", name, kind="rnn", spec=spec)
        restarts = ["checkpoint", "crash", "stop"] * 2
        for count, (header, frames) in enumerate(sent):
            daemons.send(header, frames, caplog)
            if count % (len(sent) // len(restarts) + 1) == 0:
                daemons.restart(restarts.pop())
        for how in restarts:
            daemons.restart(how)
        for name in NETWORKS:
            x = np.array(X[name], np.float32)
            keys = {"keys": np.ones(1, np.int64)} if name == "late" else {}
            before = daemons.running.wire.call("describe", name)["samples"]
            daemons.running.wire.learn(x, name, **keys)
            assert daemons.running.wire.call("describe", name)["samples"] == before + 1
    finally:
        daemons.running.stop()
