"""Recovery of a shard from a data directory: the newest valid checkpoint of each model, then the journal.

The whole journal is read, not only the part after the oldest checkpoint, since a model without a checkpoint
is known from its CREATE record only. The shard ignores the records that a checkpoint covers, so it learns
only the tail. The journal's length is bounded: see `first_needed_lsn`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from streamlearn.errors import DamagedCheckpoints, DamagedJournal, FatalError, StreamlearnError
from streamlearn.shard import RECORD_OVERHEAD, HostedModel, ModelSource, Shard, Snapshot
from streamlearn.store.checkpoint import CheckpointInfo, CheckpointStore
from streamlearn.store.journal import Journal
from streamlearn.store.record import RecordKind

Progress = Callable[[int, int], None]  # lsn of the last replayed record, lsn of the journal's last record
ModelKey = tuple[str, int]  # a model's name, and the lsn of the record that created it

BACKLOG_BYTES = 16 * 1024 * 1024  # of records that replay reads before it learns them


class Recovered(NamedTuple):
    """A recovered shard. `checkpoints` has those of each model, newest first."""

    shard: Shard
    checkpoints: dict[ModelKey, list[CheckpointInfo]]
    records: int  # replayed
    rows: int  # replayed


def recover(
    journal: Journal,
    checkpoints: CheckpointStore,
    models: ModelSource,
    *,
    repair: bool = False,
    progress: Progress = lambda done, end: None,
) -> Recovered:
    """Return the shard with the exact state at the journal's end.

    Parameters
    ----------
    journal
        The open journal.
    checkpoints
        The checkpoints of the same data directory. Those of deleted models are removed.
    models
        Creates the models.
    repair
        Accept a journal that ends before the newest checkpoint.
    progress
        Called during a long replay.

    Raises
    ------
    DamagedCheckpoints
        If the state of a model cannot be recovered.
    DamagedJournal
        If a record can't be applied, or if the journal ends before a checkpoint's lsn (unless `repair`).
    """
    shard = Shard(models)
    lost = _install(shard, journal, checkpoints)
    _check_end(shard, journal, repair)
    records, rows = _replay(shard, journal, lost, progress)
    if lost:
        name, create_lsn = next(iter(lost.items()))
        raise DamagedCheckpoints(
            f"model {name!r} has no good checkpoint, and the journal no longer reaches back to its creation "
            f"at record {create_lsn}; restore a checkpoint file from a backup, or move its directory "
            f"{name}@{create_lsn} away to start without the model",
            model=name,
            create_lsn=create_lsn,
        )
    present = {(hosted.name, hosted.create_lsn) for hosted in shard}
    for name, create_lsn in checkpoints.models():
        if (name, create_lsn) not in present:  # deleted; the daemon ended before it removed the files
            checkpoints.drop(name, create_lsn)
    return Recovered(shard, {key: list(checkpoints.list(*key)) for key in present}, records, rows)


def first_needed_lsn(hosted: HostedModel, checkpoints: Sequence[CheckpointInfo]) -> int | None:
    """Return the first lsn of the journal that a model needs; `None` if it needs no record.

    `checkpoints` are the model's, newest first. The journal must begin after the second newest, in case the
    newest can't be read. A model with fewer than two checkpoints needs all records since its creation.
    """
    safe = checkpoints[1].lsn if len(checkpoints) >= 2 else hosted.create_lsn - 1
    return safe + 1 if hosted.accepted_lsn > safe else None


def _install(shard: Shard, journal: Journal, checkpoints: CheckpointStore) -> dict[str, int]:
    """Install every model that has a good checkpoint; return name → create lsn of those with bad ones only.

    If a name has checkpoints of several models, all but the last one were deleted.
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
                f"the last {bad} checkpoints of model {name!r} are bad, and records are missing between the "
                f"good one at record {info.lsn} and the journal's beginning at {journal.first_lsn}; restore "
                "a later checkpoint file from a backup",
                model=name,
                lsn=info.lsn,
            )
        try:
            shard.install(Snapshot(name, create_lsn, info.lsn, arrays, metadata))
        except StreamlearnError as error:
            raise DamagedCheckpoints(
                f"the checkpoint {info.path} is intact, but its model can't be created: {error.message}; "
                "use the version of streamlearn that wrote it",
                model=name,
            ) from error
    return lost


def _check_end(shard: Shard, journal: Journal, repair: bool) -> None:
    """A checkpoint is written after the journal is durable up to it, so the journal can't end before it."""
    newest = max(shard, key=lambda hosted: hosted.applied_lsn, default=None)
    if newest is None or newest.applied_lsn <= journal.written_lsn:
        return
    if not repair:
        raise DamagedJournal(
            f"the journal ends at record {journal.written_lsn}, but model {newest.name!r} has a checkpoint "
            f"as of record {newest.applied_lsn}: segments of the journal are missing. Restore them from a "
            "backup; or start with --repair, which continues from the checkpoints",
            lsn=journal.written_lsn,
            checkpoint_lsn=newest.applied_lsn,
        )
    journal.advance(newest.applied_lsn + 1)


def _replay(shard: Shard, journal: Journal, lost: dict[str, int], progress: Progress) -> tuple[int, int]:
    """Replay the journal into the shard; remove the models that it creates from `lost`."""
    records = rows = backlog = 0
    unknown: dict[str, int] = {}
    for record in journal.replay():
        name = record.model
        if record.kind is RecordKind.CREATE:
            if lost.get(name) == record.lsn:
                del lost[name]
        elif name not in shard:  # a later record deletes the model, or its checkpoints are missing
            if record.kind is RecordKind.DELETE:
                unknown.pop(name, None)
            elif name not in lost:
                unknown.setdefault(name, record.lsn)
            continue
        with _applying(name, record.lsn):
            if shard.enqueue(record):
                records += 1
                rows += record.rows
                backlog += len(record.payload) + RECORD_OVERHEAD
        if backlog > BACKLOG_BYTES:
            _drain(shard)
            backlog = 0
            progress(record.lsn, journal.written_lsn)
    _drain(shard)
    if unknown:
        name, lsn = next(iter(unknown.items()))
        raise DamagedCheckpoints(
            f"the journal has records of model {name!r} (from {lsn} on), but neither its creation nor a "
            "checkpoint of it exists; restore its checkpoints from a backup",
            model=name,
            lsn=lsn,
        )
    return records, rows


def _drain(shard: Shard) -> None:
    """Apply all enqueued records."""
    while shard.has_backlog:
        hosted = next(iter(shard.backlogged))
        with _applying(hosted.name, hosted.next_lsn):
            shard.step()


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
