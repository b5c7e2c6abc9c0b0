"""``streamlearn predict | forecast | sample``: query a model. The model does not learn."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from streamlearn.cli.identifiers import KeyOption, OneKey
from streamlearn.cli.options import (
    DEFAULT_ENDPOINT,
    Endpoint,
    KeyFile,
    ModelOption,
    Name,
    ServerKey,
    Timeout,
    connect,
)
from streamlearn.cli.push import (
    ColumnsOption,
    Delimiter,
    File,
    SkipHeader,
    TimeFormat,
    TimeOption,
    UtcOffset,
    check_names,
)
from streamlearn.tabular.identifiers import parse_identifier

if TYPE_CHECKING:
    from streamlearn_client import Outputs

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="output file", show_default="standard output"),
]
JsonLines = Annotated[bool, typer.Option("--json", help="write one JSON object per line instead of CSV")]


_OF_CHANNELS = ("prediction", "forecast", "lower", "upper", "expected", "contribution")
"""Outputs whose last axis may be the channels."""
_MIX = "mix "


def add_to(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (predict, forecast, sample):
        app.command()(command)


def predict(
    file: File,
    model: ModelOption,
    columns: ColumnsOption = None,
    key: KeyOption = None,
    time: TimeOption = None,
    time_format: TimeFormat = None,
    utc_offset: UtcOffset = 0.0,
    skip_header: SkipHeader = None,
    delimiter: Delimiter = ",",
    output: Output = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 60.0,
    as_json: JsonLines = False,
) -> None:
    """Query a model with the rows of a CSV. The model does not learn. Writes CSV, one line per row.

    All rows are sent in one query, because they are one sequence for a recurrent net. For a bidirectional
    net, the output has one line per sample with a complete context; the column sample has its number.
    """
    from streamlearn.tabular.columns import ColumnOptions
    from streamlearn.tabular.csvrows import CsvRows, Rows
    from streamlearn.tabular.times import TimeColumn

    options, times = ColumnOptions(columns, key=key, time=time), TimeColumn(time_format, utc_offset)
    with CsvRows(file, options, header=skip_header, delimiter=delimiter, times=times) as rows:
        batches = list(rows)
    if not batches:
        return
    x, _, keys, _, when = Rows.joined(batches)
    assert x is not None
    with connect(endpoint, timeout, server_key, key_file) as client:
        channels = client.describe(model)["spec"].get("channels")
        check_names(rows, channels, model)
        out = client.predict(model, x, keys, times=when)
    _write(out, output, as_json, channels)


def forecast(
    name: Name,
    steps: Annotated[int, typer.Argument(metavar="STEPS", min=1, help="number of steps", show_default=False)],
    key: OneKey = None,
    bands: Annotated[bool, typer.Option("--bands", help="write the bands lower and upper too")] = False,
    mix: Annotated[bool, typer.Option("--mix", help="write the weights of the mixed forecasts too")] = False,
    output: Output = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 60.0,
    as_json: JsonLines = False,
) -> None:
    """Forecast the next samples of a recurrent net's stream, from its live state.

    Writes CSV, one line per step: the forecast, and the time if the model has calendar features.
    """
    from streamlearn_client import Outputs

    with connect(endpoint, timeout, server_key, key_file) as client:
        found = client.forecast_in_full(name, steps, None if key is None else parse_identifier(key))
        channels = client.describe(name)["spec"].get("channels")
    wanted = ["time", "forecast", *(["lower", "upper"] if bands else [])]
    arrays = {each: found.arrays[each] for each in wanted if each in found.arrays}
    for place, mixed in enumerate(found.mix_of if mix else ()):
        arrays[f"{_MIX}{mixed}"] = found.mix[:, :, place]
    _write(Outputs(**arrays), output, as_json, channels)


def sample(
    name: Name,
    n: Annotated[int, typer.Argument(metavar="N", min=1, help="number of symbols", show_default=False)],
    temperature: Annotated[
        float, typer.Option(min=0.0, help="below 1 favours probable symbols; 0 takes the most probable")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="seed of the draws")] = 0,
    key: OneKey = None,
    output: Output = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 60.0,
    as_json: JsonLines = False,
) -> None:
    """Draw the next symbols from a recurrent net that forecasts symbols.

    Writes CSV, one line per symbol.
    """
    from streamlearn_client import Outputs

    with connect(endpoint, timeout, server_key, key_file) as client:
        drawn = client.sample(name, n, temperature, seed, None if key is None else parse_identifier(key))
    _write(Outputs(symbol=drawn), output, as_json)


def _write(out: Outputs, output: Path | None, as_json: bool, channels: Sequence[str] | None = None) -> None:
    names, values = flatten(out, channels)
    with _writable(output) as to:
        if as_json:
            to.writelines(
                f"{json.dumps(dict(zip(names, row, strict=True)))}\n" for row in zip(*values, strict=True)
            )
        else:
            writer = csv.writer(to, lineterminator="\n")
            writer.writerow(names)
            writer.writerows(zip(*values, strict=True))


def flatten(out: Outputs, channels: Sequence[str] | None = None) -> tuple[list[str], list[list[Any]]]:
    """Return the names and values of scalar columns. ``channels``: the names of the model's channels.

    ``coords`` (n, 2) becomes ``coords_0`` and ``coords_1``; ``prediction`` (n, horizon, dim) becomes
    ``prediction_0_0`` (step, channel) and so on, or ``prediction_0_flow`` if channels have names. NaN becomes
    ``None``. A number has the fewest digits that identify its float32.
    """
    names: list[str] = []
    values: list[list[Any]] = []
    for name, array in out.arrays.items():
        indices: list[tuple[int | str, ...]] = list(product(*map(range, array.shape[1:])))
        of_channels = name in _OF_CHANNELS or name.startswith(_MIX)
        if channels and of_channels and array.shape[-1:] == (len(channels),):
            indices = [(*index[:-1], channels[int(index[-1])]) for index in indices]
        for index, column in zip(indices, array.reshape(len(array), len(indices)).T, strict=True):
            names.append("_".join(map(str, (name, *index))))
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
