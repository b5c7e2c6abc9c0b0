"""Recovery of a shard from a data directory: the newest valid checkpoint of each model, then the journal.

The whole journal is read, not only the part after the oldest checkpoint, since a model without a checkpoint
is known from its CREATE record only. The shard ignores the records that a checkpoint covers, so it learns
only the tail. The journal's length is bounded: see `first_needed_lsn`.

`recover` only reads. So a start that is refused changes nothing, and `verify` runs the same checks.
`take_over` then makes the changes that the checks found due.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from streamlearn.errors import (
    BadConfig,
    DamagedCheckpoints,
    DamagedJournal,
    DiskFull,
    JournalFailed,
    StreamlearnError,
)
from streamlearn.replay import ModelKey, ReadableJournal, Replay, ReplayOptions
from streamlearn.shard import HostedModel, ModelSource, Shard, Snapshot
from streamlearn.store.checkpoint import BadFile, CheckpointInfo, CheckpointStore
from streamlearn.store.deaths import DeathLog
from streamlearn.store.fs import FS, actionable_errors
from streamlearn.store.journal import SEGMENT_BYTES, Journal
from streamlearn.store.manifest import Manifest, ManifestFile
from streamlearn.store.scan import JournalScan

JOURNAL, CHECKPOINTS = "journal", "checkpoints"  # directories in a data directory


@dataclass(slots=True)
class Recovered:
    """A recovered shard, and the changes to the files that `take_over` makes.

    `checkpoints` has the good ones of each model, newest first. The next record must have `next_lsn` or a
    higher number.
    """

    shard: Shard
    checkpoints: dict[ModelKey, list[CheckpointInfo]]
    records: int  # replayed
    rows: int  # replayed
    next_lsn: int
    last_arrival: int  # the last arrival time of a record, ns since 1970
    bad: list[BadFile]  # checkpoints to set aside
    deleted: list[ModelKey]  # models that were deleted, and have checkpoints
    deaths: DeathLog
    manifest: ManifestFile | None = None


def recover(
    journal: ReadableJournal,
    checkpoints: CheckpointStore,
    models: ModelSource,
    *,
    manifest: Manifest | None = None,
    deaths: DeathLog | None = None,
    repair: bool = False,
    options: ReplayOptions | None = None,
) -> Recovered:
    """Return the shard with the exact state at the journal's end. Changes no file.

    Parameters
    ----------
    journal
        The journal.
    checkpoints
        The checkpoints of the same data directory.
    models
        Creates the models.
    manifest
        What the data directory must contain, if that is known.
    deaths
        Where earlier processes died.
    repair
        Accept a journal that ends before the newest checkpoint, or that begins too late.
    options
        How to replay.

    Raises
    ------
    DamagedCheckpoints
        If the state of a model cannot be recovered.
    DamagedJournal
        If a record can't be applied, or if the journal ends before a checkpoint's lsn (unless `repair`).
    """
    deaths = deaths or DeathLog(None)
    shard = Shard(models, deaths)
    if manifest is not None and not repair:
        _check_beginning(journal, manifest)
    bad: list[BadFile] = []
    lost = _install(shard, journal, checkpoints, manifest, bad)
    next_lsn = _check_end(shard, journal, repair)
    expected = dict(manifest.models) if manifest is not None else {}
    replay = Replay(shard, lost, expected, deaths, options or ReplayOptions())
    replay.run(journal)
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
    set_aside = {each.info for each in bad}
    return Recovered(
        shard=shard,
        checkpoints={
            key: [info for info in checkpoints.list(*key) if info not in set_aside] for key in present
        },
        records=replay.records,
        rows=replay.rows,
        next_lsn=next_lsn,
        last_arrival=max([replay.last_arrival, *(hosted.applied_time for hosted in shard)]),
        bad=bad,
        deaths=deaths,
        # Deleted; the daemon ended before it removed the files.
        deleted=[key for key in checkpoints.models() if key not in present],
    )


def examine(
    fs: FS,
    directory: Path,
    models: ModelSource,
    checkpoints: CheckpointStore,
    *,
    deaths: DeathLog | None = None,
    repair: bool = False,
    options: ReplayOptions | None = None,
) -> tuple[JournalScan, Recovered]:
    """Read and check a data directory as every start does. Changes no file.

    Raises as `recover` does, and `BadConfig` if files can't be read.
    """
    with startup_errors(directory):
        options = options or ReplayOptions()
        scan = JournalScan(fs, directory / JOURNAL, repair=repair)
        manifest = ManifestFile(fs, directory).read()
        options.prepare()
        recovered = recover(
            scan, checkpoints, models, manifest=manifest, deaths=deaths, repair=repair, options=options
        )
    return scan, recovered


@contextmanager
def startup_errors(directory: Path) -> Iterator[None]:
    """Turn a failed file access of a start into an error that says what to do."""
    try:
        yield
    except DiskFull as error:
        raise JournalFailed(f"the disk of {directory} is full: free some space, then start again") from error
    except OSError as error:
        path = error.filename if error.filename is not None else directory
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise JournalFailed(
                f"the disk of {path} is full ({error.strerror}): free some space, then start again"
            ) from error
        if error.errno == errno.EIO:
            raise JournalFailed(
                f"{path}: {error.strerror}: the disk fails. Look for disk errors in the system log"
            ) from error
        if error.errno in (errno.EISDIR, errno.ENOTDIR):
            advice = "a file has the place of a directory, or a directory that of a file: move it away"
        else:
            advice = "the daemon needs a data directory that its user can read and write"
        raise BadConfig(f"{path}: {error.strerror or error}: {advice}", path=str(path)) from error


def take_over(
    fs: FS,
    directory: Path,
    scan: JournalScan,
    checkpoints: CheckpointStore,
    recovered: Recovered,
    *,
    segment_bytes: int = SEGMENT_BYTES,
    repair: bool = False,
    warn: Callable[[str], None] = lambda message: None,
) -> Journal:
    """Open the journal for writing, and make all changes that the recovery found due.

    The journal is first: if it can't be opened, nothing has changed. Raises `JournalFailed`, and `BadConfig`
    if the directory can't be written.
    """
    _check_writable(
        fs,
        [directory, directory / CHECKPOINTS, *scan.paths, *(bad.info.path.parent for bad in recovered.bad)],
    )
    _sync_names(fs, [directory.parent, directory, directory / CHECKPOINTS])
    journal = Journal.open(
        fs, scan.directory, segment_bytes=segment_bytes, repair=repair, scan=scan, warn=warn
    )
    journal.advance(recovered.next_lsn)
    present = {hosted.create_lsn for hosted in recovered.shard}
    deaths = recovered.deaths
    deaths.keep([each for each in deaths.suspects if each.set_aside and each.create_lsn in present])
    for bad in recovered.bad:
        checkpoints.set_aside(bad)
    for key in recovered.deleted:
        checkpoints.drop(*key)
    recovered.manifest = ManifestFile(fs, directory)
    known = recovered.manifest.read()
    if known is None or known.journal != journal.id or known.first_lsn < journal.first_lsn:
        recovered.manifest.write(
            manifest_of(journal.id, journal.first_lsn, recovered.shard, recovered.checkpoints)
        )
    return journal


def _check_writable(fs: FS, paths: Sequence[Path]) -> None:
    for path in paths:
        if fs.exists(path) and not fs.writable(path):
            raise BadConfig(
                f"{path} cannot be written. Give the daemon's user write permission for it, or choose "
                "another --data-dir"
            )


def _sync_names(fs: FS, paths: Sequence[Path]) -> None:
    """Make the names in these directories durable: an earlier process may have ended before it did."""
    for path in paths:
        with actionable_errors(f"sync {path}"), suppress(PermissionError):  # of a parent that is not ours
            if fs.exists(path):
                fs.fsync_dir(path)


def manifest_of(
    journal: int,
    first_lsn: int,
    shard: Iterable[HostedModel],
    checkpoints: Mapping[ModelKey, Sequence[CheckpointInfo]],
) -> Manifest:
    """Return the manifest of a data directory whose journal begins at `first_lsn` or before."""
    models = {}
    for hosted in shard:
        key = (hosted.name, hosted.create_lsn)
        if hosted.create_lsn < first_lsn and checkpoints.get(key):
            models[key] = checkpoints[key][:2][-1].lsn
    return Manifest(journal, first_lsn, models)


def first_needed_lsn(hosted: HostedModel, checkpoints: Sequence[CheckpointInfo]) -> int | None:
    """Return the first lsn of the journal that a model needs; `None` if it needs no record.

    `checkpoints` are the model's, newest first. The journal must begin after the second newest, in case the
    newest can't be read. A model with fewer than two checkpoints needs all records since its creation.
    """
    safe = checkpoints[1].lsn if len(checkpoints) >= 2 else hosted.create_lsn - 1
    return safe + 1 if hosted.accepted_lsn > safe else None


def _check_beginning(journal: ReadableJournal, manifest: Manifest) -> None:
    """Raise `DamagedJournal` if the journal is missing, is another one, or begins too late."""
    if journal.id is None:
        problem = "has no segments, but manifest.json says that it had"
    elif journal.id != manifest.journal:
        problem = "is not the journal that manifest.json belongs to"
    elif journal.first_lsn > manifest.first_lsn:
        problem = f"begins at record {journal.first_lsn}, but should begin at {manifest.first_lsn} or before"
    else:
        return
    raise DamagedJournal(
        f"the journal {problem}: segments are missing, and with them acknowledged samples. Nothing was "
        "changed. If they were moved away, move them back; otherwise restore manifest.json, journal/ and "
        "checkpoints/ together from a backup; or start with --repair, which continues from the checkpoints "
        "and the segments that are left",
        lsn=manifest.first_lsn,
        first_lsn=journal.first_lsn,
    )


def _install(
    shard: Shard,
    journal: ReadableJournal,
    checkpoints: CheckpointStore,
    manifest: Manifest | None,
    bad: list[BadFile],
) -> dict[str, int]:
    """Install every model that has a good checkpoint; return name → create lsn of those with bad ones only.

    Appends bad checkpoints to `bad`. If a name has checkpoints of several models, all but the last one were
    deleted.
    """
    lost: dict[str, int] = {}
    for name, create_lsn in sorted(dict(sorted(checkpoints.models())).items()):
        found = checkpoints.examine(name, create_lsn)
        bad += found.bad
        if found.newest is None:
            if found.bad:
                lost[name] = create_lsn
            continue
        info, arrays, metadata = found.newest
        count = sum(each.info.lsn > info.lsn for each in found.bad)
        needed = manifest.models.get((name, create_lsn), info.lsn) if manifest is not None else info.lsn
        if journal.first_lsn > info.lsn + 1 and (count > 1 or needed > info.lsn):
            problem = (
                f"the last {count} checkpoints of model {name!r} are bad"
                if count
                else f"checkpoints of model {name!r} are missing"
            )
            raise DamagedCheckpoints(
                f"{problem}, and so are the records between the good one at record {info.lsn} and the "
                f"journal's beginning at {journal.first_lsn}; restore a later checkpoint file from a backup",
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


def _check_end(shard: Shard, journal: ReadableJournal, repair: bool) -> int:
    """Return the lsn of the next record.

    A checkpoint is written after the journal is durable up to it, so the journal can't end before it.
    """
    newest = max(shard, key=lambda hosted: hosted.applied_lsn, default=None)
    if newest is None or newest.applied_lsn <= journal.written_lsn:
        return journal.written_lsn + 1
    if not repair:
        raise DamagedJournal(
            f"the journal ends at record {journal.written_lsn}, but model {newest.name!r} has a checkpoint "
            f"as of record {newest.applied_lsn}: segments of the journal are missing. Nothing was changed. "
            "If they were moved away, move them back; otherwise restore them from a backup; or start with "
            "--repair, which continues from the checkpoints",
            lsn=journal.written_lsn,
            checkpoint_lsn=newest.applied_lsn,
        )
    return newest.applied_lsn + 1
