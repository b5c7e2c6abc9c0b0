"""``streamlearn checkpoint | checkpoints | restore``: a model's states on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, Json, Name, Timeout, Yes, confirm, connect


def add_to(app: typer.Typer) -> None:
    for command in (checkpoint, checkpoints, restore):
        app.command()(command)


def checkpoint(
    name: Name, endpoint: Endpoint = DEFAULT_ENDPOINT, timeout: Timeout = 30.0, as_json: Json = False
) -> None:
    """Write a model's state to disk now."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        made = client.checkpoint(name)
    report.show(made, as_json, f"{name}: checkpoint as of lsn {made['lsn']:,} ({report.size(made['bytes'])})")


def checkpoints(
    name: Name, endpoint: Endpoint = DEFAULT_ENDPOINT, timeout: Timeout = 10.0, as_json: Json = False
) -> None:
    """List the states that a model can go back to, newest first."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        there = client.checkpoints(name)
    shown = report.table(">lsn", ">size", "written")
    for each in there:
        shown.add_row(f"{each['lsn']:,}", report.size(each["bytes"]), report.moment(each["time"]))
    none = f"{name} has no checkpoints yet: streamlearn checkpoint {name}"
    report.show(there, as_json, shown if there else none)


def restore(
    name: Name,
    lsn: Annotated[
        int | None, typer.Option(min=1, help="of the checkpoint", show_default="the newest checkpoint's")
    ] = None,
    yes: Yes = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Set a model back to a checkpoint. What it learned after that is undone."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        before = client.describe(name)["samples"]
        where = "its newest checkpoint" if lsn is None else f"its checkpoint as of lsn {lsn:,}"
        confirm(f"Set {name}, which has learned {before:,} samples, back to {where}?", yes)
        done = client.restore(name, lsn=lsn)
    learned = f"{report.many(done['samples'], 'sample')} learned, {before:,} before"
    told = f"{name} is as of lsn {done['restored_lsn']:,} again: {learned}"
    report.show({**done, "samples_before": before}, as_json, told)
