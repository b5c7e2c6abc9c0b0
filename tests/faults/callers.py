"""Callers whose calls are cut short, and what the journal of a killed daemon has of their batches."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from streamlearn import models
from streamlearn.models.batch import Batch
from streamlearn.shard.record_codec import decode_batch
from streamlearn.store import FS, tensors
from streamlearn.store.record import Record, RecordKind
from streamlearn.store.scan import JournalScan
from streamlearn_client import AsyncClient, Client
from streamlearn_client.errors import Conflict, Fenced, Gap, StreamlearnError, UnknownModel

CALL_SECONDS = 5.0


class Interrupted(KeyboardInterrupt):
    """What the signal handler raises."""


class Account:
    """The batches of one model's only caller, and a model in this process that learns what the journal has.

    ``spec`` is that of the model. Batches are random, so the content of a batch identifies it.
    """

    def __init__(self, model: str, kind: str, spec: dict[str, Any], seed: int) -> None:
        self.model, self.kind, self.spec = model, kind, spec
        self.sent: set[bytes] = set()
        self.acknowledged: set[bytes] = set()  # as durable
        self.interrupted = 0
        self.found: list[bytes] = []  # in the order of the journal
        self.reference = models.create(kind, spec)
        self.states: dict[str, int] = {}  # hash of each state that the model had: its lsn
        self.observed: list[tuple[int, str]] = []  # lsn and state hash, as the daemon described the model
        self.failures: list[StreamlearnError] = []
        self._rng = np.random.default_rng(seed)

    def batch(self) -> np.ndarray:
        x = self._rng.normal(size=(int(self._rng.integers(1, 9)), 3)).astype(np.float32)
        self.sent.add(x.tobytes())
        return x

    def failed(self, error: StreamlearnError) -> None:
        """A call ended with an error. Nothing but the daemon's death may be the reason."""
        if isinstance(error, (Conflict, Fenced, Gap)):
            self.failures.append(error)

    def apply(self, record: Record) -> None:
        """The next record of the model."""
        if record.kind is RecordKind.LEARN:
            batch = decode_batch(record, self.reference.uses_time)
            assert isinstance(batch, Batch)
            self.found.append(batch.x.tobytes())
            self.reference.learn(batch.x)
        elif record.kind is RecordKind.RESTORE:
            restored = models.from_arrays(*tensors.decode(bytes(record.payload)))
            assert restored.state_hash() in self.states, f"{self.model} was restored to a state it never had"
            self.reference = restored
        self.states[self.reference.state_hash()] = record.lsn

    def check(self) -> None:
        """What is acknowledged is in the journal, and nothing is there twice."""
        assert not self.failures, self.failures
        found = set(self.found)
        assert len(found) == len(self.found), f"a batch of {self.model} is in the journal twice"
        assert found <= self.sent
        missing = self.acknowledged - found
        assert not missing, f"{len(missing)} acknowledged batches of {self.model} are not in the journal"


class JournalOfCallers:
    """Reads the journal after each kill, from where it ended before."""

    def __init__(self, data: Path, accounts: list[Account]) -> None:
        self._data = data
        self._accounts = {account.model: account for account in accounts}
        self._next_lsn = 1

    def read(self) -> None:
        scan = JournalScan(FS(), self._data / "journal")
        assert scan.first_lsn <= self._next_lsn, "segments were retired that this test has not read"
        for record in scan.replay(self._next_lsn):
            self._next_lsn = record.lsn + 1
            account = self._accounts.get(record.model)
            if account is None:
                continue
            self._compare(account, record.lsn)
            account.apply(record)
        for account in self._accounts.values():
            self._compare(account, self._next_lsn)
            account.check()

    @staticmethod
    def _compare(account: Account, lsn: int) -> None:
        """The daemon's descriptions before record ``lsn``, against the model that was never interrupted."""
        while account.observed and account.observed[0][0] < lsn:
            applied_lsn, state_hash = account.observed.pop(0)
            assert state_hash == account.reference.state_hash(), (
                f"{account.model} as of record {applied_lsn} differs from an uninterrupted run"
            )


class AsyncCaller(threading.Thread):
    """Calls `learn` of the asyncio client, and cancels most calls at a random moment."""

    def __init__(self, endpoint: str, account: Account, seed: int) -> None:
        super().__init__(name="async caller", daemon=True)
        self.account = account
        self.stopping = threading.Event()
        self.failure: BaseException | None = None
        self._endpoint = endpoint
        self._random = Random(seed)

    def run(self) -> None:
        try:
            asyncio.run(self._call())
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self.failure = error

    async def _call(self) -> None:
        account, random = self.account, self._random
        async with AsyncClient(self._endpoint, timeout=CALL_SECONDS) as client:
            while not self.stopping.is_set():
                x = account.batch()
                try:
                    limit = random.choice([random.uniform(0, 0.01), CALL_SECONDS])
                    await asyncio.wait_for(client.learn(account.model, x), limit)
                    account.acknowledged.add(x.tobytes())
                except TimeoutError:
                    account.interrupted += 1
                except UnknownModel:
                    await asyncio.sleep(0.01)
                except StreamlearnError as error:
                    account.failed(error)


class SignalledCaller:
    """Calls `learn` of the blocking client in the main thread, where a signal handler raises."""

    def __init__(self, endpoint: str, account: Account, seed: int) -> None:
        self.account = account
        self.client = Client(endpoint, timeout=CALL_SECONDS)
        self._random = Random(seed)
        self._armed = False

    def call_until(self, deadline: float) -> None:
        """Call `learn` again and again; another thread sends signals meanwhile."""
        before = signal.signal(signal.SIGUSR1, self._interrupt)
        stop = threading.Event()
        sender = threading.Thread(target=self._send_signals, args=(stop,), daemon=True)
        sender.start()
        try:
            while time.monotonic() < deadline:
                self._call_once()
        finally:
            stop.set()
            sender.join()
            signal.signal(signal.SIGUSR1, before)

    def _call_once(self) -> None:
        x = self.account.batch()
        try:
            self._armed = True
            self.client.learn(self.account.model, x)
            self._armed = False
            self.account.acknowledged.add(x.tobytes())
        except Interrupted:
            self.account.interrupted += 1
        except StreamlearnError as error:
            self._armed = False
            self.account.failed(error)

    def _send_signals(self, stop: threading.Event) -> None:
        main = threading.main_thread().ident
        assert main is not None
        while not stop.wait(self._random.uniform(0.0, 0.01)):
            signal.pthread_kill(main, signal.SIGUSR1)

    def _interrupt(self, *_: object) -> None:
        if self._armed:
            self._armed = False
            raise Interrupted
