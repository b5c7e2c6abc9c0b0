"""``streamlearn backup``: copy the data directory of a running daemon."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, Json, KeyFile, ServerKey, Timeout, connect


def backup(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DEST", help="new directory on the daemon's host; must not exist", show_default=False
        ),
    ],
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 3600.0,
    as_json: Json = False,
) -> None:
    """Copy a running daemon's data directory, while it learns.

    The daemon writes the copy. A relative DEST is relative to the current directory.
    """
    from streamlearn.cli import report

    with (
        report.console(err=True).status("copying"),
        connect(endpoint, timeout, server_key, key_file) as client,
    ):
        done = client.backup(str(directory.absolute()), timeout)
    files = (
        f"{report.many(done['models'], 'model')}, {report.many(done['segments'], 'journal segment')} and "
        f"{report.many(done['checkpoints'], 'checkpoint')} up to lsn {done['lsn']:,}"
    )
    took = f"{report.size(done['bytes'])} in {report.duration(done['seconds'])}"
    damaged = f"; left out: {report.many(done['damaged'], 'damaged checkpoint')}" if done["damaged"] else ""
    message = f"{directory}: {files} ({took}){damaged}\ncheck it with: streamlearn verify {directory}"
    report.show(done, as_json, message)
