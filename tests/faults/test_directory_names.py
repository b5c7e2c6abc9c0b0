"""Directories that one process created, and a later one relies on: their names must survive a power loss."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from streamlearn.recovery import recover, take_over
from streamlearn.shard import Shard
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.journal import Journal
from streamlearn.store.scan import JournalScan
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
