"""``streamlearn verify``: check the files of a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from streamlearn.cli.options import Json

if TYPE_CHECKING:
    from streamlearn.store.diagnostic import Diagnostic


def add_to(app: typer.Typer) -> None:
    """Add the command of this module to the program."""
    app.command()(verify)


def verify(
    data_dir: Annotated[
        Path, typer.Argument(metavar="DATA_DIR", help="data directory of a daemon, running or not")
    ],
    as_json: Json = False,
) -> None:
    """Read every journal segment and checkpoint, and report damage. Does not change any file."""
    from rich.text import Text

    from streamlearn.cli import report
    from streamlearn.cli.errors import Damaged

    with report.console(err=True).status("reading"):
        examined = examine(data_dir)
    findings = examined.findings
    damage = [finding for finding in findings if finding.level == "damage"]
    segments, checkpoints = (
        report.many(examined.segments, "journal segment"),
        report.many(examined.checkpoints, "checkpoint"),
    )
    checked = f"{segments} and {checkpoints} in {data_dir}"
    facts = {
        "data_dir": str(data_dir),
        "segments": examined.segments,
        "checkpoints": examined.checkpoints,
        "ok": not damage,
        "findings": [{"level": f.level, "path": str(f.path), "message": f.message} for f in findings],
    }
    table = report.table("", "file", "finding")
    for finding in findings:
        level = Text(finding.level, style="red" if finding.level == "damage" else "yellow")
        table.add_row(level, str(_within(finding.path, data_dir)), finding.message)
    verdict = Text("damaged", style="red") if damage else Text("no damage", style="green")
    report.show(facts, as_json, *([table] if findings else []), Text.assemble(f"{checked}: ", verdict))
    if damage:
        places = report.many(len(damage), "place")
        raise Damaged(
            f"{data_dir} is damaged in {places}. The next start sets a bad checkpoint aside and uses the one"
            " before it. It refuses a damaged journal: restore the file, or start with --repair"
        )


class Examined(NamedTuple):
    """Counts of files in a data directory, and the findings."""

    segments: int
    checkpoints: int
    findings: list[Diagnostic]


def examine(data_dir: Path) -> Examined:
    """Check all files in ``data_dir``. Raises ``BadUsage`` if it is not a data directory."""
    from streamlearn.cli.errors import BadUsage
    from streamlearn.store.checkpoint import CheckpointStore
    from streamlearn.store.fs import FS
    from streamlearn.store.segment import list_segments
    from streamlearn.store.verify import verify_journal

    journal, checkpoints = data_dir / "journal", data_dir / "checkpoints"
    if not journal.is_dir() and not checkpoints.is_dir():
        raise BadUsage(
            f"{data_dir} is not a data directory: it has neither journal/ nor checkpoints/;"
            " give the directory of `streamlearn serve --data-dir`"
        )
    fs = FS()
    store = CheckpointStore(fs, checkpoints)
    count = sum(len(store.list(name, create_lsn)) for name, create_lsn in store.models())
    findings = [*verify_journal(fs, journal), *store.verify()]
    return Examined(len(list_segments(fs, journal)), count, findings)


def _within(path: Path, directory: Path) -> Path:
    return path.relative_to(directory) if path.is_relative_to(directory) else path
