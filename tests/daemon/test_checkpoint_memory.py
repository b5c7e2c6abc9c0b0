"""Checkpoints of one model share copies, and all copies fit into the memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamlearn.daemon.limits.model_memory import WRITE_COPIES, state_bytes
from streamlearn.errors import Busy, UnknownModel
from streamlearn.store.checkpoint import CheckpointInfo
from tests.daemon.test_checkpointer import Scene


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_many_requests_share_copies(scene: Scene) -> None:
    """One copy is written, and one that answers all requests that arrived meanwhile."""
    account = scene.context.budget.checkpoints
    size = state_bytes(scene.hosted.model)
    for _ in range(50):
        scene.learn(1)
        for _ in range(4):
            scene.take()
    assert account.used == size
    assert len(scene.worker.jobs) == 1
    scene.worker.work(1)
    assert len(scene.answers) == 4, "the requests before the second batch"
    assert account.used == size
    scene.worker.work()
    assert account.used == 0
    assert [info.lsn for info in scene.answers if isinstance(info, CheckpointInfo)] == [2] * 4 + [51] * 196
    assert scene.written == [2, 51]


def test_a_copy_that_does_not_fit_is_refused_or_waits(scene: Scene) -> None:
    account, size = scene.context.budget.checkpoints, state_bytes(scene.hosted.model)
    account.limit = WRITE_COPIES * size
    scene.bench.create("n")
    scene.learn(100)
    scene.take()
    other = scene.bench.shard.hosted("n")
    scene.checkpointer.take(other, lambda info, error: scene.answers.append(info or error))
    (refusal,) = scene.answers
    assert isinstance(refusal, Busy)
    assert refusal.detail["limit"] == "limits.memory_bytes"
    scene.checkpointer.tick(10_000.0)
    assert len(scene.worker.jobs) == 1, "n is due and waits"
    scene.worker.work()
    scene.checkpointer.tick(10_000.1)
    scene.worker.work()
    assert scene.written[:2] == [3, 2]


def test_requests_of_a_deleted_model_are_answered(scene: Scene) -> None:
    scene.learn(10)
    scene.set_durable(1)
    scene.take()
    scene.learn(10)
    scene.take()
    hosted = scene.hosted
    scene.bench.change(scene.bench.shard.accept_delete("m", 4, 0))
    scene.checkpointer.forget(hosted)
    assert [type(answer) for answer in scene.answers] == [UnknownModel, UnknownModel]
    assert scene.context.budget.checkpoints.used == 0
