"""Read samples from a CSV, with errors that name the line and the column.

A number has ASCII digits, a decimal point and an exponent, and no other characters. The first line is a
header if all selected fields in it are names. A line that could be a header or a sample is an error. An empty
field or ``nan`` is a missing value. Blank lines are skipped, except in a file of one column, where a blank
line is a missing value.
"""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from streamlearn.tabular.columns import ColumnOptions, Columns, select
from streamlearn.tabular.errors import BadData, BadUsage
from streamlearn.tabular.identifiers import parse_identifier
from streamlearn.tabular.times import TimeColumn
from streamlearn_client.protocol import PrecisionMonitor

STDIN = "-"
DEFAULT = ColumnOptions()
LARGEST = float(np.finfo(np.float32).max)

MISSING_WORDS = frozenset({"na", "n/a", "#n/a", "null", "none", "nil", "missing", "undefined"})
"""Words that other programs write for a missing value. In the first line they do not make a header."""
_name = re.compile(r"(?!0[xX][0-9a-fA-F]+$).*[^\W\d].*", re.DOTALL).fullmatch
"""Matches text with a letter or an underscore, except hexadecimal numbers."""


class Rows(NamedTuple):
    """Consecutive samples, or late targets without ``x``.

    ``x`` (n, dim) float32, ``y`` (n, targets) float32, ``keys`` and ``ids`` n numbers or names, ``times``
    (n,) int64 nanoseconds since 1970. A part that is not selected is ``None``.
    """

    x: NDArray[np.float32] | None
    y: NDArray[np.float32] | None
    keys: list[Any] | None = None
    ids: list[Any] | None = None
    times: NDArray[np.int64] | None = None

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return all rows of ``parts`` in one. There is at least one part, and all have the same columns."""
        columns: list[Any] = []
        for column in zip(*parts, strict=True):
            if column[0] is None:
                columns.append(None)
            elif isinstance(column[0], list):
                columns.append([value for values in column for value in values])
            else:
                columns.append(np.concatenate(column))
        return cls(*columns)


class LineNumbers:
    """The line numbers of rows. Only those since the last `discard_before` are kept in memory."""

    def __init__(self) -> None:
        self._lines: deque[int] = deque()
        self._discarded = 0

    def __len__(self) -> int:
        """Return the number of all rows so far."""
        return self._discarded + len(self._lines)

    def __getitem__(self, row: int) -> int:
        """Return the line of a row that was not discarded; rows count from 0."""
        return self._lines[row - self._discarded]

    def append(self, line: int) -> None:
        """Add the line of the next row."""
        self._lines.append(line)

    def discard_before(self, row: int) -> None:
        """Forget the lines of all rows before ``row``."""
        while self._discarded < row:
            self._lines.popleft()
            self._discarded += 1


class _Row(NamedTuple):
    """One row; ``numbers`` holds x, then y."""

    numbers: list[float]
    key: int | str | None
    id: int | str | None
    time: int | None = None


class CsvRows:
    """An iterator of ``Rows`` in ``source``: a path, ``-`` for standard input, or an open binary file.

    ``options`` selects the columns of x, y, keys, ids and times (see ``columns.select``). ``times`` reads the
    times. ``header`` says whether the first line is a header; ``None`` detects it. Rows before line
    ``from_line`` are skipped. A file is read ``batch`` rows at a time, a pipe row by row. ``continues``: the
    reader of the part before, if ``source`` is the next part of a table. It has the header, the columns and
    the number of lines so far. ``labels``: names of classes, which y may have instead of their numbers.

    At a row that cannot be read, iteration yields all rows before it and then raises ``BadData``.
    """

    def __init__(
        self,
        source: str | BinaryIO,
        options: ColumnOptions = DEFAULT,
        *,
        header: bool | None = None,
        delimiter: str = ",",
        from_line: int = 1,
        batch: int = 1024,
        times: TimeColumn | None = None,
        continues: CsvRows | None = None,
        labels: Sequence[str] = (),
    ) -> None:
        if len(delimiter) != 1:
            raise BadUsage(f"--delimiter must be one character, not {delimiter!r}")
        if not isinstance(source, str):
            self.name, self._binary = "the table", source
        elif source == STDIN:
            self.name, self._binary = "standard input", sys.stdin.buffer
        else:
            self.name, self._binary = source, Path(source).open("rb")  # noqa: SIM115
        self.header: list[str] | None = None
        self.columns = Columns((), ())
        self._width = 0
        self.lines = LineNumbers()
        self._precision = PrecisionMonitor(self.name)
        # Bytes that are not UTF-8 make a field invalid only if it is selected.
        self._text = io.TextIOWrapper(self._binary, "utf-8-sig", errors="surrogateescape", newline="")
        is_pipe = source == STDIN or not self._binary.seekable()
        self._batch = 1 if is_pipe else batch
        self.bytes = None if is_pipe else _size(self._binary)
        """size of the file; ``None`` if unknown"""
        self._csv = csv.reader(self._text, delimiter=delimiter, strict=True)
        self._from_line = from_line
        self._options = options
        self._times = times or TimeColumn()
        self._has_header = header
        self._continues = continues
        self._labels = {name: float(number) for number, name in enumerate(labels)}
        self._lines_before = 0 if continues is None else continues.last_line

    @property
    def last_line(self) -> int:
        """Number of the line that was read last."""
        return self._lines_before + self._csv.line_num

    @property
    def bytes_read(self) -> int:
        """Bytes of the file that have been read."""
        return 0 if self.bytes is None else self._binary.tell()

    def __iter__(self) -> Iterator[Rows]:
        row = self._next()
        if self._continues is not None:
            before, self._continues = self._continues, None
            self._width, self.header, self.columns = before._width, before.header, before.columns
        else:
            while row == []:
                row = self._next()
            if row is None:
                raise BadData(f"{self.name} is empty: it holds no samples", file=self.name)
            self._width = len(row)
            self._detect_columns(row)
            if self.header is not None:
                row = self._next()
        pending: list[_Row] = []
        try:
            while row is not None:
                if (row or self._width == 1) and self.last_line >= self._from_line:
                    pending.append(self._read(row))
                    self.lines.append(self.last_line)
                    if len(pending) >= self._batch:
                        yield self._rows(pending)
                        pending = []
                row = self._next()
        except BadData:
            if pending:
                yield self._rows(pending)
            raise
        if pending:
            yield self._rows(pending)

    def _next(self) -> list[str] | None:
        try:
            return next(self._csv, None)
        except csv.Error as error:
            line = self.last_line + 1
            raise BadData(
                f"{self.name}, near line {line}: this is not CSV ({error})", file=self.name, line=line
            ) from None

    def _detect_columns(self, first: list[str]) -> None:
        """Detect the header in the first line, and select the columns."""
        options = self._options
        if self._has_header is False and options.need_header:
            raise BadUsage("columns can be named only if the file has a header; give their numbers, from 1")
        if self._has_header is None and not options.need_header:
            columns = select(options, None, len(first))
            names = {i: first[i].strip() for i in (*columns.x, *columns.y) if first[i].strip()}
            fields = {i: name for i, name in names.items() if i in columns.x or name not in self._labels}
            self._has_header = bool(fields) and not any(map(_is_number, fields.values()))
            if self._has_header:
                self._check_names(fields)
        if self._has_header or options.need_header:
            self.header = [name.strip() for name in first]
        self.columns = select(options, self.header, len(first))

    def _check_names(self, fields: dict[int, str]) -> None:
        """Refuse a detected header with a field that may be a damaged or missing value."""
        for index, field in fields.items():
            if not _name(field) or field.lower() in MISSING_WORDS:
                self._refuse(
                    f"{field[:40]!r} in column {index + 1} is not a number and not clearly a name: use "
                    "--skip-header if line 1 is a header; otherwise correct it, or leave the field empty if "
                    "the value is missing, and use --no-header",
                    index,
                )

    def _read(self, row: list[str]) -> _Row:
        row = row or [""]
        if len(row) != self._width:
            self._refuse(
                f"has {len(row)} fields and line 1 has {self._width}: correct or remove the line"
                + ("" if self._width > 1 else ", or set --delimiter")
            )
        columns = self.columns
        numbers = []
        for index in (*columns.x, *columns.y):
            field = row[index]
            try:
                number = _parse_number(field) if field else math.nan
            except ValueError:
                label = self._labels.get(field.strip()) if index in columns.y else None
                if label is None and field.strip():
                    self._refuse_field(field, index)
                number = math.nan if label is None else label
            if math.isinf(number) or abs(number) > LARGEST:
                self._refuse(
                    f"{field.strip()} in column {self._column(index)} is too large for a sample (float32); "
                    "leave the field empty if the value is missing",
                    index,
                )
            numbers.append(number)
        key = None if columns.key is None else self._identifier(row[columns.key], columns.key, "key")
        id = None if columns.id is None else self._identifier(row[columns.id], columns.id, "id")
        time = None if columns.time is None else self._time(row[columns.time], columns.time)
        return _Row(numbers, key, id, time)

    def _time(self, field: str, index: int) -> int:
        try:
            return self._times.read(field)
        except ValueError as problem:
            self._refuse(f"the time in column {self._column(index)} {problem}", index)

    def _identifier(self, field: str, index: int, what: str) -> int | str:
        text = field.strip()
        if not text:
            self._refuse(f"has no {what} in column {self._column(index)}", index)
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            self._refuse(f"has a {what} in column {self._column(index)} that is not UTF-8 text", index)
        return parse_identifier(text)

    def _rows(self, rows: Sequence[_Row]) -> Rows:
        values = np.array([row.numbers for row in rows])
        numbers = values.astype(np.float32)
        dim = len(self.columns.x)
        if dim:
            self._precision.observe(values[:, :dim], numbers[:, :dim])
        return Rows(
            np.ascontiguousarray(numbers[:, :dim]) if dim else None,
            np.ascontiguousarray(numbers[:, dim:]) if self.columns.y else None,
            None if self.columns.key is None else [row.key for row in rows],
            None if self.columns.id is None else [row.id for row in rows],
            None if self.columns.time is None else np.array([row.time for row in rows], np.int64),
        )

    def _refuse_field(self, field: str, index: int) -> NoReturn:
        shown = repr(field.strip()[:40])
        about = f"{shown} in column {self._column(index)} is not a number"
        if index in self.columns.y and self._labels:
            about += f" and no label of the model ({', '.join(list(self._labels)[:50])})"
        if self.last_line == 1:
            hint = "use --skip-header if line 1 is a header"
        else:
            hint = "correct it, leave the field empty if the value is missing"
        option = "--target" if index in self.columns.y else "--columns"
        self._refuse(f"{about}: {hint}, or leave this column out of {option}", index)

    def _refuse(self, problem: str, index: int | None = None) -> NoReturn:
        line = self.last_line
        where = {} if index is None else {"column": index + 1}
        raise BadData(f"{self.name}, line {line}: {problem}", file=self.name, line=line, **where)

    def _column(self, index: int) -> str:
        return f"{index + 1} ({self.header[index]})" if self.header is not None else str(index + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._binary is sys.stdin.buffer:
            self._text.detach()
        else:
            self._text.close()


def _size(file: BinaryIO) -> int:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def _parse_number(field: str) -> float:
    """Return the number. Raises `ValueError` for forms that only Python reads, for example ``1_000``."""
    if "_" in field or not field.isascii():
        raise ValueError(field)
    return float(field)


def _is_number(field: str) -> bool:
    try:
        _parse_number(field)
    except ValueError:
        return False
    return True
