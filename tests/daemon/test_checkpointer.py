"""When checkpoints are taken and written, and which journal segments they make unnecessary."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamlearn.daemon.config import Checkpoints, Settings
from streamlearn.daemon.durability.checkpointer import Checkpointer
from streamlearn.daemon.durability.watermarks import Watermarks
from streamlearn.daemon.metrics import Metrics
from streamlearn.errors import (
    Busy,
    CheckpointExists,
    DiskFull,
    Internal,
    StreamlearnError,
    UnknownModel,
)
from streamlearn.shard import HostedModel
from streamlearn.store.checkpoint import CheckpointInfo, CheckpointStore
from streamlearn.store.fs import FS
from streamlearn_client.protocol import EventMessage
from tests.daemon.contexts import context_of
from tests.shard.fakes import Bench, RunningSum

X = np.random.default_rng(5).normal(size=(1000, 2)).astype(np.float32)


class Journal:
    """The part of a journal that the checkpointer uses."""

    def __init__(self) -> None:
        self.durable_lsn = 10**9
        self.id = 1
        self.first_lsn = 1
        self.segments = 5
        self.retired: list[int] = []
        self.removed_spares = 0

    def remove_spares(self) -> None:
        self.removed_spares += 1

    def segment_start(self, lsn: int) -> int:
        """Each record has a segment of its own."""
        return lsn

    def retire(self, before_lsn: int) -> int:
        self.retired.append(before_lsn)
        return 1


class ManualWorker:
    """A worker that runs its jobs when the test calls `work`."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Callable[[], Any], Callable[[Any, Exception | None], None]]] = []

    @property
    def busy(self) -> bool:
        return bool(self.jobs)

    def submit(self, work: Callable[[], Any], done: Callable[[Any, Exception | None], None]) -> None:
        self.jobs.append((work, done))

    def work(self, most: int = 10**9) -> None:
        """Run all jobs, also those that they cause, or the first ones."""
        while self.jobs and most > 0:
            most -= 1
            job, done = self.jobs.pop(0)
            try:
                result = job()
            except Exception as error:  # noqa: BLE001 - passed on, as the real worker does
                done(None, error)
            else:
                done(result, None)


class Scene:
    """A checkpointer with a shard and files; the journal, the worker and the publisher are fakes."""

    def __init__(self, directory: Path) -> None:
        self.bench = Bench()
        self.journal = Journal()
        self.worker = ManualWorker()
        self.store = CheckpointStore(FS(), directory)
        self.written: list[int] = []
        self.answers: list[CheckpointInfo | StreamlearnError | None] = []
        self.context = context_of(
            settings=Settings(checkpoints=Checkpoints(seconds=60, samples=100)),
            shard=self.bench.shard,
            journal=self.journal,
            checkpoints=self.store,
            file_worker=self.worker,
            watermarks=Watermarks(self.journal.durable_lsn),
            publisher=self,
            metrics=Metrics(),
        )
        self.checkpointer = Checkpointer(self.context, {}, 940.0)
        self.bench.create()
        for now in (940.0, 999.9):
            self.checkpointer.tick(now)
            assert not self.worker.busy
        self.checkpointer.tick(1000.0)
        self.worker.work()
        assert self.written == [1]
        self.written.clear()

    def publish(self, event: EventMessage) -> None:
        assert event.kind == "checkpoint"
        self.written.append(event.lsn)

    def set_durable(self, lsn: int) -> None:
        self.journal.durable_lsn = lsn
        self.context.watermarks.advance_durable(lsn)

    def restart(self, now: float) -> None:
        """Begin again, as if the models were recovered just now."""
        infos = {
            (hosted.name, hosted.create_lsn): self.checkpointer.checkpoints_of(hosted)
            for hosted in self.bench.shard
        }
        self.checkpointer = Checkpointer(self.context, infos, now)

    @property
    def hosted(self) -> HostedModel:
        return self.bench.shard.hosted("m")

    def learn(self, rows: int) -> None:
        self.bench.learn(X[self.hosted.model.samples :][:rows])
        self.bench.shard.drain()
        self.checkpointer.between_slices(self.hosted)

    def take(self) -> None:
        self.checkpointer.take(self.hosted, lambda info, error: self.answers.append(info or error))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_checkpoint_is_due_by_samples_or_by_time(scene: Scene) -> None:
    tick = scene.checkpointer.tick
    scene.learn(99)
    tick(1059.9)
    assert not scene.worker.busy
    scene.learn(1)
    tick(1059.9)
    scene.worker.work()
    assert scene.written == [3]
    scene.learn(1)
    tick(1100.0)
    assert not scene.worker.busy
    tick(1119.9)
    scene.worker.work()
    assert scene.written == [3, 4]
    tick(9999.0)
    scene.worker.work()
    assert [info.lsn for info in scene.checkpointer.checkpoints_of(scene.hosted)] == [4, 4]
    assert scene.context.metrics.checkpoints == len(scene.written) + 1


def test_a_requested_checkpoint_counts_as_the_last(scene: Scene) -> None:
    scene.learn(1)
    scene.checkpointer.tick(1059.9)
    scene.take()
    scene.worker.work()
    scene.learn(1)
    scene.checkpointer.tick(1119.8)
    assert not scene.worker.busy
    scene.checkpointer.tick(1119.9)
    assert scene.worker.busy


@pytest.mark.parametrize(
    ("tail", "due_at"),
    [
        (0, None),  # nothing is new since its checkpoint
        (99, 2060.0),  # time counts from the start
        (100, 2000.1),  # replayed samples count as learned
    ],
)
def test_after_a_restart(scene: Scene, tail: int, due_at: float | None) -> None:
    if tail:
        scene.learn(tail)
    scene.hosted.learned = tail  # in the process that replayed it
    scene.journal.segments = 1  # so no second copy is needed
    scene.restart(2000.0)
    for now in (2000.1, 2059.9, 2060.0, 9999.0):
        scene.checkpointer.tick(now)
        if scene.worker.busy:
            assert now == due_at
            return
    assert due_at is None


def test_a_hold_keeps_all_files_until_its_release(scene: Scene) -> None:
    scene.learn(10)
    scene.take()
    held: list[bool] = []
    scene.checkpointer.hold(lambda *_: held.append(True))
    assert not held  # the write in front of it may remove files
    scene.worker.work()
    assert held
    scene.journal.retired.clear()
    for _ in range(2):
        scene.learn(10)
        scene.take()
        scene.worker.work()
    with pytest.raises(Busy):
        scene.checkpointer.unpin(scene.hosted, "a", lambda *_: None)
    scene.bench.create("gone")
    gone = scene.bench.shard.hosted("gone")
    scene.checkpointer.take(gone, lambda *_: None)
    scene.worker.work()
    scene.bench.change(scene.bench.shard.accept_delete("gone", 6, 0))
    scene.checkpointer.forget(gone)
    scene.checkpointer.remove(gone)
    scene.worker.work()
    assert [info.lsn for info in scene.store.list("m", 1)] == [4, 3, 2, 1]
    assert ("gone", gone.create_lsn) in scene.store.models()
    assert scene.journal.retired == []
    scene.checkpointer.release()
    scene.worker.work()
    assert ("gone", gone.create_lsn) not in scene.store.models()
    assert scene.journal.retired[-1] == 4
    scene.learn(10)
    scene.take()
    scene.worker.work()
    assert [info.lsn for info in scene.store.list("m", 1)][1:] == [4]


def test_names_pin_checkpoints_and_are_unique(scene: Scene) -> None:
    def take(name: str) -> None:
        scene.checkpointer.take(scene.hosted, lambda info, error: scene.answers.append(info or error), name)
        scene.worker.work()

    scene.learn(10)
    take("a")
    for _ in range(3):
        scene.learn(10)
        take("")
    take("a")
    take("b")
    first, *_, refused, second = scene.answers
    assert isinstance(first, CheckpointInfo)
    assert first.name == "a"
    assert isinstance(refused, CheckpointExists)
    assert isinstance(second, CheckpointInfo)
    assert second.lsn == scene.hosted.applied_lsn
    infos = scene.checkpointer.checkpoints_of(scene.hosted)
    assert [(info.lsn, info.name) for info in infos] == [(5, "b"), (5, ""), (2, "a")]
    # Two requests of one name at the same time: the second is refused when it is written.
    scene.answers.clear()
    for _ in range(2):
        scene.checkpointer.take(scene.hosted, lambda info, error: scene.answers.append(info or error), "c")
    scene.worker.work()
    assert isinstance(scene.answers[0], CheckpointInfo)
    assert isinstance(scene.answers[1], CheckpointExists)
    scene.checkpointer.unpin(scene.hosted, "a", lambda info, error: scene.answers.append(info or error))
    scene.worker.work()
    assert isinstance(scene.answers[2], CheckpointInfo)
    assert [info.name for info in scene.checkpointer.checkpoints_of(scene.hosted)] == ["c", "b"]


def test_a_checkpoint_waits_for_the_durable_journal(scene: Scene) -> None:
    scene.set_durable(2)
    scene.learn(10)
    scene.learn(10)
    scene.take()
    scene.learn(10)  # the checkpoint is a copy
    assert not scene.worker.busy
    assert not scene.checkpointer.idle
    scene.set_durable(3)
    scene.worker.work()
    assert scene.written == [3]
    arrays, metadata = scene.store.load(scene.checkpointer.checkpoints_of(scene.hosted)[0])
    model = RunningSum(dim=2)
    model.learn(X[:20])
    assert all((arrays[name] == array).all() for name, array in model.state.items())
    assert metadata == model.metadata() | {"arrival_time": "3"}
    assert scene.checkpointer.idle


def test_a_checkpoint_is_never_taken_inside_a_record(scene: Scene) -> None:
    scene.bench.learn(X[:500])
    scene.hosted.slice_rows = 200
    scene.bench.shard.step()
    scene.checkpointer.tick(5000.0)
    assert not scene.worker.busy
    for whole in (False, True):
        scene.bench.shard.step()
        scene.checkpointer.between_slices(scene.hosted)
        assert scene.worker.busy == whole
    scene.worker.work()
    assert scene.written == [2]


def test_an_existing_checkpoint_of_the_same_lsn_is_used(scene: Scene) -> None:
    scene.learn(10)
    scene.take()
    scene.take()  # the same as the first, which is not written yet
    scene.worker.work()
    scene.take()
    assert [info.lsn for info in scene.answers if isinstance(info, CheckpointInfo)] == [2, 2, 2]
    assert scene.written == [2]


def test_the_journal_before_the_older_of_two_checkpoints_is_retired(scene: Scene) -> None:
    scene.journal.retired.clear()
    scene.learn(10)
    scene.take()
    scene.worker.work()
    assert scene.journal.retired == [2]
    scene.learn(10)
    scene.take()
    scene.worker.work()
    assert scene.journal.retired == [2, 3]


def test_segments_that_an_earlier_process_removed_are_not_asked_for_again(scene: Scene) -> None:
    # The model was idle with two checkpoints at record 2, so the journal before record 50 was retired.
    scene.learn(10)
    scene.take()
    scene.worker.work()
    scene.checkpointer.tick(5000.0)
    scene.worker.work()
    scene.journal.first_lsn = 50
    scene.restart(now=6000.0)
    scene.journal.retired.clear()
    scene.learn(10)  # from now on the model needs the journal after record 2 again
    scene.take()
    scene.worker.work()
    assert scene.written[-1] == 3
    assert scene.journal.retired == []


def test_an_idle_model_gets_a_second_checkpoint_that_releases_the_journal(scene: Scene) -> None:
    scene.set_durable(77)
    scene.learn(10)
    scene.take()
    scene.worker.work()
    scene.journal.segments = 1
    scene.checkpointer.tick(5000.0)
    assert not scene.worker.busy  # the journal has one segment only
    scene.journal.segments = 2
    scene.checkpointer.tick(5000.0)
    scene.worker.work()
    assert scene.written == [2, 2]
    assert scene.journal.retired[-1] == 78  # no model needs a durable record
    scene.checkpointer.tick(9999.0)
    assert not scene.worker.busy


def test_a_deleted_model_needs_the_journal_until_its_files_are_removed(scene: Scene) -> None:
    scene.learn(10)
    old = scene.hosted
    scene.set_durable(1)
    scene.take()
    scene.bench.change(scene.bench.shard.accept_delete("m", 3, 0))
    scene.checkpointer.forget(old)
    assert isinstance(scene.answers[0], UnknownModel)  # the waiting request is answered
    scene.set_durable(50)
    scene.journal.retired.clear()
    scene.bench.create("n")
    for _ in range(2):
        scene.checkpointer.take(scene.bench.shard.hosted("n"), lambda *_: None)
        scene.worker.work()
    assert max(scene.journal.retired, default=0) <= 1
    assert not scene.checkpointer.idle
    scene.checkpointer.remove(old)
    scene.checkpointer.tick(5000.0)
    scene.worker.work()
    scene.checkpointer.tick(6000.0)
    scene.worker.work()
    assert scene.journal.retired[-1] == 51
    assert ("m", 1) not in scene.store.models()
    assert scene.checkpointer.idle


def test_the_journal_keeps_a_deletion_whose_files_cannot_be_removed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(scene.store, "drop", refuse)
    scene.set_durable(50)
    scene.journal.retired.clear()
    old = scene.hosted
    scene.bench.change(scene.bench.shard.accept_delete("m", 2, 0))
    scene.checkpointer.forget(old)
    scene.checkpointer.remove(old)
    scene.worker.work()
    scene.bench.create("n")
    for now in (5000.0, 6000.0, 7000.0):
        scene.checkpointer.tick(now)
        scene.worker.work()
    assert scene.journal.retired == []  # the next start must find record 2, or it finds the model again
    assert scene.checkpointer.idle


@pytest.mark.parametrize(
    ("problem", "error"),
    [(DiskFull("no room"), DiskFull), (OSError(errno.EIO, "broken"), Internal)],
)
def test_a_failed_checkpoint_is_reported_and_retried(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, problem: Exception, error: type[StreamlearnError]
) -> None:
    def fail(*_: object, **__: object) -> CheckpointInfo:
        raise problem

    scene.learn(10)
    with monkeypatch.context() as broken:
        broken.setattr(scene.store, "write", fail)
        scene.take()
        scene.worker.work()
    assert isinstance(scene.answers[0], error)
    assert (scene.context.metrics.checkpoint_failures, scene.written) == (1, [])
    assert scene.context.journal.removed_spares == (error is DiskFull)
    scene.checkpointer.tick(5000.0)
    scene.worker.work()
    assert scene.written == [2]


def test_a_shutdown_takes_a_checkpoint_of_every_changed_model(scene: Scene) -> None:
    scene.bench.create("n")
    scene.checkpointer.take(scene.bench.shard.hosted("n"), lambda *_: None)
    scene.worker.work()
    scene.written.clear()
    scene.learn(10)
    scene.checkpointer.take_all()
    scene.worker.work()
    assert scene.written == [3]
    assert [info.lsn for info in scene.store.list("n", 2)] == [2]
