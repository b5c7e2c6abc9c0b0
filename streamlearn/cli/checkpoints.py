"""``streamlearn checkpoint | checkpoints | unpin | restore``: a model's checkpoints."""

from __future__ import annotations

from typing import Annotated

import typer

from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, Json, Name, Timeout, Yes, confirm, connect


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (checkpoint, checkpoints, unpin, restore):
        app.command()(command)


def checkpoint(
    name: Name,
    checkpoint_name: Annotated[
        str | None,
        typer.Option("--name", metavar="CHECKPOINT", help="name and pin the checkpoint", show_default=False),
    ] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Write a checkpoint of a model now."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        made = client.checkpoint(name, checkpoint_name)
    what = f"checkpoint {checkpoint_name}" if checkpoint_name else "checkpoint"
    report.show(made, as_json, f"{name}: {what} at lsn {made['lsn']:,} ({report.size(made['bytes'])})")


def checkpoints(
    name: Name, endpoint: Endpoint = DEFAULT_ENDPOINT, timeout: Timeout = 10.0, as_json: Json = False
) -> None:
    """List a model's checkpoints, newest first."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        found = client.checkpoints(name)
    table = report.table(">lsn", "name", "pinned", ">size", "written")
    for info in found:
        pinned = "yes" if info["pinned"] else ""
        written = report.moment(info["time"])
        table.add_row(f"{info['lsn']:,}", info["name"] or "", pinned, report.size(info["bytes"]), written)
    none = f"{name} has no checkpoints; write one with: streamlearn checkpoint {name}"
    report.show(found, as_json, table if found else none)


def unpin(
    name: Name,
    checkpoint_name: Annotated[
        str, typer.Argument(metavar="CHECKPOINT", help="name of the checkpoint", show_default=False)
    ],
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Take the name of a checkpoint away; the checkpoint is then removed in its turn."""
    from streamlearn.cli import report

    with connect(endpoint, timeout) as client:
        info = client.unpin(name, checkpoint_name)
    report.show(info, as_json, f"{name}: checkpoint {checkpoint_name} at lsn {info['lsn']:,} is unpinned")


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
