"""Earlier states of a model: the nearest checkpoint, then the journal's records of the model up to an lsn.

The records are applied by the same code as in a live shard and in a recovery. So the state is the one that
the model had, bit for bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from streamlearn.errors import BadCheckpoint, FatalError, Internal, NoCheckpoint
from streamlearn.shard import ModelSource, Shard, Snapshot, memory_bytes
from streamlearn.store import tensors
from streamlearn.store.checkpoint import CheckpointInfo, CheckpointStore, find
from streamlearn.store.journal import Journal
from streamlearn.store.record import Record

BACKLOG_BYTES = 16 * 1024 * 1024  # of records that are read before they are applied
SLICE_NS = 2_000_000  # between two calls of `pause`

Range = tuple[int, int]  # first lsn, last lsn


class Target(NamedTuple):
    """Which state of a model: by the name of a checkpoint, by lsn, or (neither) its newest checkpoint."""

    name: str = ""
    lsn: int | None = None


class EarlierState(NamedTuple):
    """The content of a checkpoint file with the state as of ``lsn``."""

    lsn: int
    content: bytes


class History:
    """The states of one model that checkpoints and journal still hold.

    Nothing may remove files of the model or segments of the journal meanwhile. Used on a worker thread; the
    journal may grow meanwhile.

    Parameters
    ----------
    journal, checkpoints
        The journal and the checkpoints of the data directory.
    models
        Creates the models.
    model, create_lsn
        The model.
    last_lsn
        The journal's last record when the request came.
    """

    def __init__(
        self,
        journal: Journal,
        checkpoints: CheckpointStore,
        models: ModelSource,
        model: str,
        create_lsn: int,
        last_lsn: int,
    ) -> None:
        self._journal = journal
        self._checkpoints = checkpoints
        self._models = models
        self._model = model
        self._create_lsn = create_lsn
        self._last_lsn = last_lsn

    def state(self, target: Target, pause: Callable[[], None]) -> EarlierState:
        """Return a state of the model.

        Parameters
        ----------
        target
            Which one.
        pause
            Called after each slice of learning and for each record. May raise, to give up.

        Raises
        ------
        NoCheckpoint
            If there is no such checkpoint, or if the lsn cannot be reached. ``detail["ranges"]`` lists the
            lsns that can be reached.
        BadCheckpoint
            If the checkpoint is damaged.
        """
        infos = self._checkpoints.list(self._model, self._create_lsn)
        if target.name:
            return self._read(find(infos, self._model, name=target.name))
        if target.lsn is not None:
            return self._state_at(target.lsn, infos, pause)
        newest = next((info for info in infos if not info.undoes_restore), None)
        if newest is None:
            raise NoCheckpoint(f"model {self._model!r} has no checkpoint", ranges=self._ranges(infos))
        return self._read(newest)

    def _read(self, info: CheckpointInfo) -> EarlierState:
        return EarlierState(info.lsn, self._checkpoints.read(info))

    def _ranges(self, infos: Sequence[CheckpointInfo]) -> list[Range]:
        lsns = [info.lsn for info in infos]
        return reachable(lsns, self._create_lsn, self._journal.first_lsn, self._last_lsn)

    def _state_at(self, lsn: int, infos: Sequence[CheckpointInfo], pause: Callable[[], None]) -> EarlierState:
        ranges = self._ranges(infos)
        if not any(first <= lsn <= last for first, last in ranges):
            described = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in ranges)
            raise NoCheckpoint(
                f"model {self._model!r} cannot be restored to lsn {lsn}; its checkpoints and the journal "
                f"reach these lsns: {described or 'none'}",
                ranges=ranges,
            )
        bad: BadCheckpoint | None = None
        for info in infos:
            if info.lsn != lsn and not self._journal.first_lsn - 1 <= info.lsn < lsn:
                continue
            try:
                found = self._read(info)
                if info.lsn == lsn:
                    return found
                start = Snapshot(self._model, self._create_lsn, info.lsn, *tensors.decode(found.content))
            except BadCheckpoint as error:  # an older one may be good
                bad = bad or error
            else:
                return self._replay(lsn, start, pause)
        if bad is not None and self._create_lsn < self._journal.first_lsn:
            raise bad
        return self._replay(lsn, None, pause)

    def _replay(self, lsn: int, start: Snapshot | None, pause: Callable[[], None]) -> EarlierState:
        """Apply the records after `start` (`None`: from the creation on) up to `lsn`."""
        shard = Shard(self._models)
        if start is not None:
            shard.install(start)
        backlog = 0
        for record in self._records(self._create_lsn if start is None else start.lsn + 1, lsn, pause):
            shard.enqueue(record)
            backlog += memory_bytes(record)
            if backlog > BACKLOG_BYTES:
                _apply(shard, pause)
                backlog = 0
        _apply(shard, pause)
        snapshot = shard.hosted(self._model).snapshot()
        return EarlierState(lsn, tensors.encode(snapshot.arrays, snapshot.metadata))

    def _records(self, first: int, last: int, pause: Callable[[], None]) -> Iterator[Record]:
        """Yield the model's records. Raises `Internal` if the journal is damaged."""
        try:
            for record in self._journal.replay(first):
                if record.lsn > last:
                    return
                pause()
                if record.model == self._model:
                    yield record
        except FatalError as error:  # the daemon itself goes on
            raise Internal(
                f"the records from {first} to {last} cannot be read ({error.message}); restore the state of "
                "a checkpoint instead"
            ) from error


def reachable(checkpoints: Sequence[int], create_lsn: int, first_lsn: int, last_lsn: int) -> list[Range]:
    """Return the lsns at which the state of a model can be computed, ascending.

    Parameters
    ----------
    checkpoints
        The lsns of the model's checkpoints.
    create_lsn
        The record that created the model.
    first_lsn, last_lsn
        The first and the last record of the journal.
    """
    states = sorted({*checkpoints, *([create_lsn] if create_lsn >= first_lsn else [])})
    alone = [lsn for lsn in states if lsn < first_lsn - 1]  # records after it are missing
    followed = [lsn for lsn in states if lsn >= first_lsn - 1]
    ranges = [(lsn, lsn) for lsn in alone]
    return [*ranges, (followed[0], max(last_lsn, followed[-1]))] if followed else ranges


def _apply(shard: Shard, pause: Callable[[], None]) -> None:
    """Apply all enqueued records, slice by slice."""
    while True:
        began = time.perf_counter_ns()
        applied = shard.step()
        if applied is None:
            return
        if applied.rows:
            applied.hosted.adapt_slice(applied.rows, time.perf_counter_ns() - began, SLICE_NS)
        pause()
