"""Samples in the body of a request: JSON, NDJSON, CSV or an Arrow IPC stream.

Each reader returns the arguments of the client's `learn`, `predict` and `explain`. All but JSON can be read
in parts, which a `Cutter` cuts.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Any, Final, Protocol

import numpy as np
from fastapi import Query

from streamlearn.errors import BadMessage
from streamlearn.gateway.cutting import ArrowCutter, Cutter, LineCutter
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

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.x.values())) if isinstance(self.x, dict) else self.x)

    def sliced(self, start: int, stop: int) -> Samples:
        """Return the samples of a range."""
        x = self.x
        x = {name: each[start:stop] for name, each in x.items()} if isinstance(x, dict) else x[start:stop]
        others = (
            None if each is None else each[start:stop] for each in (self.y, self.keys, self.ids, self.times)
        )
        return Samples(x, *others)


class Table(Protocol):
    """Reads the parts of one body, in order. `read` may run on another thread."""

    def cutter(self, most: int) -> Cutter:
        """Return what cuts the body. ``most``: bytes of one row, or of one record batch."""

    def read(self, part: bytes) -> Samples | None:
        """Read a part; ``None`` if it has no rows. Raises as `read_samples`."""


def open_table(
    media_type: str, columns: Columns, channels: Sequence[str] | None, labels: Sequence[str] = ()
) -> Table:
    """Return the reader of a body of this type. Raises `UnsupportedMediaType`."""
    if media_type == NDJSON:
        return _Ndjson(columns)
    if media_type == CSV:
        return _Csv(columns, channels, labels)
    if media_type == ARROW:
        return _Arrow(columns, channels)
    raise UnsupportedMediaType(
        f"the Content-Type is {media_type or 'absent'}; samples are read as {', '.join(MEDIA_TYPES)}"
    )


def read_samples(
    body: bytes,
    media_type: str,
    columns: Columns,
    channels: Sequence[str] | None,
    labels: Sequence[str] = (),
) -> Samples:
    """Read a whole body.

    Parameters
    ----------
    body, media_type
        The bytes, and their ``Content-Type`` without parameters.
    columns
        The columns of a table (CSV, Arrow), and the form of times.
    channels
        The names of the model's channels, if it has some. Then names of columns are checked by the client.
    labels
        The names of the model's classes, which the targets of CSV may have.

    Raises
    ------
    UnsupportedMediaType, BadMessage, BadData, BadUsage
        If the body cannot be read; the message names the row.
    """
    if media_type == JSON:
        return _read_json(body, columns)
    found = open_table(media_type, columns, channels, labels).read(body)
    if found is None:
        raise BadMessage("the body has no samples")
    return found


def _read_json(body: bytes, columns: Columns) -> Samples:
    document = _parsed(body, "the body")
    names = [field.name for field in fields(Samples)]
    if not isinstance(document, dict) or "x" not in document or document.keys() - set(names):
        raise BadMessage(
            f"the body must be a JSON object with x, and possibly {', '.join(names[1:])}; x is a list of"
            ' samples, for example {"x": [[1.5, 2], [1.6, null]]}, or an object with a list per channel'
        )
    if "times" in document:
        document["times"] = _times(document["times"], _time_column(columns))
    return Samples(**document)


class _Ndjson:
    """Each line is a list of values, or an object with a value per channel (or x), and y, key, id, time."""

    def __init__(self, columns: Columns) -> None:
        self._times = _time_column(columns)
        self._lines = 0
        self._form: tuple[Any, Any] | None = None  # the names of the first line

    def cutter(self, most: int) -> Cutter:
        return LineCutter(most, quoted=False)

    def read(self, part: bytes) -> Samples | None:
        rows: list[dict[str, Any]] = []
        lines = part.split(b"\n")
        for number, line in enumerate(lines, self._lines + 1):
            if line.strip():
                rows.append(self._row(line, number))
        self._lines += part.count(b"\n")
        if not rows:
            return None
        x: Any = [row["x"] for row in rows]
        if isinstance(x[0], dict):
            x = {name: [values[name] for values in x] for name in x[0]}
        part_of = {name: [row[name] for row in rows] for name in _PARTS & rows[0].keys()}
        times = _times(part_of["time"], self._times) if "time" in part_of else None
        return Samples(x, part_of.get("y"), part_of.get("key"), part_of.get("id"), times)

    def _row(self, line: bytes, number: int) -> dict[str, Any]:
        value = _parsed(line, f"line {number}")
        row = {"x": value} if isinstance(value, list) else value
        if not isinstance(row, dict):
            raise BadMessage(f"line {number}: a list of values or an object was expected")
        if "x" not in row:
            row = {name: row.pop(name) for name in _PARTS & row.keys()} | {"x": row}
        form = row.keys(), _names(row)
        if self._form is None:
            self._form = form
        elif form != self._form:
            raise BadMessage(f"line {number} does not have the same names as the lines before it")
        return row


def _names(row: dict[str, Any]) -> Any:
    return list(row["x"]) if isinstance(row["x"], dict) else None


class _Csv:
    """The rows as `streamlearn push` reads them."""

    def __init__(self, columns: Columns, channels: Sequence[str] | None, labels: Sequence[str]) -> None:
        self._labels = labels
        self._options = ColumnOptions(
            columns.columns, columns.target, columns.key, columns.id, False, columns.time
        )
        self._columns, self._channels = columns, channels
        self._times = _time_column(columns)
        self._before: CsvRows | None = None

    def cutter(self, most: int) -> Cutter:
        return LineCutter(most, quoted=True)

    def read(self, part: bytes) -> Samples | None:
        with CsvRows(
            io.BytesIO(part),
            self._options,
            header=self._columns.header,
            delimiter=self._columns.delimiter,
            times=self._times,
            continues=self._before,
            labels=self._labels,
        ) as reader:
            parts = list(reader)
        self._before = reader
        if not parts:
            return None
        rows = Rows.joined(parts)
        x: Any = rows.x
        if reader.header is not None and self._channels is not None and rows.x is not None:
            names = [reader.header[index] for index in reader.columns.x]
            x = dict(zip(names, rows.x.T, strict=True))
        return Samples(x, rows.y, rows.keys, rows.ids, rows.times)


class _Arrow:
    """The columns of an Arrow IPC stream."""

    def __init__(self, columns: Columns, channels: Sequence[str] | None) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise UnsupportedMediaType(
                "this gateway cannot read Arrow: install streamlearn[arrow] beside it, or send CSV or NDJSON"
            ) from None
        self._columns, self._channels = columns, channels
        self._times = _time_column(columns)

    def cutter(self, most: int) -> Cutter:
        return ArrowCutter(most)

    def read(self, part: bytes) -> Samples | None:
        import pyarrow
        from pyarrow import ipc

        columns = self._columns
        try:
            table = ipc.open_stream(part).read_all()
            names: list[str] = table.column_names
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise BadMessage(f"the body is not an Arrow IPC stream: {error}") from None
        targets = [name.strip() for name in columns.target.split(",")] if columns.target else []
        single = {"key": columns.key, "id": columns.id, "time": columns.time}
        others = {*targets, *filter(None, single.values())}
        chosen = [name for name in names if name not in others]
        if columns.columns:
            chosen = [name.strip() for name in columns.columns.split(",")]
        missing = [name for name in (*chosen, *others) if name not in names]
        if missing:
            raise BadData(
                f"the table has no column {', '.join(missing)}; its columns are {', '.join(names)}",
                columns=names,
            )
        if not table.num_rows:
            return None
        try:
            x = {name: _numbers(table[name]) for name in chosen}
            y = np.column_stack([_targets(table[name]) for name in targets]) if targets else None
        except (pyarrow.ArrowException, ValueError, TypeError) as error:
            raise BadData(f"a column of the table holds no numbers: {error}") from None
        times = None if columns.time is None else _arrow_times(table[columns.time], self._times)
        keys, ids = (
            None if single[each] is None else table[single[each]].to_pylist() for each in ("key", "id")
        )
        named = self._channels is not None
        return Samples(x if named else np.column_stack(list(x.values())), y, keys, ids, times)


def _numbers(column: Any) -> Any:
    import pyarrow

    return column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)


def _targets(column: Any) -> Any:
    """Return numbers, or the names of labels."""
    import pyarrow

    if pyarrow.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pyarrow.types.is_string(column.type) or pyarrow.types.is_large_string(column.type):
        return np.array(column.to_pylist(), object)
    return _numbers(column)


def _arrow_times(column: Any, reader: TimeColumn) -> Any:
    import pyarrow

    if pyarrow.types.is_timestamp(column.type):
        return column.cast(pyarrow.timestamp("ns")).to_numpy()
    return _times(column.to_pylist(), reader)


def _time_column(columns: Columns) -> TimeColumn:
    return TimeColumn(columns.time_format, columns.utc_offset)


def _times(values: Any, reader: TimeColumn) -> Any:
    """Read texts as times in the usual forms, and numbers as the client does."""
    if isinstance(values, str):
        values = [values]
    if not isinstance(values, list) or not any(isinstance(each, str) for each in values):
        return values
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
