"""kill -9 at random points: what was acknowledged as durable is learned, once, and bit for bit.

`pytest --kills N` does N of them. Four producers keep a window of batches on their way. After each kill the
daemon must stand where some prefix of their batches ends that holds at least the acknowledged ones.

Two more callers have most of their calls cut short: one by cancelled asyncio tasks, one by signals. Whether
an interrupted batch was accepted is in doubt, so the journal of the killed daemon shows it: each acknowledged
batch once, each interrupted one at most once. Checkpoints and restores are requested meanwhile.

The models must always be those of a process that learned the same batches and was never interrupted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import zmq

from streamlearn import models
from streamlearn.models import Model
from streamlearn_client.protocol import Learn, Request, as_batch, decode_reply, encode_request
from tests.e2e.daemon_process import SECONDS, DaemonProcess, ForkedDaemon
from tests.faults.callers import Account, AsyncCaller, JournalOfCallers, SignalledCaller

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(1800)]

SEED = 20260731
WINDOW = 16  # batches that are on their way at a time
SPECS: dict[str, tuple[str, dict[str, Any]]] = {
    "map": ("som", {"dim": 3, "grid": [5, 5], "scale": "standard"}),
    "clusters": ("competitive", {"dim": 3, "units": 7, "mode": "soft"}),
    "net": (
        "rnn",
        {"readout": "adam", "dim": 3, "hidden": 6, "cell": "lstm", "tbptt": [4, 8], "optimizer": "adam"},
    ),
    "both": ("birnn", {"dim": 3, "hidden": 4, "chunk": [8, 3], "target": "later", "delay": 500}),
}
# Small segments and frequent checkpoints, so that kills also hit rolling, retiring and checkpointing.
SETTINGS = {"journal__segment_bytes": 65536, "checkpoints__samples": 2000, "checkpoints__seconds": 1}


def batches(model: str, late: bool, seed: int) -> Iterator[Learn]:
    """An endless stream, the same for every call: batches of 1 to 300 samples, some values missing. Where
    targets come later, those of some samples follow behind each batch, and of some before it."""
    rng = np.random.default_rng(seed)
    samples = 0
    while True:
        x = rng.normal(size=(int(rng.choice([1, 7, 64, 300])), 3)).astype(np.float32)
        x[rng.random(x.shape) < 0.02] = np.nan
        yield as_batch(model, x)
        samples += len(x)
        if late:
            ids = rng.integers(max(0, samples - 400), samples, 1 + len(x) // 4)
            yield as_batch(model, None, rng.normal(size=(len(ids), 1)), ids=ids)


class Producer:
    """Sends one model's batches, and knows which it was promised."""

    def __init__(self, model: str, seed: int) -> None:
        kind, spec = SPECS[model]
        self.model = model
        self.sent = self.acked = self.duplicates = 0  # batches
        self.reference: Model = models.create(kind, spec)
        self.learned = 0  # batches that the reference has
        self._stream = batches(model, self.reference.accepts_late_targets, seed)
        self._made: list[Learn] = []

    def batch(self, number: int) -> Learn:
        while len(self._made) <= number:
            self._made.append(next(self._stream))
        return self._made[number]

    def reference_hash(self, count: int) -> str:
        """The state of a model that learned the first `count` batches and was never interrupted."""
        assert count >= self.learned
        for number in range(self.learned, count):
            batch = self.batch(number)
            if batch.x is not None:
                self.reference.learn(batch.x)
            else:
                self.reference.learn_targets(batch.ids, batch.y)
        self.learned = count
        return self.reference.state_hash()


class Connection:
    """A client's socket to one life of the daemon."""

    def __init__(self, context: zmq.Context[Any], endpoint: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.reconnect_ivl = 10
        self.socket.connect(endpoint)

    def ask(self, op: str, model: str, **fields: Any) -> dict[str, Any]:
        self.socket.send_multipart(encode_request(Request(op, op, model, fields)))
        assert self.socket.poll(int(SECONDS * 1000)), f"{op} was not answered"
        reply = decode_reply(self.socket.recv_multipart())
        assert reply.error is None, reply.error
        return reply.ok

    def stream(self, producers: list[Producer], seconds: float, least: int = 0) -> None:
        """Keep every producer's window full for so long, and until each has `least` batches acknowledged."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline or any(each.acked < least for each in producers):
            for each in producers:
                while each.sent - each.acked < WINDOW:
                    batch = each.batch(each.sent)._replace(
                        producer="p", epoch=1, seq=each.sent, id=each.model
                    )
                    self.socket.send_multipart(encode_request(batch))
                    each.sent += 1
            if self.socket.poll(5):
                self._receive(producers)

    def finish(self, producers: list[Producer]) -> None:
        """Wait for every ack that is due."""
        while any(each.acked < each.sent for each in producers):
            assert self.socket.poll(int(SECONDS * 1000)), "an ack is missing"
            self._receive(producers)

    def _receive(self, producers: list[Producer]) -> None:
        reply = decode_reply(self.socket.recv_multipart())
        assert reply.error is None, reply.error
        assert reply.ok["lsn"] <= reply.ok["durable_lsn"]
        producer = next(each for each in producers if each.model == reply.id)
        producer.acked += 1  # acks of one producer come in the order of its batches
        producer.duplicates += reply.ok["duplicate"]


def create_models(connection: Connection, accounts: list[Account]) -> None:
    for name, (kind, spec) in SPECS.items():
        connection.ask("create", name, kind=kind, spec=spec)
    for account in accounts:
        connection.ask("create", account.model, kind=account.kind, spec=account.spec)


def one_life(
    connection: Connection, producers: list[Producer], signalled: SignalledCaller, rng: Random, seconds: float
) -> threading.Thread:
    """Use the daemon for so long. The returned thread still streams until its connection is idle."""
    deadline = time.monotonic() + seconds
    streaming = threading.Thread(target=connection.stream, args=(producers, seconds), daemon=True)
    streaming.start()
    signalled.call_until(deadline)
    return streaming


def request(endpoint: str, context: zmq.Context[Any], op: str, model: str, **fields: Any) -> None:
    """Send a request on a new connection, and do not wait for the answer."""
    connection = Connection(context, endpoint)
    connection.socket.send_multipart(encode_request(Request(op, op, model, fields)))
    connection.socket.close(linger=100)


def test_kill_9_loses_nothing_and_repeats_nothing(tmp_path: Path, kills: int) -> None:
    rng = Random(SEED)
    print(f"seed {SEED}, {kills} kills")
    producers = [Producer(name, seed) for seed, name in enumerate(SPECS)]
    accounts = [Account("awaited", "som", {"dim": 3, "grid": [3, 3]}, 11)]
    accounts.append(Account("signalled", "competitive", {"dim": 3, "units": 4}, 12))
    endpoint = f"ipc://{tmp_path}/requests"
    journal = JournalOfCallers(tmp_path / "data", accounts)
    awaited, signalled = AsyncCaller(endpoint, accounts[0], 13), SignalledCaller(endpoint, accounts[1], 14)
    context: zmq.Context[Any] = zmq.Context()
    try:
        for number in range(kills):
            daemon = ForkedDaemon(tmp_path, settings=SETTINGS)
            connection = Connection(context, endpoint)
            connection.ask("hello", "")
            if number == 0:
                create_models(connection, accounts)
                awaited.start()
            check(connection, producers)
            for account in accounts:
                described = connection.ask("describe", account.model)
                account.observed.append((described["applied_lsn"], described["state_hash"]))
                if rng.random() < 0.3:
                    request(endpoint, context, "checkpoint", account.model)
                elif rng.random() < 0.3:
                    request(endpoint, context, "restore", account.model)
            streaming = one_life(connection, producers, signalled, rng, rng.uniform(0.02, 0.3))
            assert daemon.process.poll() is None, daemon.stderr
            daemon.kill()
            streaming.join()
            connection.socket.close()
            journal.read()
        # No daemon runs, so the last call ends without an answer: nothing comes after what `journal` read.
        awaited.stopping.set()
        awaited.join()
        signalled.client.close()
        with DaemonProcess(tmp_path, settings=SETTINGS) as daemon:
            daemon.ready()
            connection = Connection(context, daemon.requests)
            check(connection, producers)
            connection.stream(producers, 0.1, least=kills + 1)
            connection.finish(producers)
            check(connection, producers)
            assert daemon.terminate() == 0
        with DaemonProcess(tmp_path, settings=SETTINGS) as daemon:
            daemon.ready()
            check(Connection(context, daemon.requests), producers)
            assert "replayed 0 records" in daemon.stderr
    finally:
        context.destroy(0)
    assert awaited.failure is None, awaited.failure
    for each in producers:
        print(
            f"{each.model}: {each.sent} batches, {each.reference.samples} samples, {each.duplicates} resent"
        )
        assert each.sent == each.acked == each.learned > kills
    for account in accounts:
        account.check()
        print(
            f"{account.model}: {len(account.sent)} batches, {len(account.acknowledged)} acknowledged, "
            f"{account.interrupted} interrupted, {len(account.found)} in the journal"
        )
        assert account.interrupted > kills


def check(connection: Connection, producers: list[Producer]) -> None:
    """The daemon has at least what it promised, and its models are those of an uninterrupted run."""
    for each in producers:
        kept = connection.ask("position", each.model, producer="p")["next_seq"]
        assert each.acked <= kept <= each.sent
        described = connection.ask("describe", each.model)
        assert described["state_hash"] == each.reference_hash(kept)
        assert described["samples"] == each.reference.samples
        each.sent = each.acked  # unacknowledged batches are sent again; some were kept
