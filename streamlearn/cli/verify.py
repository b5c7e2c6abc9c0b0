"""``streamlearn verify``: check the files of a data directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streamlearn.cli.options import Json

if TYPE_CHECKING:
    from streamlearn.verification import Report


def verify(
    data_dir: Annotated[
        Path, typer.Argument(metavar="DATA_DIR", help="data directory of a daemon, running or not")
    ],
    as_json: Json = False,
) -> None:
    """Check a data directory as a start of the daemon does, and list all damage. Does not change any file.

    If a start would refuse the directory, the error and the exit code are those of the start.
    """
    from rich.text import Text

    from streamlearn.cli import report
    from streamlearn.cli.errors import Damaged

    with report.console(err=True).status("reading"):
        found = examine(data_dir)
    findings, refusal = found.findings, found.refusal
    damage = [finding for finding in findings if finding.level == "damage"]
    segments, checkpoints = (
        report.many(found.segments, "journal segment"),
        report.many(found.checkpoints, "checkpoint"),
    )
    checked = f"{segments} and {checkpoints} in {data_dir}"
    facts = {
        "data_dir": str(data_dir),
        "segments": found.segments,
        "checkpoints": found.checkpoints,
        "ok": not found.damaged,
        "refusal": None if refusal is None else {"exit_code": refusal.exit_code, "message": refusal.message},
        "findings": [{"level": f.level, "path": str(f.path), "message": f.message} for f in findings],
    }
    table = report.table("", "file", "finding")
    for finding in findings:
        level = Text(finding.level, style="red" if finding.level == "damage" else "yellow")
        table.add_row(level, str(_within(finding.path, data_dir)), finding.message)
    verdict = Text("damaged", style="red") if found.damaged else Text("no damage", style="green")
    report.show(facts, as_json, *([table] if findings else []), Text.assemble(f"{checked}: ", verdict))
    if refusal is not None:
        raise refusal
    if damage:
        raise Damaged(
            f"{data_dir} is damaged in {report.many(len(damage), 'place')}. A start sets bad checkpoints "
            "aside and serves without loss"
        )


def examine(data_dir: Path) -> Report:
    """Check all files in ``data_dir``. Raises ``BadUsage`` if it is not a data directory."""
    from streamlearn import models
    from streamlearn.cli.errors import BadUsage
    from streamlearn.store.fs import FS
    from streamlearn.verification import verify as verify_directory

    if not any((data_dir / name).exists() for name in ("journal", "checkpoints", "manifest.json")):
        raise BadUsage(
            f"{data_dir} is not a data directory: it has neither journal/ nor checkpoints/;"
            " give the directory of `streamlearn serve --data-dir`"
        )
    return verify_directory(FS(), data_dir, models)


def _within(path: Path, directory: Path) -> Path:
    return path.relative_to(directory) if path.is_relative_to(directory) else path
