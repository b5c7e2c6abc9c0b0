"""Group commit without sockets: the limit on the backlog, the order of records, and their arrival times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamlearn.daemon.config import Learning, Settings
from streamlearn.daemon.durability.group_commit import MOST_BACKLOGGED, GroupCommit
from streamlearn.daemon.durability.watermarks import Watermarks
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.network.replies import ReplyAddress
from streamlearn.daemon.runtime import Runtime
from streamlearn.errors import Busy
from streamlearn.shard import HostedModel, Shard
from streamlearn.store import FS, Journal, RecordKind, tensors
from streamlearn.store.record import Record
from streamlearn_client.protocol import Learn, as_batch
from tests.daemon.contexts import context_of
from tests.shard.fakes import Fakes, replayed

MiB = 1 << 20
X = np.random.default_rng(6).normal(size=(40, 2)).astype(np.float32)
KEYS = np.arange(40) % 3


class Scene:
    """Group commit with a shard and a journal. Nothing is learned unless the test drains the shard."""

    def __init__(self, directory: Path) -> None:
        self.now = 1_000
        self.acks: list[dict[str, Any]] = []
        self.shard = Shard(Fakes())
        self.journal = Journal.open(FS(), directory)
        self.context = context_of(
            settings=Settings(learning=Learning(backlog_bytes=MiB)),
            shard=self.shard,
            journal=self.journal,
            flusher=SimpleNamespace(request=lambda: None),
            watermarks=Watermarks(),
            replies=SimpleNamespace(ok=lambda reply_to, fields: self.acks.append(fields)),
            metrics=Metrics(),
            runtime=Runtime(wall_ns=lambda: self.now),
        )
        self.group_commit = GroupCommit(self.context)

    def create(self, name: str, kind: str = "ledger", **spec: Any) -> None:
        spec = {"dim": 2} | spec
        self.group_commit.change(lambda lsn, time: self.shard.accept_create(name, kind, spec, lsn, time))

    def learn(self, batch: Learn) -> None:
        self.group_commit.learn(batch, ReplyAddress([], None))

    def ledger_batch(self, start: int, stop: int, **fields: Any) -> Learn:
        return as_batch("m", X[start:stop], None, KEYS[start:stop])._replace(**fields)

    def records(self) -> list[Record]:
        return list(self.journal.replay())

    @property
    def hosted(self) -> HostedModel:
        return self.shard.hosted("m")


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


@pytest.mark.parametrize("one_group", [True, False])
def test_busy_counts_the_batches_of_the_current_turn(scene: Scene, one_group: bool) -> None:
    """However many messages one turn reads, a model holds twice `backlog_bytes` and one batch at most."""
    scene.create("m", "sum", dim=50)
    batch = Learn("m", np.zeros((4000, 50), np.float32))  # 800 000 bytes; the limit is 2 MiB
    for _ in range(3):
        scene.learn(batch)
        if not one_group:
            scene.group_commit.commit()
    for _ in range(9):
        with pytest.raises(Busy) as busy:
            scene.learn(batch)
        assert busy.value.detail["backlog_rows"] == 12_000
    scene.group_commit.commit()
    assert scene.hosted.backlog_rows == 12_000
    assert scene.context.metrics.models["m"].refused == 9


def test_a_committed_group_is_counted_once(scene: Scene) -> None:
    scene.create("m", "sum", dim=50)
    batch = Learn("m", np.zeros((4000, 50), np.float32))
    for _ in range(10):
        scene.learn(batch)
        scene.learn(batch)
        scene.group_commit.commit()
        scene.shard.drain()
    assert scene.hosted.model.samples == 80_000


CHANGES: dict[RecordKind, Callable[[Scene], Callable[[int, int], Record]]] = {
    RecordKind.CREATE: lambda scene: (
        lambda lsn, time: scene.shard.accept_create("n", "sum", {"dim": 2}, lsn, time)
    ),
    RecordKind.REHEAT: lambda scene: lambda lsn, time: scene.shard.accept_reheat("m", 0.5, lsn, time),
    RecordKind.RESUME: lambda scene: lambda lsn, time: scene.shard.accept_pause("m", False, lsn, time),
    RecordKind.RESTORE: lambda scene: (
        lambda lsn, time: scene.shard.accept_restore("m", content(scene.hosted), lsn, time)
    ),
}


def test_the_firehose_waits_while_many_models_have_a_backlog(scene: Scene) -> None:
    for n in range(MOST_BACKLOGGED + 1):
        scene.create(f"m{n}")
        assert scene.group_commit.reads_firehose
        scene.group_commit.learn(scene.ledger_batch(0, 1, model=f"m{n}"), None)
        scene.group_commit.commit()
    assert not scene.group_commit.reads_firehose
    scene.shard.step()
    assert scene.group_commit.reads_firehose


def content(hosted: HostedModel) -> bytes:
    snapshot = hosted.snapshot()
    return tensors.encode(snapshot.arrays, snapshot.metadata)


@pytest.mark.parametrize("kind", list(CHANGES))
def test_a_change_is_journalled_behind_the_batches_of_its_turn(scene: Scene, kind: RecordKind) -> None:
    """A batch keeps the lsn that it was accepted with, and the change takes effect behind the batch.

    If the change overtook the batch, a resend of the batch would be acknowledged with the change's lsn, which
    may be durable earlier, and a restore would leave the batch in the model.
    """
    scene.create("m")
    scene.learn(scene.ledger_batch(0, 10, producer="p", epoch=1, seq=0))
    scene.learn(scene.ledger_batch(10, 20, producer="p", epoch=1, seq=1))
    change = scene.group_commit.change(CHANGES[kind](scene))
    scene.learn(scene.ledger_batch(20, 30, producer="p", epoch=1, seq=2))
    assert scene.hosted.accepted_producers.position("p") == (1, 3, 5)
    scene.group_commit.commit()
    assert change.lsn == 4
    found = [(record.lsn, record.kind) for record in scene.records()]
    learn = RecordKind.LEARN
    assert found == [(1, RecordKind.CREATE), (2, learn), (3, learn), (4, kind), (5, learn)]
    scene.shard.drain()
    again = replayed(scene.records())
    assert again.hosted("m").model.state_hash() == scene.hosted.model.state_hash()
    assert again.hosted("m").accepted_producers.position("p") == (1, 3, 5)


def test_arrival_times_never_decrease_when_the_clock_is_set_back(scene: Scene) -> None:
    """Models that use time get it from the record, and replay must give them the same increasing times."""
    scene.create("m")
    for now in (2_000, 1_500, 1_999, 3_000, 10):
        scene.now = now
        scene.learn(scene.ledger_batch(0, 1))
        scene.learn(scene.ledger_batch(0, 1))
        scene.group_commit.change(lambda lsn, time: scene.shard.accept_reheat("m", 0.5, lsn, time))
    times = [record.time for record in scene.records()]
    assert times == [1_000, *[2_000] * 9, *[3_000] * 6]


def test_a_durable_ack_waits_for_the_sync_and_then_for_the_model(scene: Scene) -> None:
    scene.create("m")
    scene.learn(scene.ledger_batch(0, 10))
    scene.learn(scene.ledger_batch(10, 20, ack="written"))
    scene.group_commit.commit()
    watermarks = scene.context.watermarks
    assert scene.acks == []
    scene.shard.drain()
    watermarks.advance_applied(scene.hosted)
    assert [ack["lsn"] for ack in scene.acks] == [3]
    watermarks.advance_durable(scene.journal.sync())
    assert [ack["lsn"] for ack in scene.acks] == [3, 2]
    assert scene.group_commit.idle
