"""A shard out of a data directory: each model's newest good checkpoint, then the journal through the shard.

The whole journal is read, not only what follows the oldest checkpoint, since a model that was never
checkpointed is known from its CREATE record alone. What a checkpoint covers already is passed over by
the shard, so only the tail is learned. The journal is bounded: see `pin`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from streamlearn.errors import DamagedCheckpoints, DamagedJournal, FatalError, StreamlearnError
from streamlearn.shard import RECORD_OVERHEAD, Entry, ModelSource, Shard, Snapshot
from streamlearn.store.checkpoint import CheckpointInfo, CheckpointStore
from streamlearn.store.journal import Journal
from streamlearn.store.record import RecordKind

Progress = Callable[[int, int], None]  # lsn that replay has come to, lsn that it will come to
Incarnation = tuple[str, int]  # a model's name, and the lsn of the record that created it

BACKLOG_BYTES = 16 * 1024 * 1024  # of records read ahead of the learning


class Recovered(NamedTuple):
    """`kept` are the checkpoints of each model, newest first; `records` and `rows` had to be replayed."""

    shard: Shard
    kept: dict[Incarnation, list[CheckpointInfo]]
    records: int
    rows: int


def recover(
    journal: Journal,
    checkpoints: CheckpointStore,
    models: ModelSource,
    *,
    repair: bool = False,
    progress: Progress = lambda done, end: None,
) -> Recovered:
    """The shard exactly as it was at the journal's end.

    Raises `DamagedCheckpoints` when a model's state is gone for good, and `DamagedJournal` when a record
    can't be applied, or when the journal ends before a checkpoint that was taken of it (not in `repair`).
    """
    shard = Shard(models)
    lost = _install(shard, journal, checkpoints)
    _check_end(shard, journal, repair)
    records, rows = _replay(shard, journal, lost, progress)
    if lost:
        name, create_lsn = next(iter(lost.items()))
        raise DamagedCheckpoints(
            f"model {name!r} has no good checkpoint, and the journal no longer reaches back to its creation "
            f"at record {create_lsn}; bring a checkpoint file back from a backup, or move its directory "
            f"{name}@{create_lsn} away to start without the model",
            model=name,
            create_lsn=create_lsn,
        )
    present = {(entry.name, entry.create_lsn) for entry in shard}
    for name, create_lsn in checkpoints.models():
        if (name, create_lsn) not in present:  # deleted, and the daemon ended before it had tidied up
            checkpoints.drop(name, create_lsn)
    kept = {each: list(checkpoints.list(*each)) for each in present}
    return Recovered(shard, kept, records, rows)


def pin(entry: Entry, kept: Sequence[CheckpointInfo]) -> int | None:
    """The first lsn of the journal that a model still needs; `None` if it needs nothing of it.

    `kept` are its checkpoints, newest first. The journal must reach back to the last but one, in case the
    last can't be read; a model with fewer than two needs it all, from its creation on.
    """
    safe = kept[1].lsn if len(kept) >= 2 else entry.create_lsn - 1
    return safe + 1 if entry.accepted_lsn > safe else None


def _install(shard: Shard, journal: Journal, checkpoints: CheckpointStore) -> dict[str, int]:
    """Put in every model that has a good checkpoint; returns name → creation of those with bad ones only.

    Where a name has checkpoints of several creations, all but the last were deleted.
    """
    lost: dict[str, int] = {}
    for name, create_lsn in sorted(dict(sorted(checkpoints.models())).items()):
        listed = checkpoints.list(name, create_lsn)
        if not listed:
            continue
        found = checkpoints.newest_valid(name, create_lsn)
        if found is None:
            lost[name] = create_lsn
            continue
        info, arrays, metadata = found
        bad = sum(each.lsn > info.lsn for each in listed)
        if bad > 1 and journal.first_lsn > info.lsn + 1:
            raise DamagedCheckpoints(
                f"the last {bad} checkpoints of model {name!r} are bad, and between the good one at record "
                f"{info.lsn} and the journal's beginning at {journal.first_lsn} records are missing; bring a "
                "later checkpoint file back from a backup",
                model=name,
                lsn=info.lsn,
            )
        try:
            shard.install(Snapshot(name, create_lsn, info.lsn, arrays, metadata))
        except StreamlearnError as error:
            raise DamagedCheckpoints(
                f"the checkpoint {info.path} is whole, but makes no model here: {error.message}; "
                "use the version of streamlearn that wrote it",
                model=name,
            ) from error
    return lost


def _check_end(shard: Shard, journal: Journal, repair: bool) -> None:
    """A checkpoint is written once the journal is durable up to it, so the journal can't end before one."""
    ahead = max(shard, key=lambda entry: entry.applied_lsn, default=None)
    if ahead is None or ahead.applied_lsn <= journal.written_lsn:
        return
    if not repair:
        raise DamagedJournal(
            f"the journal ends at record {journal.written_lsn}, but there is a checkpoint of model "
            f"{ahead.name!r} as of record {ahead.applied_lsn}: segments of the journal are missing. Bring "
            "them back from a backup; or start with --repair, which goes on from the checkpoints",
            lsn=journal.written_lsn,
            checkpoint_lsn=ahead.applied_lsn,
        )
    journal.advance(ahead.applied_lsn + 1)


def _replay(shard: Shard, journal: Journal, lost: dict[str, int], progress: Progress) -> tuple[int, int]:
    """Put the journal through the shard; models created on the way are taken out of `lost`."""
    records = rows = waiting = 0
    unknown: dict[str, int] = {}
    for record in journal.replay():
        name = record.model
        if record.kind is RecordKind.CREATE:
            if lost.get(name) == record.lsn:
                del lost[name]
        elif name not in shard:  # of a model that is deleted further on, or else gone without a trace
            if record.kind is RecordKind.DELETE:
                unknown.pop(name, None)
            elif name not in lost:
                unknown.setdefault(name, record.lsn)
            continue
        with _applying(name, record.lsn):
            if shard.enqueue(record):
                records += 1
                rows += record.rows
                waiting += len(record.payload) + RECORD_OVERHEAD
        if waiting > BACKLOG_BYTES:
            _drain(shard)
            waiting = 0
            progress(record.lsn, journal.written_lsn)
    _drain(shard)
    if unknown:
        name, lsn = next(iter(unknown.items()))
        raise DamagedCheckpoints(
            f"the journal has records of model {name!r} (from {lsn} on), but neither its creation nor a "
            "checkpoint of it is there; bring its checkpoints back from a backup",
            model=name,
            lsn=lsn,
        )
    return records, rows


def _drain(shard: Shard) -> None:
    """Learn everything that waits."""
    while shard.waiting:
        entry = next(iter(shard.working))
        with _applying(entry.name, entry.next_lsn):
            shard.step()


@contextmanager
def _applying(model: str, lsn: int) -> Iterator[None]:
    try:
        yield
    except FatalError:
        raise
    except StreamlearnError as error:
        raise DamagedJournal(
            f"record {lsn} of model {model!r} is whole, but can't be applied: {error.message}; if another "
            "version of streamlearn wrote it, use that one",
            lsn=lsn,
            model=model,
        ) from error
