"""Samples from the text of a CSV, with errors that name the line and the column.

The first line is a header if all selected fields in it are names. A line that could be a header or a sample
is an error. An empty field or ``nan`` is a missing value, and so is what ``--missing`` names. Blank lines are
skipped, except in a file of one column, where a blank line is a missing value.

A part of the text is converted column by column. Only if that fails, row by row, to name the row.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from streamlearn.tabular.columns import ColumnOptions, select
from streamlearn.tabular.cutting import LineCutter
from streamlearn.tabular.errors import BadData, BadUsage
from streamlearn.tabular.formats import DEFAULT, CsvFormat
from streamlearn.tabular.identifiers import parse_identifier
from streamlearn.tabular.numbers import LARGEST, fits, parse_column, parse_field
from streamlearn.tabular.rows import Rows
from streamlearn.tabular.table import Table
from streamlearn.tabular.times import TimeColumn

MISSING_WORDS = frozenset({"na", "n/a", "#n/a", "null", "none", "nil", "missing", "undefined"})
"""Words that other programs write for a missing value. In the first line they do not make a header."""
_name = re.compile(r"(?!0[xX][0-9a-fA-F]+$).*[^\W\d].*", re.DOTALL).fullmatch
"""Matches text with a letter or an underscore, except hexadecimal numbers."""
_surrogate = re.compile("[\ud800-\udfff]").search


class _Row(NamedTuple):
    """One row; ``numbers`` holds x, then y."""

    numbers: list[float]
    key: int | str | None
    id: int | str | None
    time: int | None = None


class CsvTable(Table):
    """Reads the parts of a CSV, in order; each part consists of whole rows (`LineCutter`).

    Parameters
    ----------
    name, options, times, labels, from_line, skip_bad
        See `Table`.
    form
        How the text is written.
    dim
        Values of a sample, if known. It decides whether an empty last field is one of them.
    """

    def __init__(
        self,
        name: str,
        options: ColumnOptions,
        form: CsvFormat = DEFAULT,
        *,
        times: TimeColumn | None = None,
        labels: Sequence[str] = (),
        dim: int | None = None,
        from_line: int = 1,
        skip_bad: int = 0,
    ) -> None:
        super().__init__(name, options, form.missing, times, labels, from_line, skip_bad)
        self._form, self._dim = form, dim
        self._has_header = form.header
        self._width = 0  # fields of a row; 0 before the first one
        self._trailing = False  # whether rows may end with a delimiter
        self._lines_read = 0
        self._line = 0  # of the row that is read

    @property
    def lines_read(self) -> int:
        """Number of the line that was read last."""
        return self._lines_read

    def continue_after(self, line: int) -> None:
        """Take the next part for that after ``line``. The names of the columns stay."""
        self._lines_read = line

    def cutter(self, most: int) -> LineCutter:
        """Return what cuts the text from the next line on into parts."""
        skip_lines = max(self._form.skip_lines - self._lines_read, 0)
        comment = (self._form.comment or "").encode(self._form.encoding)
        return LineCutter(most, quoted=True, skip_lines=skip_lines, comment=comment)

    def read(self, part: bytes) -> Rows | None:
        """Read a part; ``None`` if it has no rows. Raises ``BadData``."""
        rows, problem = self.read_until_bad(part)
        if problem is not None:
            raise problem
        return rows

    def read_until_bad(self, part: bytes) -> tuple[Rows | None, BadData | None]:
        """Read a part up to its first row that cannot be read. Return the rows, and the problem."""
        rows, lines, problem = self._split(part)
        if self._width == 0 and [] in rows:
            blank = next((n for n, row in enumerate(rows) if row), len(rows))
            rows, lines = rows[blank:], lines[blank:]
        if self._width == 0 and rows:
            self._detect_columns(rows[0], lines[0])
            if self.header is not None:
                rows, lines = rows[1:], lines[1:]
        if self._width != 1 and [] in rows:
            kept_lines = [line for row, line in zip(rows, lines, strict=True) if row]
            rows, lines = [row for row in rows if row], kept_lines
        if lines and lines[0] < self._from_line:
            kept = next((n for n, line in enumerate(lines) if line >= self._from_line), len(lines))
            rows, lines = rows[kept:], lines[kept:]
        if not rows:
            return None, problem
        found: Rows | None
        try:
            found = self._by_column(rows)
        except ValueError:
            found, lines, bad = self._row_by_row(rows, lines)
            problem = bad or problem
        self.lines.extend(lines)
        return found, problem

    def end(self) -> None:
        """Raise ``BadData`` if the table has no row and no header."""
        if self._width == 0:
            raise BadData(f"{self.name} is empty: it holds no samples", file=self.name)

    # ------------------------------------------------------------------------------------- text to fields

    def _split(self, part: bytes) -> tuple[list[list[str]], Sequence[int], BadData | None]:
        """Return the rows of a part and their lines, without comments. A blank row has no field."""
        form, first = self._form, self._lines_read + 1
        count = part.count(b"\n") + (not part.endswith(b"\n"))
        self._lines_read += count
        text = part.decode(form.encoding, "surrogateescape" if form.encoding == "utf-8" else "replace")
        if first == 1:
            text = text.removeprefix("\ufeff")
        if '"' not in text:
            text = text.replace("\r\n", "\n")
            if first > form.skip_lines and form.comment is None and "\r" not in text:
                rows = list(csv.reader(text.split("\n"), delimiter=form.delimiter, strict=True))
                return rows[:count], range(first, first + count), None
        return self._split_lines(text, first)

    def _split_lines(self, text: str, first: int) -> tuple[list[list[str]], Sequence[int], BadData | None]:
        """Return rows and lines of text with comments, quoted fields, or lines to skip."""
        form = self._form
        given = list(enumerate(io.StringIO(text, newline=""), first))
        chosen, in_quotes = [], False
        for number, line in given:
            comment = form.comment is not None and not in_quotes and line.startswith(form.comment)
            if number > form.skip_lines and not comment:
                chosen.append((number, line))
                in_quotes ^= line.count('"') % 2 == 1
        reader = csv.reader((line for _, line in chosen), delimiter=form.delimiter, strict=True)
        rows: list[list[str]] = []
        lines: list[int] = []
        problem = None
        try:
            for row in reader:
                rows.append(row)
                lines.append(chosen[reader.line_num - 1][0])
        except csv.Error as error:
            near = lines[-1] + 1 if lines else first
            problem = BadData(
                f"{self.name}, near line {near}: this is not CSV ({error})", file=self.name, line=near
            )
        return rows, lines, problem

    # ------------------------------------------------------------------------------------------ first row

    def _detect_columns(self, first: list[str], line: int) -> None:
        """Detect the header in the first line, and select the columns."""
        options, width = self._options, len(first)
        self._line = line
        if self._has_header is False and options.need_header:
            raise BadUsage("columns can be named only if the file has a header; give their numbers, from 1")
        ends_empty = width > 1 and not first[-1].strip()
        if self._has_header is None and not options.need_header:
            columns = select(options, None, width)
            names = {i: first[i].strip() for i in (*columns.x, *columns.y) if first[i].strip()}
            fields = {i: name for i, name in names.items() if i in columns.x or name not in self._labels}
            self._has_header = bool(fields) and not any(map(self._is_number, fields.values()))
            if self._has_header:
                self._check_names(fields)
        has_header = self._has_header or options.need_header
        if has_header:
            self._trailing = True
            width -= ends_empty
            self.header = [name.strip() for name in first[:width]]
        elif ends_empty and self._dim is not None and options.columns is None:
            self._trailing = len(select(options, None, width).x) == self._dim + 1
            width -= self._trailing
        self._width = width
        self.columns = select(options, self.header, width)

    def _check_names(self, fields: dict[int, str]) -> None:
        """Refuse a detected header with a field that may be a damaged or missing value."""
        for index, field in fields.items():
            if not _name(field) and len(fields) == 1 and (hint := _delimiter_hint(field)):
                self._refuse(f"{field[:40]!r} in column {index + 1} is not a number: {hint}", index)
            if not _name(field) or field.lower() in MISSING_WORDS:
                self._refuse(
                    f"{field[:40]!r} in column {index + 1} is not a number and not clearly a name: use "
                    "--skip-header if line 1 is a header; otherwise correct it, or name it with --missing if "
                    "the value is missing, and use --no-header",
                    index,
                )

    def _is_number(self, field: str) -> bool:
        try:
            parse_field(field, self._form.decimal, self._form.missing)
        except ValueError:
            return False
        return True

    # --------------------------------------------------------------------------------- fields to samples

    def _by_column(self, rows: list[list[str]]) -> Rows:
        """Convert all rows at once. Raises ``ValueError`` if one of them is bad, or may be."""
        if set(map(len, rows)) != {self._width}:
            rows = list(map(self._whole, rows))
        fields = list(zip(*rows, strict=True))
        if len(fields) != self._width:
            raise ValueError
        form, columns = self._form, self.columns
        values = np.empty((len(rows), len(columns.x) + len(columns.y)))
        for place, index in enumerate(columns.x):
            values[:, place] = parse_column(fields[index], form.decimal, form.missing)
        for place, index in enumerate(columns.y, len(columns.x)):
            values[:, place] = self._target_column(fields[index])
        if not fits(values):
            raise ValueError
        keys = None if columns.key is None else _identifiers(fields[columns.key])
        ids = None if columns.id is None else _identifiers(fields[columns.id])
        times = None if columns.time is None else list(map(self._times.read, fields[columns.time]))
        return self._rows(values, keys, ids, times)

    def _target_column(self, fields: Sequence[str]) -> NDArray[np.float64]:
        try:
            return parse_column(fields, self._form.decimal, self._form.missing)
        except ValueError:
            if not self._labels:
                raise
        return np.array([self._target(field) for field in fields])

    def _target(self, field: str) -> float:
        """Return a number, or that of a label. Raises ``ValueError`` if the field is neither."""
        try:
            return parse_field(field, self._form.decimal, self._form.missing)
        except ValueError:
            label = self._labels.get(field.strip())
            if label is None and field.strip():
                raise
            return float("nan") if label is None else label

    def _row_by_row(
        self, rows: list[list[str]], lines: Sequence[int]
    ) -> tuple[Rows | None, list[int], BadData | None]:
        """Convert rows until one is bad. Return those before it, their lines, and the problem."""
        good: list[_Row] = []
        kept: list[int] = []
        for row, line in zip(rows, lines, strict=True):
            self._line = line
            try:
                good.append(self._read(row))
                kept.append(line)
            except BadData as problem:
                if len(self.skipped) >= self._skip_bad:
                    return self._collected(good), kept, problem
                self.skipped.append(problem)
        return self._collected(good), kept, None

    def _collected(self, rows: list[_Row]) -> Rows | None:
        if not rows:
            return None
        keys, ids, times = ([getattr(row, name) for row in rows] for name in ("key", "id", "time"))
        return self._rows(np.array([row.numbers for row in rows]), keys, ids, times)

    def _whole(self, row: list[str]) -> list[str]:
        """Return a row without the empty field after a delimiter at its end."""
        if not row:
            return [""]
        ends_empty = len(row) == self._width + 1 and not row[-1].strip()
        return row[:-1] if self._trailing and ends_empty else row

    def _read(self, row: list[str]) -> _Row:
        row = self._whole(row)
        if len(row) != self._width:
            self._refuse(
                f"has {len(row)} fields and line 1 has {self._width}: correct or remove the line"
                + ("" if self._width > 1 else ", or set --delimiter")
            )
        columns, form = self.columns, self._form
        numbers = []
        for index in (*columns.x, *columns.y):
            field = row[index]
            try:
                if index in columns.y:
                    number = self._target(field)
                else:
                    number = parse_field(field, form.decimal, form.missing)
            except ValueError:
                if field.strip():
                    self._refuse_field(field, index)
                number = float("nan")
            if abs(number) > LARGEST:
                self._refuse(
                    f"{field.strip()[:40]} in column {self._column(index)} is too large for float32: "
                    "correct it, or leave the field empty if the value is missing",
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
        if _surrogate(text):
            self._refuse(
                f"has a {what} in column {self._column(index)} that is not UTF-8 text: set --encoding", index
            )
        return parse_identifier(text)

    # --------------------------------------------------------------------------------------------- errors

    def _refuse_field(self, field: str, index: int) -> NoReturn:
        text = field.strip()
        about = f"{text[:40]!r} in column {self._column(index)} is not a number"
        if index in self.columns.y and self._labels:
            about += f" and no label of the model ({', '.join(list(self._labels)[:50])})"
        if self._form.decimal == "." and re.fullmatch(r"[+-]?\d+,\d+", text):
            hint = "set --decimal , if this is a decimal comma"
        elif self._width == 1 and _delimiter_hint(text):
            hint = _delimiter_hint(text)
        elif self._line == 1 + self._form.skip_lines:
            hint = "use --skip-header if line 1 is a header"
        elif text.lower() in MISSING_WORDS or text in ("?", "-"):
            hint = f"set --missing {text} if the value is missing"
        else:
            hint = "correct it, leave the field empty if the value is missing"
        option = "--target" if index in self.columns.y else "--columns"
        self._refuse(f"{about}: {hint}, or leave this column out of {option}", index)

    def _refuse(self, problem: str, index: int | None = None) -> NoReturn:
        where = {} if index is None else {"column": index + 1}
        raise BadData(f"{self.name}, line {self._line}: {problem}", file=self.name, line=self._line, **where)

    def _column(self, index: int) -> str:
        return f"{index + 1} ({self.header[index]})" if self.header is not None else str(index + 1)


def _delimiter_hint(text: str) -> str:
    """Return what to do if the only field of a row has another delimiter; "" if it has none."""
    found = next((mark for mark in ";\t|" if mark in text), "")
    return found and f"set --delimiter {found!r} if the values are separated by it"


def _identifiers(fields: Sequence[str]) -> list[int | str]:
    """Return keys or ids. Raises ``ValueError`` if one is missing or no text."""
    texts = [field.strip() for field in fields]
    if not all(texts) or _surrogate("".join(texts)):
        raise ValueError
    return list(map(parse_identifier, texts))
