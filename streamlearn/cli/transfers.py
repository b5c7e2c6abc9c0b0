"""``streamlearn export | clone``: models as files, and copies of models."""

from __future__ import annotations

from pathlib import Path
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
    connect,
)


def export(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="an existing file is replaced")],
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Write a model to a file while it learns. create --from makes a model of the file.

    streamlearn export pump pump.slm

    streamlearn create pump-2 --from pump.slm
    """
    from streamlearn.cli import report

    with connect(endpoint, timeout, server_key, key_file) as client:
        done = client.export(name, file)
    what = f"{name} ({done['kind']}, {report.many(done['samples'], 'sample')}, lsn {done['lsn']:,})"
    report.show(done, as_json, f"wrote {what} to {file}: {report.size(done['bytes'])}")


def clone(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="name of the new model", show_default=False)],
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Create a second model with the state of a model, which learns on."""
    from streamlearn.cli import report

    with connect(endpoint, timeout, server_key, key_file) as client:
        done = client.clone(name, new)
    samples = report.many(done["samples"], "sample")
    report.show(done, as_json, f"created {new} with the state of {name} ({samples})")
