"""Names after a power loss: those that a later process relies on, and those that were removed."""

from __future__ import annotations

import copy
import errno
from pathlib import Path
from random import Random

import numpy as np
import pytest

from streamlearn.errors import DiskFull
from streamlearn.recovery import recover, take_over
from streamlearn.shard import Shard
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.journal import Journal
from streamlearn.store.scan import JournalScan
from tests.faults.journals import contents, expected, learn, reopen
from tests.faults.lossyfs import LossyFS, PowerLoss
from tests.shard.fakes import Fakes

pytestmark = pytest.mark.faults

DATA = Path("/data")
STATE = {"weights": np.arange(4.0)}


def start(fs: LossyFS) -> tuple[Shard, Journal, CheckpointStore]:
    """What a start does with the files."""
    fs.makedirs(DATA)
    scan = JournalScan(fs, DATA / "journal")
    checkpoints = CheckpointStore(fs, DATA / "checkpoints")
    recovered = recover(scan, checkpoints, Fakes())
    journal = take_over(fs, DATA, scan, checkpoints, recovered, segment_bytes=4096)
    return recovered.shard, journal, checkpoints


def work(fs: LossyFS) -> None:
    """Start, create a model unless it exists, and write a checkpoint of it."""
    shard, journal, checkpoints = start(fs)
    if "m" not in shard:
        record = shard.accept_create("m", "sum", {"dim": 2}, journal.next_lsn, 0)
        journal.append([record])
        journal.sync()
        shard.enqueue(record)
    checkpoints.write(*shard.hosted("m").snapshot())


def test_what_a_killed_process_created_is_durable_after_the_next_start() -> None:
    step, ended = 0, False
    while not ended:
        fs = LossyFS()
        fs.off_at = step
        try:
            work(fs)
            ended = True
        except PowerLoss:  # here a kill: the next process sees all files as they are
            fs.files.clear()
        fs.off_at = None
        work(fs)
        fs.power_loss()
        shard, _, checkpoints = start(fs)
        assert [hosted.name for hosted in shard] == ["m"]
        assert checkpoints.list("m", 1)
        step += 1
    assert step > 10


def test_a_directory_that_cannot_be_made_durable_is_not_used_later() -> None:
    fs = LossyFS()
    fs.makedirs(DATA)
    checkpoints = CheckpointStore(fs, DATA / "checkpoints")
    fs.refuse["fsync_dir"] = errno.EIO
    with pytest.raises(OSError, match="Input/output error"):
        checkpoints.write("m", 1, 1, STATE, {})
    fs.refuse.clear()
    checkpoints.write("m", 1, 2, STATE, {})
    fs.power_loss()
    assert [info.lsn for info in CheckpointStore(fs, DATA / "checkpoints").list("m", 1)] == [2]


def test_a_segment_that_found_no_room_does_not_come_back_before_the_next_one() -> None:
    original = LossyFS()
    journal, _ = reopen(original)
    for number in range(3):
        journal.append([learn(number)])
    journal.sync()
    original.capacity = original.used() + 100
    with pytest.raises(DiskFull):
        journal.append([learn(3, 600)])  # needs a new segment
    original.capacity = None
    journal.append([learn(3)])
    journal.sync()
    journal.append([learn(4, 600)])  # begins another segment
    for seed in range(64):
        fs = copy.deepcopy(original)
        fs.power_loss(Random(seed))
        found = contents(reopen(fs)[0])
        assert found[:4] == expected(4)
        assert [lsn for lsn, *_ in found] == list(range(1, len(found) + 1))
