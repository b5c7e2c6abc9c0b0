"""Samples in the body of a request: JSON, NDJSON, CSV or an Arrow IPC stream.

Each reader returns the arguments of the client's `learn`, `predict` and `explain`.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final

import numpy as np
from fastapi import Query

from streamlearn.errors import BadMessage
from streamlearn.gateway.problems import UnsupportedMediaType
from streamlearn.tabular.columns import ColumnOptions
from streamlearn.tabular.csvrows import CsvRows, Rows
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.times import TimeColumn

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
ARROW: Final = "application/vnd.apache.arrow.stream"
MEDIA_TYPES: Final = (JSON, NDJSON, CSV, ARROW)

_PARTS: Final = frozenset({"x", "y", "key", "id", "time"})


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table are what, as parameters of a request. JSON needs none of it."""

    columns: Annotated[str | None, Query(description="names or numbers of the channels' columns")] = None
    target: Annotated[str | None, Query(description="columns of the targets")] = None
    key: Annotated[str | None, Query(description="column of the keys")] = None
    id: Annotated[str | None, Query(description="column of the ids")] = None
    time: Annotated[str | None, Query(description="column of the times")] = None
    time_format: Annotated[str | None, Query(description="form of the times; default: detected")] = None
    utc_offset: Annotated[float, Query(description="hours that times without a zone are ahead of UTC")] = 0.0
    delimiter: Annotated[str, Query(description="of CSV")] = ","
    header: Annotated[bool | None, Query(description="whether line 1 is a header; default: detected")] = None


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of one request."""

    x: Any
    y: Any = None
    keys: Any = None
    ids: Any = None
    times: Any = None


def read_samples(body: bytes, media_type: str, columns: Columns, channels: Sequence[str] | None) -> Samples:
    """Read a body.

    Parameters
    ----------
    body, media_type
        The bytes, and their ``Content-Type`` without parameters.
    columns
        The columns of a table (CSV, Arrow), and the form of times.
    channels
        The names of the model's channels, if it has some. Then names of columns are checked by the client.

    Raises
    ------
    UnsupportedMediaType, BadMessage, BadData, BadUsage
        If the body cannot be read; the message names the row.
    """
    readers = {JSON: _read_json, NDJSON: _read_ndjson, CSV: _read_csv, ARROW: _read_arrow}
    reader = readers.get(media_type)
    if reader is None:
        raise UnsupportedMediaType(
            f"the Content-Type is {media_type or 'absent'}; samples are read as {', '.join(MEDIA_TYPES)}"
        )
    return reader(body, columns, channels)


def _read_json(body: bytes, columns: Columns, _: Sequence[str] | None) -> Samples:
    document = _parsed(body, "the body")
    names = [field.name for field in fields(Samples)]
    if not isinstance(document, dict) or "x" not in document or document.keys() - set(names):
        raise BadMessage(
            f"the body must be a JSON object with x, and possibly {', '.join(names[1:])}; x is a list of"
            ' samples, for example {"x": [[1.5, 2], [1.6, null]]}, or an object with a list per channel'
        )
    if "times" in document:
        document["times"] = _times(document["times"], columns)
    return Samples(**document)


def _read_ndjson(body: bytes, columns: Columns, _: Sequence[str] | None) -> Samples:
    """Each line is a list of values, or an object with a value per channel (or x), and y, key, id, time."""
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        value = _parsed(line, f"line {number}")
        row = {"x": value} if isinstance(value, list) else value
        if not isinstance(row, dict):
            raise BadMessage(f"line {number}: a list of values or an object was expected")
        if "x" not in row:
            row = {name: row.pop(name) for name in _PARTS & row.keys()} | {"x": row}
        if rows and (row.keys() != rows[0].keys() or _names(row) != _names(rows[0])):
            raise BadMessage(f"line {number} does not have the same names as the lines before it")
        rows.append(row)
    if not rows:
        raise BadMessage("the body has no samples")
    x: Any = [row["x"] for row in rows]
    if isinstance(x[0], dict):
        x = {name: [values[name] for values in x] for name in x[0]}
    part = {name: [row[name] for row in rows] for name in _PARTS & rows[0].keys()}
    times = _times(part["time"], columns) if "time" in part else None
    return Samples(x, part.get("y"), part.get("key"), part.get("id"), times)


def _names(row: dict[str, Any]) -> Any:
    return list(row["x"]) if isinstance(row["x"], dict) else None


def _read_csv(body: bytes, columns: Columns, channels: Sequence[str] | None) -> Samples:
    options = ColumnOptions(columns.columns, columns.target, columns.key, columns.id, False, columns.time)
    times = TimeColumn(columns.time_format, columns.utc_offset)
    with CsvRows(
        io.BytesIO(body), options, header=columns.header, delimiter=columns.delimiter, times=times
    ) as reader:
        rows = Rows.joined(list(reader))
        names = None if reader.header is None else [reader.header[index] for index in reader.columns.x]
    x: Any = rows.x
    if names is not None and channels is not None and rows.x is not None:
        x = dict(zip(names, rows.x.T, strict=True))
    return Samples(x, rows.y, rows.keys, rows.ids, rows.times)


def _read_arrow(body: bytes, columns: Columns, channels: Sequence[str] | None) -> Samples:
    try:
        import pyarrow
        from pyarrow import ipc
    except ImportError:
        raise UnsupportedMediaType(
            "this gateway cannot read Arrow: install streamlearn[arrow] beside it, or send CSV or NDJSON"
        ) from None
    try:
        table = ipc.open_stream(body).read_all()
    except (pyarrow.ArrowException, OSError) as error:
        raise BadMessage(f"the body is not an Arrow IPC stream: {error}") from None
    targets = [name.strip() for name in columns.target.split(",")] if columns.target else []
    single = {"key": columns.key, "id": columns.id, "time": columns.time}
    others = {*targets, *filter(None, single.values())}
    chosen = [name for name in table.column_names if name not in others]
    if columns.columns:
        chosen = [name.strip() for name in columns.columns.split(",")]
    missing = [name for name in (*chosen, *others) if name not in table.column_names]
    if missing:
        raise BadData(
            f"the table has no column {', '.join(missing)}; its columns are {', '.join(table.column_names)}",
            columns=table.column_names,
        )
    try:
        x = {name: _numbers(table[name]) for name in chosen}
        y = np.column_stack([_numbers(table[name]) for name in targets]) if targets else None
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        raise BadData(f"a column of the table holds no numbers: {error}") from None
    times = None if columns.time is None else _arrow_times(table[columns.time], columns)
    keys, ids = (None if single[each] is None else table[single[each]].to_pylist() for each in ("key", "id"))
    return Samples(x if channels is not None else np.column_stack(list(x.values())), y, keys, ids, times)


def _numbers(column: Any) -> Any:
    import pyarrow

    return column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)


def _arrow_times(column: Any, columns: Columns) -> Any:
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        return column.cast(pyarrow.timestamp("ns")).to_numpy()
    return _times(column.to_pylist(), columns)


def _times(values: Any, columns: Columns) -> Any:
    """Read texts as times in the usual forms, and numbers as the client does."""
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, list) or not any(isinstance(each, str) for each in values):
        return values
    reader = TimeColumn(columns.time_format, columns.utc_offset)
    times = []
    for number, text in enumerate(values, 1):
        try:
            times.append(reader.read(str(text)))
        except ValueError as problem:
            raise BadData(f"time {number} {problem}", row=number) from None
    return np.array(times, np.int64)


def _parsed(text: bytes, what: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"{what} is not JSON: {error}") from None
