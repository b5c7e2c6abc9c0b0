"""What power losses and failing disks may do to checkpoints, and what they may not."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from streamlearn.store import CheckpointStore
from streamlearn.store.checkpoint import Content, Written
from tests.faults.lossyfs import LossyFS, PowerLoss
from tests.store.test_checkpoint import named, newest, state, write

pytestmark = pytest.mark.faults


def checkpoints(*lsns: int) -> tuple[LossyFS, CheckpointStore]:
    fs = LossyFS()
    store = CheckpointStore(fs, Path("/c"))
    for lsn in lsns:
        write(store, lsn)
    return fs, store


@pytest.mark.parametrize("before", [(), (10,), (10, 20)])
def test_power_loss_at_any_step_of_a_checkpoint_leaves_good_ones(before: tuple[int, ...]) -> None:
    for seed in range(-2, 6):  # -2: nothing unsynced is kept; -1: all of it
        for step in range(100):
            fs, store = checkpoints(*before)
            fs.steps, fs.off_at = 0, step
            written = False
            try:
                write(store, 30)
                written = True
            except PowerLoss:
                pass
            fs.power_loss(Random(seed) if seed >= 0 else None, keep=seed == -1)
            store = CheckpointStore(fs, Path("/c"))
            assert newest(store) in ({30} if written else {max(before, default=None), 30})
            good = [info.lsn for info in store.list("pump", 1)]
            assert len(good) >= min(len(before), 2)
            assert [found for found in store.verify() if found.level == "damage"] == []
            write(store, 40)
            assert newest(store) == 40
            assert not any(name.endswith(".tmp") for name in fs.listdir(Path("/c/pump@1")))
            if written:
                break
        else:
            pytest.fail("a checkpoint has more steps than this test walks through")


def test_power_loss_at_any_step_of_a_drop_leaves_all_or_nothing() -> None:
    for seed in range(6):
        for step in range(100):
            fs, store = checkpoints(10, 20, 30)
            fs.steps, fs.off_at = 0, step
            dropped = False
            try:
                store.drop("pump", 1)
                dropped = True
            except PowerLoss:
                pass
            fs.power_loss(Random(seed))
            store = CheckpointStore(fs, Path("/c"))
            assert newest(store) in ((None,) if dropped else (None, 30))
            store.drop("pump", 1)
            assert fs.listdir(Path("/c")) == []
            if dropped:
                break
        else:
            pytest.fail("a drop has more steps than this test walks through")


def test_power_loss_at_any_step_of_a_named_checkpoint_and_of_unpin() -> None:
    for seed in range(-2, 6):
        for step in range(100):
            fs, store = checkpoints(10, 20)
            named(store, 30, "kept")
            fs.steps, fs.off_at = 0, step
            written = unpinned = False
            try:
                named(store, 40, "new")
                written = True
                store.unpin("pump", 1, "kept")
                unpinned = True
            except PowerLoss:
                pass
            fs.power_loss(Random(seed) if seed >= 0 else None, keep=seed == -1)
            store = CheckpointStore(fs, Path("/c"))
            found = {info.lsn: info.name for info in store.list("pump", 1)}
            assert [each for each in store.verify() if each.level == "damage"] == []
            assert found[30] in (("",) if unpinned else ("kept", "") if written else ("kept",))
            assert found.get(40, "new") == "new"
            assert 40 in found or not written
            assert newest(store) in ({40} if written else {30, 40})
            write(store, 50)
            write(store, 60)
            kept = [info.name for info in store.list("pump", 1) if info.name]
            assert kept == [name for _, name in sorted(found.items(), reverse=True) if name]
            if unpinned:
                break
        else:
            pytest.fail("this has more steps than the test walks through")


def test_a_checkpoint_whose_sync_fails_is_not_there() -> None:
    fs, store = checkpoints(10, 20)
    fs.fail_sync = True
    with pytest.raises(OSError, match="Input/output error"):
        write(store, 30)
    assert len(fs.listdir(Path("/c/pump@1"))) == 2
    assert newest(store) == 20


def test_power_loss_at_any_step_of_a_group_leaves_good_ones() -> None:
    names = ["a", "b", "new"]
    for seed in range(-2, 3):  # see above
        for step in range(200):
            fs, store = checkpoints()
            for lsn in (10, 20):
                for name in names[:2]:
                    write(store, lsn, name)
            fs.steps, fs.off_at = 0, step
            written = False
            group = [Content(name, 1, 30, state(30), {"kind": "som", "lsn": "30"}) for name in names]
            try:
                results = store.write_all(group)
                assert all(isinstance(result, Written) for result in results)
                written = True
            except PowerLoss:
                pass
            fs.power_loss(Random(seed) if seed >= 0 else None, keep=seed == -1)
            store = CheckpointStore(fs, Path("/c"))
            assert [found for found in store.verify() if found.level == "damage"] == []
            for name in names:
                before = None if name == "new" else 20
                assert newest(store, name) in ({30} if written else {before, 30})
                assert len(store.list(name, 1)) >= (
                    0 if name == "new" and not written else 1 + (name != "new")
                )
            assert all(isinstance(result, Written) for result in store.write_all(group, retire=False))
            assert not any(
                left.endswith(".tmp") for name in names for left in fs.listdir(Path(f"/c/{name}@1"))
            )
            if written:
                break
        else:
            pytest.fail("a group has more steps than this test walks through")
