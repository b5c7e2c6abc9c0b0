"""Replay of a journal into a shard that has the models of the checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from streamlearn.errors import DamagedCheckpoints, DamagedJournal, FatalError, StreamlearnError
from streamlearn.shard import HostedModel, Joiner, SetAside, Shard, memory_bytes
from streamlearn.store.deaths import DeathLog, Suspect
from streamlearn.store.record import CREATES, Record, RecordKind

Progress = Callable[[int, int], None]  # lsn of the last replayed record, lsn of the journal's last record
ModelKey = tuple[str, int]  # a model's name, and the lsn of the record that created it

MOST_REPEATS = 5  # deaths at exactly one row: set the model aside even if a trial survives
BACKLOG_BYTES = 16 * 1024 * 1024  # of records that replay reads before it learns them


class ReadableJournal(Protocol):
    """What recovery needs of a journal: a `JournalScan`, or an open `Journal`."""

    @property
    def id(self) -> int | None:
        """The journal's id; `None` without segments."""

    @property
    def first_lsn(self) -> int:
        """The first lsn of the oldest segment."""

    @property
    def written_lsn(self) -> int:
        """The lsn of the last record."""

    def replay(self) -> Iterator[Record]:
        """Iterate over all records."""


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """How to replay.

    Without `learn`, samples are checked but not learned, so that a check of the files is fast. `prepare` is
    called when the files were found readable, before models are created. `progress` and
    `alive` are called during a long replay, `alive` after each slice. `trial` runs its argument until it
    returns false, in a process of its own, and returns whether that process survived. Without a `trial`, two
    deaths at a record are enough to set its model aside.
    """

    learn: bool = True
    prepare: Callable[[], None] = lambda: None
    progress: Progress = lambda done, end: None
    alive: Callable[[], None] = lambda: None
    trial: Callable[[Callable[[], bool]], bool] | None = None


class Replay:
    """The replay of a journal into a shard.

    Removes the models that it creates from `lost`, and those that it deletes from `expected`: the models that
    were created before the journal begins. `deaths` has the records at which earlier processes died.
    """

    def __init__(
        self,
        shard: Shard,
        lost: dict[str, int],
        expected: dict[ModelKey, int],
        deaths: DeathLog,
        options: ReplayOptions,
    ) -> None:
        self.records = self.rows = self.last_arrival = 0
        self._shard = shard
        self._lost = lost
        self._expected = expected
        self._deaths = deaths
        self._options = options
        self._unknown: dict[str, int] = {}  # name → first lsn
        self._backlog = 0  # bytes of records that are enqueued
        for hosted in shard:
            self._prepare(hosted)

    def run(self, journal: ReadableJournal) -> None:
        """Replay all records."""
        shard, joiner = self._shard, Joiner()
        joins = self._options.learn and not self._deaths.suspects
        for record in journal.replay():
            self.last_arrival = max(self.last_arrival, record.time)
            if not self._is_known(record):
                continue
            if not joins or record.model not in shard:
                self._take(record)
            else:
                for joined, count in joiner.add(record, shard.find(record.model)):
                    self._take(joined, count)
            if self._backlog + joiner.bytes > BACKLOG_BYTES:
                for joined, count in joiner.close():
                    self._take(joined, count)
                self._drain()
                self._options.progress(record.lsn, journal.written_lsn)
        for joined, count in joiner.close():
            self._take(joined, count)
        self._drain()
        for hosted in shard:
            hosted.suspects = ()
            hosted.use_first_slices()
        self._check_models()

    def _take(self, record: Record, count: int = 1) -> None:
        """Enqueue a record, or `count` records that were joined."""
        shard = self._shard
        with _applying(record.model, record.lsn):
            suspect = self._suspect(record)
            if not self._options.learn and record.kind in (RecordKind.LEARN, RecordKind.TARGETS):
                record.dropped = True
            if suspect is not None:
                self._examine(record, suspect)
            elif shard.enqueue(record):
                self.records += count
                self.rows += record.rows
                self._backlog += memory_bytes(record)
        if record.kind in CREATES:
            self._prepare(shard.find(record.model))

    def _prepare(self, hosted: HostedModel) -> None:
        """Let the model learn in long slices, and row by row at the places where the process died."""
        hosted.use_long_slices()
        hosted.suspects = [suspect.place for suspect in self._deaths.suspects_of(hosted.create_lsn)]

    def _suspect(self, record: Record) -> Suspect | None:
        """Return the suspect if the process died at least twice at this record, and the model needs it."""
        if (
            not self._deaths.suspects
            or record.dropped
            or record.kind in (RecordKind.CREATE, RecordKind.DELETE)
        ):
            return None
        hosted = self._shard.find(record.model)
        for suspect in self._deaths.suspects_of(hosted.create_lsn):
            at_record = suspect.lsn == record.lsn == suspect.last_lsn and suspect.deaths > 1
            if at_record and record.lsn > hosted.applied_lsn and hosted.set_aside is None:
                return suspect
        return None

    def _examine(self, record: Record, suspect: Suspect) -> None:
        """Set the model aside before this record, unless a trial survives it. Then enqueue the record."""
        shard, hosted = self._shard, self._shard.find(record.model)
        self._drain()
        shard.enqueue(record)

        def step() -> bool:
            shard.step()
            return hosted.applied_lsn < record.lsn

        trial = self._options.trial
        survives = trial is not None and suspect.repeats < MOST_REPEATS and not suspect.set_aside
        if survives and trial is not None and trial(step):
            self.records += 1
            self.rows += record.rows
            return
        if not suspect.set_aside:
            suspect = self._deaths.set_aside(suspect, hosted.name)
        shard.put_aside(hosted, SetAside(record.lsn, suspect.deaths, suspect.set_aside))

    def _drain(self) -> None:
        """Apply all enqueued records."""
        shard, self._backlog = self._shard, 0
        while shard.has_backlog:
            hosted = next(iter(shard.backlogged))
            with _applying(hosted.name, hosted.next_lsn):
                shard.step()
            self._options.alive()

    def _is_known(self, record: Record) -> bool:
        """Whether the record creates its model, or the model exists."""
        name, known = record.model, record.model in self._shard
        if record.kind in CREATES:
            if self._lost.get(name) == record.lsn:
                del self._lost[name]
            return True
        if record.kind is RecordKind.DELETE:
            self._unknown.pop(name, None)
            for key in [key for key in self._expected if key[0] == name and key[1] < record.lsn]:
                del self._expected[key]
        elif not known and name not in self._lost:
            # A later record deletes the model, or its checkpoints are missing.
            self._unknown.setdefault(name, record.lsn)
        return known

    def _check_models(self) -> None:
        """Raise `DamagedCheckpoints` if a model should exist, and does not."""
        present = {(hosted.name, hosted.create_lsn) for hosted in self._shard}
        for name, create_lsn in self._expected:
            if (name, create_lsn) not in present and name not in self._lost:
                raise DamagedCheckpoints(
                    f"model {name!r} was created by record {create_lsn}, and was not deleted, but has no "
                    "checkpoint, and the journal no longer reaches back to its creation. If "
                    f"checkpoints/{name}@{create_lsn} was moved away, move it back; otherwise restore it "
                    "from a backup; or move manifest.json away to start without the model",
                    model=name,
                    create_lsn=create_lsn,
                )
        if self._unknown:
            name, lsn = next(iter(self._unknown.items()))
            raise DamagedCheckpoints(
                f"the journal has records of model {name!r} (from {lsn} on), but neither its creation nor a "
                "checkpoint of it exists; restore its checkpoints from a backup",
                model=name,
                lsn=lsn,
            )


@contextmanager
def _applying(model: str, lsn: int) -> Iterator[None]:
    """Turn a refusal by the model into `DamagedJournal`."""
    try:
        yield
    except FatalError:
        raise
    except StreamlearnError as error:
        raise DamagedJournal(
            f"record {lsn} of model {model!r} is intact, but can't be applied: {error.message}; if another "
            "version of streamlearn wrote it, use that version",
            lsn=lsn,
            model=model,
        ) from error
