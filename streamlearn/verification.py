"""The check of a data directory by ``streamlearn verify``: what a start would do with it, and all damage.

The verdict comes from the code that a start runs, without learning. Nothing is changed, and a daemon may run
on the directory meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from streamlearn.errors import FatalError
from streamlearn.recovery import CHECKPOINTS, JOURNAL, Recovered, examine, startup_errors
from streamlearn.replay import ReplayOptions
from streamlearn.shard import ModelSource
from streamlearn.store.checkpoint import CheckpointStore
from streamlearn.store.deaths import DeathLog, read_suspects
from streamlearn.store.diagnostic import Diagnostic
from streamlearn.store.fs import FS
from streamlearn.store.segment import list_segments
from streamlearn.store.verify import verify_journal

ATTEMPTS = 5  # a running daemon may change the files during a check


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check.

    ``refusal`` is the error with which a start would end; ``None`` if it would serve. ``segments`` and
    ``checkpoints`` count files.
    """

    segments: int
    checkpoints: int
    findings: Sequence[Diagnostic]
    refusal: FatalError | None = None

    @property
    def damaged(self) -> bool:
        """Whether a file is damaged or missing."""
        return self.refusal is not None or any(finding.level == "damage" for finding in self.findings)


def verify(fs: FS, directory: Path, models: ModelSource) -> Report:
    """Check all files in a data directory.

    Damage is reported only if a second check finds the same: a running daemon may have changed the files
    during the first one.
    """
    report = _verify(fs, directory, models)
    for _ in range(ATTEMPTS):
        if not report.damaged:
            break
        before, report = report, _verify(fs, directory, models)
        if _essence(before) == _essence(report):
            break
    return report


def _essence(report: Report) -> tuple[str | None, list[Diagnostic]]:
    return None if report.refusal is None else report.refusal.message, list(report.findings)


def _verify(fs: FS, directory: Path, models: ModelSource) -> Report:
    store, lock = CheckpointStore(fs, directory / CHECKPOINTS), directory / "lock"
    findings: list[Diagnostic] = []
    refusal = None
    try:
        with startup_errors(directory):
            deaths = DeathLog(None)
            if fs.exists(lock):
                deaths.suspects = [each for each in read_suspects(fs.read(lock)) if each.set_aside]
            options = ReplayOptions(learn=False)
            _, recovered = examine(fs, directory, models, store, deaths=deaths, options=options)
            findings += _set_aside(lock, recovered)
    except FatalError as error:
        refusal = error
    segments = count = 0
    with suppress(OSError):  # a directory that can't be listed: the refusal names it
        segments = len(list_segments(fs, directory / JOURNAL))
        findings += verify_journal(fs, directory / JOURNAL)
        count = sum(len(store.list(*key)) for key in store.models())
        findings += store.verify()
    return Report(segments, count, findings, refusal)


def _set_aside(lock: Path, recovered: Recovered) -> list[Diagnostic]:
    return [
        Diagnostic("note", lock, f"model {hosted.name} is set aside: {hosted.set_aside.reason}")
        for hosted in recovered.shard
        if hosted.set_aside is not None
    ]
