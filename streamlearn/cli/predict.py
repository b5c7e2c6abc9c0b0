"""``streamlearn predict | forecast | sample``: query a model. The model does not learn."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
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
from streamlearn.cli.tables import (
    ColumnsOption,
    Comment,
    Decimal,
    Delimiter,
    Encoding,
    File,
    Format,
    MissingOption,
    SkipHeader,
    SkipLines,
    TimeFormat,
    TimeOption,
    UtcOffset,
    check_names,
    open_table,
)
from streamlearn.tabular.identifiers import parse_identifier

if TYPE_CHECKING:
    from streamlearn.tabular.reader import TableReader
    from streamlearn.tabular.rows import Rows
    from streamlearn_client import Outputs

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="output file", show_default="standard output"),
]
JsonLines = Annotated[bool, typer.Option("--json", help="write one JSON object per line instead of CSV")]


_OF_CHANNELS = ("prediction", "forecast", "lower", "upper", "expected", "contribution")
"""Outputs whose last axis may be the channels."""
_MIX = "mix "
_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def predict(
    file: File,
    model: ModelOption,
    columns: ColumnsOption = None,
    key: KeyOption = None,
    id: Annotated[
        str | None,
        typer.Option("--id", metavar="COLUMN", help="column of ids, for the output", show_default="none"),
    ] = None,
    time: TimeOption = None,
    time_format: TimeFormat = None,
    utc_offset: UtcOffset = 0.0,
    format: Format = None,
    missing: MissingOption = None,
    skip_header: SkipHeader = None,
    delimiter: Delimiter = ",",
    decimal: Decimal = ".",
    skip_lines: SkipLines = 0,
    comment: Comment = None,
    encoding: Encoding = "utf-8",
    output: Output = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 60.0,
    as_json: JsonLines = False,
) -> None:
    """Query a model with the rows of a file. The model does not learn. Writes CSV, one line per row.

    The columns of --time, --id and --key are written too, times as ISO 8601. A file may be larger than the
    memory: it is read, sent and written in parts. For a model with a memory of earlier samples (a recurrent
    net, or lags), all rows are one sequence. Beyond 65,536 rows, a temporary copy of the model passes through
    it, so the outputs are the same; this needs the right to create models. For a bidirectional net, all rows
    are one query, and the output has one line per sample with a complete context; the column sample has its
    number.
    """
    from streamlearn.cli.predictions import predictions
    from streamlearn.tabular.bytestreams import ByteStream
    from streamlearn.tabular.columns import ColumnOptions
    from streamlearn.tabular.formats import CsvFormat, Missing
    from streamlearn.tabular.times import TimeColumn

    options = ColumnOptions(columns, key=key, id=id, time=time)
    with ByteStream(file) as stream, connect(endpoint, timeout, server_key, key_file) as client:
        found = client.describe(model)
        channels = found["spec"].get("channels")
        words = Missing.parsed(missing)
        form = CsvFormat(skip_header, delimiter, decimal, words, skip_lines, comment, encoding)
        times = TimeColumn(time_format, utc_offset)
        with (
            open_table(stream, options, found, form, times, format) as rows,
            _writable(output) as to,
        ):
            for number, (part, out) in enumerate(
                predictions(client, found, rows, lambda: check_names(rows, channels, model))
            ):
                _write(out, to, as_json, channels, _carried(rows, part, out), header=number == 0)


def _carried(rows: TableReader, part: Rows, out: Outputs) -> dict[str, list[Any]]:
    """Return the times, ids and keys of the rows of ``out``, by the names of their columns."""
    places = out.arrays["sample"].tolist() if "sample" in out.arrays else range(len(out))
    values = {"time": part.times, "id": part.ids, "key": part.keys}
    carried: dict[str, list[Any]] = {}
    for what, index in zip(values, (rows.columns.time, rows.columns.id, rows.columns.key), strict=True):
        given = values[what]
        if index is None or given is None:
            continue
        name = what if rows.header is None else rows.header[index]
        texts = _iso(given) if what == "time" else given
        carried[name] = [texts[place] if 0 <= place < len(texts) else None for place in places]
    return carried


def _iso(times: Any) -> list[str]:
    """Return times, (n,) int64 nanoseconds, as ISO 8601 with as many digits as they need."""
    unit = next(unit for unit, size in _UNITS.items() if not (times % size).any())
    return [f"{text}Z" for text in times.astype("M8[ns]").astype(f"M8[{unit}]").astype(str).tolist()]


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
    with _writable(output) as to:
        _write(Outputs(**arrays), to, as_json, channels)


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
    with _writable(output) as to:
        _write(Outputs(symbol=drawn), to, as_json)


def _write(
    out: Outputs,
    to: TextIO,
    as_json: bool,
    channels: Sequence[str] | None = None,
    carried: Mapping[str, list[Any]] | None = None,
    header: bool = True,
) -> None:
    """Write outputs, after the columns that are ``carried`` from the input."""
    names, values = flatten(out, channels)
    names, values = [*(carried or ()), *names], [*(carried or {}).values(), *values]
    if as_json:
        to.writelines(
            f"{json.dumps(dict(zip(names, row, strict=True)))}\n" for row in zip(*values, strict=True)
        )
    else:
        writer = csv.writer(to, lineterminator="\n")
        if header:
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
