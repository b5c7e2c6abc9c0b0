"""``streamlearn predict | forecast | sample``: what a model says. Nothing is learned."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from streamlearn.cli.identifiers import KeyOption, OneKey, identified
from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, ModelOption, Name, Timeout, connect
from streamlearn.cli.push import ColumnsOption, Delimiter, File, SkipHeader

if TYPE_CHECKING:
    from streamlearn_client import Outputs

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="where to write", show_default="standard output"),
]
JsonLines = Annotated[bool, typer.Option("--json", help="a JSON object in each line, instead of CSV")]


def add_to(app: typer.Typer) -> None:
    for command in (predict, forecast, sample):
        app.command()(command)


def predict(
    file: File,
    model: ModelOption,
    columns: ColumnsOption = None,
    key: KeyOption = None,
    skip_header: SkipHeader = None,
    delimiter: Delimiter = ",",
    output: Output = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 60.0,
    as_json: JsonLines = False,
) -> None:
    """Ask a model about the rows of a CSV; nothing is learned. Writes CSV, one line for each row.

    The rows are asked in one go, since to a recurrent net they are one sequence. Of a bidirectional net there
    is a line for each sample whose context has come by then, and its number in the column sample.
    """
    import numpy as np

    from streamlearn.cli.columns import Chosen
    from streamlearn.cli.csvrows import CsvRows

    with CsvRows(file, Chosen(columns, key=key), header=skip_header, delimiter=delimiter) as rows:
        batches = list(rows)
    if not batches:
        return
    x = np.concatenate([batch.x for batch in batches if batch.x is not None])
    keys = None if key is None else [each for batch in batches for each in batch.keys or ()]
    with connect(endpoint, timeout) as client:
        out = client.predict(model, x, keys)
    _write(out, output, as_json)


def forecast(
    name: Name,
    steps: Annotated[int, typer.Argument(metavar="STEPS", min=1, help="how many", show_default=False)],
    key: OneKey = None,
    output: Output = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 60.0,
    as_json: JsonLines = False,
) -> None:
    """Ask a recurrent net for the samples that come next, as it goes on from where its stream has come to.

    Writes CSV, one line for each step.
    """
    from streamlearn_client import Outputs

    with connect(endpoint, timeout) as client:
        ahead = client.forecast(name, steps, None if key is None else identified(key))
    _write(Outputs(forecast=ahead), output, as_json)


def sample(
    name: Name,
    n: Annotated[int, typer.Argument(metavar="N", min=1, help="how many symbols", show_default=False)],
    temperature: Annotated[
        float, typer.Option(min=0.0, help="below 1 prefers the probable, 0 takes the most probable")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="another one draws others")] = 0,
    key: OneKey = None,
    output: Output = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 60.0,
    as_json: JsonLines = False,
) -> None:
    """Draw the symbols that might come next from a recurrent net that forecasts symbols.

    Writes CSV, one line for each symbol.
    """
    from streamlearn_client import Outputs

    with connect(endpoint, timeout) as client:
        drawn = client.sample(name, n, temperature, seed, None if key is None else identified(key))
    _write(Outputs(symbol=drawn), output, as_json)


def _write(out: Outputs, output: Path | None, as_json: bool) -> None:
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
    """Names and columns of plain numbers; ``coords`` (n, 2) become ``coords_0`` and ``coords_1``, the
    ``prediction`` (n, horizon, dim) of several steps ``prediction_0_0`` (step, channel) and so on, NaN None.

    A number has as many digits as tell its float32 from every other.
    """
    names: list[str] = []
    values: list[list[Any]] = []
    for name, array in out.arrays.items():
        places = list(product(*map(range, array.shape[1:])))
        for place, column in zip(places, array.reshape(len(array), len(places)).T, strict=True):
            names.append("_".join(map(str, (name, *place))))
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
