"""When checkpoints are taken, and what becomes of them.

All of this runs on the loop's thread. A checkpoint is a copy made between two slices; it waits until
the journal is durable up to it (it must never be ahead of the records it stands for), and the helper's
thread writes it. Once a model has two, the journal before the older one can go.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from streamlearn.daemon.config import Checkpoints
from streamlearn.daemon.metrics import Metrics
from streamlearn.daemon.wakeup import Helper
from streamlearn.errors import Internal, NoCheckpoint, StreamlearnError, UnknownModel
from streamlearn.recovery import Incarnation, pin
from streamlearn.shard import Entry, Shard, Snapshot
from streamlearn.store.checkpoint import CheckpointInfo, CheckpointStore
from streamlearn.store.journal import Journal

log = logging.getLogger(__name__)

Taken = Callable[[CheckpointInfo | None, StreamlearnError | None], None]
Read = Callable[[tuple[CheckpointInfo, bytes] | None, Exception | None], None]


@dataclass(slots=True, eq=False)
class _Track:
    """The checkpoints of one model, newest first. `time` (s) and `learned` (rows) are of the last that was
    taken; before there is one, the time from which on this process has had the model."""

    kept: list[CheckpointInfo]
    time: float
    learned: int = 0
    pending: int = 0  # taken, but not yet written


class Checkpointer:
    """`written` is told of every new checkpoint. `now`, here and in `tick`, is in seconds, of any steady
    clock."""

    def __init__(
        self,
        shard: Shard,
        journal: Journal,
        store: CheckpointStore,
        helper: Helper,
        settings: Checkpoints,
        metrics: Metrics,
        kept: Mapping[Incarnation, list[CheckpointInfo]],
        written: Callable[[CheckpointInfo], None],
        now: float,
    ) -> None:
        self._shard = shard
        self._journal = journal
        self._store = store
        self._helper = helper
        self._settings = settings
        self._metrics = metrics
        self._written = written
        self._now = now
        self._tracks = {key: _Track(infos, now) for key, infos in kept.items()}
        self._undurable: deque[tuple[Snapshot, _Track, Taken]] = deque()
        self._due: set[Entry] = set()  # to be taken at the end of the record that is being learned
        self._dropping: dict[
            Incarnation, int
        ] = {}  # deleted models, and what the journal must keep till they are gone
        self._retired = 0

    def kept(self, entry: Entry) -> list[CheckpointInfo]:
        """The checkpoints of a model, newest first; the helper may have retired the last ones already."""
        return self._track(entry).kept

    @property
    def idle(self) -> bool:
        """Whether nothing is being taken, written or removed."""
        return not (self._undurable or self._due or self._dropping or self._helper.busy)

    def tick(self, now: float) -> None:
        """Take what is due by time or by samples."""
        self._now = now
        for entry in self._shard:
            track = self._track(entry)
            if not track.pending and self._is_due(entry, track):
                self._due.add(entry)
        for entry in list(self._due):
            self.between_slices(entry)

    def between_slices(self, entry: Entry) -> None:
        """A slice of the model has ended; if a checkpoint is due, and a record ended too, take it."""
        if entry in self._due and entry.between_records:
            self._due.discard(entry)
            self._take(entry, _nobody)

    def take(self, entry: Entry, done: Taken) -> None:
        """Take a checkpoint now (`between_records`), and tell `done` when it is written.

        One that is there already, as of the same record, is as good.
        """
        track = self._track(entry)
        if not track.pending and track.kept and track.kept[0].lsn == entry.applied_lsn:
            done(track.kept[0], None)
            return
        self._due.discard(entry)
        self._take(entry, done)

    def take_all(self) -> None:
        """Take every model that learned since its last checkpoint: the daemon is about to end."""
        for entry in self._shard:
            track = self._track(entry)
            if not (track.kept and track.kept[0].lsn == entry.applied_lsn):
                self._take(entry, _nobody)

    def advance(self) -> None:
        """The journal may be durable further on: write what waited for that."""
        while self._undurable and self._undurable[0][0].lsn <= self._journal.durable_lsn:
            snapshot, track, done = self._undurable.popleft()
            self._helper.submit(partial(self._write, snapshot), partial(self._wrote, snapshot, track, done))

    def forget(self, entry: Entry) -> None:
        """A model is deleted. Its files go once that is durable: see `remove`."""
        self._due.discard(entry)
        key = (entry.name, entry.create_lsn)
        needs = pin(entry, self._track(entry).kept)
        self._dropping[key] = entry.create_lsn if needs is None else needs
        self._tracks.pop(key)
        for snapshot, _, done in list(self._undurable):
            if snapshot.create_lsn == entry.create_lsn:
                done(None, UnknownModel(f"model {entry.name!r} was deleted meanwhile", model=entry.name))
        self._undurable = deque(each for each in self._undurable if each[0].create_lsn != entry.create_lsn)

    def remove(self, entry: Entry) -> None:
        """The deletion of a model is durable: remove its checkpoints."""

        def removed(_: None, error: Exception | None) -> None:
            del self._dropping[entry.name, entry.create_lsn]
            if error is not None:
                log.warning("can't remove the checkpoints of the deleted model %s: %s", entry.name, error)
            self._retire()

        self._helper.submit(partial(self._store.drop, entry.name, entry.create_lsn), removed)

    def read(self, entry: Entry, lsn: int | None, done: Read) -> None:
        """Read the checkpoint as of record `lsn`, or the newest, and give `done` its bytes too. Of those that
        are there when it is read: `NoCheckpoint` if it is not among them."""
        self._helper.submit(partial(self._read, entry.name, entry.create_lsn, lsn), done)

    def _track(self, entry: Entry) -> _Track:
        key = (entry.name, entry.create_lsn)
        found = self._tracks.get(key)
        if found is None:
            found = self._tracks[key] = _Track([], self._now)
        return found

    def _is_due(self, entry: Entry, track: _Track) -> bool:
        # Time counts from when this process has had the model; but what was replayed counts as learned, so
        # that a daemon that is killed again and again does not replay ever more.
        waited = self._now - track.time >= self._settings.seconds
        if not track.kept or entry.applied_lsn > track.kept[0].lsn:
            return waited or entry.learned - track.learned >= self._settings.samples
        # An idle model gets a second copy of its checkpoint, so that it does not hold on to the journal.
        return waited and self._journal.segments > 1 and pin(entry, track.kept) is not None

    def _take(self, entry: Entry, done: Taken) -> None:
        track = self._track(entry)
        track.pending += 1
        track.time, track.learned = self._now, entry.learned
        self._undurable.append((entry.snapshot(), track, done))
        self.advance()

    def _write(self, snapshot: Snapshot) -> tuple[CheckpointInfo, list[CheckpointInfo]]:
        """On the helper's thread."""
        info = self._store.write(*snapshot)
        return info, self._store.list(snapshot.model, snapshot.create_lsn)

    def _read(self, model: str, create_lsn: int, lsn: int | None) -> tuple[CheckpointInfo, bytes]:
        """On the helper's thread, which also retires them: what it finds stays while it reads."""
        kept = self._store.list(model, create_lsn)
        for info in kept:
            if lsn is None or info.lsn == lsn:
                return info, self._store.read(info)
        there = ", ".join(str(info.lsn) for info in kept) or "none"
        asked = "a checkpoint" if lsn is None else f"a checkpoint as of record {lsn}"
        raise NoCheckpoint(
            f"model {model!r} does not have {asked}; it has: {there}", lsns=[info.lsn for info in kept]
        )

    def _wrote(
        self,
        snapshot: Snapshot,
        track: _Track,
        done: Taken,
        result: tuple[CheckpointInfo, list[CheckpointInfo]] | None,
        problem: Exception | None,
    ) -> None:
        track.pending -= 1
        if result is None:
            log.warning("the checkpoint of %s at %d failed: %s", snapshot.model, snapshot.lsn, problem)
            self._metrics.checkpoint_failures += 1
            if not isinstance(problem, StreamlearnError):
                problem = Internal(f"the checkpoint could not be written: {problem}")
            done(None, problem)
            return
        info, track.kept = result
        self._metrics.checkpoints += 1
        self._written(info)
        done(info, None)
        self._retire()

    def _retire(self) -> None:
        """Let go of the journal as far as no model needs it."""
        needed = [pin(entry, self._track(entry).kept) for entry in self._shard]
        needed += self._dropping.values()
        before = min((lsn for lsn in needed if lsn is not None), default=self._journal.durable_lsn + 1)
        if before > self._retired and self._journal.segments > 1:
            self._retired = before

            def retired(_: int | None, error: Exception | None) -> None:
                if error is not None:
                    log.warning("can't remove old segments of the journal: %s", error)

            self._helper.submit(partial(self._journal.retire, before), retired)


def _nobody(info: CheckpointInfo | None, error: StreamlearnError | None) -> None:
    """Nobody waits for a checkpoint that was due."""
