"""Checkpoints of many models: bounded copies, work in proportion to what changed, and the journal's needs."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest

from streamlearn.daemon.durability import checkpointer as module
from streamlearn.daemon.durability.checkpoint_writer import BATCH
from streamlearn.daemon.durability.journal_needs import JournalNeeds
from streamlearn.shard import HostedModel
from tests.daemon.test_checkpointer import Scene

ONE = np.ones((1, 2), np.float32)


class Crowd(Scene):
    """Many models beside "m". Counts how often the first lsn that a model needs is computed."""

    def __init__(self, directory: Path, models: int) -> None:
        super().__init__(directory)
        self.names = [f"n{number}" for number in range(models)]
        for name in self.names:
            self.bench.create(name)
        self.checkpointer.tick(1000.0)

    def feed(self, names: list[str]) -> None:
        """Let models learn one sample each."""
        for name in names:
            self.bench.learn(ONE, name)
        while (applied := self.bench.shard.step()) is not None:
            self.checkpointer.between_slices(applied.hosted)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[HostedModel]:
    """The models that were looked at, one entry each time."""
    seen: list[HostedModel] = []
    first_needed_lsn = module.first_needed_lsn

    def look(hosted: HostedModel, *rest: object) -> int | None:
        seen.append(hosted)
        return first_needed_lsn(hosted, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "first_needed_lsn", look)
    return seen


def test_a_burst_is_copied_and_written_in_parts(tmp_path: Path) -> None:
    crowd = Crowd(tmp_path, BATCH + 100)
    account = crowd.context.budget.checkpoints
    crowd.feed(crowd.names)
    size = 0
    crowd.checkpointer.take_all()
    while crowd.worker.busy:
        assert len(crowd.worker.jobs) == 1
        assert crowd.checkpointer.remaining > 0
        size = size or account.used // BATCH
        assert 0 < account.used <= BATCH * size
        crowd.worker.work(1)
    assert account.used == 0
    assert crowd.checkpointer.idle
    assert crowd.checkpointer.unsaved() == []
    assert len(crowd.written) == len(crowd.names)


def test_retiring_looks_at_few_models(tmp_path: Path, looks: list[HostedModel]) -> None:
    """Each checkpoint that is written may remove a segment, and looks only at models that hold it."""
    crowd = Crowd(tmp_path, 300)
    for _ in range(2):
        crowd.feed(crowd.names)
        crowd.checkpointer.take_all()
        crowd.worker.work()
    looks.clear()
    for name in crowd.names[:100]:  # one checkpoint at a time
        crowd.feed([name])
        crowd.checkpointer.take(crowd.bench.shard.hosted(name), lambda *_: None)
        crowd.worker.work()
        crowd.checkpointer.tick(1000.0)
    # Every record is a segment of its own here, so each checkpoint asks again. It corrects the bounds of idle
    # models once per segment that they held; a look at all models each time would be 30,000.
    assert len(looks) < 1000


def test_a_tick_looks_only_at_models_that_are_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crowd = Crowd(tmp_path, 200)
    considered: list[HostedModel] = []
    consider = crowd.checkpointer._consider

    def count(hosted: HostedModel, history: object) -> None:
        considered.append(hosted)
        consider(hosted, history)  # type: ignore[arg-type]

    monkeypatch.setattr(crowd.checkpointer, "_consider", count)
    for tick in range(100):
        crowd.checkpointer.tick(1000.0 + tick / 10)
    assert considered == []
    crowd.checkpointer.tick(1060.0)
    assert len(considered) == 201


@pytest.mark.parametrize("seed", range(20))
def test_the_lowest_lsn_is_that_of_a_look_at_all_models(seed: int) -> None:
    """In any order of records, checkpoints, deletions and questions."""
    random = Random(seed)

    class Model:
        def __init__(self, create_lsn: int) -> None:
            self.create_lsn = create_lsn
            self.records = [create_lsn]
            self.safe = create_lsn - 1  # the lsn of its second newest checkpoint
            self.deleted = False

        @property
        def first_needed(self) -> int | None:
            return self.safe + 1 if self.records[-1] > self.safe else None

    models: list[Model] = []
    needs = JournalNeeds(lambda hosted: hosted.first_needed)  # type: ignore[attr-defined]
    lsn = answers = 0
    for _ in range(3000):
        action = random.random()
        if action < 0.05 or not models:
            lsn += 1
            models.append(Model(lsn))
            needs.add(models[-1])  # type: ignore[arg-type]
        elif action < 0.5:
            lsn += 1
            random.choice(models).records.append(lsn)
        elif action < 0.85:
            model = random.choice(models)
            model.safe = random.randint(model.safe, model.records[-1])
        elif action < 0.9:
            models.pop(random.randrange(len(models))).deleted = True
        else:
            limit = random.randint(max(1, lsn - 20), lsn + 1)
            found = needs.lowest(limit)
            needed = [record for model in models for record in model.records if record > model.safe]
            assert found <= min([*needed, limit])
            everyone = [model.first_needed for model in models if model.first_needed is not None]
            assert found >= min([*everyone, limit])
            answers += found > 1
    assert answers > 100
