"""Samples in the body of a request: JSON, NDJSON, CSV or an Arrow IPC stream.

Each reader returns the arguments of the client's `learn`, `predict` and `explain`. All but JSON can be read
in parts, which a `Cutter` cuts.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Final, Protocol

import numpy as np
from fastapi import Query

from streamlearn.errors import BadMessage
from streamlearn.gateway.problems import UnsupportedMediaType
from streamlearn.tabular.arrow import ArrowTable
from streamlearn.tabular.columns import ColumnOptions
from streamlearn.tabular.csvtable import CsvTable
from streamlearn.tabular.cutting import ArrowCutter, Cutter
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.formats import CsvFormat, Missing
from streamlearn.tabular.ndjson import NdjsonTable
from streamlearn.tabular.rows import Rows
from streamlearn.tabular.times import TimeColumn

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
ARROW: Final = "application/vnd.apache.arrow.stream"
MEDIA_TYPES: Final = (JSON, NDJSON, CSV, ARROW)

_NAME: Final = "the table"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table are what, and how it is written: parameters of a request. JSON needs none."""

    columns: Annotated[str | None, Query(description="names or numbers of the channels' columns")] = None
    target: Annotated[str | None, Query(description="columns of the targets")] = None
    key: Annotated[str | None, Query(description="column of the keys")] = None
    id: Annotated[str | None, Query(description="column of the ids")] = None
    time: Annotated[str | None, Query(description="column of the times")] = None
    time_format: Annotated[str | None, Query(description="form of the times; default: detected")] = None
    utc_offset: Annotated[float, Query(description="hours that times without a zone are ahead of UTC")] = 0.0
    missing: Annotated[
        str | None, Query(description="what stands for a missing value, for example NA,null,?,-999")
    ] = None
    delimiter: Annotated[str, Query(description="of CSV")] = ","
    header: Annotated[bool | None, Query(description="whether line 1 is a header; default: detected")] = None
    decimal: Annotated[str, Query(description="decimal mark of CSV: . or ,")] = "."
    skip_lines: Annotated[int, Query(ge=0, description="lines of CSV before the header")] = 0
    comment: Annotated[str | None, Query(description="begin of lines of CSV that are not read")] = None
    encoding: Annotated[str, Query(description="of CSV, for example latin-1")] = "utf-8"

    def options(self) -> ColumnOptions:
        """Return the selection of columns."""
        return ColumnOptions(self.columns, self.target, self.key, self.id, False, self.time)

    def csv(self) -> CsvFormat:
        """Return how CSV is written. Raises `BadUsage`."""
        missing = Missing.parsed(self.missing)
        return CsvFormat(
            self.header, self.delimiter, self.decimal, missing, self.skip_lines, self.comment, self.encoding
        )


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

    def ordered(self, channels: Sequence[str] | None) -> Samples:
        """Return the samples with their channels in this order, if they have just these names."""
        if not isinstance(self.x, dict) or channels is None or self.x.keys() != set(channels):
            return self
        return replace(self, x={name: self.x[name] for name in channels})

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
    options, times = columns.options(), _time_column(columns)
    if media_type == NDJSON:
        missing = Missing.parsed(columns.missing)
        table = NdjsonTable(_NAME, options, missing, times=times, labels=labels, channels=channels)
        return _Text(table, named=True)
    if media_type == CSV:
        csv = CsvTable(_NAME, options, columns.csv(), times=times, labels=labels)
        return _Text(csv, named=channels is not None)
    if media_type == ARROW:
        return _Arrow(columns, channels is not None, labels)
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
            ' samples, for example {"x": [[1.5, 2], [1.6, null]]} or {"x": [{"flow": 1.5}, {"flow": 1.6}]},'
            " or an object with a list per channel"
        )
    document["x"] = _by_channel(document["x"])
    if "times" in document:
        document["times"] = _times(document["times"], _time_column(columns))
    return Samples(**document)


class _Text:
    """CSV or NDJSON, as `streamlearn push` reads them. ``named``: samples have the names of their columns."""

    def __init__(self, table: CsvTable | NdjsonTable, named: bool) -> None:
        self._table, self._named = table, named

    def cutter(self, most: int) -> Cutter:
        return self._table.cutter(most)

    def read(self, part: bytes) -> Samples | None:
        return _samples(self._table.read(part), self._table, self._named)


class _Arrow:
    """The columns of an Arrow IPC stream."""

    def __init__(self, columns: Columns, named: bool, labels: Sequence[str]) -> None:
        try:
            import pyarrow  # noqa: F401
        except ImportError:
            raise UnsupportedMediaType(
                "this gateway cannot read Arrow: install streamlearn[arrow] beside it, or send CSV or NDJSON"
            ) from None
        self._named = named
        missing, times = Missing.parsed(columns.missing), _time_column(columns)
        self._table = ArrowTable(_NAME, columns.options(), missing, times=times, labels=labels)

    def cutter(self, most: int) -> Cutter:
        return ArrowCutter(most)

    def read(self, part: bytes) -> Samples | None:
        import pyarrow
        from pyarrow import ipc

        try:
            batches = list(ipc.open_stream(part))
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise BadMessage(f"the body is not an Arrow IPC stream: {error}") from None
        found = []
        for batch in batches:
            rows, problem = self._table.read_batch(batch)
            if problem is not None:
                raise problem
            if rows is not None:
                found.append(rows)
        return _samples(Rows.joined(found) if found else None, self._table, self._named)


def _by_channel(x: Any) -> Any:
    """Return samples that are objects as an object with a list per channel; other samples as they are."""
    if not (isinstance(x, list) and x and all(isinstance(sample, dict) for sample in x)):
        return x
    for number, sample in enumerate(x):
        if sample.keys() != x[0].keys():
            raise BadMessage(f"x[{number}] does not have the same names as x[0]")
    return {name: [sample[name] for sample in x] for name in x[0]}


def _samples(rows: Rows | None, table: CsvTable | NdjsonTable | ArrowTable, named: bool) -> Samples | None:
    if rows is None:
        return None
    x: Any = rows.x
    if named and table.header is not None and rows.x is not None:
        names = [table.header[index] for index in table.columns.x]
        x = dict(zip(names, rows.x.T, strict=True))
    return Samples(x, rows.y, rows.keys, rows.ids, rows.times)


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
