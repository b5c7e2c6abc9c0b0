"""kill -9 during backups, named checkpoints and restores: each happened completely or not at all.

`pytest --kills N` does N / 2 of them, at least 4. What was answered before a kill is there afterwards. What
was under way is complete or not there. The states are those of a model in this process.
"""

from __future__ import annotations

import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import zmq

from streamlearn import models
from streamlearn.models import Model
from streamlearn.recovery import recover
from streamlearn.store import FS, CheckpointStore, verify_journal
from streamlearn.store.manifest import ManifestFile
from streamlearn.store.scan import JournalScan
from streamlearn_client.protocol import Request, as_batch, decode_reply, encode_request
from tests.e2e.daemon_process import SECONDS, DaemonProcess, ForkedDaemon

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(1800)]

SEED = 20261129
KEPT_NAMES = 50  # checkpoints with a name; a model may have 100
KIND, SPEC = "som", {"dim": 3, "grid": [4, 4], "scale": "standard", "seed": 3}
SETTINGS = {"journal__segment_bytes": 65536, "checkpoints__samples": 1500, "checkpoints__seconds": 1}


class Ledger:
    """The model as it must be, its states by lsn, and what was answered."""

    def __init__(self, directory: Path) -> None:
        self.model: Model = models.create(KIND, SPEC)
        self.states: dict[int, dict[str, Any]] = {}
        self.names: dict[str, int] = {}  # of checkpoints → lsn
        self.backups: dict[Path, int] = {}  # → lsn
        self.sent = 0  # batches that the daemon has
        self.directory = directory

    def batch(self, number: int) -> np.ndarray:
        rng = np.random.default_rng([SEED, number])
        return rng.normal(size=(int(rng.choice([1, 40, 300])), 3)).astype(np.float32)

    def learned(self, lsn: int) -> None:
        self.model.learn(self.batch(self.sent))
        self.sent += 1
        self.states[lsn] = self.model.copy_state()

    def state(self, lsn: int) -> Model:
        known = max(each for each in self.states if each <= lsn)
        return models.from_arrays(self.states[known], self.model.metadata())

    def restored(self, target: int, lsn: int) -> None:
        self.model = self.state(target)
        self.states[lsn] = self.model.copy_state()


class Life:
    """One life of the daemon, and a client of it."""

    def __init__(self, context: zmq.Context[Any], daemon: DaemonProcess, ledger: Ledger) -> None:
        self.ledger, self.daemon = ledger, daemon
        daemon.ready()
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(daemon.requests)
        self.number = 0

    def send(self, op: str, **fields: Any) -> int:
        self.number += 1
        model = "" if op in ("backup", "models") else fields.pop("model", "m")
        self.socket.send_multipart(encode_request(Request(op, self.number, model, fields)))
        return self.number

    def receive(self) -> tuple[int, dict[str, Any]]:
        assert self.socket.poll(int(SECONDS * 1000)), "no answer"
        reply = decode_reply(self.socket.recv_multipart())
        assert reply.error is None, reply.error
        assert isinstance(reply.id, int)
        return reply.id, reply.ok

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        number = self.send(op, **fields)
        found, ok = self.receive()
        assert found == number
        return ok

    def send_batch(self) -> int:
        self.number += 1
        batch = as_batch("m", self.ledger.batch(self.ledger.sent))
        batch = batch._replace(producer="p", epoch=1, seq=self.ledger.sent, id=self.number)
        self.socket.send_multipart(encode_request(batch))
        return self.number

    def learn(self, count: int) -> None:
        for _ in range(count):
            number = self.send_batch()
            found, ok = self.receive()
            assert found == number
            self.ledger.learned(ok["lsn"])

    def backup_while_learning(self, place: Path) -> None:
        backup, batch = self.send("backup", directory=str(place)), self.send_batch()
        waiting = {backup, batch}
        while waiting:
            number, ok = self.receive()
            waiting.discard(number)
            if number == backup:
                self.ledger.backups[place] = ok["lsn"]
            else:
                self.ledger.learned(ok["lsn"])
                if backup in waiting:
                    waiting.add(self.send_batch())

    def reachable(self, random: Random) -> int:
        """A random lsn that a restore reaches: of a named checkpoint, or one since the newest checkpoint.

        The journal keeps the records since the second newest, so that one may be written in between.
        """
        checkpoints = self.ask("checkpoints")["checkpoints"]
        newest = max(each["lsn"] for each in checkpoints)
        since = random.randint(newest, max(self.ledger.states))
        return random.choice([since, since, max(self.ledger.names.values())])

    def check(self, interrupted: dict[str, Any]) -> None:
        """The daemon has what was answered, and of what was under way all or nothing."""
        ledger = self.ledger
        kept = self.ask("position", producer="p")["next_seq"]
        described = self.ask("describe")
        assert ledger.sent <= kept <= ledger.sent + 1
        if kept > ledger.sent:
            ledger.learned(described["applied_lsn"])
        target = interrupted.get("lsn")
        if target is not None and described["state_hash"] != ledger.model.state_hash():
            ledger.restored(target, described["applied_lsn"])
        assert described["state_hash"] == ledger.model.state_hash()
        names = {
            each["name"]: each["lsn"] for each in self.ask("checkpoints")["checkpoints"] if each["pinned"]
        }
        made = interrupted.get("name")
        if made in names:
            ledger.names[made] = names[made]
        assert names == ledger.names
        for name in [each["name"] for each in self.ask("models")["models"]]:
            if name != "m":  # a copy that was under way: complete
                assert self.ask("describe", model=name)["state_hash"] == ledger.state(target).state_hash()
                self.ask("delete", model=name)
        place = interrupted.get("directory")
        if place is not None and Path(place).exists():
            ledger.backups[Path(place)] = -1
        for backup, lsn in ledger.backups.items():
            check_backup(backup, lsn, ledger)
        ledger.backups.clear()


def check_backup(place: Path, lsn: int, ledger: Ledger) -> None:
    """`verify` and `serve` accept a backup, and its model is that of an uninterrupted run up to its lsn."""
    store = CheckpointStore(FS(), place / "checkpoints")
    assert [*verify_journal(FS(), place / "journal"), *store.verify()] == []
    scan = JournalScan(FS(), place / "journal")
    shard = recover(scan, store, models, manifest=ManifestFile(FS(), place).read()).shard
    assert scan.closed
    if lsn >= 0:
        assert scan.end.lsn == lsn + 1
    state = ledger.state(scan.end.lsn - 1)
    assert shard.hosted("m").model.state_hash() == state.state_hash()


def test_kill_9_during_backups_checkpoints_and_restores(tmp_path: Path, kills: int) -> None:
    random, rounds = Random(SEED), max(4, kills // 2)
    print(f"seed {SEED}, {rounds} kills")
    ledger, context = Ledger(tmp_path), zmq.Context()
    interrupted: dict[str, Any] = {}
    try:
        for number in range(rounds + 1):
            with ForkedDaemon(tmp_path / "daemon", settings=SETTINGS) as daemon:
                life = Life(context, daemon, ledger)
                if number == 0:
                    lsn = life.ask("create", kind=KIND, spec=SPEC)["lsn"]
                    ledger.states[lsn] = ledger.model.copy_state()
                life.check(interrupted)
                life.learn(random.randint(5, 25))
                life.ask("checkpoint", name=f"kept-{number}")
                ledger.names[f"kept-{number}"] = max(ledger.states)
                for name in list(ledger.names)[:-KEPT_NAMES]:
                    life.ask("unpin", name=name)
                    del ledger.names[name]
                life.learn(random.randint(1, 15))
                reheated = life.ask("reheat", heat=0.5)["lsn"]
                ledger.model.reheat(0.5)
                ledger.states[reheated] = ledger.model.copy_state()
                life.learn(random.randint(1, 15))
                lsn = life.reachable(random)
                ledger.restored(lsn, life.ask("restore", lsn=lsn)["lsn"])
                life.learn(3)
                life.backup_while_learning(tmp_path / f"backup-{number}")
                interrupted = interrupt(life, number, random, tmp_path)
                daemon.kill()
                life.socket.close()
        left = {path.name for path in tmp_path.iterdir() if "partial" in path.name}
        assert len(left) <= 1  # of the last kill only
    finally:
        context.destroy(0)


def interrupt(life: Life, number: int, random: Random, directory: Path) -> dict[str, Any]:
    """Send a request, and return its fields a moment later, when the daemon is to be killed."""
    reached = life.reachable(random)
    op, fields = [
        ("restore", {"lsn": reached}),
        ("backup", {"directory": str(directory / f"killed-{number}")}),
        ("checkpoint", {"name": f"killed-{number}"}),
        ("restore", {"lsn": reached, "into": f"copy-{number}"}),
    ][number % 4]
    life.send(op, **fields)
    if op == "backup":
        life.send_batch()
    time.sleep(random.uniform(0, 0.05))
    if "into" in fields:
        return {"lsn": reached}
    return fields
