"""The simulation: one scheduler with one seed chooses every step of daemon, clients, disk, network and clock.

`World(seed).run(steps)` raises `Violation` if a promise is broken. The same seed always does the same.
"""

from __future__ import annotations

import secrets
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from random import Random
from typing import Any
from unittest import mock

from streamlearn.daemon.config import Settings
from streamlearn.daemon.limits.budget import Budget
from streamlearn.errors import StreamlearnError
from streamlearn.recovery import Recovered
from streamlearn.store.journal import Journal
from streamlearn_client import session as session_module
from streamlearn_client.protocol import decode_reply
from tests.faults.lossyfs import File
from tests.simulation.clients import INTERRUPTIONS, Caller, FirehoseSender, Streamer
from tests.simulation.clock import SECOND, Clock
from tests.simulation.daemon import CHECKPOINTS, JOURNAL, Life
from tests.simulation.disk import FAILED, Disk
from tests.simulation.ledger import Ledger, Violation, require
from tests.simulation.models import SPECS, ModelPlan
from tests.simulation.network import Link, Message, Network
from tests.simulation.operations import begin

# Small replies are sent even if the account is full, and the batch that fills the queues is accepted.
BEYOND = {"replies": 1 << 20, "queued": 2 * (4096 + 512)}
PATIENCE = 3000  # steps without a fault in which every call must end
BASE = Settings(
    checkpoints={"seconds": 1.5, "samples": 40},
    limits={"rows": 8, "frame_bytes": 4096},
    log={"level": "error"},
)


class World:
    """Everything, and the steps that may come next."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random = Random(seed)
        self.clock = Clock()
        self.clock.tick_ns = random.choice([1_000, 5_000, 20_000, 100_000])
        self.disk = Disk(random)
        self.disk.pause = self._pause
        self.network = Network()
        self.network.on_reply = self._check_reply
        self.network.refuse_reply = self._refuse_reply
        self.ledger = Ledger(self.disk, JOURNAL)
        self.segment_bytes = random.choice([1200, 3000, 10_000])
        learning = copy(BASE.learning)
        vars(learning).update(  # with values that a user may not set
            backlog_bytes=random.choice([3_000, 1 << 20]), backlog_seconds=random.choice([0.05, 1.0])
        )
        checkpoints = replace(BASE.checkpoints, hourly=random.choice([0, 3]))
        self.settings = replace(BASE, learning=learning, checkpoints=checkpoints)
        self.queued_bytes = random.choice([4_000, 1 << 27])
        self.deletes = random.random() < 0.25
        names = random.sample(sorted(SPECS), random.randint(1, 3))
        self.plans = [ModelPlan(name) for name in names]
        self.deleted: set[str] = set()  # names of models that were ever deleted
        self.life: Life | None = None
        self.clients: list[Caller] = []
        self.senders = (
            [FirehoseSender(self, "hose", random.choice(self.plans))] if random.random() < 0.3 else []
        )
        self.steps = 0
        self.digest = 0  # of the trace
        self.counts: Counter[str] = Counter()
        self.calm_since: int | None = None  # the step of the last fault; None while faults happen
        self._trace: deque[tuple[Any, ...]] = deque(maxlen=80)
        self._checked: dict[Any, int] = {}  # hosted model: lsn at which its state was compared
        self._next_client = 0
        self._replayed = 0  # records, in the last start
        self._faults = {
            name: random.choice([0, 1, 3])
            for name in ("crash", "power", "disk", "full", "cut", "cancel", "kill", "clock")
        }
        self.clock_jumps = self._faults["clock"] > 0
        self._fault_rate = random.choice([0.005, 0.01, 0.03])

    # ------------------------------------------------------------------------------------------- running

    @contextmanager
    def _deterministic(self) -> Iterator[None]:
        random = Random(self.seed)
        with (
            mock.patch.object(session_module, "time", self.clock),
            mock.patch.object(secrets, "token_hex", lambda n=8: random.randbytes(n).hex()),
            mock.patch.object(secrets, "randbits", random.getrandbits),
        ):
            yield

    def run(self, steps: int) -> None:
        """Run so many steps, in storms of faults with calm in between, and end in a calm."""
        Violation.first = None
        with self._deterministic():
            try:
                while self.steps < steps:
                    self._storm(self.random.randint(100, 600))
                    self._calm()
                self._stop()
            except BaseException as error:
                error.add_note(self.report())
                raise
            finally:
                if self.life is not None:
                    self.life.tasks.kill()

    def report(self) -> str:
        first = f"seed {self.seed}, step {self.steps}; the last steps were:"
        lines = [f"{step:6d} {' '.join(map(str, what))}" for step, *what in self._trace]
        return "\n".join([first, *lines, f"replay: python -m pytest tests/simulation --seed {self.seed}"])

    def trace(self, *what: Any) -> None:
        self._trace.append((self.steps, *what))
        self.digest = zlib.crc32(repr(what).encode(), self.digest)

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def _storm(self, steps: int) -> None:
        self.calm_since = None
        end = self.steps + steps
        while self.steps < end:
            if self.random.random() < self._fault_rate:
                self._fault()
            self._step(new_work=True)

    def _calm(self) -> None:
        """No more faults: everything that was asked must be answered, and every state must be right."""
        self.trace("calm")
        self.disk.capacity = None
        self.disk.fail_next.clear()
        self.calm_since = self.steps
        while unfinished := self._unfinished():
            require(
                self.steps - self.calm_since < PATIENCE,
                f"not finished in {PATIENCE} steps without a fault: {', '.join(unfinished)}",
            )
            self._step(new_work=False)
        self._check_states()
        require(self.ledger.durable() == self.ledger.written, "an idle journal is not durable")

    def _unfinished(self) -> list[str]:
        """What is asked for and not yet done."""
        life = self.life
        if life is None or life.daemon is None or life.stopping:
            return ["start"]
        context = life.daemon.context
        work = {
            "learning": context.shard.has_backlog,
            "files": context.file_worker.busy,
            "memory": context.budget.queued.used > 0,
            "firehose": bool(self.network.firehose),
            "sync": self.ledger.durable() < self.ledger.written,
        }
        calls = [f"{client.what} of {client.name}" for client in self.clients if client.busy]
        return [name for name, unfinished in work.items() if unfinished] + calls

    def _stop(self) -> None:
        """A clean stop: the next start replays nothing."""
        assert self.life is not None
        self.life.stop()
        self.trace("stop")
        began = self.steps
        while self.life is not None:
            require(self.steps - began < PATIENCE, "the daemon does not stop")
            self._step(new_work=False, start=False)
        while self.life is None or self.life.daemon is None:
            self._step(new_work=False)
        # The journal keeps a deletion if the files of the model could not be removed.
        require(self._replayed == 0 or self.deleted, "a clean stop left records to replay")
        self._check_states()

    # --------------------------------------------------------------------------------------------- steps

    def _step(self, new_work: bool, start: bool = True) -> None:
        self.steps += 1
        random = self.random
        self.clock.advance(random.choice((10_000, 100_000, 1_000_000)))
        if self.life is None:
            if start and (not new_work or random.random() < 0.1):
                self.trace("start")
                self.life = Life(self)
            else:
                self._step_client(new_work)
            return
        choice = random.random()
        if choice < 0.5:
            tasks = self.life.tasks.runnable()
            if tasks:
                self._resume(random.choice(tasks))
                return
        elif choice < 0.75 and self._deliver():
            return
        if not self._step_client(new_work) and not self._deliver():
            self._pass_time()

    def _resume(self, task: Any) -> None:
        life = self.life
        assert life is not None
        task.resume()
        self.trace(task.name, task.where)
        if Violation.first is not None:
            raise Violation.first
        if life.main.done:
            self._ended(life)
        elif task.failure is not None and not task.done:
            raise task.failure
        elif task is life.main and life.daemon is not None:
            self._compare(life)

    def _ended(self, life: Life) -> None:
        """The daemon's process ended by itself."""
        failure = life.main.failure
        self.trace("ended", type(failure).__name__)
        if failure is not None and not (
            isinstance(failure, (StreamlearnError, OSError)) and self.disk.faults > life.faults
        ):
            raise failure
        require(failure is not None or life.stopping, "the daemon ended without a reason")
        self.count("failed" if failure is not None else "stopped")
        self._end_process(power=False)

    def _pass_time(self) -> None:
        """Nothing can happen now: go on to the next moment at which something can."""
        deadlines = [client.next_deadline() * 1e9 for client in self.clients]
        if self.life is not None and (until := self.life.tasks.next_deadline()) is not None:
            deadlines.append(until)
        soon = min(deadlines, default=float("inf"))
        now = self.clock.peek_ns()
        self.clock.advance(int(min(max(soon - now, 0), SECOND)) + 1_000_000)
        self.trace("time")

    def _deliver(self) -> bool:
        """Move one or several messages of one connection. Return whether there was one."""
        ways = self.network.ways()
        if self.network.firehose and self.network.sockets:
            ways.append((self.network.firehose, self._deliver_firehose, None))
        if not ways:
            return False
        waiting, deliver, link = self.random.choice(ways)
        more = True
        while more:
            deliver(link)
            self.trace(deliver.__name__, link.name if link else "")
            more = waiting and self.random.random() < 0.7
        return True

    def _deliver_firehose(self, _: None) -> None:
        assert self.network.sockets is not None
        message = self.network.firehose.popleft()
        if self.calm_since is not None or self.random.random() < 0.9:
            self.network.sockets.firehose.inbox.append(message)

    def _step_client(self, new_work: bool) -> bool:
        """One client goes on. Return whether it had something to do."""
        random = self.random
        if new_work and (len(self.clients) < 2 or (len(self.clients) < 5 and random.random() < 0.02)):
            self._new_client()
        if new_work and self.senders and random.random() < 0.05:
            random.choice(self.senders).send()
        if not self.clients:
            return False
        client = random.choice(self.clients)
        link = client.link
        if not link.connected and self.network.sockets is not None and not link.lost:
            link.connect()
            self.trace("connect", link.name)
        elif link.connected and link.peer is None and (self.calm_since is not None or random.random() < 0.3):
            link.notice()
            self.trace("notice", link.name)
        elif isinstance(client, Streamer) and new_work and client.can_push and random.random() < 0.3:
            client.push_several()
            self.trace("push", client.name)
        elif new_work and not client.busy and random.random() < client.eagerness:
            begin(self, client)
            self.trace("begin", client.name, client.what)
        elif not client.has_work():
            return False
        client.step()
        return True

    # ------------------------------------------------------------------------------------------- clients

    def _new_client(self) -> None:
        self._next_client += 1
        random = self.random
        producer = f"p{random.randrange(4)}" if random.random() < 0.4 else None
        if any(client.producer == producer for client in self.clients):
            producer = None
        kind = Streamer if random.random() < 0.3 else Caller
        self.clients.append(kind(self, f"c{self._next_client}", producer))

    # -------------------------------------------------------------------------------------------- faults

    def _pause(self, operation: str) -> None:
        life = self.life
        if life is not None:
            life.tasks.wait(operation)

    def _refuse_reply(self, peer: bytes) -> bool:
        return self.calm_since is None and self._faults["cut"] > 0 and self.random.random() < 0.01

    def _fault(self) -> None:
        names = [name for name, weight in self._faults.items() for _ in range(weight)]
        if not names:
            return
        random = self.random
        name = random.choice(names)
        self.trace("fault", name)
        if name in ("crash", "power"):
            if self.life is not None:
                self.count(name)
                self._end_process(power=name == "power")
        elif name == "disk":
            operation = random.choice(
                ["pwritev", *["fdatasync"] * 3, "fsync_dir", "group_sync", "create", "rename", "unlink"]
            )
            self.disk.fail_next[operation] = FAILED
        elif name == "full":
            self.disk.capacity = (
                None if self.disk.capacity is not None else random.randint(0, self.disk.used() + 4000)
            )
        elif name == "cut":
            if self.network.links:
                random.choice(self.network.links).cut()
        elif name == "cancel":
            busy = [client for client in self.clients if client.busy]
            if busy:
                random.choice(busy).interrupt(random.choice(INTERRUPTIONS))
        elif name == "kill":
            if self.clients:
                client = random.choice(self.clients)
                self.clients.remove(client)
                client.die()
        elif name == "clock":
            if random.random() < 0.5:
                self.clock.offset += random.choice([-1, 1]) * random.choice([1, 60, 86400 * 400]) * SECOND
            else:
                self.clock.advance(random.choice([1, 5, 60]) * SECOND)

    def _end_process(self, power: bool) -> None:
        """The daemon's process is gone."""
        life, self.life = self.life, None
        assert life is not None
        self.ledger.crashed(power=power)
        life.tasks.kill()
        self.network.stop()
        self.disk.end_process()
        if power:
            self.disk.power_loss(self.random)
        self._checked.clear()

    # -------------------------------------------------------------------------------------------- checks

    def recovered(self, journal: Journal, recovered: Recovered) -> None:
        """The daemon's process opened its directory."""
        last = self.ledger.recovered(journal.id)
        require(
            last == journal.written_lsn, f"the journal ends at {journal.written_lsn}, its files at {last}"
        )
        self.trace("recovered", last, recovered.records)
        self._replayed = recovered.records
        names = {hosted.name for hosted in recovered.shard}
        require(
            names == set(self.ledger.current), f"recovered {sorted(names)}, not {sorted(self.ledger.current)}"
        )
        for hosted in recovered.shard:
            key = (hosted.name, hosted.create_lsn)
            self.ledger.check_state(*key, hosted.applied_lsn, hosted.model.state_hash())
            self.ledger.check_producers(*key, hosted.accepted_producers.position)

    def _compare(self, life: Life) -> None:
        """The state of every model that has just learned something."""
        assert life.daemon is not None
        self._check_memory(life.daemon.context.budget)
        for hosted in life.daemon.context.shard:
            lsn = hosted.applied_lsn
            if hosted.between_records and self._checked.get(hosted) != lsn:
                self.ledger.check_state(hosted.name, hosted.create_lsn, lsn, hosted.model.state_hash())
                self._checked[hosted] = lsn

    def _check_memory(self, budget: Budget) -> None:
        """Every account is within its limit."""
        for name, account in budget.to_map()["accounts"].items():
            most = account["limit"] + BEYOND.get(name, 0)
            require(0 <= account["used"] <= most, f"memory of {name}: {account}")

    def _check_states(self) -> None:
        assert self.life is not None
        assert self.life.daemon is not None
        shard = self.life.daemon.context.shard
        require({hosted.name for hosted in shard} == set(self.ledger.current), "models are missing")
        self._checked.clear()
        self._compare(self.life)
        for hosted in shard:
            reference = self.ledger.current[hosted.name]
            newest = reference.records[-1].lsn if reference.records else reference.create_lsn
            require(hosted.applied_lsn == newest, f"{hosted.name} has not learned record {newest}")

    def _check_checkpoint(self, ok: dict[str, Any]) -> None:
        """A checkpoint that is answered survives a power loss."""
        files = [
            file
            for folder in self.disk.listdir(CHECKPOINTS)
            for name, file in self.disk.directory(CHECKPOINTS / folder).disk.items()
            if folder.startswith(f"{ok['model']}@") and name.startswith(f"{ok['lsn']:020d}-")
        ]
        require(
            any(isinstance(file, File) and file.disk == file.seen for file in files),
            f"a checkpoint of {ok['model']} is answered ({ok}), but it is not durable",
        )

    def _check_reply(self, link: Link, peer: bytes, message: Message) -> None:
        """The daemon sends an answer."""
        client = link.owner
        reply = decode_reply(message)
        if client is None or reply.error is not None:
            if reply.error is not None:
                self.count(f"answer {reply.error.code}")
            return
        op, model, batch = client.expected.get(reply.id, ("", "", None))
        ok = reply.ok
        self.count(f"answer {op}")
        if batch is not None:
            if ok["duplicate"]:
                self.count("duplicate")
            self.ledger.check_ack(batch, ok)
        elif op in ("create", "delete", "restore", "reheat", "pause", "resume"):
            self.ledger.check_change(ok)
            if op == "restore":
                self.ledger.check_restored(model, ok)
        elif op == "checkpoint":
            self._check_checkpoint(ok)
        elif op == "describe":
            self.ledger.check_state(ok["name"], ok["create_lsn"], ok["applied_lsn"], ok["state_hash"])
        self.ledger.check_durable_lsn(ok)
