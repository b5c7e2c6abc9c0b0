"""``streamlearn verify``: is everything in a data directory as it was written?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from streamlearn.cli.options import Json

if TYPE_CHECKING:
    from streamlearn.store.finding import Finding


def add_to(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    data_dir: Annotated[Path, typer.Argument(metavar="DATA_DIR", help="of a daemon, running or not")],
    as_json: Json = False,
) -> None:
    """Read every journal segment and every checkpoint, and say what is wrong. Changes nothing."""
    from rich.text import Text

    from streamlearn.cli import report
    from streamlearn.cli.errors import Damaged

    with report.console(err=True).status("reading"):
        seen = examine(data_dir)
    findings = seen.findings
    damage = [finding for finding in findings if finding.level == "damage"]
    segments, checkpoints = (
        report.many(seen.segments, "journal segment"),
        report.many(seen.checkpoints, "checkpoint"),
    )
    looked_at = f"{segments} and {checkpoints} in {data_dir}"
    facts = {
        "data_dir": str(data_dir),
        "segments": seen.segments,
        "checkpoints": seen.checkpoints,
        "ok": not damage,
        "findings": [{"level": f.level, "path": str(f.path), "message": f.message} for f in findings],
    }
    found = report.table("", "file", "what")
    for finding in findings:
        level = Text(finding.level, style="red" if finding.level == "damage" else "yellow")
        found.add_row(level, str(_within(finding.path, data_dir)), finding.message)
    verdict = Text("damaged", style="red") if damage else Text("no damage", style="green")
    report.show(facts, as_json, *([found] if findings else []), Text.assemble(f"{looked_at}: ", verdict))
    if damage:
        places = report.many(len(damage), "place")
        raise Damaged(
            f"{data_dir} is damaged in {places}. The next start sets a bad checkpoint aside and uses the one"
            " before it; a damaged journal it refuses, until the file is back or --repair is given"
        )


class Examined(NamedTuple):
    """How much there was in a data directory, and what was found in it."""

    segments: int
    checkpoints: int
    findings: list[Finding]


def examine(data_dir: Path) -> Examined:
    """Read everything in ``data_dir``. Raises ``BadUsage`` if it is no data directory."""
    from streamlearn.cli.errors import BadUsage
    from streamlearn.store.checkpoint import CheckpointStore
    from streamlearn.store.fs import FS
    from streamlearn.store.segment import list_segments
    from streamlearn.store.verify import verify_journal

    journal, checkpoints = data_dir / "journal", data_dir / "checkpoints"
    if not journal.is_dir() and not checkpoints.is_dir():
        raise BadUsage(
            f"{data_dir} is no data directory: it holds neither journal/ nor checkpoints/;"
            " give the one that `streamlearn serve --data-dir` was given"
        )
    fs = FS()
    store = CheckpointStore(fs, checkpoints)
    kept = sum(len(store.list(name, create_lsn)) for name, create_lsn in store.models())
    findings = [*verify_journal(fs, journal), *store.verify()]
    return Examined(len(list_segments(fs, journal)), kept, findings)


def _within(path: Path, directory: Path) -> Path:
    return path.relative_to(directory) if path.is_relative_to(directory) else path
