"""``streamlearn predict``: what a model says of the rows of a CSV, which it does not learn."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, ModelOption, Timeout, connect
from streamlearn.cli.push import ColumnsOption, Delimiter, File, SkipHeader

if TYPE_CHECKING:
    from streamlearn_client import Outputs


def add_to(app: typer.Typer) -> None:
    app.command()(predict)


def predict(
    file: File,
    model: ModelOption,
    columns: ColumnsOption = None,
    skip_header: SkipHeader = None,
    delimiter: Delimiter = ",",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="where to write", show_default="standard output"),
    ] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 60.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="a JSON object in each line, instead of CSV")
    ] = False,
) -> None:
    """Ask a model about the rows of a CSV; nothing is learned. Writes CSV, one line for each row.

    The rows are asked in one go, since to a recurrent net they are one sequence.
    """
    import numpy as np

    from streamlearn.cli.csvrows import CsvRows

    with CsvRows(file, columns=columns, header=skip_header, delimiter=delimiter) as rows:
        samples = [batch.x for batch in rows]
    if not samples:
        return
    with connect(endpoint, timeout) as client:
        out = client.predict(model, np.concatenate(samples))
    names, values = flatten(out)
    with _writable(output) as to:
        if as_json:
            to.writelines(
                f"{json.dumps(dict(zip(names, row, strict=True)))}\n" for row in zip(*values, strict=True)
            )
        else:
            writer = csv.writer(to, lineterminator="\n")
            writer.writerow(names)
            writer.writerows(zip(*values, strict=True))


def flatten(out: Outputs) -> tuple[list[str], list[list[Any]]]:
    """Names and columns of plain numbers; ``coords`` (n, 2) become ``coords_0`` and ``coords_1``, NaN None.

    A number has as many digits as tell its float32 from every other.
    """
    names: list[str] = []
    values: list[list[Any]] = []
    for name, array in out.arrays.items():
        table = array.reshape(len(array), -1)
        for index in range(table.shape[1]):
            names.append(name if array.ndim == 1 else f"{name}_{index}")
            column = table[:, index]
            if column.dtype.kind == "f":
                shortest = [float(str(value)) for value in column]
                values.append([None if value != value else value for value in shortest])
            else:
                values.append(column.tolist())
    return names, values


@contextmanager
def _writable(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            yield file
