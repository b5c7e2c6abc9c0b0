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
from typing import Any, BinaryIO, NamedTuple, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from streamlearn.cli.columns import Chosen, choose
from streamlearn.cli.errors import BadData, BadUsage
from streamlearn.cli.identifiers import identified

STDIN = "-"
DEFAULT = Chosen()
LARGEST = float(np.finfo(np.float32).max)


class Rows(NamedTuple):
    """Consecutive samples, or later targets, which have no ``x``: ``x`` (n, dim) float32, ``y`` (n, targets)
    float32, ``keys`` and ``ids`` n numbers or names. What was not chosen is ``None``."""

    x: NDArray[np.float32] | None
    y: NDArray[np.float32] | None
    keys: list[Any] | None = None
    ids: list[Any] | None = None


class _Row(NamedTuple):
    """x and y of one row, in one list."""

    numbers: list[float]
    key: int | str | None
    id: int | str | None


class CsvRows:
    """An iterator of ``Rows`` in ``path``, or in standard input for ``-``.

    ``chosen`` says where x, y, keys and ids are (see ``columns.choose``); by default x is all that nothing
    else is. ``header`` is whether there is one; ``None`` means: look. Rows before line ``from_line`` are left
    out. From a file come ``batch`` rows at a time; from anything that flows, each row as soon as it is
    there.

    Iteration raises ``BadData`` at a row that can't be read, after it has given all rows before it.
    """

    def __init__(
        self,
        path: str,
        chosen: Chosen = DEFAULT,
        *,
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
        self._chosen = chosen
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
        pending: list[_Row] = []
        try:
            row = self._next() if self.header is not None else first
            while row is not None:
                if (row or self._width == 1) and self._csv.line_num >= self._from_line:
                    pending.append(self._read(row))
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
        chosen = self._chosen
        if self._has_header is False and chosen.named:
            raise BadUsage("columns can be named only where there is a header; give their numbers, from 1")
        if self._has_header is None and not chosen.named:
            picked = choose(chosen, None, len(first))
            told = [first[i] for i in (*picked.x, *picked.y) if first[i].strip()]
            self._has_header = bool(told) and not any(map(_is_number, told))
        if self._has_header or chosen.named:
            self.header = [name.strip() for name in first]
        self.picked = choose(chosen, self.header, len(first))

    def _read(self, row: list[str]) -> _Row:
        row = row or [""]
        if len(row) != self._width:
            self._refuse(
                f"has {len(row)} fields and line 1 has {self._width}: mend or remove the line"
                + ("" if self._width > 1 else ", or say which --delimiter stands between fields")
            )
        picked = self.picked
        numbers = []
        for index in (*picked.x, *picked.y):
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
        key = None if picked.key is None else self._identifier(row[picked.key], picked.key, "key")
        id = None if picked.id is None else self._identifier(row[picked.id], picked.id, "id")
        return _Row(numbers, key, id)

    def _identifier(self, field: str, index: int, what: str) -> int | str:
        told = field.strip()
        if not told:
            self._refuse(f"has no {what} in column {self._column(index)}", index)
        if not told.isascii() and any("\ud800" <= each <= "\udfff" for each in told):
            self._refuse(f"has a {what} in column {self._column(index)} that is no text in UTF-8", index)
        return identified(told)

    def _rows(self, rows: Sequence[_Row]) -> Rows:
        numbers = np.array([row.numbers for row in rows], np.float32)
        dim = len(self.picked.x)
        return Rows(
            np.ascontiguousarray(numbers[:, :dim]) if dim else None,
            np.ascontiguousarray(numbers[:, dim:]) if self.picked.y else None,
            None if self.picked.key is None else [row.key for row in rows],
            None if self.picked.id is None else [row.id for row in rows],
        )

    def _refuse_field(self, field: str, index: int) -> NoReturn:
        shown = repr(field.strip()[:40])
        about = f"{shown} in column {self._column(index)} is not a number"
        if self._csv.line_num == 1:
            hint = "say --skip-header if line 1 is a header"
        else:
            hint = "mend it, leave the field empty if the value is missing"
        option = "--target" if self._chosen.late else "--columns"
        self._refuse(f"{about}: {hint}, or choose {option} without it", index)

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
