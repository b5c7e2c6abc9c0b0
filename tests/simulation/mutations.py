"""Faults that are put into the code on purpose: the simulation must find each of them.

Each mutation is a context manager. `test_mutations.py` runs the simulation under it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from streamlearn.daemon.durability.group_commit import GroupCommit
from streamlearn.daemon.durability.watermarks import Watermarks
from streamlearn.daemon.operations.restores import Restores
from streamlearn.models.base import Model
from streamlearn.shard.hosted_model import HostedModel
from streamlearn.shard.producers import ProducerState
from streamlearn.shard.shard import Shard
from streamlearn.store import checkpoint, journal, repair
from streamlearn.store.flusher import Flusher
from streamlearn.store.journal import Journal
from streamlearn.store.reader import Reader
from streamlearn.store.scan import JournalScan
from streamlearn_client.session import Session

Mutation = Callable[[], AbstractContextManager[Any]]


def _replace(owner: Any, name: str, replacement: Any) -> Mutation:
    return lambda: mock.patch.object(owner, name, replacement)


def _ack_at_once(self: GroupCommit, ack: Any, level: str) -> None:
    self._ack_when_applied(ack)


def _segment_with_durable_name(*fields: Any, name_durable: bool) -> Any:
    return _OPEN_SEGMENT(*fields, name_durable=True)


def _cut_one_more(disk: Any, scan: JournalScan) -> None:
    """Recovery truncates at the beginning of the last record."""
    reader = Reader(disk, scan.segments, scan.id)
    starts = [
        (reader.at.offset, reader.at.lsn)
        for link in reader.links()
        if link is not None and reader.at.index == scan.end.index
    ]
    if starts:
        scan.end.offset, scan.end.lsn = starts[-1]
    _CUT(disk, scan)


def _no_resend_is_known(self: ProducerState, *arguments: Any) -> None:
    _CHECK(self, *arguments)


def _retire_one_more(self: Journal, before_lsn: int) -> int:
    firsts = [segment.first for segment in self._sizes if segment.first > before_lsn]
    return int(_RETIRE(self, firsts[0] if firsts else before_lsn))


def _sync_again(self: Flusher) -> None:
    while not self._stopping:
        self._wake.wait()
        self._wake.clear()
        try:
            self._on_durable(self._journal.sync())
        except Exception:  # noqa: BLE001
            self._journal._failure = None
            self._wake.set()


def _checkpoints_first(self: Watermarks, lsn: int, run: Callable[[], None]) -> None:
    if isinstance(run, partial) and run.func.__name__ == "_durable":
        run()
    else:
        _WHEN_DURABLE(self, lsn, run)


def _without_producers(self: HostedModel) -> Any:
    snapshot = _SNAPSHOT(self)
    arrays = {name: array for name, array in snapshot.arrays.items() if not name.startswith("producers.")}
    return snapshot._replace(arrays=arrays)


def _shared_state(self: Model) -> Any:
    return dict(self.state)


def _write_without_sync(disk: Any, path: Path, data: bytes, suffix: str = ".tmp") -> None:
    temporary = path.with_name(path.name + suffix)
    if disk.exists(temporary):
        disk.unlink(temporary)
    fd = disk.create(temporary)
    disk.write(fd, [data], 0)
    disk.close(fd)
    disk.rename(temporary, path)
    disk.fsync_dir(path.parent)


def _replay_one_more(self: Shard, record: Any) -> bool:
    hosted = self._hosted.get(record.model)
    if hosted is not None and record.lsn == hosted.applied_lsn and record.rows and not hosted.has_backlog:
        hosted.applied_lsn -= 1
    return bool(_ENQUEUE(self, record))


_OPEN_SEGMENT = journal._OpenSegment
_CUT = repair._cut
_CHECK = ProducerState.check
_RETIRE = Journal.retire
_SNAPSHOT = HostedModel.snapshot
_WHEN_DURABLE = Watermarks.when_durable
_ENQUEUE = Shard.enqueue


MUTATIONS: dict[str, Mutation] = {
    "an ack is sent before the sync": _replace(GroupCommit, "_acknowledge", _ack_at_once),
    "the directory is not synced after a new segment": _replace(
        journal, "_OpenSegment", _segment_with_durable_name
    ),
    "recovery cuts off one record too many": _replace(repair, "_cut", _cut_one_more),
    "recovery does not cut off a torn tail": _replace(repair, "_cut", lambda disk, scan: None),
    "resends are not recognized": _replace(ProducerState, "check", _no_resend_is_known),
    "a cancelled call leaves its number in use": _replace(Session, "_begin_epoch", lambda *_: None),
    "one segment too many is retired": _replace(Journal, "retire", _retire_one_more),
    "a failed sync is tried again": _replace(Flusher, "_run", _sync_again),
    "a checkpoint does not wait for the journal": _replace(Watermarks, "when_durable", _checkpoints_first),
    "checkpoints have no producers": _replace(HostedModel, "snapshot", _without_producers),
    "a checkpoint shares the arrays of the live model": _replace(Model, "copy_state", _shared_state),
    "a checkpoint is renamed before its bytes are synced": _replace(
        checkpoint, "write_atomically", _write_without_sync
    ),
    "a group that a full disk refused is not forgotten": _replace(
        Shard, "forget_unqueued", lambda self: None
    ),
    "replay applies the last record of a checkpoint again": _replace(Shard, "enqueue", _replay_one_more),
    "restores are never answered": _replace(Restores, "collect", lambda self: None),
}
