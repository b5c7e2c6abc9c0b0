"""``streamlearn checkpoint | checkpoints | unpin | restore``: a model's checkpoints."""

from __future__ import annotations

from typing import Annotated

import typer

from streamlearn.cli.options import (
    DEFAULT_ENDPOINT,
    Endpoint,
    Json,
    KeyFile,
    Name,
    ServerKey,
    Timeout,
    Yes,
    confirm,
    connect,
)


def checkpoint(
    name: Name,
    checkpoint_name: Annotated[
        str | None,
        typer.Option("--name", metavar="CHECKPOINT", help="name and pin the checkpoint", show_default=False),
    ] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 30.0,
    as_json: Json = False,
) -> None:
    """Write a checkpoint of a model now."""
    from streamlearn.cli import report

    with connect(endpoint, timeout, server_key, key_file) as client:
        made = client.checkpoint(name, checkpoint_name)
    what = f"checkpoint {checkpoint_name}" if checkpoint_name else "checkpoint"
    report.show(made, as_json, f"{name}: {what} at lsn {made['lsn']:,} ({report.size(made['bytes'])})")


def checkpoints(
    name: Name,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """List a model's checkpoints, newest first."""
    from streamlearn.cli import report

    with connect(endpoint, timeout, server_key, key_file) as client:
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
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Take the name of a checkpoint away; the checkpoint is then removed in its turn."""
    from streamlearn.cli import report

    with connect(endpoint, timeout, server_key, key_file) as client:
        info = client.unpin(name, checkpoint_name)
    report.show(info, as_json, f"{name}: checkpoint {checkpoint_name} at lsn {info['lsn']:,} is unpinned")


def restore(
    name: Name,
    lsn: Annotated[
        int | None,
        typer.Option(min=1, help="lsn of the state, of a checkpoint or later", show_default=False),
    ] = None,
    checkpoint_name: Annotated[
        str | None,
        typer.Option("--name", metavar="CHECKPOINT", help="name of a checkpoint", show_default=False),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(metavar="NEW", help="create this model with the state instead", show_default=False),
    ] = None,
    yes: Yes = False,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 600.0,
    as_json: Json = False,
) -> None:
    """Set a model back to its newest checkpoint, to a named one, or to any lsn that is still reached.

    Samples learned later are undone. A checkpoint of the state before is written first.
    """
    from streamlearn.cli import report
    from streamlearn.cli.errors import BadUsage

    if lsn is not None and checkpoint_name is not None:
        raise BadUsage("--lsn and --name both select a state; give one of them")
    with connect(endpoint, timeout, server_key, key_file) as client:
        before = client.describe(name)["samples"]
        target = "its newest checkpoint"
        if lsn is not None:
            target = f"its state at lsn {lsn:,}"
        elif checkpoint_name is not None:
            target = f"its checkpoint {checkpoint_name}"
        if into is None:
            confirm(f"Restore {name}, which has learned {before:,} samples, from {target}?", yes)
        done = client.restore(name, lsn, name=checkpoint_name, into=into)
    learned = report.many(done["samples"], "sample")
    if into is not None:
        message = (
            f"{into} is created with the state of {name} at lsn {done['restored_lsn']:,}: {learned} learned"
        )
        report.show(done, as_json, message)
        return
    message = (
        f"{name} is restored to lsn {done['restored_lsn']:,}: {learned} learned, {before:,} before\n"
        f"undo it with: streamlearn restore {name} --name {done['undo_name']}"
    )
    report.show({**done, "samples_before": before}, as_json, message)
