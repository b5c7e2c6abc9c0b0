"""Samples from a CSV: which columns they are in, and, when a row can't be read, which one and why.

A first line in which no chosen field is a number is a header. An empty field, or ``nan``, is a missing value.
Blank lines are skipped, except in a file of one column, where they are missing values.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from streamlearn.cli.columns import choose, needs_names
from streamlearn.cli.errors import BadData, BadUsage

STDIN = "-"
LARGEST = float(np.finfo(np.float32).max)


class Rows(NamedTuple):
    """Consecutive samples: ``x`` (n, dim) float32, ``y`` (n, targets) float32 or ``None``."""

    x: NDArray[np.float32]
    y: NDArray[np.float32] | None


class CsvRows:
    """An iterator of ``Rows`` in ``path``, or in standard input for ``-``.

    ``columns`` and ``target`` say where x and y are (see ``columns.choose``); by default x is all that is
    not y. ``header`` is whether there is one; ``None`` means: look. Rows before line ``from_line`` are left
    out. From a file come ``batch`` rows at a time; from anything that flows, each row as soon as it is
    there.

    Iteration raises ``BadData`` at a row that can't be read, after it has given all rows before it.
    """

    def __init__(
        self,
        path: str,
        *,
        columns: str | None = None,
        target: str | None = None,
        header: bool | None = None,
        delimiter: str = ",",
        from_line: int = 1,
        batch: int = 1024,
    ) -> None:
        if len(delimiter) != 1:
            raise BadUsage(f"--delimiter must be one character, not {delimiter!r}")
        self.name = "standard input" if path == STDIN else path
        self.header: list[str] | None = None
        self.lines = array("Q")
        """the line of every row so far"""
        self._binary: BinaryIO = sys.stdin.buffer if path == STDIN else Path(path).open("rb")  # noqa: SIM115
        # Bytes that are no UTF-8 are a field that is no number where one is wanted, and no trouble elsewhere.
        self._text = io.TextIOWrapper(self._binary, "utf-8-sig", errors="surrogateescape", newline="")
        flows = path == STDIN or not self._binary.seekable()
        self._batch = 1 if flows else batch
        self.bytes = None if flows else Path(path).stat().st_size
        """of the file; ``None`` if that is not known"""
        self._csv = csv.reader(self._text, delimiter=delimiter, strict=True)
        self._from_line = from_line
        self._chosen = columns, target
        self._has_header = header

    @property
    def bytes_read(self) -> int:
        """How far the file has been read."""
        return 0 if self.bytes is None else self._binary.tell()

    def __iter__(self) -> Iterator[Rows]:
        first = self._next()
        while first == []:
            first = self._next()
        if first is None:
            raise BadData(f"{self.name} is empty: there are no samples in it", file=self.name)
        self._width = len(first)
        self._settle(first)
        pending: list[list[float]] = []
        try:
            row = self._next() if self.header is not None else first
            while row is not None:
                if (row or self._width == 1) and self._csv.line_num >= self._from_line:
                    pending.append(self._numbers(row))
                    self.lines.append(self._csv.line_num)
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
            line = self._csv.line_num + 1
            raise BadData(
                f"{self.name}, near line {line}: this is not CSV ({error})", file=self.name, line=line
            ) from None

    def _settle(self, first: list[str]) -> None:
        """Find out what the first line says: names or numbers, and which columns are wanted."""
        columns, target = self._chosen
        named = needs_names(columns) or needs_names(target)
        if self._has_header is False and named:
            raise BadUsage("columns can be named only where there is a header; give their numbers, from 1")
        if self._has_header is None and not named:
            picked = choose(columns, target, None, len(first))
            told = [first[i] for i in (*picked.x, *picked.y) if first[i].strip()]
            self._has_header = bool(told) and not any(map(_is_number, told))
        if self._has_header or named:
            self.header = [name.strip() for name in first]
        picked = choose(columns, target, self.header, len(first))
        self.x, self.y = picked.x, picked.y

    def _numbers(self, row: list[str]) -> list[float]:
        """x and y of one row, in one list."""
        row = row or [""]
        if len(row) != self._width:
            self._refuse(
                f"has {len(row)} fields and line 1 has {self._width}: mend or remove the line"
                + ("" if self._width > 1 else ", or say which --delimiter stands between fields")
            )
        numbers = []
        for index in (*self.x, *self.y):
            field = row[index]
            try:
                number = float(field or "nan")
            except ValueError:
                if field.strip():
                    self._refuse_field(field, index)
                number = math.nan
            if math.isinf(number) or abs(number) > LARGEST:
                self._refuse(
                    f"{field.strip()} in column {self._column(index)} is too large for a sample (float32); "
                    "leave the field empty where the value is missing",
                    index,
                )
            numbers.append(number)
        return numbers

    def _rows(self, numbers: Sequence[Sequence[float]]) -> Rows:
        both = np.array(numbers, np.float32)
        dim = len(self.x)
        return Rows(
            np.ascontiguousarray(both[:, :dim]), np.ascontiguousarray(both[:, dim:]) if self.y else None
        )

    def _refuse_field(self, field: str, index: int) -> NoReturn:
        shown = repr(field.strip()[:40])
        about = f"{shown} in column {self._column(index)} is not a number"
        if self._csv.line_num == 1:
            hint = "say --skip-header if line 1 is a header, or choose --columns without it"
        else:
            hint = "mend it, leave the field empty if the value is missing, or choose --columns without it"
        self._refuse(f"{about}: {hint}", index)

    def _refuse(self, problem: str, index: int | None = None) -> NoReturn:
        line = self._csv.line_num
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


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
