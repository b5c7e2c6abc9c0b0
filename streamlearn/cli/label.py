"""``streamlearn label``: labels by hand."""

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
    connect,
)
from streamlearn.tabular.identifiers import parse_identifier


def label(
    name: Name,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="'' takes the label of a unit away")],
    unit: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="a unit, counted from 0, row by row")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(metavar="ID", help="a sample by its id, or by its number without ids")
    ] = None,
    values: Annotated[
        str | None, typer.Option(metavar="V,V,…", help="values of a sample; nan if missing")
    ] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Give a label to a unit of a map, or to a sample.

    streamlearn label pump "bearing worn" --unit 17

    streamlearn label pump ok --sample 4711
    """
    from streamlearn.cli import report

    try:
        x = None if values is None else [float(value) for value in values.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"{error}; write numbers, separated by commas", param_hint="--values"
        ) from None
    identifier = None if sample is None else parse_identifier(sample)
    with connect(endpoint, timeout, server_key, key_file) as client:
        found = client.label(name, label or None, unit=unit, sample=identifier, x=x)
    what = f"labelled {label!r}" if label else "without a label by hand"
    report.show(found, as_json, f"{name}: {what} (lsn {found['lsn']})")
