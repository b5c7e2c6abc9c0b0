"""Answers that are tables: CSV, or an Arrow IPC stream, as the header ``Accept`` selects."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from fastapi import Request
from numpy.typing import NDArray
from starlette.responses import Response

from streamlearn.errors import BadValue
from streamlearn.gateway.bodies import ARROW, CSV
from streamlearn.gateway.problems import UnsupportedMediaType
from streamlearn.json_values import array_to_json

TABLES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {
            CSV: {"schema": {"type": "string"}},
            ARROW: {"schema": {"type": "string", "format": "binary"}},
        }
    }
}
"""The content of answers that may be tables, for OpenAPI."""
LSN: Final = "applied_lsn"
_BY_CHANNEL: Final = ("weights", "prototypes", "planes")


def table_type(request: Request) -> str | None:
    """Return which table the client accepts, CSV or Arrow; ``None``: JSON."""
    accepted = request.headers.get("accept", "").lower().split(",")
    names = (each.partition(";")[0].strip() for each in accepted)
    return next((each for each in names if each in (CSV, ARROW)), None)


def outputs_table(
    media_type: str, arrays: Mapping[str, NDArray[Any]], channels: Sequence[str] | None, lsn: int | None
) -> Response:
    """Return arrays with a row per sample as a table. Arrays with more axes have several columns in CSV."""
    columns: dict[str, NDArray[Any]] = {}
    for name, values in arrays.items():
        if values.ndim == 1 or media_type == ARROW:
            columns[name] = values
            continue
        flat = values.reshape(len(values), -1)
        named = channels is not None and values.shape[1:] == (len(channels),)
        for k in range(flat.shape[1]):
            columns[f"{name}_{channels[k] if named and channels else k}"] = flat[:, k]
    return _response(media_type, columns, lsn)


def part_table(
    media_type: str, name: str, part: Any, channels: Sequence[str] | None, lsn: int | None
) -> Response:
    """Return a part of a model as a table. Raises `BadValue` if it is none.

    A vector is one column, and a matrix has its own columns. An array of three axes has the columns ``row``
    and ``column`` of its first two axes, and one per element of the last axis. The columns of weights,
    prototypes and planes are the channels and have their names; planes have a row per unit, as prototypes.
    """
    if not isinstance(part, np.ndarray) or not 1 <= part.ndim <= 3:
        raise BadValue(f"{name} is no table; read it as JSON", field="what")
    if part.ndim == 1:
        return _response(media_type, {name: part}, lsn)
    if name == "planes":
        part = np.moveaxis(part, 0, -1)
    columns: dict[str, NDArray[Any]] = {}
    if part.ndim == 3:
        rows, width = part.shape[:2]
        columns["row"] = np.repeat(np.arange(rows), width)
        columns["column"] = np.tile(np.arange(width), rows)
        part = part.reshape(rows * width, -1)
    named = channels is not None and name in _BY_CHANNEL and part.shape[1] == len(channels)
    for k in range(part.shape[1]):
        columns[channels[k] if named and channels else str(k)] = part[:, k]
    return _response(media_type, columns, lsn)


def _response(media_type: str, columns: Mapping[str, NDArray[Any]], lsn: int | None) -> Response:
    content = _csv(columns) if media_type == CSV else _arrow(columns, lsn)
    headers = {} if lsn is None else {"Streamlearn-Applied-Lsn": str(lsn)}
    return Response(content, media_type=media_type, headers=headers)


def _csv(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Missing values are empty fields."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(array_to_json(each) for each in columns.values()), strict=True))
    return text.getvalue().encode()


def _arrow(columns: Mapping[str, NDArray[Any]], lsn: int | None) -> bytes:
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedMediaType(
            "this gateway cannot write Arrow: install streamlearn[arrow] beside it, or accept CSV or JSON"
        ) from None
    found = {name: _arrow_column(pyarrow, values) for name, values in columns.items()}
    table = pyarrow.table(found)
    if lsn is not None:
        table = table.replace_schema_metadata({LSN: str(lsn)})
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _arrow_column(pyarrow: Any, values: NDArray[Any]) -> Any:
    """Return a column; of an array with more axes, one of fixed-size lists."""
    column = pyarrow.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        column = pyarrow.FixedSizeListArray.from_arrays(column, size)
    return column
