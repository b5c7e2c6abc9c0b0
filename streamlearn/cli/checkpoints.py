"""``streamlearn checkpoint | checkpoints | restore``: a model's checkpoints."""

from __future__ import annotations

from typing import Annotated

import typer

from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, Json, Name, Timeout, Yes, confirm, connect


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (checkpoint, checkpoints, restore):
        app.command()(command)


def checkpoint(
    name: Name, endpoint: Endpoint = DEFAULT_ENDPOINT, timeout: Timeout = 30.0, as_json: Json = False
) -> None:
    """Write a checkpoint of a model now."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        made = client.checkpoint(name)
    report.show(made, as_json, f"{name}: checkpoint at lsn {made['lsn']:,} ({report.size(made['bytes'])})")


def checkpoints(
    name: Name, endpoint: Endpoint = DEFAULT_ENDPOINT, timeout: Timeout = 10.0, as_json: Json = False
) -> None:
    """List a model's checkpoints, newest first."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        found = client.checkpoints(name)
    table = report.table(">lsn", ">size", "written")
    for info in found:
        table.add_row(f"{info['lsn']:,}", report.size(info["bytes"]), report.moment(info["time"]))
    none = f"{name} has no checkpoints; write one with: streamlearn checkpoint {name}"
    report.show(found, as_json, table if found else none)


def restore(
    name: Name,
    lsn: Annotated[
        int | None, typer.Option(min=1, help="lsn of the checkpoint", show_default="newest")
    ] = None,
    yes: Yes = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Restore a model from a checkpoint. Samples learned after it are undone."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        before = client.describe(name)["samples"]
        where = "its newest checkpoint" if lsn is None else f"its checkpoint at lsn {lsn:,}"
        confirm(f"Restore {name}, which has learned {before:,} samples, from {where}?", yes)
        done = client.restore(name, lsn=lsn)
    learned = f"{report.many(done['samples'], 'sample')} learned, {before:,} before"
    message = f"{name} is restored to lsn {done['restored_lsn']:,}: {learned}"
    report.show({**done, "samples_before": before}, as_json, message)
